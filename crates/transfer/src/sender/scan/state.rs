//! What making the lists and serving them share: the disk, the rules, and who is told.

use std::cell::RefCell;
use std::io;
use std::rc::Rc;
use std::time::{SystemTime, UNIX_EPOCH};

use driftless_filter::Chain;
use driftless_fs::Dir;
use driftless_fs::xattr::Of;
use driftless_tree::entry::TYPE_BITS;
use driftless_tree::flist::Entry;
use driftless_tree::{Kind, Meta};

use crate::digests;
use crate::driver::Level;
use crate::module::{ModuleTerms, quoted};
use crate::options::{ChecksumKind, TransferOptions};
use crate::receiver::lists::leaf_of;
use crate::report::{Message, Origin as Speaker, Overall, Report, Role, Statistics, told_reason};
use crate::sender::attrs::{XattrChoice, add_acls, add_xattrs};
use crate::sender::partial::apply_chmod;
use crate::sender::scan::content::{Opened, Reading};
use crate::sender::scan::disk::{Disk, Origin};
use crate::sender::scan::filters::Filters;
use crate::source::tree::entry_of;

/// What `--munge-links` puts before the text of a link.
const MUNGED: &[u8] = b"/rsyncd-munged/";

/// Shared on the session's thread; borrowed for single steps only, never while the session waits.
pub(crate) type Shared<'a> = Rc<RefCell<State<'a>>>;

pub(crate) struct State<'a> {
    pub(crate) report: &'a mut dyn Report,
    pub(crate) options: &'a TransferOptions,
    /// The module that the session is in.
    pub(crate) module: Option<&'a ModuleTerms>,
    pub(crate) is_server: bool,
    pub(crate) disk: Disk,
    pub(crate) origins: Vec<Origin>,
    pub(crate) filters: Filters,
    /// Digests in the lists.
    pub(crate) digests: Option<ChecksumKind>,
    /// The receiving side said that it can set the times of symbolic links.
    pub(crate) peer_sets_link_times: bool,
    /// The number of the first entry.
    pub(crate) first_ndx: u32,
    pub(crate) statistics: Statistics,
    pub(crate) overall: Overall,
    /// For the client, on a server.
    pub(crate) texts: Vec<(Level, Vec<u8>)>,
    pub(crate) error_xfer: bool,
    pub(crate) io_error: u32,
}

/// What looking at a name gave.
#[allow(clippy::large_enum_variant, reason = "nearly all of them are entries, on their way")]
pub(crate) enum Found {
    Listed(Entry),
    /// Hidden by rules, another file system, or of no known type.
    Passed,
    /// It is not there, or cannot be examined, which was told.
    Failed,
}

