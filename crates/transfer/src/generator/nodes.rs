//! Symbolic links, devices, fifos and sockets.

use std::io;
use std::rc::Rc;

use driftless_fs::{Attributes, Folder};
use driftless_proto::item::ItemFlags;
use driftless_tree::flist::Entry;
use driftless_tree::{Kind, Meta};

use crate::driver::Level;
use crate::generator::alternates::NodeFound;
use crate::generator::hardlinks::Membership;
use crate::receiver::Session;
use crate::receiver::is_made;
use crate::receiver::lists::{List, leaf_of, parent_of};
use crate::report::Role;

/// What `--munge-links` puts in front of the text of a link, so that it leads nowhere.
pub(crate) const MUNGED: &[u8] = b"/rsyncd-munged/";

impl Session<'_> {
    pub(crate) fn examine_symlink(&mut self, number: usize, list: &Rc<List>, at: usize) {
        let Some(entry) = list.entries.get(at) else { return };
        if !self.options.links {
            return self.skip_non_regular(list, entry);
        }
        let target = &entry.link_target;
        if self.options.link.safe && is_unsafe(target, &entry.name) {
            if self.options.talk.info.name >= 1 && !self.is_left_alone(list, entry) {
                let parts =
                    [b"ignoring unsafe symlink \"", &entry.name[..], b"\" -> \"", target, b"\""];
                self.say(Level::Info, parts.concat());
            }
            return;
        }
        if target.is_empty() {
            return;
        }
        let same = |folder: &Folder, name: &[u8]| {
            folder.read_link(name).is_ok_and(|text| text == **target)
        };
        let make = |folder: &Folder, name: &[u8]| folder.symlink(target, name);
        self.examine_object(number, list, at, "symlink", &same, &make);
    }

    pub(crate) fn examine_node(&mut self, number: usize, list: &Rc<List>, at: usize) {
        let Some(entry) = list.entries.get(at) else { return };
        let Some(kind) = entry.kind() else { return };
        if !is_made(self.options, self.likeness.superuser(), kind) {
            return self.skip_non_regular(list, entry);
        }
        let (mode, rdev) = (entry.mode, entry.rdev);
        let word = if kind.is_device() { "device file" } else { "special file" };
        let same = |folder: &Folder, name: &[u8]| {
            !kind.is_device() || folder.lstat(name).is_ok_and(|meta| meta.rdev == rdev)
        };
        let rdev = if kind.is_device() { rdev } else { (0, 0) };
        // Private until it has its owner.
        let make = |folder: &Folder, name: &[u8]| folder.mknod(name, mode & !0o7777 | 0o600, rdev);
        self.examine_object(number, list, at, word, &same, &make);
    }

    fn skip_non_regular(&mut self, list: &List, entry: &Entry) {
        if self.options.talk.info.nonreg >= 1 && !self.is_left_alone(list, entry) {
            let text = [b"skipping non-regular file \"", &entry.name[..], b"\""].concat();
            self.say(Level::Info, text);
        }
    }

    /// Whether a rule leaves alone what is not made in any case, which is said then.
    fn is_left_alone(&mut self, list: &List, entry: &Entry) -> bool {
        let name = self.name_of(entry);
        match self.look_unless_fresh(list, &name) {
            Ok((before, missing)) => self.leaves_object(&name, before.as_ref(), missing),
            Err(_) => false,
        }
    }

    /// As [`Session::look_inside`], but for directories that are new.
    fn look_unless_fresh(&mut self, list: &List, name: &[u8]) -> io::Result<(Option<Meta>, bool)> {
        let fresh = list.directory.as_ref().is_some_and(|directory| directory.state.borrow().new);
        if fresh { Ok((None, true)) } else { self.look_inside(name) }
    }

    /// Whether a rule leaves an object alone for what is at its name, or is not.
    fn leaves_object(&mut self, name: &[u8], before: Option<&Meta>, missing: bool) -> bool {
        let update = &self.options.update;
        if update.existing && missing {
            self.skip(|| [b"not creating new file \"", name, b"\""].concat());
            return true;
        }
        if update.ignore_existing && before.is_some() {
            self.skip(|| [name, b" exists"].concat());
            return true;
        }
        false
    }

    /// Something without content: made anew unless what is there is `same`.
    fn examine_object(
        &mut self,
        number: usize,
        list: &Rc<List>,
        at: usize,
        word: &str,
        same: &dyn Fn(&Folder, &[u8]) -> bool,
        make: &dyn Fn(&Folder, &[u8]) -> io::Result<()>,
    ) {
        let Some(entry) = list.entries.get(at) else { return };
        let Some(kind) = entry.kind() else { return };
        if self.membership(number, list, at) == Membership::Waits {
            return;
        }
        let name = self.name_of(entry);
        let (before, missing) = match self.look_unless_fresh(list, &name) {
            Ok(found) => found,
            Err(error) => {
                self.generator_failed("recv_generator: failed to stat", &name, &error);
                return self.give_up_group(number, at);
            }
        };
        if self.leaves_object(&name, before.as_ref(), missing) {
            return self.give_up_group(number, at);
        }
        let ndx = list.ndx(at);
        let alike = before.filter(|before| is_alike(before.kind, kind));
        let stays = alike.is_some_and(|present| present.kind == kind)
            && self.folder(parent_of(&name)).is_ok_and(|folder| same(folder, leaf_of(&name)));
        if let Some(present) = alike.as_ref().filter(|_| stays) {
            let flags = self.differences_of_kept(entry, &name, present);
            self.tell(entry, ndx, flags, None);
            self.report_equal(entry, flags);
            self.correct(entry, &name, present);
            self.complete_group(number, at);
            return self.acknowledge_equal(ndx);
        }
        let mut flags = ItemFlags::LOCAL_CHANGE | ItemFlags::REPORT_CHANGE;
        let like = if before.is_none() { self.in_alternates(&name, kind) } else { None };
        // Where times are not kept, its own becomes that of the transfer.
        let time = if self.likeness.keeps_times(kind) { 0 } else { ItemFlags::REPORT_TIME };
        flags |= match (&alike, &like) {
            (Some(present), _) => self.likeness.differences(entry, present) | time,
            (None, Some((_, present))) => self.likeness.differences(entry, present) | time,
            (None, None) => ItemFlags::IS_NEW,
        };
        flags |= self.extras_of_new(entry);
        if let Some((dir, meta)) = &like
            && self
                .alternate_folder(usize::from(*dir), parent_of(&name))
                .is_ok_and(|folder| same(&folder, leaf_of(&name)))
        {
            match self.node_from_alternate(entry, &name, ndx, *dir, meta) {
                // It stays at the source (seen).
                NodeFound::Settled => {
                    return self.complete_group(number, at);
                }
                NodeFound::Equal => flags = ItemFlags::LOCAL_CHANGE,
                NodeFound::Different => {}
            }
        }
        if let Some(present) = before.filter(|before| before.kind == Kind::Dir)
            && !self.make_way(&name, &present, &format!("new {word}"))
        {
            return self.give_up_group(number, at);
        }
        let replaces = before.is_some_and(|before| before.kind != Kind::Dir);
        if let Err(error) = self.put_object(entry, kind, &name, replaces, before.as_ref(), make) {
            match kind {
                Kind::Symlink => {
                    let place = self.quoted_path(&name);
                    let parts =
                        [b"symlink ", &place[..], b" -> \"", &entry.link_target, b"\" failed"];
                    self.said_failure(Role::Generator, &parts.concat(), &error);
                }
                _ => self.generator_failed("mknod", &name, &error),
            }
            return self.give_up_group(number, at);
        }
        self.tell(entry, ndx, flags, None);
        self.complete_group(number, at);
        // The old option means what was sent, and that is links besides files.
        match kind {
            Kind::Symlink => self.acknowledge(ndx),
            _ => self.acknowledge_equal(ndx),
        }
    }

    fn put_object(
        &mut self,
        entry: &Entry,
        kind: Kind,
        name: &Rc<[u8]>,
        replaces: bool,
        before: Option<&Meta>,
        make: &dyn Fn(&Folder, &[u8]) -> io::Result<()>,
    ) -> io::Result<()> {
        if replaces && !self.back_up(name) {
            return Err(io::Error::other("the old version cannot be backed up"));
        }
        if self.is_dry() {
            return Ok(());
        }
        let gives_group =
            self.folders.as_mut().is_some_and(|folders| folders.gives_group(parent_of(name)));
        let wanted = self.likeness.of_new(entry, kind, before, gives_group);
        let folder = self.folder_to_change(parent_of(name))?;
        let leaf = leaf_of(name);
        let made = match replaces {
            true => Err(io::ErrorKind::AlreadyExists.into()),
            false => make(&folder, leaf),
        };
        match made {
            Ok(()) => {
                self.dress(&folder, leaf, kind, name, &wanted);
                self.set_acls(entry, name);
                Ok(())
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                let (temporary, ()) =
                    folder.make_temporary(leaf, |folder, temporary| make(folder, temporary))?;
                self.dress(&folder, &temporary, kind, name, &wanted);
                folder.rename(&temporary, &folder, leaf).inspect_err(|_| {
                    let _ = folder.remove_file(&temporary);
                })
            }
            Err(error) => Err(error),
        }
    }

    fn dress(
        &mut self,
        folder: &Folder,
        leaf: &[u8],
        kind: Kind,
        name: &[u8],
        wanted: &Attributes,
    ) {
        self.apply(Role::Generator, name, wanted, |attributes| {
            folder.set_attributes(leaf, kind, attributes)
        });
    }
}

