//! One cell of the matrix: a set of options, a way and a protocol; all casts against the original.

use std::path::Path;

use driftless_testkit::compare::{CompareOptions, differences};

use crate::ground::{Cast, Ground, Trace, Way};
use crate::trees::{LONG_AGO, copy};

/// What was run and what came of it.
#[derive(Default)]
pub struct Count {
    pub cells: usize,
    pub wrong: Vec<String>,
}

/// Runs the cell for each of `casts` on copies of `master`, in a folder of this name.
pub fn check(
    ground: &Ground,
    master: &Path,
    name: &str,
    way: Way,
    casts: &[Cast],
    words: &[String],
) -> Count {
    let folder = ground.path(name);
    std::fs::create_dir(&folder).unwrap();
    let theirs = format!("{name}/theirs");
    copy(master, &ground.path(&theirs));
    let expected = ground.run(way, Cast::Nobody, &theirs, words);
    let mut count = Count::default();
    for cast in casts {
        let ours = format!("{name}/{cast:?}");
        copy(master, &ground.path(&ours));
        let found = ground.run(way, *cast, &ours, words);
        let mut wrong = said(way, *cast, words, &expected, &found);
        if !is_fatal(expected.code) {
            let options = compared(words);
            let [theirs, ours] = [&theirs, &ours].map(|copy| ground.path(copy));
            wrong.extend(differences(&theirs, &ours, &options).unwrap());
        }
        count.cells += 1;
        if !wrong.is_empty() {
            let command = words.join(" ");
            count.wrong.push(format!("{way:?} {cast:?} rsync {command}\n{}", wrong.join("\n")));
        }
    }
    std::fs::remove_dir_all(&folder).unwrap();
    count
}

/// Whether a run with this exit code ended in the middle: how far it was depends on the moment.
fn is_fatal(code: Option<i32>) -> bool {
    !matches!(code, Some(0 | 23 | 24 | 25))
}

/// How what was said differs.
fn said(way: Way, cast: Cast, words: &[String], expected: &Trace, found: &Trace) -> Vec<String> {
    let is_dry = words.iter().any(|word| word == "--dry-run" || has_letter(word, 'n'));
    // What comes from two processes over two pipes arrives in any order.
    let says_all =
        words.iter().any(|word| ["vv", "name2", "backup"].iter().any(|part| word.contains(part)));
    let in_order = (way == Way::Local || is_dry && cast == Cast::Client) && !says_all;
    let [theirs, ours] = [expected, found].map(|trace| Said::new(trace, in_order));
    if theirs == ours {
        return Vec::new();
    }
    let mut lines = vec![format!("code: theirs {:?}, ours {:?}", expected.code, found.code)];
    for (theirs, ours) in theirs.parts().into_iter().zip(ours.parts()) {
        let before = lines.len();
        lines.extend(left(theirs, ours).into_iter().map(|line| format!("- {line}")));
        lines.extend(left(ours, theirs).into_iter().map(|line| format!("+ {line}")));
        if theirs != ours && lines.len() == before {
            lines.push(format!("order:\n{}\n--- ours\n{}", theirs.join("\n"), ours.join("\n")));
        }
    }
    lines
}

/// The lines of `one` that are not among those of `other`.
fn left(one: &[String], other: &[String]) -> Vec<String> {
    let mut other = other.to_vec();
    let mut left = Vec::new();
    for line in one {
        match other.iter().position(|same| same == line) {
            Some(at) => drop(other.swap_remove(at)),
            None => left.push(line.clone()),
        }
    }
    left
}

/// What a run said, sorted where the order depends on what was written when.
#[derive(PartialEq, Eq)]
struct Said {
    code: Option<i32>,
    items: Vec<String>,
    /// They overtake items, which wait until a buffer is full.
    messages: Vec<String>,
    /// And hard links, in any order.
    errors: Vec<String>,
}

impl Said {
    fn new(trace: &Trace, in_order: bool) -> Self {
        // How often progress is shown within a file is a matter of buffers.
        let last = |line: &str| line.rsplit('|').next().unwrap_or(line).to_owned();
        let settled =
            |line: &str| if line.contains("(xfr#") { last(line) } else { line.to_owned() };
        let lines = trace.out.lines().map(settled);
        let (mut messages, mut items): (Vec<_>, Vec<_>) = lines.partition(|line| is_message(line));
        let mut errors: Vec<String> = trace.err.lines().map(without_count).collect();
        // A name is linked when the content of another one has come.
        errors.extend(items.extract_if(.., |line| line.starts_with("hf")));
        errors.sort_unstable();
        if is_fatal(trace.code) {
            // Each of the original's processes says how it ends, and some hear of it too late.
            let is_last =
                |line: &str| line.starts_with("rsync error: ") || line.contains(" closed (");
            errors.retain(|line| !is_last(line));
            errors.dedup();
            (messages, items) = (Vec::new(), Vec::new());
        }
        if !in_order {
            messages.sort_unstable();
            items.sort_unstable();
        }
        Self { code: trace.code, items, messages, errors }
    }

    fn parts(&self) -> [&[String]; 3] {
        [&self.items, &self.messages, &self.errors]
    }
}

/// An error text without how many bytes had been received by then.
fn without_count(line: &str) -> String {
    match (line.find("closed ("), line.find(" bytes received so far")) {
        (Some(start), Some(end)) => format!("{}#{}", &line[..start + 8], &line[end..]),
        _ => line.to_owned(),
    }
}

/// Whether the receiving side says it as a message.
fn is_message(line: &str) -> bool {
    [
        "*deleting ",
        "deleting ",
        "del._",
        "skipping ",
        "cannot delete",
        "ignoring unsafe",
        "not creating",
    ]
    .iter()
    .any(|start| line.starts_with(start))
        || [" is uptodate", " exists", " is newer", "-size", " backed up", "backed up "]
            .iter()
            .any(|part| line.contains(part))
}

/// Whether a word is a cluster of short options with that one.
pub fn has_letter(word: &str, letter: char) -> bool {
    word.starts_with('-') && !word.starts_with("--") && word.contains(letter)
}

pub fn compared(words: &[String]) -> CompareOptions {
    let has_atimes = words.iter().any(|word| word == "--atimes" || has_letter(word, 'U'));
    // Old protocols carry whole seconds, and the original's copies of old versions keep no more.
    let is_old =
        ["--protocol=29", "--protocol=30"].iter().any(|old| words.iter().any(|w| w == old));
    CompareOptions {
        nanoseconds: !is_old,
        hard_links: true,
        access_times: has_atimes,
        xattrs: true,
        now_from: Some(LONG_AGO),
        through_munged_links: false,
        excluded: vec![b"log".to_vec()],
        ..CompareOptions::default()
    }
}
