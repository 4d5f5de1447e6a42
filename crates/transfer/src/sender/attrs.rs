//! ACLs and extended attributes in the form in which they travel: each different one once, then by
//! its number. Protocol reference, "ACL data" and "Xattr data".

use std::collections::HashMap;
use std::io;

use driftless_delta::{Strong, file_digest};
use driftless_filter::Chain;
use driftless_fs::Dir;
use driftless_fs::xattr::{ACCESS_ACL, DEFAULT_ACL, Of, Whom, decode_acl};
use driftless_tree::Kind;
use driftless_tree::flist::{Acl, AclEntry, Acls, Cached, Entry, XattrValue};

use crate::options::MetadataOptions;
use crate::stored;

/// Values up to this length travel inside the list.
const FULL_VALUE_MAX: usize = 32;

/// What was sent so far.
#[derive(Default)]
pub(crate) struct Attrs {
    /// Entries carry ACLs.
    acls: bool,
    /// Entries carry extended attributes.
    carries_xattrs: bool,
    access: HashMap<Vec<u8>, u32>,
    default: HashMap<Vec<u8>, u32>,
    xattrs: HashMap<Vec<u8>, u32>,
    /// For each set of attributes its names, and whether the list has only the value's digest.
    sets: Vec<Vec<(Box<[u8]>, bool)>>,
}

/// Which attributes are read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct XattrChoice<'a> {
    /// Also rsync's own names.
    pub(crate) own_names: bool,
    /// Rules about names, which replace the usual choice.
    pub(crate) rules: Option<&'a Chain>,
    /// Names are those that `--fake-super` keeps.
    pub(crate) kept: bool,
}

impl XattrChoice<'_> {
    fn takes(&self, name: &[u8]) -> bool {
        let usual = match self.rules {
            Some(chain) => !chain.check_xattr(name).is_excluded(),
            None => !name.starts_with(b"system."),
        };
        usual && (self.own_names || !name.starts_with(stored::OWN_NAMES))
    }

    /// The name under which an attribute travels.
    fn wire_name<'n>(&self, name: &'n [u8]) -> &'n [u8] {
        if self.kept { stored::true_name(name) } else { name }
    }
}

/// The value of an attribute that travels as `name`.
pub(crate) fn value_of(
    dir: &Dir,
    of: Of<'_>,
    kept: bool,
    name: &[u8],
) -> io::Result<Option<Vec<u8>>> {
    match dir.xattr(of, name)? {
        None if kept => dir.xattr(of, &stored::prefixed(name)),
        value => Ok(value),
    }
}

/// Puts the ACLs of a file into its entry, whole; what `mode` says is left out. `kept`: those that
/// `--fake-super` keeps.
pub(crate) fn add_acls(
    dir: &Dir,
    of: Of<'_>,
    kept: bool,
    mode: u32,
    entry: &mut Entry,
) -> io::Result<()> {
    if entry.kind() == Some(Kind::Symlink) {
        return Ok(());
    }
    let read = |real, stored| -> io::Result<Acl> {
        let acl = match kept {
            true => dir.xattr(of, stored)?.as_deref().and_then(stored::decode),
            false => dir.xattr(of, real)?.as_deref().and_then(decode_acl).map(|a| to_wire(&a)),
        };
        Ok(acl.unwrap_or_default())
    };
    let access = read(ACCESS_ACL, stored::ACCESS)?;
    let access = Cached::Literal(reduced(access, mode));
    let default = match entry.kind() {
        Some(Kind::Dir) => Some(Cached::Literal(read(DEFAULT_ACL, stored::DEFAULT)?)),
        _ => None,
    };
    entry.acl = Some(Box::new(Acls { access, default }));
    Ok(())
}

/// Puts the extended attributes of a file into its entry, whole.
pub(crate) fn add_xattrs(
    dir: &Dir,
    of: Of<'_>,
    choice: XattrChoice<'_>,
    entry: &mut Entry,
) -> io::Result<()> {
    let mut names = dir.xattr_names(of)?;
    names.retain(|name| choice.takes(name));
    names.sort_unstable_by(|a, b| choice.wire_name(a).cmp(choice.wire_name(b)));
    let mut set = Vec::with_capacity(names.len());
    for name in names {
        let Some(value) = dir.xattr(of, &name)? else { continue };
        let name = choice.wire_name(&name);
        let value = match value.len() {
            ..=FULL_VALUE_MAX => XattrValue::Full(value.into()),
            len => {
                let digest = file_digest(Strong::Md5, &value);
                let md5 = digest.as_bytes().try_into().expect("an MD5 has 16 bytes");
                XattrValue::Digest { len: len as u32, md5 }
            }
        };
        set.push((name.into(), value));
    }
    entry.xattrs = Some(Box::new(Cached::Literal(set)));
    Ok(())
}

impl Attrs {
    /// Nothing sent yet, in a session with these options.
    pub(crate) fn new(options: &MetadataOptions) -> Self {
        Self { acls: options.acls, carries_xattrs: options.xattrs > 0, ..Self::default() }
    }

