//! A reader on a mirror sees the old file or the new one, never a mixture.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use driftless_testkit::scenario::Stage;

use crate::DRIFTLESS;

const REWRITES: u64 = 10_000;
const FILES: u64 = 5;
const WORDS: usize = 12_000;

#[test]
fn files_replaced_ten_thousand_times_are_never_seen_mixed() {
    rewritten_under_a_reader(|path, words| {
        let fresh = path.with_extension("new");
        fs::write(&fresh, words).unwrap();
        fs::rename(&fresh, path).unwrap();
    });
}

#[test]
fn files_rewritten_in_place_ten_thousand_times_are_never_seen_mixed() {
    rewritten_under_a_reader(|path, words| {
        let file = OpenOptions::new().write(true).open(path).unwrap();
        // In pieces, so that the source itself holds mixtures most of the time.
        for (index, piece) in words.chunks(words.len() / 4).enumerate() {
            file.write_all_at(piece, (index * (words.len() / 4)) as u64).unwrap();
        }
    });
}

fn rewritten_under_a_reader(rewrite: impl Fn(&Path, &[u8]) + Sync) {
    let stage = Stage::book(DRIFTLESS, 1);
    for file in 0..FILES {
        stage.write(&format!("page{file}"), version(0));
    }
    let run = stage.live(&["--exclude", "*.new"]);
    let (over, seen) = (AtomicBool::new(false), AtomicU64::new(0));
    thread::scope(|scope| {
        scope.spawn(|| {
            // Also when the assertion fails: the writer is waited for.
            let _over = SetOnDrop(&over);
            for number in 1..=REWRITES {
                rewrite(&stage.at(&format!("page{}", number % FILES)), &version(number));
            }
        });
        while !over.load(Ordering::SeqCst) {
            for file in 0..FILES {
                let bytes = fs::read(stage.target(0).join(format!("page{file}"))).unwrap();
                assert_unmixed(&bytes);
                seen.fetch_add(1, Ordering::Relaxed);
            }
        }
    });
    assert!(seen.into_inner() > 0);
    stage.settles(&run);
    for file in 0..FILES {
        assert_unmixed(&fs::read(stage.target(0).join(format!("page{file}"))).unwrap());
    }
}

struct SetOnDrop<'a>(&'a AtomicBool);

impl Drop for SetOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

fn version(number: u64) -> Vec<u8> {
    number.to_le_bytes().repeat(WORDS)
}

#[track_caller]
fn assert_unmixed(bytes: &[u8]) {
    assert_eq!(bytes.len(), WORDS * 8, "a version that never existed");
    let first = &bytes[..8];
    let strange = bytes.chunks(8).position(|word| word != first);
    assert_eq!(strange, None, "two versions in one file");
}

#[test]
fn a_log_that_never_rests_still_arrives() {
    let stage = Stage::book(DRIFTLESS, 1);
    stage.write("log", "");
    let _run = stage.live(&[]);
    let mut log = OpenOptions::new().append(true).open(stage.at("log")).unwrap();
    // The file stays open and keeps growing: it is sent without waiting for its end.
    let mirrored = stage.target(0).join("log");
    driftless_testkit::wait::until(
        "the target has part of the log",
        driftless_testkit::wait::GENEROUS,
        || {
            log.write_all(b"one more line\n").unwrap();
            fs::metadata(&mirrored).is_ok_and(|meta| meta.len() > 0).then_some(())
        },
    );
    let part = fs::read(&mirrored).unwrap();
    assert!(fs::read(stage.at("log")).unwrap().starts_with(&part));
}