/// Whether one becomes the other by a change, and not as something new.
fn is_alike(present: Kind, wanted: Kind) -> bool {
    let is_special = |kind| matches!(kind, Kind::Fifo | Kind::Socket);
    present == wanted
        || present.is_device() && wanted.is_device()
        || is_special(present) && is_special(wanted)
}

/// Whether the text of a link may lead out of the transfer: judged on the texts alone. Security
/// reference, CVE-2024-12088.
pub(crate) fn is_unsafe(target: &[u8], name: &[u8]) -> bool {
    if target.is_empty() || target.starts_with(b"/") {
        return true;
    }
    let mut depth = parent_of(name).split(|&b| b == b'/').filter(|part| !part.is_empty()).count();
    let mut leading = true;
    for part in target.split(|&b| b == b'/') {
        match part {
            b".." if !leading || depth == 0 => return true,
            b".." => depth -= 1,
            b"" | b"." => {}
            _ => leading = false,
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_that_may_leave_the_transfer_are_unsafe() {
        for (target, name, expected) in [
            ("x", "a", false),
            ("../x", "d/a", false),
            ("..", "d/a", false),
            ("./../x", "d/a", false),
            ("../x", "a", true),
            ("../../x", "d/a", true),
            ("/x", "a", true),
            ("", "a", true),
            ("x/../y", "d/a", true),
            ("x/..", "d/a", true),
        ] {
            assert_eq!(is_unsafe(target.as_bytes(), name.as_bytes()), expected, "{target} {name}");
        }
    }
}