impl State<'_> {
    /// Tells a text, here or to the client.
    pub(crate) fn say(&mut self, level: Level, text: Vec<u8>) {
        self.error_xfer |= level == Level::ErrorXfer;
        self.report.message(&Message { level, origin: Speaker::Here, text: &text });
        if self.is_server {
            self.texts.push((level, text));
        }
    }

    /// Tells that `act` failed on a path.
    pub(crate) fn fail(&mut self, act: &str, path: &[u8], error: &io::Error) {
        if self.module.is_some_and(|module| module.ignores_nonreadable) && is_denied(error) {
            return;
        }
        let mut text = format!("rsync: [sender] {act} ").into_bytes();
        text.extend_from_slice(&quoted(self.module, path));
        text.extend_from_slice(format!(" failed: {}", describe(error)).as_bytes());
        self.say(Level::ErrorXfer, text);
    }

    pub(crate) fn vanished(&mut self, path: &[u8]) {
        self.io_error |= 2;
        let text = [b"file has vanished: ", &quoted(self.module, path)[..]].concat();
        self.say(Level::Warning, text);
    }

    /// Something could not be listed, so nothing may be deleted for being absent.
    pub(crate) fn unlisted(&mut self, act: &str, path: &[u8], error: &io::Error) {
        // Where links are followed, one that leads to itself is as deep as it gets.
        let is_endless = self.disk.follows_links()
            && error.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error());
        if driftless_fs::is_absent(error) && !is_endless {
            self.vanished(path);
        } else {
            self.io_error |= 1;
            self.fail(act, path, error);
        }
    }

    /// With `-vv`: which rule shows or hides a name.
    fn tell_reason(&mut self, chain: Option<&Chain>, name: &[u8], kind: Kind) {
        if self.options.talk.debug.filter > 0
            && let Some(text) = chain.and_then(|chain| reason_text(chain, name, kind == Kind::Dir))
        {
            self.say(Level::Info, text);
        }
    }

    /// Whether rules, or those of the module, hide a name.
    fn hides(&self, chain: Option<&Chain>, name: &[u8], number: u32, kind: Kind) -> bool {
        let is_dir = kind == Kind::Dir;
        chain.is_some_and(|chain| chain.check(name, is_dir).is_excluded())
            || self.module.is_some_and(|module| {
                module.hides(&self.origins[number as usize].full_path(name), is_dir)
            })
    }

    /// As for other names, of an argument.
    pub(crate) fn tell_argument_reason(&mut self, tree: usize, name: &[u8], is_dir: bool) {
        let chain = self.filters.root_chain(tree);
        if let Some(text) = chain.and_then(|chain| reason_text(chain, name, is_dir)) {
            self.say(Level::Info, text);
        }
    }

    /// Looks at the entry `leaf` of an open directory. `kind` is its type, if that came with the
    /// name; `chain` has the rules.
    pub(crate) fn look(
        &mut self,
        dir: &Dir,
        leaf: &[u8],
        kind: Option<Kind>,
        name: &[u8],
        number: u32,
        chain: Option<&Chain>,
    ) -> Found {
        let link = &self.options.link;
        let may_follow = link.copy_all || link.copy_dirlinks || link.copy_unsafe;
        let certain = kind.filter(|&kind| !(may_follow && kind == Kind::Symlink));
        if let Some(kind) = certain {
            self.tell_reason(chain, name, kind);
        }
        if certain.is_some_and(|kind| self.hides(chain, name, number, kind)) {
            return Found::Passed;
        }
        let meta = match dir.lstat(leaf) {
            Ok(meta) => meta,
            Err(error) => {
                let path = self.origins[number as usize].full_path(name);
                self.unlisted("readlink_stat", &path, &error);
                return Found::Failed;
            }
        };
        if self.module.is_some_and(|module| module.ignores_nonreadable)
            && matches!(meta.kind, Kind::File | Kind::Dir)
            && !dir.is_readable(leaf)
        {
            return Found::Passed;
        }
        match self.examine(dir, leaf, name, number, meta, chain) {
            Found::Listed(entry) => {
                let known = certain.is_some() && certain == entry.kind();
                if let Some(kind) = entry.kind().filter(|_| !known) {
                    self.tell_reason(chain, name, kind);
                }
                match entry.kind() {
                    Some(kind) if !known && self.hides(chain, name, number, kind) => Found::Passed,
                    _ => self.complete(dir, Some(leaf), entry, &meta, chain, number),
                }
            }
            other => other,
        }
    }

    /// The entry of a name without what costs more to find out, where links are followed as far as
    /// the options want it.
    pub(crate) fn examine(
        &mut self,
        dir: &Dir,
        leaf: &[u8],
        name: &[u8],
        number: u32,
        mut meta: Meta,
        chain: Option<&Chain>,
    ) -> Found {
        let mut target = Vec::new();
        if meta.kind == Kind::Symlink {
            target = match dir.read_link(leaf) {
                Ok(target) => target,
                Err(error) => {
                    let path = self.origins[number as usize].full_path(name);
                    self.unlisted("readlink_stat", &path, &error);
                    return Found::Failed;
                }
            };
            if self.options.link.munge
                && let Some(clean) = target.strip_prefix(MUNGED)
            {
                target = clean.to_vec();
            }
            let followed = self.follow(dir, leaf, name, &target);
            let link = &self.options.link;
            let leads_to_dir = matches!(&followed, Ok(Some(meta)) if meta.kind == Kind::Dir);
            if link.copy_unsafe
                && !link.copy_all
                && !(link.copy_dirlinks && leads_to_dir)
                && self.options.talk.info.symsafe > 0
                && is_unsafe(&target, name)
            {
                let texts = [b"copying unsafe symlink \"", name, b"\" -> \"", &target, b"\""];
                self.say(Level::Info, texts.concat());
            }
            match followed {
                Ok(Some(followed)) => meta = followed,
                Ok(None) => {}
                Err(error) => {
                    // A rule that hides it goes before the complaint, whatever it would lead to.
                    for kind in [Kind::Symlink, Kind::Dir] {
                        self.tell_reason(chain, name, kind);
                        if self.hides(chain, name, number, kind) {
                            return Found::Passed;
                        }
                    }
                    self.io_error |= 1;
                    let path = self.origins[number as usize].full_path(name);
                    let shown = quoted(self.module, &path);
                    let text = match error.kind() {
                        io::ErrorKind::NotFound => {
                            [b"symlink has no referent: ", &shown[..]].concat()
                        }
                        _ => {
                            let why = format!(") failed: {}", describe(&error));
                            let start = &b"rsync: [sender] readlink_stat("[..];
                            [start, &shown, why.as_bytes()].concat()
                        }
                    };
                    self.say(Level::ErrorXfer, text);
                    return Found::Failed;
                }
            }
            if meta.kind != Kind::Symlink || !self.options.links {
                target = Vec::new();
            }
        }
        let mut entry = entry_of(name, &meta, target, self.options.hard_links);
        if self.options.metadata.atimes > 0 {
            entry.atime = Some(meta.atime.secs);
        }
        if meta.kind.is_device() && self.options.read.copy_devices {
            entry.mode = entry.mode & !TYPE_BITS | 0o100_000;
            entry.rdev = (0, 0);
            entry.hard_link = None;
            let links = &self.options.link;
            let follows = links.copy_all || links.copy_unsafe;
            entry.size = dir.open_device(leaf, follows).map_or(0, |(_, len)| len);
            // That of the device is not that of its content.
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            entry.mtime.secs = now.as_secs() as i64;
        }
        Found::Listed(entry)
    }

    /// What a symbolic link leads to, when it is to be sent in its place.
    fn follow(
        &self,
        dir: &Dir,
        leaf: &[u8],
        name: &[u8],
        target: &[u8],
    ) -> io::Result<Option<Meta>> {
        let link = &self.options.link;
        if link.copy_all || link.copy_unsafe && is_unsafe(target, name) {
            return dir.stat_following(leaf).map(Some);
        }
        if link.copy_dirlinks {
            return Ok(dir.stat_following(leaf).ok().filter(|meta| meta.kind == Kind::Dir));
        }
        Ok(None)
    }

    /// Adds what is read only of names that are listed; decides about mount points. `leaf` is
    /// `None` for the directory itself.
    pub(crate) fn complete(
        &mut self,
        dir: &Dir,
        leaf: Option<&[u8]>,
        mut entry: Entry,
        meta: &Meta,
        chain: Option<&Chain>,
        number: u32,
    ) -> Found {
        let selection = &self.options.selection;
        if entry.kind() == Some(Kind::Dir) && leaf.is_some() && selection.one_file_system > 0 {
            let is_mount = meta.kind == Kind::Dir && meta.dev != self.origins[number as usize].dev;
            if is_mount && selection.one_file_system > 1 {
                return Found::Passed;
            }
            entry.dir.no_content |= is_mount;
        }
        let was_link = meta.kind == Kind::Symlink && entry.kind() != Some(Kind::Symlink);
        let of = match leaf {
            None => Of::Dir,
            Some(leaf) if was_link => Of::Target(leaf),
            Some(leaf) => Of::Entry(leaf),
        };
        if !self.is_server {
            apply_chmod(&mut entry, self.options.chmod.as_ref());
        }
        apply_chmod(&mut entry, self.module.and_then(|module| module.chmod.as_ref()));
        let result = self.add_attributes(dir, of, &mut entry, chain);
        if let Err(error) = result {
            let path = self.origins[number as usize].full_path(&entry.name);
            if driftless_fs::is_absent(&error) {
                self.vanished(&path);
                return Found::Failed;
            }
            self.fail("get_xattr", &path, &error);
        }
        Found::Listed(entry)
    }

    /// Puts digests into entries of a directory, where lists have them. Without one a file
    /// differs, and opening it for sending tells why.
    pub(crate) fn add_digests<'e>(&self, dir: &Dir, entries: impl Iterator<Item = &'e mut Entry>) {
        let Some(kind) = self.digests else { return };
        let link = &self.options.link;
        let may_follow = link.copy_all || link.copy_dirlinks || link.copy_unsafe;
        let mut files: Vec<_> = entries.filter(|entry| entry.kind() == Some(Kind::File)).collect();
        let len = files.iter().map(|entry| entry.size).sum();
        let digests = digests::of_all(&files, len, kind, |entry| {
            let leaf = leaf_of(&entry.name);
            dir.open_file(leaf).or_else(|error| match may_follow {
                true => dir.open_file_following(leaf),
                false => Err(error),
            })
        });
        let copies_devices = self.options.read.copy_devices;
        for (entry, digest) in files.iter_mut().zip(digests) {
            let digest = match digest {
                None if copies_devices => digest_of_device(dir, leaf_of(&entry.name), kind).ok(),
                digest => digest,
            };
            entry.checksum = digest.unwrap_or_default();
        }
    }

    fn add_attributes(
        &self,
        dir: &Dir,
        of: Of<'_>,
        entry: &mut Entry,
        chain: Option<&Chain>,
    ) -> io::Result<()> {
        let metadata = &self.options.metadata;
        if metadata.acls {
            add_acls(dir, of, metadata.fake_super, entry.mode, entry)?;
        }
        if metadata.xattrs > 0 {
            let rules = chain.filter(|_| self.filters.has_xattr());
            let choice =
                XattrChoice { own_names: metadata.xattrs > 1, rules, kept: metadata.fake_super };
            // A link that is followed gives its own, which are none.
            let of = if let Of::Target(leaf) = of { Of::Entry(leaf) } else { of };
            add_xattrs(dir, of, choice, entry)?;
        }
        Ok(())
    }
}

