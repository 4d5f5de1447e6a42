//! The lists that the receiving side holds: sorted, freed of duplicates, numbered. Protocol
//! reference, "Incremental recursion" and "Sort order".
//!
//! Invariants
//! * A number is found only while its list is held and only if its entry was not dropped.
//! * Each directory is listed at most once, and a list's names lie directly in its directory.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet, VecDeque};
use std::rc::Rc;

use driftless_tree::flist::{self, Entry};
use driftless_tree::path::printable;
use driftless_tree::{Kind, Meta};

/// Whether a directory of this name stays although nothing but directories is in it.
pub(crate) type Kept<'k> = &'k dyn Fn(&[u8]) -> bool;

/// A directory of the transfer, and what became of it.
#[derive(Debug)]
pub(crate) struct Directory {
    pub(crate) entry: Entry,
    pub(crate) state: RefCell<DirState>,
}

/// What is known of a directory at the destination.
#[derive(Debug, Default)]
pub(crate) struct DirState {
    pub(crate) stage: Stage,
    /// It did not exist.
    pub(crate) new: bool,
    /// What stood there before.
    pub(crate) before: Option<Meta>,
    /// It was there and something about it cannot be set, which was said.
    pub(crate) resists: bool,
    /// Its time is to be set when its content is done.
    pub(crate) late_time: bool,
    /// Its mode, likewise.
    pub(crate) late_mode: Option<u32>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Stage {
    /// Not looked at.
    #[default]
    Unseen,
    /// It exists.
    There,
    /// A dry run would have made it: nothing is in it.
    Imagined,
    /// It cannot be entered, so nothing in it is looked at.
    Failed,
    /// It is not wanted, and what is in it neither.
    Skipped,
}

impl Directory {
    pub(crate) fn new(entry: Entry) -> Rc<Self> {
        Rc::new(Self { entry, state: RefCell::default() })
    }

    pub(crate) fn stage(&self) -> Stage {
        self.state.borrow().stage
    }
}

/// The directory's part of a name; empty for the root.
pub(crate) fn parent_of(name: &[u8]) -> &[u8] {
    name.iter().rposition(|&b| b == b'/').map_or(&[], |slash| &name[..slash])
}

/// The last component.
pub(crate) fn leaf_of(name: &[u8]) -> &[u8] {
    name.iter().rposition(|&b| b == b'/').map_or(name, |slash| &name[slash + 1..])
}

/// One list, sorted.
#[derive(Debug)]
pub(crate) struct List {
    /// Number of the first entry.
    pub(crate) first: u32,
    pub(crate) entries: Vec<Entry>,
    /// Entries that equal an earlier one, in order.
    dropped: Vec<u32>,
    /// With names in another character set: numbers follow the order of sending, not this one.
    numbers: Option<Numbers>,
    /// The order holds for the names as they are now, so that they can be searched.
    ordered: bool,
    /// The directory whose content this is; `None` without incremental recursion, and for a first
    /// list without root.
    pub(crate) directory: Option<Rc<Directory>>,
    /// The directories among the entries, by position; only with incremental recursion.
    pub(crate) directories: HashMap<u32, Rc<Directory>>,
}

/// Places in the order of sending.
#[derive(Debug)]
struct Numbers {
    /// By place in the sorted list.
    sent: Vec<u32>,
    /// The other way round.
    sorted: Vec<u32>,
}

impl List {
    /// The number of the entry at this place.
    pub(crate) fn ndx(&self, at: usize) -> u32 {
        let sent = self.numbers.as_ref().and_then(|numbers| numbers.sent.get(at).copied());
        self.first + sent.unwrap_or(at as u32)
    }

    /// The place of the entry that was sent as this one of the list.
    fn place_of(&self, sent: usize) -> usize {
        let sorted = self.numbers.as_ref().and_then(|numbers| numbers.sorted.get(sent).copied());
        sorted.map_or(sent, |at| at as usize)
    }

    pub(crate) fn is_dropped(&self, at: usize) -> bool {
        self.dropped.binary_search(&(at as u32)).is_ok()
    }

