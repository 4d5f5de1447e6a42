//! ACLs and extended attributes of entries: what the lists say, in what a file differs, and setting
//! it. Protocol reference, "ACL data" and "Xattr data".
//!
//! Lists say each ACL and each set of attributes once and refer to it later, so all are kept for the
//! session. Long values travel on demand, with an item that reports a difference.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fs::File;
use std::io;

use driftless_fs::Folder;
use driftless_fs::xattr::{Of, set_open_xattr};
use driftless_proto::item::{Item, ItemFlags, XattrNumbers};
use driftless_tree::flist::{Acl, Cached, Entry, XattrValue};
use driftless_tree::{Kind, Meta};

use crate::generator::likeness::Likeness;
use crate::receiver::Session;
use crate::receiver::lists::{leaf_of, parent_of};
use crate::report::Role;
use crate::stored;

/// What the lists have said so far.
#[derive(Debug, Default)]
pub(crate) struct Extras {
    access: Vec<Acl>,
    default: Vec<Acl>,
    sets: Vec<Vec<(Box<[u8]>, XattrValue)>>,
    /// Long values that were asked for, by set and number. A sender gives each only once, whatever
    /// entries it belongs to, so what came is put into the set.
    requested: HashSet<(u32, u32)>,
}

impl Extras {
    /// Keeps what an entry brings and leaves a reference in it.
    pub(crate) fn receive(&mut self, entry: &mut Entry, likeness: &mut Likeness) {
        if let Some(acls) = &mut entry.acl {
            for acl in [Some(&mut acls.access), acls.default.as_mut()].into_iter().flatten() {
                likeness.learn_names(acl);
            }
            keep(&mut self.access, &mut acls.access);
            if let Some(default) = &mut acls.default {
                keep(&mut self.default, default);
            }
        }
        if let Some(xattrs) = &mut entry.xattrs {
            keep(&mut self.sets, xattrs);
        }
    }

    /// A long value came. `false`: it was not asked for.
    pub(crate) fn arrived(&mut self, entry: &Entry, number: u32, bytes: &[u8]) -> bool {
        let Some(set) = set_number(entry) else { return false };
        if !self.requested.contains(&(set, number)) {
            return false;
        }
        let place = number.checked_sub(1).map(|at| at as usize);
        let value = place.and_then(|at| self.sets.get_mut(set as usize)?.get_mut(at));
        match value {
            Some((_, value @ XattrValue::Digest { .. })) => {
                // An empty one: the sender could not read it any more.
                if !bytes.is_empty() && is_value(value, bytes) {
                    *value = XattrValue::Full(bytes.into());
                }
                true
            }
            _ => false,
        }
    }

    /// The entry will not come, nor what was asked for with it.
    pub(crate) fn forget_requests(&mut self, entry: &Entry) {
        let Some(set) = set_number(entry) else { return };
        let missing = self.sets.get(set as usize).into_iter().flatten().zip(1..);
        for ((_, value), number) in missing {
            if matches!(value, XattrValue::Digest { .. }) {
                self.requested.remove(&(set, number));
            }
        }
    }

    fn set_of(&self, entry: &Entry) -> &[(Box<[u8]>, XattrValue)] {
        match entry.xattrs.as_deref() {
            Some(Cached::Index(at)) => {
                self.sets.get(*at as usize).map(Vec::as_slice).unwrap_or_default()
            }
            _ => &[],
        }
    }

    pub(super) fn access_of(&self, entry: &Entry) -> Option<&Acl> {
        match entry.acl.as_deref()?.access {
            Cached::Index(at) => self.access.get(at as usize),
            Cached::Literal(_) => None,
        }
    }

    pub(super) fn default_of(&self, entry: &Entry) -> Option<&Acl> {
        match entry.acl.as_deref()?.default {
            Some(Cached::Index(at)) => self.default.get(at as usize),
            _ => None,
        }
    }
}

fn set_number(entry: &Entry) -> Option<u32> {
    match entry.xattrs.as_deref()? {
        Cached::Index(at) => Some(*at),
        Cached::Literal(_) => None,
    }
}

fn keep<T>(known: &mut Vec<T>, cached: &mut Cached<T>) {
    if matches!(cached, Cached::Index(_)) {
        return;
    }
    let index = Cached::Index(known.len() as u32);
    if let Cached::Literal(literal) = std::mem::replace(cached, index) {
        known.push(literal);
    }
}

