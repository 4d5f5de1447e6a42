//! ACLs of objects here: what an entry's mean on this side, whether an object's differ, and setting
//! them. Protocol reference, "ACL data".

use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;

use driftless_fs::Folder;
use driftless_fs::xattr::{
    ACCESS_ACL, DEFAULT_ACL, Of, Whom, decode_acl, encode_acl, remove_open_xattr, set_open_xattr,
};
use driftless_tree::Kind;
use driftless_tree::flist::{Acl, AclEntry, Entry};

use crate::generator::likeness::Likeness;
use crate::receiver::Session;
use crate::report::Role;
use crate::sender::attrs::reduced;
use crate::stored;

impl Session<'_> {
    /// `mode`: what this mode of the present object says in its ACL does not count, and of a mask
    /// only that there is one.
    pub(super) fn acls_differ(
        &self,
        entry: &Entry,
        folder: &Folder,
        of: Of<'_>,
        mode: Option<u32>,
    ) -> bool {
        if self.options.metadata.fake_super {
            return self.stored_acls_differ(entry, folder, of, mode);
        }
        let present = |name| folder.xattr(of, name).ok().flatten().as_deref().and_then(decode_acl);
        let own_mode = self.acl_mode(entry, || mode.or_else(|| mode_of(folder, of)));
        let counts = |acl| if mode.is_some() { without_mode(acl) } else { acl };
        let wanted = |acl| whole_access(acl, own_mode, &self.likeness);
        let access_differs = present(ACCESS_ACL).map(counts)
            != self.extras.access_of(entry).and_then(wanted).map(counts);
        let default =
            self.extras.default_of(entry).and_then(|acl| whole_default(acl, &self.likeness));
        let is_dir = entry.kind() == Some(Kind::Dir);
        access_differs || is_dir && present(DEFAULT_ACL) != default
    }

    /// The mode that completes an entry's ACL: its own, unless permissions are left as they are.
    fn acl_mode(&self, entry: &Entry, present: impl FnOnce() -> Option<u32>) -> u32 {
        let kept = if self.options.perms { None } else { present() };
        kept.unwrap_or(entry.mode)
    }

    fn stored_acls_differ(
        &self,
        entry: &Entry,
        folder: &Folder,
        of: Of<'_>,
        mode: Option<u32>,
    ) -> bool {
        let present = |name| {
            let value = folder.xattr(of, name).ok().flatten();
            value.as_deref().and_then(stored::decode).unwrap_or_default()
        };
        let (access, default) = self.acls_to_store(entry);
        let found = present(stored::ACCESS);
        let access_differs = match mode {
            None => found != access,
            Some(mode) => reduced(found, mode) != reduced(access, entry.mode),
        };
        access_differs || default.is_some_and(|default| present(stored::DEFAULT) != default)
    }

    /// The access ACL of an entry as it is kept in an attribute and, of a directory, the default one.
    fn acls_to_store(&self, entry: &Entry) -> (Acl, Option<Acl>) {
        let mapped = |acl: Option<&Acl>| acl.map_or_else(Acl::default, |acl| self.mapped(acl));
        let mut access = mapped(self.extras.access_of(entry));
        if access.named.is_some() {
            access.mask.get_or_insert((entry.mode >> 3 & 7) as u8);
        }
        let is_dir = entry.kind() == Some(Kind::Dir);
        let default = is_dir.then(|| {
            let mut acl = mapped(self.extras.default_of(entry));
            if acl.named.is_some() {
                acl.mask = acl.mask.or_else(|| Some(union(&acl, acl.group_obj.unwrap_or(0))));
            }
            acl
        });
        (access, default)
    }

    /// An ACL with the ids that its users and groups have here.
    fn mapped(&self, acl: &Acl) -> Acl {
        let mut acl = acl.clone();
        for AclEntry { id, is_user, .. } in acl.named.iter_mut().flatten() {
            let map = if *is_user { &self.likeness.users } else { &self.likeness.groups };
            *id = map.map(*id);
        }
        if let Some(named) = &mut acl.named {
            named.sort_by_key(|entry| (!entry.is_user, entry.id));
        }
        acl
    }

    /// Sets the ACLs of an object that is in place; what it has beyond that goes.
    pub(crate) fn set_acls(&mut self, entry: &Entry, name: &[u8]) {
        if entry.acl.is_none() || self.is_dry() {
            return;
        }
        let Some((folder, leaf)) = self.object_of(entry, name) else { return };
        let of = leaf.as_deref().map_or(Of::Dir, Of::Entry);
        if !self.acls_differ(entry, &folder, of, None) {
            return;
        }
        let result = match self.options.metadata.fake_super {
            true => self.store_acls(entry, &folder, of),
            false => self.put_acls(entry, &folder, of),
        };
        if let Err(error) = result {
            self.failed(Role::Generator, "set_acl: sys_acl_set_file", name, &error);
        }
    }

    fn put_acls(&self, entry: &Entry, folder: &Folder, of: Of<'_>) -> io::Result<()> {
        let access = self.extras.access_of(entry);
        let mode = self.acl_mode(entry, || mode_of(folder, of));
        let access = access.and_then(|acl| whole_access(acl, mode, &self.likeness));
        let default =
            self.extras.default_of(entry).and_then(|acl| whole_default(acl, &self.likeness));
        let put = |name: &[u8], acl: Option<Vec<(Whom, u8)>>| match acl {
            Some(acl) => folder.set_xattr(of, name, &encode_acl(&acl)),
            None => folder.remove_xattr(of, name),
        };
        let result = put(ACCESS_ACL, access);
        match entry.kind() {
            Some(Kind::Dir) => result.and(put(DEFAULT_ACL, default)),
            _ => result,
        }
    }

    fn store_acls(&self, entry: &Entry, folder: &Folder, of: Of<'_>) -> io::Result<()> {
        let (access, default) = self.acls_to_store(entry);
        let known = folder.xattr(of, stored::ACCESS)?.is_some();
        if known || access != Acl::default() {
            folder.set_xattr(of, stored::ACCESS, &stored::encode(&access))?;
        }
        match default {
            Some(acl) if acl != Acl::default() => {
                folder.set_xattr(of, stored::DEFAULT, &stored::encode(&acl))
            }
            Some(_) => folder.remove_xattr(of, stored::DEFAULT),
            None => Ok(()),
        }
    }

    /// Sets the ACL of a file that has no place yet.
    pub(super) fn set_new_acl(&self, entry: &Entry, file: &File) -> io::Result<()> {
        if entry.acl.is_none() {
            return Ok(());
        }
        if self.options.metadata.fake_super {
            let (access, _) = self.acls_to_store(entry);
            return match access == Acl::default() {
                true => Ok(()),
                false => set_open_xattr(file, stored::ACCESS, &stored::encode(&access)),
            };
        }
        let access = self.extras.access_of(entry);
        let mode = self.acl_mode(entry, || file.metadata().ok().map(|meta| meta.mode()));
        match access.and_then(|acl| whole_access(acl, mode, &self.likeness)) {
            Some(acl) => set_open_xattr(file, ACCESS_ACL, &encode_acl(&acl)),
            // It may have got one from its directory.
            None => remove_open_xattr(file, ACCESS_ACL),
        }
    }
}

