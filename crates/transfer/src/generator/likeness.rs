//! Which attributes an entry's file shall have, and in what an existing one differs.

use driftless_fs::{Attributes, Owners, Powers};
use driftless_proto::item::ItemFlags;
use driftless_tree::flist::{Acl, Cached, Entry};
use driftless_tree::{Kind, Meta, Timestamp};

use crate::chmod::Chmod;
use crate::generator::ids::{IdKind, IdMap};
use crate::options::TransferOptions;

/// The attribute rules of one session.
#[derive(Debug)]
pub(crate) struct Likeness {
    perms: bool,
    executability: bool,
    times: bool,
    omit_dir_times: bool,
    omit_link_times: bool,
    atimes: bool,
    owner: bool,
    group: bool,
    modify_window: i32,
    chmod: Option<Chmod>,
    /// Owners and modes are kept in an attribute, where symbolic links have modes, too.
    stored: bool,
    powers: Powers,
    own: (u32, u32),
    pub(crate) users: IdMap,
    pub(crate) groups: IdMap,
    pub(crate) owners: Owners,
}

impl Likeness {
    /// `chmod`: the option is for this side. Complaints about maps come back as rsync words them.
    pub(crate) fn new(
        options: &TransferOptions,
        chmod: bool,
        owners: Owners,
    ) -> (Self, Vec<String>) {
        let mut powers = Powers::of_process();
        let stored = options.metadata.fake_super;
        powers.superuser = options.metadata.super_user.unwrap_or(powers.superuser) || stored;
        let mut complaints = Vec::new();
        let mut map = |kind, text: &Option<Vec<u8>>| {
            IdMap::new(kind, text.as_deref(), &owners, &mut complaints)
        };
        let users = map(IdKind::User, &options.metadata.user_map);
        let groups = map(IdKind::Group, &options.metadata.group_map);
        let in_place_backup = options.write.backup.as_ref().is_some_and(|b| b.dir.is_none());
        let likeness = Self {
            perms: options.perms,
            executability: options.metadata.executability && !options.perms,
            times: options.times,
            omit_dir_times: options.omit_dir_times || in_place_backup,
            omit_link_times: options.omit_link_times,
            atimes: options.metadata.atimes > 0,
            owner: options.owner,
            group: options.group,
            modify_window: options.modify_window,
            chmod: options.chmod.clone().filter(|_| chmod),
            stored,
            powers,
            own: own_ids(),
            users,
            groups,
            owners,
        };
        (likeness, complaints)
    }

    /// Prepares an entry that arrived: its mode after `--chmod`, and the names of its owners.
    pub(crate) fn receive(&mut self, entry: &mut Entry) {
        if let Some(chmod) = &self.chmod
            && entry.mode != 0
            && entry.kind() != Some(Kind::Symlink)
        {
            entry.mode = chmod.apply(entry.mode);
        }
        if let Some(name) = entry.user.take() {
            self.users.learn(entry.uid, Some(&name), &self.owners);
        }
        if let Some(name) = entry.group.take() {
            self.groups.learn(entry.gid, Some(&name), &self.owners);
        }
    }

    /// Takes the names of owners out of an ACL that arrived.
    pub(crate) fn learn_names(&mut self, acl: &mut Cached<Acl>) {
        let Cached::Literal(acl) = acl else { return };
        for entry in acl.named.iter_mut().flatten() {
            if let Some(name) = entry.name.take() {
                let map = if entry.is_user { &mut self.users } else { &mut self.groups };
                map.learn(entry.id, Some(&name), &self.owners);
            }
        }
    }

    pub(crate) fn superuser(&self) -> bool {
        self.powers.superuser
    }

    /// Whether the times of this kind are kept.
    pub(crate) fn keeps_times(&self, kind: Kind) -> bool {
        match kind {
            Kind::Dir => self.times && !self.omit_dir_times,
            Kind::Symlink => self.times && !self.omit_link_times,
            _ => self.times,
        }
    }

    /// Whether two times count as equal.
    pub(crate) fn same_time(&self, a: Timestamp, b: Timestamp) -> bool {
        match self.modify_window {
            ..0 => a == b,
            window => a.secs.abs_diff(b.secs) <= window as u64,
        }
    }

    /// Whether a file of this time is newer than one of the entry's, for `--update`: by whole
    /// seconds, even with a window below zero (seen).
    pub(crate) fn is_newer(&self, here: Timestamp, theirs: Timestamp) -> bool {
        theirs.secs.saturating_sub(here.secs) < i64::from(self.modify_window)
    }

    fn uid(&self, entry: &Entry) -> Option<u32> {
        (self.owner && self.powers.superuser).then(|| self.users.map(entry.uid))
    }

    /// The group that an entry's object gets, where groups are kept and this process may give it.
    pub(crate) fn gid(&self, entry: &Entry) -> Option<u32> {
        let gid = self.group.then(|| self.groups.map(entry.gid))?;
        self.powers.may_give_to(gid).then_some(gid)
    }

