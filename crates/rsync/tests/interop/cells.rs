//! One cell of the matrix: a set of options, a way and a protocol; all casts against the original.

use std::path::{Path, PathBuf};

use driftless_testkit::compare::{CompareOptions, differences};

use crate::ground::{Cast, Ground, Trace, Way};
use crate::trees::{LONG_AGO, copy};

/// What was run and what came of it.
#[derive(Default)]
pub struct Count {
    pub cells: usize,
    pub wrong: Vec<String>,
}

/// How often the original is asked at most, where it says something else than ours: what is a matter
/// of time differs between its own runs, too.
const RUNS: usize = 3;

/// Runs the cell for each of `casts` on copies of `master`, in a folder of this name.
pub fn check(
    ground: &Ground,
    master: &Path,
    name: &str,
    way: Way,
    casts: &[Cast],
    words: &[String],
) -> Count {
    std::fs::create_dir(ground.path(name)).unwrap();
    let cell = Cell { ground, master, name, way, words };
    let mut theirs = vec![cell.run(Cast::Nobody, "theirs0")];
    let mut count = Count::default();
    for cast in casts {
        let ours = cell.run(*cast, &format!("{cast:?}"));
        let mut wrong = cell.differences(*cast, &theirs[0], &ours);
        for at in 1..RUNS {
            if wrong.is_empty() {
                break;
            }
            if theirs.len() == at {
                theirs.push(cell.run(Cast::Nobody, &format!("theirs{at}")));
            }
            if cell.differences(*cast, &theirs[at], &ours).is_empty() {
                println!("the original varies: {way:?} rsync {}", words.join(" "));
                wrong.clear();
            }
        }
        count.cells += 1;
        if !wrong.is_empty() {
            let command = words.join(" ");
            count.wrong.push(format!("{way:?} {cast:?} rsync {command}\n{}", wrong.join("\n")));
        }
    }
    std::fs::remove_dir_all(ground.path(name)).unwrap();
    count
}

/// Where the runs of one cell happen.
struct Cell<'a> {
    ground: &'a Ground,
    master: &'a Path,
    name: &'a str,
    way: Way,
    words: &'a [String],
}

/// What came of one run.
struct Run {
    folder: PathBuf,
    trace: Trace,
}

impl Cell<'_> {
    fn run(&self, cast: Cast, folder: &str) -> Run {
        let name = format!("{}/{folder}", self.name);
        let folder = self.ground.path(&name);
        copy(self.master, &folder);
        Run { folder, trace: self.ground.run(self.way, cast, &name, self.words) }
    }

    fn differences(&self, cast: Cast, theirs: &Run, ours: &Run) -> Vec<String> {
        let (expected, found) = (&theirs.trace, &ours.trace);
        let mut wrong = match breaks_down(expected) {
            false if loses_its_basis(self.words, expected, found) => Vec::new(),
            false => said(self.way, cast, self.words, expected, found),
            true if hangs(found) && ours_receives(self.way, cast) => {
                vec!["it hangs, as the original".to_owned()]
            }
            true => {
                println!("the original breaks down: {:?} rsync {}", self.way, self.words.join(" "));
                Vec::new()
            }
        };
        if !is_fatal(expected.code) {
            let options = compared(self.words);
            wrong.extend(differences(&theirs.folder, &ours.folder, &options).unwrap());
        }
        wrong
    }
}

/// Whether the original alone tried a file again: with `--fuzzy` it opens the basis by its name when
/// content comes, and that can be another version by then. One that was written over is so to both,
/// but the original has put zeros for what it lacks.
fn loses_its_basis(words: &[String], expected: &Trace, found: &Trace) -> bool {
    let tries_again = |trace: &Trace| trace.err.contains("(will try again)");
    let is_fuzzy = words.iter().any(|word| has_letter(word, 'y'));
    let writes_over = words.iter().any(|word| word == "--inplace");
    let is_told = is_fuzzy && expected.code == found.code && tries_again(expected);
    is_told && (writes_over || !tries_again(found))
}

/// Whether the receiving side, which is the one that waits for ever, is ours.
fn ours_receives(way: Way, cast: Cast) -> bool {
    match way {
        Way::Local | Way::PullDaemon => true,
        Way::PushDaemon => false,
        Way::PullShell => cast != Cast::Server,
        Way::PushShell => cast != Cast::Client,
    }
}