fn digest_of_device(dir: &Dir, leaf: &[u8], kind: ChecksumKind) -> io::Result<Box<[u8]>> {
    let (device, len) = dir.open_device(leaf, true)?;
    digests::of_content(&mut Reading::new(Opened::Device(device), len), kind)
}

fn reason_text(chain: &Chain, name: &[u8], is_dir: bool) -> Option<Vec<u8>> {
    let reason = chain.reason(name, is_dir, false)?;
    let act = if reason.includes() { "showing" } else { "hiding" };
    Some(told_reason(Role::Sender, act, name, is_dir, &reason))
}

fn is_denied(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::PermissionDenied
}

/// The text of an error with its number, as rsync writes it.
pub(crate) fn describe(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(code) => {
            let text = error.to_string();
            let text = text.strip_suffix(&format!(" (os error {code})")).unwrap_or(&text);
            format!("{text} ({code})")
        }
        None => error.to_string(),
    }
}

/// Whether a link of this name could lead out of the transfer. Origin: command line reference,
/// "Links".
pub(crate) fn is_unsafe(target: &[u8], name: &[u8]) -> bool {
    if target.is_empty() || target.starts_with(b"/") || target.ends_with(b"/..") {
        return true;
    }
    let own = name.split(|&b| b == b'/').filter(|part| !matches!(*part, b"" | b"."));
    let mut depth = own.count().saturating_sub(1);
    let mut climbs = true;
    for part in target.split(|&b| b == b'/') {
        match part {
            b"" | b"." => {}
            b".." if !climbs || depth == 0 => return true,
            b".." => depth -= 1,
            _ => climbs = false,
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_that_could_lead_out_are_unsafe() {
        for (target, name, expected) in [
            ("f", "l", false),
            ("/etc/passwd", "l", true),
            ("", "l", true),
            ("../f", "l", true),
            ("../f", "d/l", false),
            ("../../f", "d/l", true),
            ("a/../f", "d/l", true),
            ("..", "d/l", false),
            ("a/..", "d/l", true),
            ("./x", "l", false),
        ] {
            assert_eq!(is_unsafe(target.as_bytes(), name.as_bytes()), expected, "{target} {name}");
        }
    }

    #[test]
    fn errors_are_written_with_their_number() {
        let error = io::Error::from_raw_os_error(13);
        assert_eq!(describe(&error), "Permission denied (13)");
    }
}
