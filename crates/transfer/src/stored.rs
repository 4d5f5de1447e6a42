//! ACLs and extended attributes in the form in which `--fake-super` keeps them: as extended
//! attributes that the owner of a file may set.
//!
//! Seen with rsync 3.5.0. Of an ACL, the permissions of owner, owning group, mask and others are 32-bit
//! little-endian numbers, 0x80 for those that the mode says or that there are not; then come the named
//! entries, users first, of an id and permissions, with the highest bit set for a user.

use std::borrow::Cow;

use driftless_tree::flist::{Acl, AclEntry};

/// Attributes of rsync's own, which are no file's.
pub(crate) const OWN_NAMES: &[u8] = b"user.rsync.%";

/// Holds an access ACL.
pub(crate) const ACCESS: &[u8] = b"user.rsync.%aacl";

/// Holds the ACL for new files in a directory.
pub(crate) const DEFAULT: &[u8] = b"user.rsync.%dacl";

/// Names that a user may set.
const USER: &[u8] = b"user.";

/// What stands in front of all other names.
const PREFIX: &[u8] = b"user.rsync.";

const ABSENT: u32 = 0x80;

const IS_USER: u32 = 1 << 31;

/// The name under which an attribute is kept.
pub(crate) fn kept_name(name: &[u8]) -> Cow<'_, [u8]> {
    match name.starts_with(USER) {
        true => Cow::Borrowed(name),
        false => Cow::Owned(prefixed(name)),
    }
}

/// The name with what stands in front of those that a user may not set.
pub(crate) fn prefixed(name: &[u8]) -> Vec<u8> {
    [PREFIX, name].concat()
}

/// The name of an attribute that is kept under `name`.
pub(crate) fn true_name(name: &[u8]) -> &[u8] {
    name.strip_prefix(PREFIX).unwrap_or(name)
}

pub(crate) fn encode(acl: &Acl) -> Vec<u8> {
    let base = [acl.user_obj, acl.group_obj, acl.mask, acl.other];
    let base = base.map(|perms| perms.map_or(ABSENT, u32::from));
    let named = acl.named.iter().flatten().flat_map(|entry| {
        let is_user = if entry.is_user { IS_USER } else { 0 };
        [entry.id, u32::from(entry.perms) | is_user]
    });
    base.into_iter().chain(named).flat_map(u32::to_le_bytes).collect()
}

/// `None` when it is no ACL.
pub(crate) fn decode(value: &[u8]) -> Option<Acl> {
    let (words, rest) = value.as_chunks::<4>();
    let (base, named) = words.split_first_chunk::<4>()?;
    let (named, odd) = named.as_chunks::<2>();
    if !rest.is_empty() || !odd.is_empty() {
        return None;
    }
    let bits = |word: [u8; 4]| match u32::from_le_bytes(word) {
        ABSENT => None,
        perms => Some((perms & 7) as u8),
    };
    let [user_obj, group_obj, mask, other] = base.map(bits);
    let named: Vec<AclEntry> = named
        .iter()
        .map(|[id, access]| {
            let (id, access) = (u32::from_le_bytes(*id), u32::from_le_bytes(*access));
            AclEntry { id, is_user: access & IS_USER != 0, perms: (access & 7) as u8, name: None }
        })
        .collect();
    let named = (!named.is_empty()).then_some(named);
    Some(Acl { user_obj, group_obj, mask, other, named })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn acls_are_kept_as_the_original_keeps_them() {
        // Written by rsync 3.5.0 for u:7:x,u:1000:rw,g::r,g:1001:r,m::rwx.
        let bytes = b"\x80\0\0\0\x04\0\0\0\x07\0\0\0\x80\0\0\0\x07\0\0\0\x01\0\0\x80\
            \xe8\x03\0\0\x06\0\0\x80\xe9\x03\0\0\x04\0\0\0";
        let entry = |id, is_user, perms| AclEntry { id, is_user, perms, name: None };
        let acl = Acl {
            group_obj: Some(4),
            mask: Some(7),
            named: Some(vec![entry(7, true, 1), entry(1000, true, 6), entry(1001, false, 4)]),
            ..Acl::default()
        };
        assert_eq!(encode(&acl), bytes);
        assert_eq!(decode(bytes), Some(acl));
        for len in [0, 12, 15, 20, 23] {
            assert_eq!(decode(&bytes[..len]), None, "{len}");
        }
    }

    #[test]
    fn only_names_that_users_may_not_set_are_changed() {
        for (name, kept) in [
            ("user.a", "user.a"),
            ("trusted.b", "user.rsync.trusted.b"),
            ("user.rsync.c", "user.rsync.c"),
        ] {
            assert_eq!(*kept_name(name.as_bytes()), *kept.as_bytes());
        }
        assert_eq!(true_name(b"user.rsync.trusted.b"), b"trusted.b");
        assert_eq!(true_name(b"user.a"), b"user.a");
    }
}
