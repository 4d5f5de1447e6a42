//! The streams that fuzzing found worth keeping, once more.

use std::fs;
use std::path::Path;

use driftless_transfer::connect::Direction;

use crate::any_stream::session;

#[track_caller]
fn replay(name: &str, direction: Direction) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/seeds").join(name);
    let room = tempfile::tempdir().unwrap();
    let mut count = 0;
    for entry in fs::read_dir(folder).unwrap() {
        session(&fs::read(entry.unwrap().path()).unwrap(), direction, room.path());
        count += 1;
    }
    assert!(count > 0, "no streams for {name}");
}

#[test]
fn streams_for_a_receiver_do_no_harm() {
    replay("receiving", Direction::Receive);
}

#[test]
fn streams_for_a_sender_do_no_harm() {
    replay("sending", Direction::Send);
}
