//! The file lists that the receiving side may still ask about. Protocol reference, "Incremental
//! recursion", numbering.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

use driftless_tree::flist::Entry;

use crate::driver::Listed;

/// Entries that the peer must know beyond the list it works on: with hard links it serves nothing
/// before it knows 500.
const MIN_AHEAD: usize = 1000;

/// Entries that are sent ahead while there is nothing else to do.
const MAX_AHEAD: usize = 3_000;

/// Lists that are open then at most: rsync takes some 150 KiB for each, however short it is.
const MAX_OPEN: usize = 32;

/// Entries between two looks at the connection while nothing is asked.
pub(crate) const EXCHANGE_INTERVAL: usize = 100;

/// A list that was sent, in the order that its numbers follow.
pub(crate) struct FileList {
    /// Number of the first entry.
    pub(crate) first: u32,
    pub(crate) entries: Vec<Entry>,
    /// The directory whose content this is; its number is the one before the first.
    pub(crate) directory: Option<Entry>,
    /// Its place, when places are given.
    pub(crate) directory_place: Option<u32>,
    /// For each entry its place in the caller's vector, when there is one.
    pub(crate) places: Option<Vec<u32>>,
    /// The entries whose content was requested, a bit for each.
    pub(crate) requested: RefCell<Vec<u64>>,
}

impl FileList {
    /// The number behind the last entry.
    fn end(&self) -> u32 {
        self.first.saturating_add(self.entries.len() as u32)
    }

    fn find(&self, ndx: u32) -> Option<Listed<'_>> {
        let Some(at) = ndx.checked_sub(self.first) else {
            let entry = self.directory.as_ref().filter(|_| ndx.checked_add(1) == Some(self.first));
            return entry.map(|entry| Listed {
                entry,
                index: self.directory_place.unwrap_or(ndx) as usize,
                ndx,
            });
        };
        let at = at as usize;
        let entry = self.entries.get(at)?;
        let index = match &self.places {
            Some(places) => *places.get(at)? as usize,
            None => ndx as usize,
        };
        Some(Listed { entry, index, ndx })
    }

    fn requested(&self, ndx: u32) -> bool {
        let Some(at) = ndx.checked_sub(self.first) else { return false };
        let (word, bit) = ((at / u64::BITS) as usize, 1 << (at % u64::BITS));
        let mut requested = self.requested.borrow_mut();
        if word >= requested.len() {
            requested.resize(word + 1, 0);
        }
        let before = requested[word] & bit != 0;
        requested[word] |= bit;
        before
    }
}

/// The lists that are still open, oldest first.
pub(crate) struct Lists {
    open: VecDeque<Rc<FileList>>,
    /// The first numbers of the open lists, close together for the search.
    firsts: VecDeque<u32>,
    next_first: u32,
    incremental: bool,
    /// Entries of the lists behind the oldest one.
    ahead: usize,
}

impl Lists {
    pub(crate) fn new(incremental: bool) -> Self {
        let next_first = u32::from(incremental);
        Self { open: VecDeque::new(), firsts: VecDeque::new(), next_first, incremental, ahead: 0 }
    }

    /// The first number of the next list.
    pub(crate) fn next_first(&self) -> u32 {
        self.next_first
    }

    /// Adds the list that begins with [`Lists::next_first`].
    pub(crate) fn push(&mut self, list: impl Into<Rc<FileList>>) {
        let list = list.into();
        self.next_first = list.end().saturating_add(u32::from(self.incremental));
        if !self.open.is_empty() {
            self.ahead += list.entries.len();
        }
        self.firsts.push_back(list.first);
        self.open.push_back(list);
    }

    /// Whether the peer may serve nothing before it knows more.
    pub(crate) fn are_too_few(&self) -> bool {
        self.ahead < MIN_AHEAD
    }

