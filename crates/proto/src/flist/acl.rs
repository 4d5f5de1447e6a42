//! ACLs inside file-list entries.
//!
//! Protocol reference, section "ACL data". Which ACLs equal earlier ones is for the sender to say.

use driftless_tree::flist::{Acl, AclEntry, Acls, Cached};

use crate::int::{put_short_name, put_varint, take_byte, take_short_name, take_varint, whole};
use crate::{Decode, Violation};

const USER_OBJ: u8 = 1;
const GROUP_OBJ: u8 = 2;
const MASK: u8 = 4;
const OTHER: u8 = 8;
const NAMED: u8 = 16;

const IS_USER: u32 = 2;
const NAME_FOLLOWS: u32 = 1;

const MAX_NAMED: u32 = 65_536;

/// How many ACLs of each kind a list has sent.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Cache {
    access: u32,
    default: u32,
}

/// Writes the ACLs of an entry, an empty literal where there is none.
pub(super) fn put(out: &mut Vec<u8>, acls: Option<&Acls>, is_dir: bool) {
    let none = Cached::Literal(Acl::default());
    put_cached(out, acls.map_or(&none, |acls| &acls.access));
    if is_dir {
        put_cached(out, acls.and_then(|acls| acls.default.as_ref()).unwrap_or(&none));
    }
}

/// Takes the ACLs of an entry.
pub(super) fn take(input: &mut &[u8], is_dir: bool, cache: &mut Cache) -> Result<Acls, Decode> {
    let mut seen = *cache;
    let acls = whole(input, |rest| {
        let access = take_cached(rest, &mut seen.access)?;
        let default = is_dir.then(|| take_cached(rest, &mut seen.default)).transpose()?;
        Ok(Acls { access, default })
    })?;
    *cache = seen;
    Ok(acls)
}

fn put_cached(out: &mut Vec<u8>, acl: &Cached<Acl>) {
    match acl {
        Cached::Index(index) => put_varint(out, *index as i32 + 1),
        Cached::Literal(acl) => {
            put_varint(out, 0);
            put_acl(out, acl);
        }
    }
}

fn put_acl(out: &mut Vec<u8>, acl: &Acl) {
    let bits = [
        (USER_OBJ, acl.user_obj),
        (GROUP_OBJ, acl.group_obj),
        (MASK, acl.mask),
        (OTHER, acl.other),
    ];
    let named = if acl.named.is_some() { NAMED } else { 0 };
    out.push(
        bits.iter().filter(|(_, perms)| perms.is_some()).fold(named, |all, (bit, _)| all | bit),
    );
    for perms in bits.iter().filter_map(|(_, perms)| *perms) {
        put_varint(out, i32::from(perms));
    }
    let Some(named) = &acl.named else { return };
    put_varint(out, named.len() as i32);
    for entry in named {
        put_varint(out, entry.id as i32);
        let user = if entry.is_user { IS_USER } else { 0 };
        let name = if entry.name.is_some() { NAME_FOLLOWS } else { 0 };
        put_varint(out, (u32::from(entry.perms) << 2 | user | name) as i32);
        if let Some(name) = &entry.name {
            put_short_name(out, name);
        }
    }
}

fn take_cached(input: &mut &[u8], seen: &mut u32) -> Result<Cached<Acl>, Decode> {
    match take_varint(input)? {
        0 => {
            let acl = take_acl(input)?;
            *seen += 1;
            Ok(Cached::Literal(acl))
        }
        number => match u32::try_from(number) {
            Ok(number) if number <= *seen => Ok(Cached::Index(number - 1)),
            _ => Err(wrong("index", number).into()),
        },
    }
}

fn take_acl(input: &mut &[u8]) -> Result<Acl, Decode> {
    let bits = take_byte(input)?;
    if bits & !(USER_OBJ | GROUP_OBJ | MASK | OTHER | NAMED) != 0 {
        return Err(wrong("flags", i32::from(bits)).into());
    }
    let mut perms = |bit| (bits & bit != 0).then(|| take_perms(input)).transpose();
    let (user_obj, group_obj) = (perms(USER_OBJ)?, perms(GROUP_OBJ)?);
    let (mask, other) = (perms(MASK)?, perms(OTHER)?);
    let named = (bits & NAMED != 0).then(|| take_named(input)).transpose()?;
    Ok(Acl { user_obj, group_obj, mask, other, named })
}

fn take_perms(input: &mut &[u8]) -> Result<u8, Decode> {
    let value = take_varint(input)?;
    u8::try_from(value).ok().filter(|&p| p <= 7).ok_or(wrong("permission", value).into())
}

fn take_named(input: &mut &[u8]) -> Result<Vec<AclEntry>, Decode> {
    let count = take_varint(input)?;
    let fits = u32::try_from(count).ok().filter(|&count| count <= MAX_NAMED);
    let count = fits.ok_or(wrong("number of entries", count))?;
    (0..count).map(|_| take_entry(input)).collect()
}

fn take_entry(input: &mut &[u8]) -> Result<AclEntry, Decode> {
    let id = take_varint(input)? as u32;
    let access = take_varint(input)?;
    let perms = u8::try_from(access >> 2).ok().filter(|&perms| perms <= 7);
    let perms = perms.ok_or(wrong("permission", access))?;
    let has = |bit| access as u32 & bit != 0;
    let name = has(NAME_FOLLOWS).then(|| take_short_name(input)).transpose()?;
    Ok(AclEntry { id, is_user: has(IS_USER), perms, name: name.map(Into::into) })
}

fn wrong(what: &'static str, value: i32) -> Violation {
    Violation::Acl { what, value: i64::from(value) }
}