    /// The mode for the entry's file; `before` is what is replaced or changed. It counts if it is of
    /// the entry's kind, and for devices and the like whatever file it is (seen).
    pub(crate) fn mode(&self, entry: &Entry, before: Option<&Meta>) -> u32 {
        let before = before.filter(|before| match entry.kind() {
            Some(Kind::File | Kind::Dir | Kind::Symlink) | None => {
                Some(before.kind) == entry.kind()
            }
            Some(_) => !matches!(before.kind, Kind::Dir | Kind::Symlink),
        });
        match before {
            _ if self.perms => entry.mode & 0o7777,
            Some(before) if self.executability && entry.kind() == Some(Kind::File) => {
                with_executability(before.mode & 0o7777, entry.mode)
            }
            Some(before) => before.mode & 0o7777,
            None => entry.mode & 0o777 & !self.powers.umask,
        }
    }

    fn has_mode(&self, kind: Kind) -> bool {
        kind != Kind::Symlink || self.stored
    }

    fn atime(&self, entry: &Entry) -> Option<Timestamp> {
        let secs = entry.atime.filter(|_| self.atimes)?;
        Some(Timestamp { secs, nanos: 0 })
    }

    /// All attributes for a new file of our own, made in the place of `before`. `gives_group`: the
    /// directory decides about its group.
    pub(crate) fn of_new(
        &self,
        entry: &Entry,
        kind: Kind,
        before: Option<&Meta>,
        gives_group: bool,
    ) -> Attributes {
        let uid = self.uid(entry).filter(|uid| *uid != self.own.0);
        let gives_group = gives_group || self.stored;
        let gid = self.gid(entry).filter(|gid| gives_group || *gid != self.own.1);
        Attributes {
            mode: self.has_mode(kind).then(|| self.mode(entry, before)),
            uid,
            gid,
            // What stands for a link is a file when it is new.
            mtime: (self.keeps_times(kind) || self.stored && kind == Kind::Symlink && self.times)
                .then_some(entry.mtime),
            atime: self.atime(entry),
        }
    }

    /// What `present`, of the entry's kind, lacks.
    pub(crate) fn lacking(&self, entry: &Entry, present: &Meta) -> Attributes {
        let uid = self.uid(entry).filter(|uid| *uid != present.uid);
        let gid = self.gid(entry).filter(|gid| *gid != present.gid);
        let mode = self.mode(entry, Some(present));
        // A change of owner clears set-id bits.
        let again = (uid.is_some() || gid.is_some()) && mode & 0o6000 != 0;
        let mtime = (self.keeps_times(present.kind) && !self.same_time(entry.mtime, present.mtime))
            .then_some(entry.mtime);
        Attributes {
            mode: (self.has_mode(present.kind) && (again || mode != present.mode & 0o7777))
                .then_some(mode),
            uid,
            gid,
            mtime,
            atime: self.atime(entry).filter(|atime| atime.secs != present.atime.secs),
        }
    }

    /// What is set of `present`, of the entry's kind: what it lacks, and where modes are stored, one
    /// that the file itself is not to have.
    pub(crate) fn to_set(&self, entry: &Entry, present: &Meta) -> Attributes {
        const SPECIAL: u32 = 0o7000;
        let needed = if present.kind == Kind::Dir { 0o700 } else { 0o600 };
        let mut lacking = self.lacking(entry, present);
        let mode = self.mode(entry, Some(present));
        if self.stored && mode & (SPECIAL | needed) != needed {
            lacking.mode = Some(mode);
        }
        lacking
    }

    /// In what `present`, of the entry's kind, differs, as items report it. Protocol reference,
    /// "Item attributes".
    pub(crate) fn differences(&self, entry: &Entry, present: &Meta) -> u16 {
        let lacking = self.lacking(entry, present);
        let mut flags = 0;
        let mut report = |on: bool, flag| flags |= if on { flag } else { 0 };
        let mode = self.mode(entry, Some(present));
        report(present.kind == Kind::File && entry.size != present.size, ItemFlags::REPORT_SIZE);
        report(lacking.mtime.is_some(), ItemFlags::REPORT_TIME);
        let reads = present.kind == Kind::Symlink;
        report(lacking.atime.is_some() && !reads, ItemFlags::REPORT_ATIME);
        report(
            self.has_mode(present.kind) && mode != present.mode & 0o7777,
            ItemFlags::REPORT_PERMS,
        );
        report(lacking.uid.is_some(), ItemFlags::REPORT_OWNER);
        report(lacking.gid.is_some(), ItemFlags::REPORT_GROUP);
        flags
    }
}

/// `-E`: who may execute follows the entry, who may read stays.
fn with_executability(mode: u32, wanted: u32) -> u32 {
    match (wanted & 0o111 != 0, mode & 0o111 != 0) {
        (false, _) => mode & !0o111,
        (true, false) => mode | (mode & 0o444) >> 2,
        (true, true) => mode,
    }
}

fn own_ids() -> (u32, u32) {
    (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn execution_follows_the_entry_where_reading_is_allowed() {
        assert_eq!(with_executability(0o644, 0o100_755), 0o755);
        assert_eq!(with_executability(0o640, 0o100_700), 0o750);
        assert_eq!(with_executability(0o755, 0o100_644), 0o644);
        assert_eq!(with_executability(0o744, 0o100_755), 0o744);
    }
}