    /// Whether the peer knows enough for now.
    pub(crate) fn are_enough(&self) -> bool {
        self.ahead >= MAX_AHEAD || !self.are_too_few() && self.open_count() >= MAX_OPEN
    }

    /// Entries that the peer knows beyond the oldest open list.
    pub(crate) fn ahead(&self) -> usize {
        self.ahead
    }

    pub(crate) fn open_count(&self) -> usize {
        self.open.len()
    }

    /// Forgets the oldest list.
    pub(crate) fn close_oldest(&mut self) {
        self.open.pop_front();
        self.firsts.pop_front();
        self.ahead -= self.open.front().map_or(0, |list| list.entries.len());
    }

    /// The entry of this number, in any open list.
    pub(crate) fn find(&self, ndx: u32) -> Option<Listed<'_>> {
        self.list_of(ndx)?.find(ndx)
    }

    /// Notes that content is requested. Whether it was before, so that it failed verification.
    pub(crate) fn requested(&self, ndx: u32) -> bool {
        self.list_of(ndx).is_some_and(|list| list.requested(ndx))
    }

    fn list_of(&self, ndx: u32) -> Option<&FileList> {
        // Requests come in order: mostly from the oldest list.
        if let (Some(oldest), Some(&next)) = (self.open.front(), self.firsts.get(1))
            && ndx < next.saturating_sub(1)
        {
            return Some(oldest);
        }
        // The number before a list's first is its directory's.
        let behind = self.firsts.partition_point(|first| first.saturating_sub(1) <= ndx);
        Some(self.open.get(behind.checked_sub(1)?)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(first: u32, names: &[&str], directory: Option<&str>) -> FileList {
        let entry = |name: &&str| Entry { name: name.as_bytes().into(), ..Entry::default() };
        FileList {
            first,
            entries: names.iter().map(entry).collect(),
            directory: directory.as_ref().map(entry),
            directory_place: None,
            places: None,
            requested: RefCell::default(),
        }
    }

    fn name(lists: &Lists, ndx: u32) -> Option<String> {
        let listed = lists.find(ndx)?;
        Some(String::from_utf8_lossy(&listed.entry.name).into_owned())
    }

    #[test]
    fn one_number_before_each_list_is_its_directory() {
        let mut lists = Lists::new(true);
        lists.push(list(lists.next_first(), &[".", "a", "sub"], Some(".")));
        lists.push(list(lists.next_first(), &["sub/b"], Some("sub")));
        lists.push(list(lists.next_first(), &[], Some("empty")));
        assert_eq!(name(&lists, 0).as_deref(), Some("."));
        assert_eq!(name(&lists, 3).as_deref(), Some("sub"));
        assert_eq!(name(&lists, 4).as_deref(), Some("sub"));
        assert_eq!(name(&lists, 5).as_deref(), Some("sub/b"));
        assert_eq!(name(&lists, 6).as_deref(), Some("empty"));
        assert_eq!(name(&lists, 7), None);
        assert_eq!(lists.ahead(), 1);
        lists.close_oldest();
        assert_eq!(lists.ahead(), 0);
        assert_eq!(name(&lists, 3), None);
        assert_eq!(name(&lists, 5).as_deref(), Some("sub/b"));
    }

    #[test]
    fn a_session_with_one_list_numbers_from_zero() {
        let mut lists = Lists::new(false);
        lists.push(FileList { places: Some(vec![1, 0]), ..list(0, &["a", "b"], None) });
        assert_eq!(lists.find(0).unwrap().index, 1);
        assert!(lists.find(2).is_none());
    }

    #[test]
    fn what_is_requested_again_is_known() {
        let mut lists = Lists::new(true);
        lists.push(list(lists.next_first(), &["a", "b"], None));
        lists.push(list(lists.next_first(), &["d/a"], Some("d")));
        let all: Vec<bool> = [1, 2, 4, 2, 1, 4].map(|ndx| lists.requested(ndx)).into();
        assert_eq!(all, [false, false, false, true, true, true]);
    }
}