    /// Where the entry of this name and sort is.
    pub(crate) fn position(&self, name: &[u8], is_dir: bool) -> Option<usize> {
        let compare = |entry: &Entry| {
            let entry_is_dir = entry.kind() == Some(Kind::Dir);
            flist::compare_names(&entry.name, entry_is_dir, name, is_dir)
        };
        if self.ordered {
            return self.entries.binary_search_by(compare).ok();
        }
        self.entries.iter().position(|entry| compare(entry).is_eq())
    }

    /// Whether the list has this name, as whatever.
    pub(crate) fn has(&self, name: &[u8]) -> bool {
        let stays = |at: Option<usize>| at.is_some_and(|at| !self.is_dropped(at));
        stays(self.position(name, false)) || stays(self.position(name, true))
    }
}

/// A list that is held, and how far it is.
#[derive(Debug)]
pub(crate) struct Held {
    pub(crate) list: Rc<List>,
    /// The next entry to look at.
    pub(crate) next: usize,
    /// The directory itself was looked at.
    pub(crate) begun: bool,
    /// Items that are not finished: requested, to be requested again, or waiting for another one.
    pub(crate) unfinished: u32,
    /// Its D was sent.
    pub(crate) closed: bool,
}

impl Held {
    pub(crate) fn examined(&self) -> bool {
        self.begun && self.next >= self.list.entries.len()
    }
}

/// Why a list is refused.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BadList {
    #[error("a list for directory {0}, which is unknown or was listed before")]
    Directory(u32),
    #[error("'{0}' does not lie in the directory of its list")]
    Place(String),
    #[error("a list after all lists were announced as complete")]
    Late,
}

impl BadList {
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::Place(_) => 4,
            Self::Directory(_) | Self::Late => 2,
        }
    }
}

#[derive(Debug)]
pub(crate) struct Lists {
    incremental: bool,
    converted: bool,
    pub(crate) held: VecDeque<Held>,
    /// Lists forgotten so far: number of the first held one.
    pub(crate) forgotten: usize,
    next_first: u32,
    /// Directories whose list has not come, by index.
    awaited: HashMap<u32, Rc<Directory>>,
    next_index: u32,
    /// No further list comes.
    pub(crate) complete: bool,
    /// Entries of all lists.
    pub(crate) entry_count: u64,
    /// Entries not looked at yet.
    pub(crate) ahead: usize,
}

impl Lists {
    /// `converted`: names have another character set here than on the wire.
    pub(crate) fn new(incremental: bool, converted: bool) -> Self {
        Self {
            incremental,
            converted,
            held: VecDeque::new(),
            forgotten: 0,
            next_first: u32::from(incremental),
            awaited: HashMap::new(),
            next_index: 0,
            complete: false,
            entry_count: 0,
            ahead: 0,
        }
    }

    /// The number that the first entry of the next list gets.
    pub(crate) fn next_first(&self) -> u32 {
        self.next_first
    }

    /// The directory whose list is announced; it will not come again.
    pub(crate) fn announced(&mut self, index: u32) -> Result<Rc<Directory>, BadList> {
        if self.complete {
            return Err(BadList::Late);
        }
        self.awaited.remove(&index).ok_or(BadList::Directory(index))
    }

