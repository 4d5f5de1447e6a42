//! The one list of a partial session: the caller's entries in the order of numbers.

use std::cell::RefCell;
use std::collections::HashMap;

use driftless_proto::flist::{ListOptions, ListWriter};
use driftless_proto::mux::Mux;
use driftless_tree::flist::{Entry, HardLink, compare};

use crate::chmod::Chmod;
use crate::error::PushError;
use crate::options::TransferOptions;
use crate::sender::attrs::Attrs;
use crate::sender::ids::Ids;
use crate::sender::lists::FileList;

/// Sorts the caller's entries as both ends do and gives hard links, ACLs and extended attributes
/// their wire form.
pub(crate) fn arrange(
    mut given: Vec<Entry>,
    options: &TransferOptions,
) -> Result<(FileList, Attrs), PushError> {
    let mut places: Vec<u32> = (0..given.len() as u32).collect();
    places.sort_by(|&a, &b| compare(&given[a as usize], &given[b as usize]));
    let mut groups = HashMap::new();
    let mut attrs = Attrs::new(&options.metadata);
    let mut entries = Vec::with_capacity(given.len());
    for (at, &place) in places.iter().enumerate() {
        let mut entry = std::mem::take(&mut given[place as usize]);
        check_name(&entry)?;
        let group = match entry.hard_link {
            None => None,
            Some(HardLink::First) => Some(place),
            Some(HardLink::Follows { ndx }) => Some(ndx),
            Some(HardLink::Inode { .. }) => {
                let what = "a hard link by inode in a partial list".to_owned();
                return Err(PushError::List(what));
            }
        };
        // Which member comes first is decided by the order on the wire.
        entry.hard_link = group.map(|group| match groups.get(&group) {
            Some(&ndx) => HardLink::Follows { ndx },
            None => {
                groups.insert(group, at as u32);
                HardLink::First
            }
        });
        apply_chmod(&mut entry, options.chmod.as_ref());
        attrs.refer(&mut entry);
        entries.push(entry);
    }
    let places = Some(places);
    let list = FileList {
        first: 0,
        entries,
        directory: None,
        directory_place: None,
        places,
        requested: RefCell::default(),
    };
    Ok((list, attrs))
}

/// Writes the list with all that follows it.
pub(crate) fn put(list: &FileList, options: &ListOptions, output: &mut Mux) {
    let mut writer = ListWriter::new(options.clone());
    let mut ids = Ids::default();
    for entry in &list.entries {
        output.append(|out| writer.entry(entry, out));
        if !options.numeric_ids {
            ids.note(entry);
        }
    }
    output.append(|out| {
        writer.end(0, out);
        ids.put_lists(options, out);
    });
}

/// A missing argument has no mode to change.
pub(crate) fn apply_chmod(entry: &mut Entry, chmod: Option<&Chmod>) {
    if let Some(chmod) = chmod.filter(|_| entry.mode != 0) {
        entry.mode = chmod.apply(entry.mode);
    }
}

pub(crate) fn check_name(entry: &Entry) -> Result<(), PushError> {
    if &*entry.name == b"." {
        return Ok(());
    }
    driftless_tree::RelPath::parse(&entry.name).map(drop).map_err(|bad| {
        PushError::List(format!("name '{}': {bad}", driftless_tree::path::printable(&entry.name)))
    })
}