/// Whether the original cannot talk to itself, or waits for ever (hard links with `-L` and
/// incremental recursion).
fn breaks_down(trace: &Trace) -> bool {
    let tells = [
        // With names of `--files-from` and other options for its server one end requests what the
        // other has never listed, or takes names for options or frames.
        "File-list index ",
        "unexpected tag ",
        "--secluded-args conflicts with",
        // A basis that was found by `--fuzzy` can be gone.
        "got a block match with no basis file",
        // Members of a hard-link group that is appended to wait for theirs.
        "Invalid packet at end of run",
        // Such members are asked for a directory's ACL.
        "ACL_TYPE_DEFAULT): Permission denied",
    ];
    // In a dry run it looks for other names of a file behind what is to give way to their directory.
    let looks_behind = |line: &str| {
        line.contains("[generator] stat ") && line.ends_with(" failed: Not a directory (20)")
    };
    hangs(trace)
        || tells.iter().any(|text| trace.err.contains(text))
        || trace.err.lines().any(looks_behind)
}

fn hangs(trace: &Trace) -> bool {
    trace.code == Some(TIMED_OUT)
}

/// The exit code of `timeout`.
const TIMED_OUT: i32 = 124;

/// Whether a run with this exit code ended in the middle: how far it was depends on the moment.
fn is_fatal(code: Option<i32>) -> bool {
    !matches!(code, Some(0 | 23 | 24 | 25))
}

/// How often `-v` is given.
pub fn verbosity(words: &[String]) -> usize {
    let from = words.iter().rposition(|word| word == "--no-v").unwrap_or(0);
    let clusters = words[from..].iter().filter(|word| has_letter(word, 'v'));
    clusters.map(|word| word.matches('v').count()).sum()
}

