//! Names of user or group ids, after a list that does not carry them inside.
//!
//! Protocol reference, section "uid/gid names".

use super::ListOptions;
use crate::int::{put_short_name, put_varint30, take_short_name, take_varint30, whole};
use crate::{Decode, Violation};

const MAX_IDS: usize = 1 << 20;

/// The names of users, or of groups.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct IdList {
    /// Ids other than 0, in any order.
    pub names: Vec<(u32, Box<[u8]>)>,
    /// The name of id 0, when the session carries it.
    pub zero: Option<Box<[u8]>>,
}

impl IdList {
    /// Writes the list.
    pub fn put(&self, out: &mut Vec<u8>, options: &ListOptions) {
        for (id, name) in self.names.iter().filter(|(id, _)| *id != 0) {
            put_varint30(out, *id as i32, options.protocol);
            put_short_name(out, name);
        }
        put_varint30(out, 0, options.protocol);
        if options.compat.id0_names() {
            put_short_name(out, self.zero.as_deref().unwrap_or_default());
        }
    }

    /// Takes a list.
    ///
    /// # Errors
    /// [`Decode::Incomplete`], or more than a million ids.
    pub fn take(input: &mut &[u8], options: &ListOptions) -> Result<Self, Decode> {
        whole(input, |rest| {
            let mut list = Self::default();
            loop {
                let id = take_varint30(rest, options.protocol)? as u32;
                if id == 0 {
                    break;
                }
                if list.names.len() == MAX_IDS {
                    return Err(Violation::TooMany { what: "ids", limit: MAX_IDS as u64 }.into());
                }
                list.names.push((id, take_short_name(rest)?.into()));
            }
            if options.compat.id0_names() {
                let name = take_short_name(rest)?;
                list.zero = (!name.is_empty()).then(|| name.into());
            }
            Ok(list)
        })
    }
}
