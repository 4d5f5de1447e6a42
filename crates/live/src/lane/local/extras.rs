//! ACLs and extended attributes: which are carried, and what a target lacks of them.
//!
//! An ACL is an extended attribute for the kernel, so both are read and compared as such.

use std::io;

use driftless_fs::Root;
use driftless_fs::xattr::{ACCESS_ACL, DEFAULT_ACL, Of, Whom, XattrChange, decode_acl, encode_acl};
use driftless_transfer::TransferOptions;
use driftless_tree::RelPath;

/// Names and values, sorted by name.
pub(super) type Xattrs = Vec<(Vec<u8>, Vec<u8>)>;

/// rsync's own notes, which describe the file system that they are on.
const OWN_NAMES: &[u8] = b"user.rsync.%";

/// Which attributes a mirror carries.
#[derive(Debug, Clone, Copy)]
pub(super) struct Extras {
    acls: bool,
    xattrs: bool,
    superuser: bool,
}

impl Extras {
    pub(super) fn new(options: &TransferOptions, superuser: bool) -> Self {
        let metadata = &options.metadata;
        Self { acls: metadata.acls, xattrs: metadata.xattrs > 0, superuser }
    }

    /// Whether there are any to look at.
    pub(super) fn any(self) -> bool {
        self.acls || self.xattrs
    }

    fn carries(self, name: &[u8]) -> bool {
        if is_acl(name) {
            return self.acls;
        }
        let seen = match self.superuser {
            true => !name.starts_with(b"system."),
            false => name.starts_with(b"user."),
        };
        self.xattrs && seen && !name.starts_with(OWN_NAMES)
    }

    /// Those of what is at `path`, which is the root for `None`.
    ///
    /// # Errors
    /// What the disk says.
    pub(super) fn read(self, root: &Root, path: Option<&RelPath>) -> io::Result<Xattrs> {
        let (dir, of) = match path {
            None => (root.open_dir(None)?, Of::Dir),
            Some(path) => (root.open_dir(path.parent().as_ref())?, Of::Entry(path.file_name())),
        };
        let mut names = dir.xattr_names(of)?;
        names.retain(|name| self.carries(name));
        names.sort_unstable();
        let mut found = Vec::with_capacity(names.len());
        for name in names {
            // One that has just gone was not there.
            found.extend(dir.xattr(of, &name)?.map(|value| (name, value)));
        }
        Ok(found)
    }

    /// What something new needs. It may have got an ACL from the directory that it was made in.
    pub(super) fn of_new(self, wanted: Xattrs) -> XattrChange {
        let has_acl = wanted.iter().any(|(name, _)| name == ACCESS_ACL);
        let inherited = self.acls && !has_acl;
        let remove = if inherited { vec![ACCESS_ACL.to_vec()] } else { Vec::new() };
        XattrChange { set: wanted, remove }
    }
}

/// What makes `present` what is wanted.
pub(super) fn lacking(wanted: Xattrs, present: &Xattrs) -> XattrChange {
    let has = |name: &[u8]| wanted.iter().any(|(other, _)| other == name);
    let extra = present.iter().map(|(name, _)| name).filter(|name| !has(name));
    let remove = extra.cloned().collect();
    let set = wanted.into_iter().filter(|one| !present.contains(one)).collect();
    XattrChange { set, remove }
}

/// `wanted` for a file of this mode: the access ACL repeats its bits.
pub(super) fn with_mode(mut wanted: Xattrs, mode: u32) -> Xattrs {
    let acl = wanted.iter_mut().find(|(name, _)| name == ACCESS_ACL);
    if let Some((_, value)) = acl
        && let Some(mut entries) = decode_acl(value)
    {
        let has_mask = entries.iter().any(|(whom, _)| *whom == Whom::Mask);
        for (whom, perms) in &mut entries {
            match whom {
                Whom::Owner => *perms = (mode >> 6 & 7) as u8,
                Whom::Mask => *perms = (mode >> 3 & 7) as u8,
                Whom::OwningGroup if !has_mask => *perms = (mode >> 3 & 7) as u8,
                Whom::Others => *perms = (mode & 7) as u8,
                _ => {}
            }
        }
        *value = encode_acl(&entries);
    }
    wanted
}

/// Whether an attribute holds an ACL.
pub(super) fn is_acl(name: &[u8]) -> bool {
    name == ACCESS_ACL || name == DEFAULT_ACL
}