    /// Adds a list; `directory` as announced, `None` for the first. With `kept`, directories without
    /// anything but directories below are as if they were not listed, unless it says otherwise.
    /// Returns the places of those whose names were listed before.
    pub(crate) fn add(
        &mut self,
        mut entries: Vec<Entry>,
        directory: Option<Rc<Directory>>,
        kept: Option<Kept<'_>>,
    ) -> Result<Vec<u32>, BadList> {
        let numbers = match self.converted {
            false => {
                flist::sort(&mut entries);
                None
            }
            true => Some(sort_with_numbers(&mut entries)),
        };
        if let Some(directory) = &directory {
            let place = directory.entry.name.as_ref();
            let bare = |name| <[u8]>::strip_prefix(name, b"/").unwrap_or(name).to_vec();
            let wrong = entries.iter().find(|entry| {
                let parent = parent_of(&entry.name);
                parent != place && bare(parent) != bare(place)
            });
            if let Some(entry) = wrong {
                return Err(BadList::Place(printable(&entry.name)));
            }
        }
        let duplicates = find_duplicates(&mut entries);
        let mut dropped = duplicates.clone();
        if let Some(kept) = kept {
            add_empty_directories(&entries, kept, &mut dropped);
        }
        let mut renamed = false;
        for entry in &mut entries {
            renamed |= settle_name(entry);
        }
        let mut list = List {
            first: self.next_first,
            ordered: !renamed || entries.is_sorted_by(|a, b| flist::compare(a, b).is_le()),
            entries,
            dropped,
            numbers,
            directory,
            directories: HashMap::new(),
        };
        if self.incremental {
            self.index_directories(&mut list);
        }
        let count = list.entries.len();
        self.entry_count += count as u64;
        self.ahead += count;
        self.next_first = self.next_first.saturating_add(count as u32).saturating_add(1);
        let list = Rc::new(list);
        self.held.push_back(Held { list, next: 0, begun: false, unfinished: 0, closed: false });
        Ok(duplicates)
    }

    /// Whether the first of two lists has no more than one entry.
    pub(crate) fn began_with_one(&self) -> bool {
        self.held.front().is_some_and(|held| held.list.entries.len() <= 1)
    }

    fn index_directories(&mut self, list: &mut List) {
        let is_first = self.next_index == 0 && self.forgotten == 0 && self.held.is_empty();
        for sent in 0..list.entries.len() {
            let at = list.place_of(sent);
            let Some(entry) = list.entries.get(at) else { continue };
            // A dropped entry names nothing, but it was counted.
            if entry.kind() != Some(Kind::Dir) {
                continue;
            }
            let index = self.next_index;
            self.next_index = self.next_index.saturating_add(1);
            if list.is_dropped(at) {
                continue;
            }
            let directory = Directory::new(entry.clone());
            if &*entry.name == b"." {
                // Number 0, and the first list is its content.
                if is_first {
                    list.directory = Some(Rc::clone(&directory));
                }
            } else {
                self.awaited.insert(index, Rc::clone(&directory));
            }
            list.directories.insert(at as u32, directory);
        }
    }

    /// The list that is at `number` in the order of arrival, while it is held.
    pub(crate) fn by_number(&self, number: usize) -> Option<&Held> {
        self.held.get(number.checked_sub(self.forgotten)?)
    }

    pub(crate) fn by_number_mut(&mut self, number: usize) -> Option<&mut Held> {
        self.held.get_mut(number.checked_sub(self.forgotten)?)
    }

    /// The number in the order of arrival of the list after the last one held.
    pub(crate) fn end(&self) -> usize {
        self.forgotten + self.held.len()
    }

    /// The list and place that an item's number means; the place is `None` for the list's
    /// directory itself.
    pub(crate) fn find(&self, ndx: u32) -> Option<(usize, Option<usize>)> {
        let behind = self.held.partition_point(|held| {
            held.list.first.saturating_sub(u32::from(self.incremental)) <= ndx
        });
        let at = behind.checked_sub(1)?;
        let list = &self.held.get(at)?.list;
        let number = self.forgotten + at;
        if ndx < list.first {
            return list.directory.is_some().then_some((number, None));
        }
        let place = list.place_of((ndx - list.first) as usize);
        (place < list.entries.len() && !list.is_dropped(place)).then_some((number, Some(place)))
    }

    /// Forgets the oldest list.
    pub(crate) fn forget_oldest(&mut self) {
        if self.held.pop_front().is_some() {
            self.forgotten += 1;
        }
    }
}