impl Session<'_> {
    /// In what an existing object differs, attributes of all sorts.
    pub(crate) fn differences(&mut self, entry: &Entry, name: &[u8], present: &Meta) -> u16 {
        self.likeness.differences(entry, present) | self.extra_differences(entry, name, present)
    }

    /// Likewise, of a file or special whose content stays: when they are told of, its ACL is set, and
    /// with it what that says of the mode (seen), except in a dry run.
    pub(crate) fn differences_of_kept(
        &mut self,
        entry: &Entry,
        name: &[u8],
        present: &Meta,
    ) -> u16 {
        let flags = self.differences(entry, name, present);
        let is_set = flags & ItemFlags::REPORT_ACL != 0
            && !self.is_dry()
            && !self.options.metadata.fake_super;
        let mode = self.likeness.mode(entry, Some(present));
        match is_set && (mode ^ present.mode) & 0o7000 == 0 {
            true => flags & !ItemFlags::REPORT_PERMS,
            false => flags,
        }
    }

    /// In what its ACLs and extended attributes differ.
    pub(crate) fn extra_differences(&mut self, entry: &Entry, name: &[u8], present: &Meta) -> u16 {
        if entry.acl.is_none() && entry.xattrs.is_none() {
            return 0;
        }
        let Some((folder, of)) = self.object_of(entry, name) else { return 0 };
        self.extras_in(entry, &folder, of.as_deref().map_or(Of::Dir, Of::Entry), present)
    }

    /// Likewise, of an object in any directory.
    pub(super) fn extras_in(
        &self,
        entry: &Entry,
        folder: &Folder,
        of: Of<'_>,
        present: &Meta,
    ) -> u16 {
        let mut flags = 0;
        let acls = entry.acl.is_some() && present.kind != Kind::Symlink;
        if acls && self.acls_differ(entry, folder, of, Some(present.mode)) {
            flags |= ItemFlags::REPORT_ACL;
        }
        if entry.xattrs.is_some() && self.xattrs_differ(entry, folder, of) {
            flags |= ItemFlags::REPORT_XATTR;
        }
        flags
    }

    /// What an item about something new says of its attributes.
    pub(crate) fn extras_of_new(&self, entry: &Entry) -> u16 {
        match self.extras.set_of(entry).is_empty() {
            true => 0,
            false => ItemFlags::REPORT_XATTR,
        }
    }

    /// The directory of a name and its last component; `None` for the root itself.
    pub(super) fn place_of(&mut self, name: &[u8]) -> Option<(Folder, Option<Vec<u8>>)> {
        match name {
            b"." => self.folder(b"").ok().cloned().map(|folder| (folder, None)),
            _ => {
                let folder = self.folder(parent_of(name)).ok().cloned()?;
                Some((folder, Some(leaf_of(name).to_vec())))
            }
        }
    }

    /// As [`Session::place_of`] for the object that an entry stands for: a directory may be behind a
    /// kept link, and one that leads outside keeps what it has.
    pub(super) fn object_of(
        &mut self,
        entry: &Entry,
        name: &[u8],
    ) -> Option<(Folder, Option<Vec<u8>>)> {
        let place = self.place_of(name)?;
        let is_link = |(folder, leaf): &(Folder, Option<Vec<u8>>)| {
            let meta = leaf.as_deref().map(|leaf| folder.lstat(leaf));
            meta.is_some_and(|meta| meta.is_ok_and(|meta| meta.kind == Kind::Symlink))
        };
        let is_dir = entry.kind() == Some(Kind::Dir);
        if !is_dir || !self.options.link.keep_dirlinks || !is_link(&place) {
            return Some(place);
        }
        self.folder(name).ok().cloned().map(|folder| (folder, None))
    }

    /// What is at a name now, the root included.
    pub(crate) fn meta_at(&mut self, name: &[u8]) -> Option<Meta> {
        match self.place_of(name)? {
            (folder, Some(leaf)) => folder.lstat(&leaf).ok(),
            (folder, None) => folder.meta().ok(),
        }
    }

    fn xattrs_differ(&self, entry: &Entry, folder: &Folder, of: Of<'_>) -> bool {
        let wanted = self.wanted_xattrs(entry);
        let Ok(names) = folder.xattr_names(of) else { return !wanted.is_empty() };
        let names: Vec<Vec<u8>> = names.into_iter().filter(|name| self.is_compared(name)).collect();
        names.len() != wanted.len()
            || wanted.iter().any(|(_, name, value)| {
                let present = folder.xattr(of, name).ok().flatten();
                !present.is_some_and(|present| is_value(value, &present))
            })
    }

    /// The attributes that an entry shall have here, with their numbers in the list.
    fn wanted_xattrs(&self, entry: &Entry) -> Vec<(u32, Cow<'_, [u8]>, &XattrValue)> {
        let set = self.extras.set_of(entry);
        let here = |name| match self.options.metadata.fake_super {
            true => stored::kept_name(name),
            false => Cow::Borrowed(name),
        };
        (1..)
            .zip(set)
            .map(|(number, (name, value))| (number, here(name), value))
            .filter(|(_, name, _)| self.is_ours(name))
            .collect()
    }

    /// Whether an attribute that is here goes where the entry has none: those that keep what a file
    /// system does not, too, unless this side keeps them (seen).
    fn is_compared(&self, name: &[u8]) -> bool {
        self.is_ours(name)
            || !self.options.metadata.fake_super && name.starts_with(stored::OWN_NAMES)
    }

    /// Whether attributes that have this name here are copied.
    fn is_ours(&self, name: &[u8]) -> bool {
        let spaces = match self.likeness.superuser() && !self.options.metadata.fake_super {
            true => !name.starts_with(b"system."),
            false => name.starts_with(b"user."),
        };
        spaces && (self.options.metadata.xattrs > 1 || !name.starts_with(stored::OWN_NAMES))
    }

    /// Whether an item is followed by a list about attributes.
    pub(crate) fn has_xattr_list(&self, item: &Item) -> bool {
        self.options.metadata.xattrs > 0
            && !self.is_dry()
            && item.has_xattr_list(self.setup.protocol, self.setup.compat)
    }

    /// Asks for the long values of an entry that were not asked for.
    pub(crate) fn put_xattr_requests(&mut self, entry: &Entry) {
        let wanted = self.wanted_xattrs(entry);
        let long = wanted.iter().filter(|(_, _, value)| matches!(value, XattrValue::Digest { .. }));
        let numbers: Vec<u32> = long.map(|(number, _, _)| *number).collect();
        let (set, requested) = (set_number(entry).unwrap_or(0), &mut self.extras.requested);
        self.wire.link.output.append(|out| {
            let mut list = XattrNumbers::new();
            for number in numbers.into_iter().filter(|number| requested.insert((set, *number))) {
                list.put_request(out, number);
            }
            XattrNumbers::put_end(out);
        });
    }

    /// Sets the extended attributes of an object that is in place; what it has beyond them goes.
    pub(crate) fn set_xattrs(&mut self, entry: &Entry, name: &[u8]) {
        if entry.xattrs.is_none() || self.is_dry() {
            return;
        }
        let Some((folder, leaf)) = self.object_of(entry, name) else { return };
        let of = leaf.as_deref().map_or(Of::Dir, Of::Entry);
        let mut result = Ok(());
        let wanted = self.wanted_xattrs(entry);
        for present in folder.xattr_names(of).unwrap_or_default() {
            let known = wanted.iter().any(|(_, name, _)| **name == *present);
            if self.is_compared(&present) && !known {
                result = result.and(folder.remove_xattr(of, &present));
            }
        }
        for (_, name, value) in wanted {
            let XattrValue::Full(bytes) = value else { continue };
            let present = folder.xattr(of, &name).ok().flatten();
            if present.as_deref() != Some(&**bytes) {
                result = result.and(folder.set_xattr(of, &name, bytes));
            }
        }
        if let Err(error) = result {
            self.failed(Role::Receiver, "rsync_xal_set: lsetxattr", name, &error);
        }
    }

    /// Gives one file the extended attributes that are copied of another one here.
    pub(super) fn copy_xattrs(
        &self,
        (from, name): (&Folder, &[u8]),
        (to, copy): (&Folder, &[u8]),
    ) -> io::Result<()> {
        let names = from.xattr_names(Of::Entry(name))?;
        for attribute in names.iter().filter(|attribute| self.is_ours(attribute)) {
            if let Some(value) = from.xattr(Of::Entry(name), attribute)? {
                to.set_xattr(Of::Entry(copy), attribute, &value)?;
            }
        }
        Ok(())
    }

    /// Sets ACL and extended attributes of a file that has no place yet.
    pub(crate) fn set_extras(
        &mut self,
        entry: &Entry,
        name: &[u8],
        file: &File,
        basis: Option<(Folder, Vec<u8>)>,
    ) {
        let mut result: io::Result<()> = Ok(());
        for (_, name, value) in self.wanted_xattrs(entry) {
            let bytes = match (value, &basis) {
                (XattrValue::Full(bytes), _) => Some(bytes.to_vec()),
                // What did not come is as in the old version.
                (XattrValue::Digest { .. }, Some((folder, leaf))) => {
                    folder.xattr(Of::Entry(leaf), &name).ok().flatten()
                }
                _ => None,
            };
            if let Some(bytes) = bytes {
                result = result.and(set_open_xattr(file, &name, &bytes));
            }
        }
        result = result.and(self.set_new_acl(entry, file));
        if let Err(error) = result {
            self.failed(Role::Receiver, "rsync_xal_set: lsetxattr", name, &error);
        }
    }
}

fn is_value(wanted: &XattrValue, present: &[u8]) -> bool {
    match wanted {
        XattrValue::Full(bytes) => **bytes == *present,
        XattrValue::Digest { len, md5 } => {
            let digest = driftless_delta::file_digest(driftless_delta::Strong::Md5, present);
            *len as usize == present.len() && digest.as_bytes() == md5
        }
    }
}