fn mode_of(folder: &Folder, of: Of<'_>) -> Option<u32> {
    let meta = match of {
        Of::Dir => folder.meta(),
        Of::Entry(leaf) | Of::Target(leaf) => folder.lstat(leaf),
    };
    meta.ok().map(|meta| meta.mode)
}

/// An access ACL with nothing of what a mode says.
fn without_mode(mut acl: Vec<(Whom, u8)>) -> Vec<(Whom, u8)> {
    for (whom, perms) in &mut acl {
        if matches!(whom, Whom::Owner | Whom::Mask | Whom::Others) {
            *perms = 0;
        }
    }
    acl
}

/// A whole ACL as the disk keeps it; `None` where the mode says everything. The mode is the mask,
/// whatever the entry says (seen).
fn whole_access(acl: &Acl, mode: u32, likeness: &Likeness) -> Option<Vec<(Whom, u8)>> {
    let bits = |shift: u32| (mode >> shift & 7) as u8;
    if acl.named.is_none() && acl.mask.is_none() {
        return None;
    }
    let group = acl.group_obj.unwrap_or(bits(3));
    Some(listed(acl, (bits(6), group, bits(0)), Some(bits(3)), likeness))
}

/// A default ACL as the disk keeps it; `None`: there is none.
fn whole_default(acl: &Acl, likeness: &Likeness) -> Option<Vec<(Whom, u8)>> {
    let (user, other) = (acl.user_obj?, acl.other.unwrap_or(0));
    let group = acl.group_obj.unwrap_or(0);
    let mask = acl.mask.or_else(|| acl.named.as_ref().map(|_| union(acl, group)));
    Some(listed(acl, (user, group, other), mask, likeness))
}

/// All permissions that a group's or a named entry gives.
fn union(acl: &Acl, group: u8) -> u8 {
    acl.named.iter().flatten().fold(group, |all, entry| all | entry.perms)
}

fn listed(
    acl: &Acl,
    (user, group, other): (u8, u8, u8),
    mask: Option<u8>,
    likeness: &Likeness,
) -> Vec<(Whom, u8)> {
    let named = |is_user: bool| {
        let of_kind = acl.named.iter().flatten().filter(move |entry| entry.is_user == is_user);
        let mut list: Vec<(u32, u8)> = of_kind
            .map(|entry| {
                let map = if is_user { &likeness.users } else { &likeness.groups };
                (map.map(entry.id), entry.perms)
            })
            .collect();
        list.sort_unstable();
        list
    };
    let mut entries = vec![(Whom::Owner, user)];
    entries.extend(named(true).into_iter().map(|(id, perms)| (Whom::User(id), perms)));
    entries.push((Whom::OwningGroup, group));
    entries.extend(named(false).into_iter().map(|(id, perms)| (Whom::Group(id), perms)));
    entries.extend(mask.map(|mask| (Whom::Mask, mask)));
    entries.push((Whom::Others, other));
    entries
}
