//! When an object at the target is like the source's, and which attributes it lacks.
//!
//! Values only: nothing here touches the disk.

use driftless_fs::{Attributes, Powers};
use driftless_transfer::TransferOptions;
use driftless_tree::{Kind, Meta, Timestamp};

use crate::status::Aspect;

/// What the options and this process's powers make of the source's attributes.
pub(super) struct Likeness<'a> {
    options: &'a TransferOptions,
    powers: Powers,
}

impl<'a> Likeness<'a> {
    pub(super) fn new(options: &'a TransferOptions, powers: Powers) -> Self {
        Self { options, powers }
    }

    pub(super) fn superuser(&self) -> bool {
        self.powers.superuser
    }

    /// Whether objects of this kind are made at all. What is not made is not deleted either: the
    /// name is the source's. Devices need the superuser, as with rsync.
    pub(super) fn makes(&self, kind: Kind) -> bool {
        match kind {
            Kind::File | Kind::Dir => true,
            Kind::Symlink => self.options.links,
            Kind::Fifo | Kind::Socket => self.options.specials,
            Kind::CharDevice | Kind::BlockDevice => self.options.devices && self.powers.superuser,
        }
    }

    /// The quick check: whether `present` is taken for the same object. The texts of symbolic links
    /// are compared by the caller.
    pub(super) fn same(&self, source: &Meta, present: &Meta) -> bool {
        // A name more than the source has: setting its attributes would change the other name's.
        let shared = self.options.hard_links && source.link_count == 1 && present.link_count > 1;
        source.kind == present.kind
            && !shared
            && match source.kind {
                Kind::File => {
                    source.size == present.size && self.same_time(source.mtime, present.mtime)
                }
                Kind::CharDevice | Kind::BlockDevice => source.rdev == present.rdev,
                _ => true,
            }
    }

    fn same_time(&self, a: Timestamp, b: Timestamp) -> bool {
        match u64::try_from(self.options.modify_window) {
            Ok(window) => a.secs.abs_diff(b.secs) <= window,
            Err(_) => a == b,
        }
    }

    /// All attributes for something new, made in the place of `replaced`.
    pub(super) fn attributes(&self, source: &Meta, replaced: Option<&Meta>) -> Attributes {
        let options = self.options;
        let times = match source.kind {
            Kind::Dir => options.times && !options.omit_dir_times,
            Kind::Symlink => options.times && !options.omit_link_times,
            _ => options.times,
        };
        let kept = replaced.filter(|replaced| replaced.kind == source.kind);
        let mode = match (options.perms, kept) {
            (true, _) => self.mode(source),
            (false, Some(kept)) => kept.mode & 0o7777,
            (false, None) => self.mode(source) & 0o777 & !self.powers.umask,
        };
        Attributes {
            mode: (source.kind != Kind::Symlink).then_some(mode),
            uid: (options.owner && self.powers.superuser).then_some(source.uid),
            gid: (options.group && self.powers.may_give_to(source.gid)).then_some(source.gid),
            mtime: times.then_some(source.mtime),
            atime: None,
        }
    }

    /// The attributes that `present`, an object of the source's kind, lacks.
    pub(super) fn lacking(&self, source: &Meta, present: &Meta) -> Attributes {
        let all = self.attributes(source, Some(present));
        let uid = all.uid.filter(|uid| *uid != present.uid);
        let gid = all.gid.filter(|gid| *gid != present.gid);
        // A change of owner clears set-id bits.
        let owner_changes = uid.is_some() || gid.is_some();
        Attributes {
            mode: all.mode.filter(|mode| owner_changes || *mode != present.mode & 0o7777),
            uid,
            gid,
            mtime: all.mtime.filter(|mtime| *mtime != present.mtime),
            atime: None,
        }
    }

    /// The attributes in which `present`, an object of the source's kind, differs.
    pub(super) fn unlike(&self, source: &Meta, present: &Meta) -> Vec<Aspect> {
        let wanted = self.attributes(source, Some(present));
        let differs = [
            (wanted.mode.is_some_and(|mode| mode != present.mode & 0o7777), Aspect::Mode),
            (wanted.uid.is_some_and(|uid| uid != present.uid), Aspect::Owner),
            (wanted.gid.is_some_and(|gid| gid != present.gid), Aspect::Group),
            (wanted.mtime.is_some_and(|mtime| mtime != present.mtime), Aspect::Time),
        ];
        differs.into_iter().filter(|(differs, _)| *differs).map(|(_, aspect)| aspect).collect()
    }

    /// The mode that something new of this kind is made with, before its attributes are set.
    pub(super) fn mode(&self, source: &Meta) -> u32 {
        let mode = match &self.options.chmod {
            Some(chmod) if source.kind != Kind::Symlink => chmod.apply(source.mode),
            _ => source.mode,
        };
        mode & 0o7777
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use driftless_transfer::chmod::Chmod;

    fn file(mode: u32, uid: u32, mtime: (i64, u32)) -> Meta {
        Meta {
            kind: Kind::File,
            mode: 0o100_000 | mode,
            dev: 1,
            ino: 1,
            link_count: 1,
            uid,
            gid: uid,
            size: 1,
            mtime: Timestamp { secs: mtime.0, nanos: mtime.1 },
            atime: Timestamp::default(),
            ctime: Timestamp::default(),
            rdev: (0, 0),
        }
    }

    fn powers(superuser: bool) -> Powers {
        Powers { superuser, groups: vec![7], umask: 0o027 }
    }

    #[test]
    fn only_what_differs_is_set_and_the_mode_again_after_the_owner() {
        let options = TransferOptions::default();
        let likeness = Likeness::new(&options, powers(true));
        let source = file(0o4755, 5, (10, 1));
        assert_eq!(likeness.lacking(&source, &source), Attributes::default());
        let lacking = likeness.lacking(&source, &file(0o4755, 6, (10, 2)));
        let all = Attributes {
            mode: Some(0o4755),
            uid: Some(5),
            gid: Some(5),
            mtime: Some(source.mtime),
            atime: None,
        };
        assert_eq!(lacking, all);
    }

    #[test]
    fn without_privileges_only_own_groups_are_given() {
        let options = TransferOptions::default();
        let likeness = Likeness::new(&options, powers(false));
        let given = likeness.attributes(&file(0o600, 5, (0, 0)), None);
        assert_eq!((given.uid, given.gid), (None, None));
        let given = likeness.attributes(&file(0o600, 7, (0, 0)), None);
        assert_eq!((given.uid, given.gid), (None, Some(7)));
        assert!(!likeness.makes(Kind::BlockDevice));
    }

    #[test]
    fn without_perms_old_files_keep_theirs_and_new_ones_get_the_umask() {
        let chmod = Some(Chmod::parse("F666", 0).unwrap());
        let options = TransferOptions { perms: false, chmod, ..TransferOptions::default() };
        let likeness = Likeness::new(&options, powers(true));
        let source = file(0o600, 5, (0, 0));
        assert_eq!(likeness.attributes(&source, None).mode, Some(0o640));
        let old = file(0o611, 5, (0, 0));
        assert_eq!(likeness.attributes(&source, Some(&old)).mode, Some(0o611));
    }

    #[test]
    fn times_are_compared_to_the_nanosecond_unless_a_window_is_given() {
        let (a, b) = (file(0o600, 5, (10, 1)), file(0o600, 5, (10, 2)));
        for (modify_window, same) in [(-1, false), (0, true)] {
            let options = TransferOptions { modify_window, ..TransferOptions::default() };
            assert_eq!(Likeness::new(&options, powers(true)).same(&a, &b), same);
        }
    }
}
