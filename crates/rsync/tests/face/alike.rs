//! Small trees on which one thing is decided, with the real program and with ours: what is said,
//! how it ends and what is left, to the nanosecond.

mod alternates;
mod attributes;
mod backups;
mod content;
mod deletions;
mod hard_links;
mod links;
mod lists;
mod rules;

use std::fs;
use std::path::Path;
use std::process::Command;

use driftless_testkit::compare::{CompareOptions, differences};

use crate::side_by_side::{Bench, Cast, LONG_AGO};

/// Runs a shell script in the folder that the trees are in.
fn script(root: &Path, text: &str) {
    let done = Command::new("bash").args(["-ec", text]).current_dir(root).status().unwrap();
    assert!(done.success(), "{text}");
}

/// Runs `rsync` with these words on `s/` and `d`, which the script makes.
#[track_caller]
fn check(trees: &str, words: &str, cast: Cast, ends: [&str; 2]) {
    check_with(trees, words, cast, ends, &["d"]);
}

/// Likewise; `left` are the folders that are compared.
#[track_caller]
fn check_with(trees: &str, words: &str, cast: Cast, ends: [&str; 2], left: &[&str]) {
    let bench = Bench::new(|root| script(root, trees));
    let ends = ends.iter().flat_map(|end| end.split(' '));
    let words: Vec<String> = words.split_whitespace().chain(ends).map(str::to_owned).collect();
    let mut found = bench.compare(cast, &words);
    let options = CompareOptions {
        hard_links: true,
        xattrs: true,
        now_from: Some(LONG_AGO),
        ..CompareOptions::default()
    };
    for folder in left {
        let [theirs, ours] = ["theirs", "ours"].map(|copy| bench.copy(copy).join(folder));
        if fs::exists(&theirs).unwrap() {
            found.extend(differences(&theirs, &ours, &options).unwrap());
        }
    }
    assert!(found.is_empty(), "rsync {}\n{}", words.join(" "), found.join("\n"));
}