    /// Replaces what was sent before by its number; called for all entries in the order in which
    /// they are sent. One without, such as a missing argument, carries what is empty, which counts.
    pub(crate) fn refer(&mut self, entry: &mut Entry) {
        if self.acls && entry.kind() != Some(Kind::Symlink) {
            let is_dir = entry.kind() == Some(Kind::Dir);
            let empty = || Cached::Literal(Acl::default());
            let none = || Acls { access: empty(), default: is_dir.then(empty) };
            entry.acl.get_or_insert_with(|| Box::new(none()));
        }
        if self.carries_xattrs {
            entry.xattrs.get_or_insert_with(|| Box::new(Cached::Literal(Vec::new())));
        }
        if let Some(acls) = &mut entry.acl {
            refer_to(&mut self.access, &mut acls.access);
            if let Some(default) = &mut acls.default {
                refer_to(&mut self.default, default);
            }
        }
        let Some(xattrs) = &mut entry.xattrs else { return };
        let Cached::Literal(set) = xattrs.as_ref() else { return };
        let key = key_of_set(set);
        match self.xattrs.get(&key) {
            Some(&index) => **xattrs = Cached::Index(index),
            None => {
                self.xattrs.insert(key, self.sets.len() as u32);
                let long = |value: &XattrValue| matches!(value, XattrValue::Digest { .. });
                self.sets
                    .push(set.iter().map(|(name, value)| (name.clone(), long(value))).collect());
            }
        }
    }

    /// The name of the entry's attribute of this number, counted from 1, if its value may be asked
    /// for.
    pub(crate) fn long_name<'a>(&'a self, entry: &'a Entry, number: u32) -> Option<&'a [u8]> {
        let at = usize::try_from(number).ok()?.checked_sub(1)?;
        match entry.xattrs.as_deref()? {
            Cached::Index(index) => {
                let (name, is_long) = self.sets.get(*index as usize)?.get(at)?;
                is_long.then_some(name)
            }
            Cached::Literal(set) => {
                let (name, value) = set.get(at)?;
                matches!(value, XattrValue::Digest { .. }).then_some(name)
            }
        }
    }
}

fn refer_to(known: &mut HashMap<Vec<u8>, u32>, acl: &mut Cached<Acl>) {
    let Cached::Literal(literal) = &*acl else { return };
    let next = known.len() as u32;
    let index = *known.entry(key_of(literal)).or_insert(next);
    if index != next {
        *acl = Cached::Index(index);
    }
}

fn key_of_set(set: &[(Box<[u8]>, XattrValue)]) -> Vec<u8> {
    let mut key = Vec::new();
    for (name, value) in set {
        let (len, bytes): (usize, &[u8]) = match value {
            XattrValue::Full(bytes) => (bytes.len(), bytes),
            XattrValue::Digest { len, md5 } => (*len as usize, md5),
        };
        key.extend_from_slice(name);
        key.push(0);
        key.extend_from_slice(&(len as u64).to_le_bytes());
        key.extend_from_slice(bytes);
    }
    key
}

fn key_of(acl: &Acl) -> Vec<u8> {
    const ABSENT: u8 = 0xff;
    let fixed = [acl.user_obj, acl.group_obj, acl.mask, acl.other];
    let mut key: Vec<u8> = fixed.iter().map(|perms| perms.unwrap_or(ABSENT)).collect();
    for entry in acl.named.iter().flatten() {
        key.extend_from_slice(&entry.id.to_le_bytes());
        key.extend([entry.perms, u8::from(entry.is_user)]);
    }
    key
}

fn to_wire(entries: &[(Whom, u8)]) -> Acl {
    let mut acl = Acl::default();
    let mut named = Vec::new();
    for &(whom, perms) in entries {
        let mut name = |id, is_user| named.push(AclEntry { id, is_user, perms, name: None });
        match whom {
            Whom::Owner => acl.user_obj = Some(perms),
            Whom::OwningGroup => acl.group_obj = Some(perms),
            Whom::Mask => acl.mask = Some(perms),
            Whom::Others => acl.other = Some(perms),
            Whom::User(id) => name(id, true),
            Whom::Group(id) => name(id, false),
        }
    }
    named.sort_by_key(|entry| (!entry.is_user, entry.id));
    acl.named = (!named.is_empty()).then_some(named);
    acl
}

/// Leaves out what the mode says.
pub(crate) fn reduced(mut acl: Acl, mode: u32) -> Acl {
    let group_bits = (mode >> 3 & 7) as u8;
    acl.user_obj = None;
    acl.other = None;
    match acl.mask {
        None => acl.group_obj = None,
        Some(mask) => {
            if acl.group_obj == Some(group_bits) {
                acl.group_obj = None;
            }
            if acl.named.is_some() && mask == group_bits {
                acl.mask = None;
            }
        }
    }
    acl
}