/// Finds out which directories of an old peer's list were listed with their content: those that are
/// marked, and with recursion all below them. Protocol reference, "Directory flags".
pub(crate) fn infer_content(entries: &mut [Entry], recursive: bool) {
    let is_dir = |entry: &Entry| entry.kind() == Some(Kind::Dir);
    let marked = entries.iter().filter(|entry| is_dir(entry) && entry.dir.top);
    let marked: HashSet<Box<[u8]>> = marked.map(|entry| entry.name.clone()).collect();
    for entry in entries.iter_mut().filter(|entry| is_dir(entry)) {
        let ends = entry.name.iter().enumerate().filter(|&(_, &b)| b == b'/').map(|(at, _)| at);
        let mut above = ends.map(|end| &entry.name[..end]).chain([&b"."[..]]);
        let listed = marked.contains(&entry.name)
            || recursive && above.any(|directory| marked.contains(directory));
        entry.dir.no_content = !listed;
    }
}

/// Sorts entries, and says where each was before.
fn sort_with_numbers(entries: &mut Vec<Entry>) -> Numbers {
    let mut all: Vec<(Entry, u32)> = entries.drain(..).zip(0..).collect();
    all.sort_by(|(a, _), (b, _)| flist::compare(a, b));
    let sent: Vec<u32> = all.iter().map(|(_, number)| *number).collect();
    let mut sorted = vec![0; sent.len()];
    for (at, number) in (0..).zip(&sent) {
        sorted[*number as usize] = at;
    }
    entries.extend(all.into_iter().map(|(entry, _)| entry));
    Numbers { sent, sorted }
}

/// Finds entries that equal an earlier one; of a directory and a file of one name the directory
/// stays. Positions, ascending.
fn find_duplicates(entries: &mut [Entry]) -> Vec<u32> {
    let mut dropped = Vec::new();
    let mut kept = 0;
    for at in 1..entries.len() {
        if flist::compare(&entries[kept], &entries[at]).is_ne() {
            kept = at;
            continue;
        }
        let later = entries[at].dir;
        let earlier = &mut entries[kept].dir;
        earlier.top |= later.top;
        earlier.no_content &= later.no_content;
        dropped.push(at as u32);
    }
    // A directory that has the name of something else sorts elsewhere.
    let is_dir = |entry: &Entry| entry.kind() == Some(Kind::Dir);
    for directory in entries.iter().filter(|entry| is_dir(entry)) {
        let twin = entries.binary_search_by(|other| {
            flist::compare_names(&other.name, is_dir(other), &directory.name, false)
        });
        dropped.extend(twin.ok().map(|at| at as u32));
    }
    dropped.sort_unstable();
    dropped.dedup();
    dropped
}

/// Adds the places of directories below which nothing but directories is listed to those of
/// duplicates.
fn add_empty_directories(entries: &[Entry], kept: &dyn Fn(&[u8]) -> bool, dropped: &mut Vec<u32>) {
    let duplicates = dropped.clone();
    // Backwards: what is below a directory comes right behind it.
    let mut needed: Vec<&[u8]> = Vec::new();
    for (at, entry) in entries.iter().enumerate().rev() {
        let name: &[u8] = &entry.name;
        if duplicates.binary_search(&(at as u32)).is_ok() {
            continue;
        }
        if entry.kind() != Some(Kind::Dir) {
            needed.push(parent_of(name));
        } else if name != b"." {
            let before = needed.len();
            needed.retain(|dir| *dir != name);
            match needed.len() == before && !kept(name) {
                true => dropped.push(at as u32),
                false => needed.push(parent_of(name)),
            }
        }
        needed.dedup();
    }
    dropped.sort_unstable();
    dropped.dedup();
}

/// Brings a name of the list into the form of a path: without the leading slash that
/// `--relative` allows, and without a `/.` at the end. Returns whether it changed.
fn settle_name(entry: &mut Entry) -> bool {
    let name = entry.name.strip_prefix(b"/").unwrap_or(&entry.name);
    let name = name.strip_suffix(b"/.").unwrap_or(name);
    if name.len() == entry.name.len() {
        return false;
    }
    entry.name = if name.is_empty() { (*b".").into() } else { name.into() };
    true
}
