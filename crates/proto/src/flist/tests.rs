use driftless_tree::Timestamp;
use driftless_tree::flist::{DirFlags, Entry, HardLink};

use super::*;
use crate::{Decode, Violation};

fn options(protocol: u8, compat: u32) -> ListOptions {
    ListOptions {
        protocol,
        compat: CompatFlags(compat),
        owner: true,
        group: true,
        devices: true,
        specials: true,
        links: true,
        ..ListOptions::default()
    }
}

fn entry(name: &str, mode: u32, size: u64, secs: i64) -> Entry {
    let mtime = Timestamp { secs, nanos: 0 };
    Entry { name: name.as_bytes().into(), mode, size, mtime, ..Entry::default() }
}

fn write(options: &ListOptions, entries: &[Entry], io_error: u32) -> Vec<u8> {
    let (mut writer, mut out) = (ListWriter::new(options.clone()), Vec::new());
    entries.iter().for_each(|entry| writer.entry(entry, &mut out));
    writer.end(io_error, &mut out);
    out
}

fn read(options: &ListOptions, mut wire: &[u8]) -> Result<(Vec<Entry>, u32), Decode> {
    let (mut reader, mut entries) = (ListReader::new(options.clone()), Vec::new());
    loop {
        match reader.next(&mut wire)? {
            ListItem::Entry(entry) => entries.push(entry),
            ListItem::End { io_error } => return Ok((entries, io_error)),
        }
    }
}

#[track_caller]
fn refused(options: &ListOptions, wire: &[u8]) -> Violation {
    match read(options, wire) {
        Err(Decode::Invalid(violation)) => violation,
        other => panic!("{other:?} instead of a violation"),
    }
}

fn three_files() -> Vec<Entry> {
    let root = || Some((*b"root").into());
    let mut beta = entry("beta.bin", 0o100_600, 256, 1_700_000_002);
    beta.mtime.nanos = 123_456_789;
    vec![
        Entry {
            user: root(),
            group: root(),
            dir: DirFlags { top: true, no_content: false },
            ..entry(".", 0o040_755, 4096, 1_700_000_000)
        },
        beta,
        entry("empty", 0o100_644, 0, 1_700_000_001),
        entry("alpha.txt", 0o100_644, 12, 1_700_000_001),
    ]
}

#[test]
fn the_list_is_that_of_the_captured_push() {
    let wire = b"\x8c\x01\x01.\x00\x00\x10\x65\x00\xf1\x53\xed\x41\x00\x00\x00\x04root\x00\x04root\
        \xa0\x18\x08beta.bin\x00\x00\x01\x65\x02\xf1\x53\xe7\x15\xcd\x5b\x80\x81\x00\x00\
        \x18\x05empty\x00\x00\x00\x65\x01\xf1\x53\xa4\x81\x00\x00\
        \x80\x9a\x09alpha.txt\x00\x0c\x00\x00\x00";
    let options = options(32, 0x1ff);
    assert_eq!(write(&options, &three_files(), 0), wire);
    assert_eq!(read(&options, wire), Ok((three_files(), 0)));
}

#[test]
fn an_error_state_ends_a_list_in_the_way_of_its_version() {
    for (protocol, compat, io_error, wire) in [
        (32, 0x1ff, 1, &[0x00, 0x01][..]),
        (31, 0x000, 3, &[0x04, 0x10, 0x03]),
        (31, 0x000, 0, &[0x00]),
        (30, 0x008, 2, &[0x04, 0x10, 0x02]),
        (30, 0x000, 2, &[0x00]),
    ] {
        let options = options(protocol, compat);
        assert_eq!(write(&options, &[], io_error), wire);
        let told = if wire == [0] { 0 } else { io_error };
        assert_eq!(read(&options, wire), Ok((Vec::new(), told)));
    }
}

#[test]
fn an_entry_without_flags_is_not_the_end() {
    let first = entry("a", 0o100_644, 1, 5);
    let second = Entry { uid: 7, gid: 7, ..entry("b", 0o100_600, 2, 6) };
    for (compat, marker) in [(0x1ff, 0x04), (0, 0x01)] {
        let options = options(31, compat);
        let wire = write(&options, &[first.clone(), second.clone()], 0);
        let (entries, _) = read(&options, &wire).unwrap();
        assert_eq!((&entries[0], entries[1].uid), (&first, 7));
        let second_at = write(&options, std::slice::from_ref(&first), 0).len()
            - if compat == 0 { 1 } else { 2 };
        assert_eq!(wire[second_at], marker);
    }
}

#[test]
fn a_later_hard_link_of_the_same_list_is_abbreviated() {
    let options = ListOptions { hard_links: true, ..options(32, 0x1ff) };
    let first =
        Entry { hard_link: Some(HardLink::First), ..entry("file2", 0o100_644, 7, 1_700_000_000) };
    let later = Entry {
        name: (*b"file1").into(),
        hard_link: Some(HardLink::Follows { ndx: 1 }),
        ..first.clone()
    };
    let wire = write(&options, &[first.clone(), later.clone()], 0);
    assert!(wire.ends_with(b"\x82\xba\x04\x011\x01\x00\x00"), "{wire:02x?}");
    assert_eq!(read(&options, &wire), Ok((vec![first, later], 0)));
}

