//! Senders that mean harm: each ends with rsync's code, and nothing outside is touched.

use std::fs;
use std::time::Duration;

use driftless_proto::ndx::NdxValue;
use driftless_proto::sums::SumHead;

use crate::fake::{FILE, Script, options, receive_from};

const CONTENT: u16 = 0xa000;

/// Runs a script against a destination and returns the code; what lies beside the destination must
/// be as it was.
#[track_caller]
fn code_of(script: &Script, incremental: bool) -> u8 {
    let folder = tempfile::tempdir().unwrap();
    let outside = folder.path().join("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("canary"), "alive").unwrap();
    fs::create_dir(folder.path().join("dst")).unwrap();
    let result = receive_from(script, incremental, &options(), &folder.path().join("dst"));
    let mut names: Vec<_> =
        fs::read_dir(folder.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["dst", "outside"]);
    let inside: Vec<_> = fs::read_dir(&outside).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(inside, ["canary"]);
    assert_eq!(fs::read(outside.join("canary")).unwrap(), b"alive");
    match result {
        Ok(ending) => ending.exit_code(),
        Err(failure) => failure.error.exit_code(),
    }
}

#[track_caller]
fn check(script: Script, expected: u8) {
    assert_eq!(code_of(&script, false), expected);
}

#[track_caller]
fn check_incremental(script: Script, expected: u8) {
    assert_eq!(code_of(&script, true), expected);
}

#[test]
fn names_that_lead_out_of_the_tree_end_the_session() {
    for name in
        [&b"../outside/x"[..], b"a/../../outside/x", b"..", b"/etc/x", b"a//b", b"a\0b", b""]
    {
        check(Script::new().dir(b".").file(name, 1).end(), 4);
    }
    check(Script::new().dir(b".").file(&[b'n'; 4096], 1).end(), 3);
    check(Script::new().entry(b".", FILE, 1, b"").end(), 2);
    check(Script::new().entry(b"x", 0o777, 1, b"").end(), 2);
    check(Script::new().file(b"x", -5).end(), 4);
}

#[test]
fn nothing_is_written_through_a_link_of_the_same_session() {
    // The link is made first, then what claims to lie behind it.
    let script = Script::new()
        .dir(b".")
        .link(b"l", b"../outside")
        .file(b"l/new", 3)
        .file(b"l/canary", 3)
        .dir(b"l/sub")
        .file(b"l/sub/f", 0)
        .end();
    // Nothing is listed in a directory that is not.
    check(script, 2);
}

#[test]
fn a_directory_and_a_link_of_one_name_keep_the_directory() {
    let script =
        Script::new().dir(b".").link(b"l", b"../outside").dir(b"l").file(b"l/new", 3).end();
    let code = code_of(&script, false);
    assert_eq!(code, 12);
}

#[test]
fn lists_must_belong_to_a_directory_that_was_announced_and_only_once() {
    let start = || Script::new().dir(b".").dir(b"d").end();
    let known = || start().number(NdxValue::SubList(1));
    check_incremental(start().number(NdxValue::SubList(7)), 2);
    check_incremental(start().number(NdxValue::SubList(0)), 2);
    check_incremental(known().end().number(NdxValue::SubList(1)), 2);
    check_incremental(known().file(b"elsewhere", 1).end(), 4);
    check_incremental(known().file(b"d/e/f", 1).end(), 4);
    check_incremental(known().end().number(NdxValue::FlistEof).number(NdxValue::SubList(1)), 2);
    check(start().number(NdxValue::SubList(1)), 2);
    check(start().number(NdxValue::FlistEof), 2);
}

#[test]
fn numbers_must_be_those_of_entries_and_content_that_was_asked_for() {
    let start = || Script::new().dir(b".").file(b"f", 3).end();
    let nothing = SumHead::default();
    check(start().answer(9, 0x0008), 2);
    check(start().answer(0, CONTENT).head(nothing), 2);
    check(start().number(NdxValue::Done).number(NdxValue::Done), 2);
    // Sums that were not sent.
    let invented = SumHead { count: 1, block_len: 700, strong_len: 2, remainder: 3 };
    check(start().answer(1, CONTENT).head(invented), 2);
    check(start().answer(1, CONTENT).head(SumHead { count: 1, ..nothing }), 2);
    // A block where there is no basis.
    check(start().answer(1, CONTENT).head(nothing).raw(&(-1_i32).to_le_bytes()), 2);
    // Twice.
    let once = start().answer(1, CONTENT).head(nothing).literal(b"abc").raw(&[0; 4]);
    let digest = [0x90, 0x01, 0x50, 0x98, 0x3c, 0xd2, 0x4f, 0xb0];
    let rest = [0xd6, 0x96, 0x3f, 0x7d, 0x28, 0xe1, 0x7f, 0x72];
    check(once.raw(&digest).raw(&rest).answer(1, CONTENT), 2);
}

#[test]
fn flags_of_what_was_not_agreed_on_end_the_session() {
    // A member of a hard-link group without -H.
    let mut script = Script::new().dir(b".");
    driftless_proto::int::put_varint(&mut script.data, 0x1200);
    check(script.raw(b"\x01x\0\0\0\0\0\0\0\0\0\0\0"), 2);
    // Creation times without --crtimes.
    let mut script = Script::new().dir(b".");
    driftless_proto::int::put_varint(&mut script.data, 0x2_0000);
    check(script.raw(b"\x01x\0\0\0\0\0\0\0\0\0\0\0"), 2);
}

#[test]
fn a_name_listed_twice_is_made_once() {
    let script = Script::new().dir(b".").dir(b"d").dir(b"d").file(b"d/f", 0).file(b"d/f", 9).end();
    assert_eq!(code_of(&script, false), 12);
    // The second one keeps its number, but nobody may speak of it.
    let script = Script::new().dir(b".").file(b"f", 0).file(b"f", 9).end().answer(2, 0x0008);
    assert_eq!(code_of(&script, false), 2);
}

#[test]
fn a_session_cut_anywhere_leaves_no_temporary_and_never_hangs() {
    let script = Script::new()
        .dir(b".")
        .file(b"f", 3)
        .end()
        .answer(1, CONTENT)
        .head(SumHead::default())
        .literal(b"abc")
        .raw(&[0; 4])
        .raw(b"\x90\x01\x50\x98\x3c\xd2\x4f\xb0\xd6\x96\x3f\x7d\x28\xe1\x7f\x72");
    let (whole, pause) = (script.data.clone(), script.pause.expect("it answers"));
    for len in 0..=whole.len() {
        let folder = tempfile::tempdir().unwrap();
        let mut cut = Script::new().raw(&whole[..len]);
        cut.pause = (len >= pause).then_some(pause);
        assert!(receive_from(&cut, false, &options(), folder.path()).is_err());
        let names: Vec<_> =
            fs::read_dir(folder.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
        match len == whole.len() {
            true => assert_eq!(names, ["f"]),
            false => assert!(names.is_empty(), "cut at {len}: {names:?}"),
        }
    }
}

#[test]
fn garbage_at_any_point_is_an_error_or_harmless() {
    let digest = b"\x90\x01\x50\x98\x3c\xd2\x4f\xb0\xd6\x96\x3f\x7d\x28\xe1\x7f\x72";
    let script = Script::new()
        .dir(b".")
        .dir(b"d")
        .file(b"d/f", 3)
        .file(b"g", 0)
        .link(b"l", b"d/f")
        .end()
        .answer(1, CONTENT)
        .head(SumHead::default())
        .literal(b"abc")
        .raw(&[0; 4])
        .raw(digest);
    let pause = script.pause.expect("it answers");
    let mut random = fastrand::Rng::with_seed(5);
    for _ in 0..600 {
        let mut data = script.data.clone();
        for _ in 0..random.usize(1..4) {
            let at = random.usize(..data.len());
            data[at] = random.u8(..);
        }
        // Whatever comes of it, it comes to an end, and nothing outside is touched.
        let mut changed = Script::new().raw(&data);
        changed.pause = random.bool().then_some(pause);
        changed.patience = Some(Duration::from_millis(5));
        code_of(&changed, random.bool());
    }
}