/// How what was said differs.
fn said(way: Way, cast: Cast, words: &[String], expected: &Trace, found: &Trace) -> Vec<String> {
    let is_dry = words.iter().any(|word| word == "--dry-run" || has_letter(word, 'n'));
    // What comes from two processes over two pipes arrives in any order, and which file is to be
    // sent again is found out while others go over.
    let says_all = words.iter().any(|word| {
        ["name2", "backup", "append-verify", "remove"].iter().any(|part| word.contains(part))
    });
    // Hard links are told by their mark, which a format may lack.
    let says_all = says_all
        || verbosity(words) >= 2
        || words.iter().any(|word| word.starts_with("--out-format"))
            && words.iter().any(|word| has_letter(word, 'H'));
    let in_order = (way == Way::Local || is_dry && cast == Cast::Client) && !says_all;
    let [mut theirs, mut ours] = [expected, found].map(|trace| Said::new(trace, in_order, words));
    for said in [&mut theirs, &mut ours].into_iter().filter(|_| way != Way::Local) {
        // A server that gives up closes its end: whether that is met as a reset or a closed pipe (10)
        // or as the end of what is read (12) is a matter of time.
        said.code = said.code.map(|code| if code == 10 { 12 } else { code });
    }
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
    fn new(trace: &Trace, in_order: bool, words: &[String]) -> Self {
        let of_all = words.iter().any(|word| word.contains("progress2"));
        let of_any = |word: &String| word.contains("progress") || has_letter(word, 'P');
        let shows = words.iter().any(of_any);
        // A line of progress that is open ends where somebody else says something.
        let lines = trace.out.lines().filter(|line| !(shows && line.trim().is_empty()));
        let lines = without_steps(lines, of_all);
        let (mut messages, mut items): (Vec<_>, Vec<_>) =
            lines.into_iter().partition(|line| is_message(line));
        // An error ends a line that tells of progress, or comes after it.
        let lines = without_steps(trace.err.lines().filter(|line| !line.is_empty()), of_all);
        let text = |line: &String| without_alternate(without_count(line));
        let mut errors: Vec<String> = lines.iter().map(text).collect();
        // A name is linked when the content of another one has come.
        // What is listed in a link's place is told of in the order of the directory, and what gives
        // way to a file, unkept, when that has come.
        let is_link = |line: &mut String| {
            line.starts_with("hf")
                || line.contains(" => ")
                || ["copying unsafe symlink", "not backing up"].iter().any(|s| line.starts_with(s))
        };
        let mut links: Vec<_> = items.extract_if(.., is_link).map(without_alternate).collect();
        // With what a name is compared depends on whether the content of another one has come by then.
        let is_dry = words.iter().any(|word| has_letter(word, 'n'));
        if !is_dry && words.iter().any(|word| word.contains("-dest=")) {
            for line in links.iter_mut().filter(|line| line.starts_with("hf") && line.len() > 11) {
                line.replace_range(2..11, "#");
            }
        }
        // Without incremental recursion the original may forget to tell of the names of a file that
        // comes again.
        let forgets = words.iter().any(|word| has_letter(word, 'H'))
            && words.iter().any(|word| word == "--append-verify");
        if !forgets {
            errors.extend(links);
        }
        // A pass that deletes looks for rules in each name, even behind a link, where none count.
        let looks_behind = |word: &String| has_letter(word, 'F') || has_letter(word, 'C');
        if words.iter().any(|word| word.starts_with("--del")) && words.iter().any(looks_behind) {
            errors.retain(|line| !line.starts_with("refusing to follow a symlink owned by"));
        }
        errors.sort_unstable();
        if is_fatal(trace.code) {
            // Each of the original's processes says how it ends, and some hear of it too late.
            let is_last =
                |line: &str| line.starts_with("rsync error: ") || line.contains(" closed (");
            // With --stderr=all items are among the errors.
            let is_item = |line: &str| {
                line.starts_with(['.', '<', '>', 'c', 'h', '*']) && line.get(11..12) == Some(" ")
            };
            errors.retain(|line| !is_last(line) && !is_item(line));
            errors.dedup();
            (messages, items) = (Vec::new(), Vec::new());
        }
        // What passes through a folder of temporary files may do so before that is looked at.
        if words.iter().any(|word| word == "-T") {
            items.retain(|line| !line.ends_with("kinds/"));
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

/// Lines without the progress within a file, or where it is that `of_all` files any: how often that
/// is shown is a matter of buffers and of time, and where other lines break it one of processes.
fn without_steps<'a>(lines: impl Iterator<Item = &'a str>, of_all: bool) -> Vec<String> {
    let mut left: Vec<String> = Vec::new();
    for line in lines {
        // What counted a list was wiped out.
        let line = match line.split_once('\r') {
            Some((blanks, rest)) if blanks.bytes().all(|b| b == b' ') => rest,
            _ => line,
        };
        let state = line.rsplit('|').next().unwrap_or(line);
        let is_progress = state.split(' ').nth(1).is_some_and(|word| {
            word.strip_suffix('%').is_some_and(|n| n.bytes().all(|b| b.is_ascii_digit()))
        });
        match is_progress {
            // The progress of a list, which the original shows when it looks for what to delete, too.
            false if line.split('\r').all(|part| part.ends_with(" files...")) => {}
            // The end of a line of progress, or what wiped it out.
            false if of_all && line.trim_matches([' ', '\r']).is_empty() => {}
            // A text may come before the list is there.
            false if line.ends_with(" ... done") => {
                left.extend([line.trim_end_matches("done").to_owned(), "done".to_owned()]);
            }
            false if line.ends_with(" to consider") && line.contains(" ... ") => {
                let (start, count) = line.split_once(" ... ").unwrap_or_default();
                left.extend([format!("{start} ... "), count.to_owned()]);
            }
            // What counted the list was wiped out by blanks.
            false if line.trim().is_empty() => left.push(String::new()),
            false if line.trim_start().starts_with(['.', '<', '>', 'c', '*']) => {
                left.push(line.trim_start().to_owned());
            }
            false => left.push(line.to_owned()),
            true if !of_all && state.contains("(xfr#") => left.push(state.to_owned()),
            true => {}
        }
    }
    left
}

/// A line about a hard link without the path of an alternate directory: in a dry run the original
/// names the file there once it has forgotten the list that it was in.
fn without_alternate(line: String) -> String {
    match line.split_once(" => ") {
        Some((start, to)) => match to.split_once("/../") {
            Some((_, path)) => {
                let name = path.split_once('/').map_or(path, |(_, name)| name);
                format!("{start} => {name}")
            }
            None => line,
        },
        None => line,
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
        "IO error encountered",
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
