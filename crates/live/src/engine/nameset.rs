//! A set of names in little memory.
//!
//! Names lie packed in chunks of a bounded length, each behind its length, in the order of their
//! bytes. So a small directory is one allocation, and a change in a large one moves one chunk.
//!
//! Invariants
//! * No chunk is empty, and all names of a chunk come before those of the next.

use std::ops::Range;

/// A longer chunk is split; a name that is longer itself has a chunk of its own.
const CHUNK_LEN: usize = 2048;

/// Bytes of a name's length.
const PREFIX_LEN: usize = 2;

/// Names of at most 65,535 bytes each.
#[derive(Debug, Default)]
pub struct NameSet {
    chunks: Vec<Vec<u8>>,
    len: usize,
}

/// Where a name is, or belongs.
struct Spot {
    chunk: usize,
    /// The bytes of the name with its length; empty where it is missing.
    range: Range<usize>,
}

impl NameSet {
    /// The set of these names, in any order; repetitions do no harm.
    pub fn of<'a>(names: impl Iterator<Item = &'a [u8]>) -> Self {
        let mut names: Vec<&[u8]> = names.collect();
        names.sort();
        names.dedup();
        let mut rest = names.as_slice();
        let mut chunks = Vec::new();
        while !rest.is_empty() {
            let mut len = 0;
            let fits = |name: &&&[u8]| {
                len += PREFIX_LEN + name.len();
                len <= CHUNK_LEN
            };
            let count = rest.iter().take_while(fits).count().max(1);
            let (here, later) = rest.split_at(count);
            rest = later;
            let len = here.iter().map(|name| PREFIX_LEN + name.len()).sum();
            let mut chunk = Vec::with_capacity(len);
            here.iter().for_each(|name| chunk.extend(packed(name)));
            chunks.push(chunk);
        }
        Self { chunks, len: names.len() }
    }

    /// How many names.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether `name` is one of them.
    pub fn contains(&self, name: &[u8]) -> bool {
        self.find(name).is_some_and(|spot| !spot.range.is_empty())
    }

    /// Adds `name`; false when it was there.
    pub fn insert(&mut self, name: &[u8]) -> bool {
        let Some(Spot { chunk: at, range }) = self.find(name) else {
            self.chunks.push(packed(name).collect());
            self.len = 1;
            return true;
        };
        if !range.is_empty() {
            return false;
        }
        let chunk = &mut self.chunks[at];
        chunk.splice(range, packed(name));
        if chunk.len() > CHUNK_LEN {
            let middle = boundary(chunk);
            let second = chunk.split_off(middle);
            chunk.shrink_to_fit();
            if !second.is_empty() {
                self.chunks.insert(at + 1, second);
            }
        }
        self.len += 1;
        true
    }

    /// Takes `name` away; false when it was not there.
    pub fn remove(&mut self, name: &[u8]) -> bool {
        let Some(Spot { chunk: at, range }) = self.find(name) else { return false };
        if range.is_empty() {
            return false;
        }
        self.chunks[at].drain(range);
        if self.chunks[at].is_empty() {
            self.chunks.remove(at);
        }
        self.len -= 1;
        true
    }

    /// All names, in the order of their bytes.
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        self.chunks.iter().flat_map(|chunk| Packed { rest: chunk })
    }

    /// `None` when there are no names at all.
    fn find(&self, name: &[u8]) -> Option<Spot> {
        let behind = self.chunks.partition_point(|chunk| {
            Packed { rest: chunk }.next().is_some_and(|first| first <= name)
        });
        let chunk = behind.saturating_sub(1);
        let mut start = 0;
        for held in (Packed { rest: self.chunks.get(chunk)? }) {
            let end = start + PREFIX_LEN + held.len();
            match held.cmp(name) {
                std::cmp::Ordering::Less => start = end,
                std::cmp::Ordering::Equal => return Some(Spot { chunk, range: start..end }),
                std::cmp::Ordering::Greater => break,
            }
        }
        Some(Spot { chunk, range: start..start })
    }
}

fn packed(name: &[u8]) -> impl Iterator<Item = u8> {
    let len = u16::try_from(name.len()).expect("a name is shorter than a path");
    len.to_le_bytes().into_iter().chain(name.iter().copied())
}

/// The end of the first name that reaches the chunk's middle.
fn boundary(chunk: &[u8]) -> usize {
    let mut end = 0;
    for name in (Packed { rest: chunk }) {
        end += PREFIX_LEN + name.len();
        if end >= chunk.len() / 2 {
            break;
        }
    }
    end
}

struct Packed<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Packed<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let (len, rest) = self.rest.split_first_chunk()?;
        let (name, rest) = rest.split_at_checked(usize::from(u16::from_le_bytes(*len)))?;
        self.rest = rest;
        Some(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn name() -> impl Strategy<Value = Vec<u8>> {
        let short = proptest::collection::vec(b'a'..b'd', 1..4);
        let long = proptest::collection::vec(any::<u8>(), 1..3000);
        prop_oneof![8 => short, 2 => long]
    }

    proptest! {
        #[test]
        fn it_holds_what_an_ordinary_set_holds(
            first in proptest::collection::vec(name(), 0..40),
            steps in proptest::collection::vec((any::<bool>(), name()), 0..120),
        ) {
            let mut names = NameSet::of(first.iter().map(Vec::as_slice));
            let mut plain: BTreeSet<Vec<u8>> = first.into_iter().collect();
            for (adds, name) in steps {
                if adds {
                    prop_assert_eq!(names.insert(&name), plain.insert(name.clone()));
                } else {
                    prop_assert_eq!(names.remove(&name), plain.remove(&name));
                }
                prop_assert_eq!(names.contains(&name), adds);
            }
            prop_assert_eq!(names.len(), plain.len());
            prop_assert!(names.iter().eq(plain.iter().map(Vec::as_slice)));
        }
    }
}