/// What follows a link was written relative to attributes that the reader never saw, and arrived
/// with the wrong time.
#[test]
fn a_hard_link_that_changed_since_its_first_name_was_listed_spoils_nothing() {
    let options = ListOptions { hard_links: true, ..options(32, 0x1ff) };
    let first = Entry { hard_link: Some(HardLink::First), uid: 3, ..entry("a", 0o100_644, 7, 11) };
    let later = Entry {
        hard_link: Some(HardLink::Follows { ndx: 1 }),
        uid: 4,
        ..entry("b", 0o100_600, 9, 22)
    };
    let last = Entry { uid: 4, ..entry("c", 0o100_600, 1, 22) };
    let wire = write(&options, &[first.clone(), later.clone(), last.clone()], 0);
    let seen = Entry { name: later.name, hard_link: later.hard_link, ..first.clone() };
    assert_eq!(read(&options, &wire), Ok((vec![first, seen, last], 0)));
}

#[test]
fn a_hard_link_into_an_earlier_list_is_sent_whole() {
    let options = ListOptions { hard_links: true, ..options(32, 0x1ff) };
    let link = |name, link| Entry { hard_link: Some(link), ..entry(name, 0o100_644, 7, 1) };
    let lists = [link("a", HardLink::First), link("d/b", HardLink::Follows { ndx: 1 })];
    let (mut writer, mut out) = (ListWriter::new(options.clone()), Vec::new());
    for entry in &lists {
        writer.entry(entry, &mut out);
        writer.end(0, &mut out);
    }
    assert_eq!(writer.first_ndx(), 5);
    let (mut reader, mut input) = (ListReader::new(options), out.as_slice());
    for entry in lists {
        assert_eq!(reader.next(&mut input), Ok(ListItem::Entry(entry)));
        assert_eq!(reader.next(&mut input), Ok(ListItem::End { io_error: 0 }));
    }
    assert_eq!(reader.first_ndx(), 5);
}

#[test]
fn a_hard_link_to_nothing_is_refused() {
    let options = ListOptions { hard_links: true, ..options(32, 0x1ff) };
    let plain = entry("a", 0o100_644, 7, 1);
    for ndx in [1, 2, 3] {
        let link = Entry { hard_link: Some(HardLink::Follows { ndx }), ..plain.clone() };
        let wire = write(&options, &[plain.clone(), link], 0);
        assert_eq!(refused(&options, &wire), Violation::HardLink(i64::from(ndx)));
    }
}

#[test]
fn names_that_could_leave_the_tree_are_refused() {
    let plain = options(32, 0x1ff);
    for name in ["..", "a/../b", "/etc", "a//b", "a/", "", "./a", "a\0b"] {
        let wire = write(&plain, &[entry(name, 0o100_644, 0, 0)], 0);
        assert!(matches!(refused(&plain, &wire), Violation::Name(_)), "{name:?}");
    }
    let file = write(&plain, &[entry(".", 0o100_644, 0, 0)], 0);
    assert!(matches!(refused(&plain, &file), Violation::DotIsNoDirectory(_)));
    let relative = ListOptions { relative: true, ..plain };
    assert!(read(&relative, &write(&relative, &[entry("/etc", 0o040_755, 0, 0)], 0)).is_ok());
    let long = ["x"; 4095].concat();
    let wire = write(&relative, &[entry(&long, 0o100_644, 0, 0)], 0);
    assert!(read(&relative, &wire).is_ok());
    // Flags LONG_NAME, then a suffix of 4096 bytes.
    assert!(matches!(refused(&relative, &[0x40, 0x90, 0x00]), Violation::TooLong { .. }));
}

#[test]
fn impossible_metadata_is_refused() {
    let options = options(32, 0x1ff);
    let with = |mode, size: i64| write(&options, &[entry("a", mode, size as u64, 0)], 0);
    assert_eq!(refused(&options, &with(0, 0)), Violation::Mode(0));
    assert_eq!(refused(&options, &with(0o170_644, 0)), Violation::Mode(0o170_644));
    assert_eq!(refused(&options, &with(0o100_644, -1)), Violation::Size(-1));
    let mut late = entry("a", 0o100_644, 0, 0);
    late.mtime.nanos = 1_000_000_000;
    let wire = write(&options, &[late], 0);
    assert!(matches!(refused(&options, &wire), Violation::Number { .. }));
    let missing = ListOptions { missing_args: true, ..options.clone() };
    assert!(read(&missing, &with(0, 0)).is_ok());
    // Bits that are reserved, and a hard link in a session without them.
    assert!(matches!(refused(&options, &[0xc1, 0x01, 0x00]), Violation::EntryFlags(_)));
    assert!(matches!(refused(&options, &[0x82, 0x01]), Violation::EntryFlags(_)));
}

#[test]
fn id_lists_carry_the_name_of_id_0_where_both_ends_know_it() {
    let list = IdList { names: vec![(7, (*b"lp").into())], zero: Some((*b"root").into()) };
    let options = options(32, 0x1fe);
    let mut out = Vec::new();
    list.put(&mut out, &options);
    assert_eq!(out, b"\x07\x02lp\x00\x04root");
    assert_eq!(IdList::take(&mut &*out, &options), Ok(list.clone()));

    let old = ListOptions { protocol: 29, compat: CompatFlags::default(), ..options };
    out.clear();
    list.put(&mut out, &old);
    assert_eq!(out, b"\x07\0\0\0\x02lp\0\0\0\0");
    assert_eq!(IdList::take(&mut &*out, &old), Ok(IdList { zero: None, ..list }));
}
