//! Every option, event, form and error line of the originals has a command line here that both
//! programs run; what their help lists and no line has is named.

use std::collections::BTreeSet;
use std::process::Command;

use super::fsnotify;
use super::refusals::{HELP, refused};
use super::support::{CHANGES, DRIFTLESS, End, TREE, both, same_in, starting};
use super::syslog;

/// Run side by side; output, exit code and standard error must be equal.
const LINES: &[&str] = &[
    "inotifywait d",
    "inotifywait -m d",
    "inotifywait --monitor d",
    "inotifywait -mr d @d/c",
    "inotifywait --recursive d -m @d/c/",
    "inotifywait -m --exclude m$ d",
    "inotifywait -m --excludei M$ d",
    "inotifywait -m --include m$ d",
    "inotifywait -m --includei M$ d",
    "inotifywait -m -P l",
    "inotifywait -m --no-dereference l",
    "inotifywait -m --fromfile list d",
    "inotifywait -m --fromfile - d",
    "inotifywait -m --fromfile -",
    "inotifywait -m -o log d",
    "inotifywait -m --outfile log d",
    "inotifywait -q d",
    "inotifywait --quiet -m d",
    "inotifywait -qq -m d",
    "inotifywait -c -m d",
    "inotifywait --csv -m d",
    "inotifywait -t 1 d/b",
    "inotifywait --timeout 1 -m d/b",
    "inotifywait -mI d",
    "inotifywait -m --inotify d",
    "inotifywait -m --format %w|%f|%e|%;e|%Te|%T|%%|%n|%0|%y --timefmt %Y d",
    "inotifywait -m --format %c␣%f -e create,attrib d",
    "inotifywait -m --format %w%f%0 --no-newline d",
    "inotifywait -e modify d/f",
    "inotifywait -m --event access -e modify -e attrib d",
    "inotifywait -m -e close_write -e close_nowrite d",
    "inotifywait -m -e close -e open d",
    "inotifywait -m -e moved_to -e moved_from d",
    "inotifywait -m -e move -e move_self d d/m",
    "inotifywait -m -e create -e delete -e delete_self d",
    "inotifywait -m -e unmount -e create d",
    "inotifywait -m -e q_overflow -e ignored -e oneshot -e create d",
    "inotifywait -m -e all_events d",
    "inotifywait -m -e isdir -e create d",
    "inotifywatch d",
    "inotifywatch -v -r d",
    "inotifywatch --verbose --recursive d @d/a",
    "inotifywatch --fromfile list d",
    "inotifywatch --exclude m d",
    "inotifywatch --excludei M d",
    "inotifywatch --include m d",
    "inotifywatch --includei M d",
    "inotifywatch -z d",
    "inotifywatch --zero d",
    "inotifywatch -P l",
    "inotifywatch --no-dereference l",
    "inotifywatch -t 1 d/b",
    "inotifywatch --timeout 1 d/b",
    "inotifywatch -I d",
    "inotifywatch --inotify d",
    "inotifywatch -a create -r d",
    "inotifywatch --ascending open -r d",
    "inotifywatch -d create -r d",
    "inotifywatch --descending total -r d",
    "inotifywatch -e access -e modify -e attrib d",
    "inotifywatch --event close_write -e close_nowrite d",
    "inotifywatch -e close -e open d",
    "inotifywatch -e moved_to -e moved_from d",
    "inotifywatch -e move -e move_self d",
    "inotifywatch -e create -e delete -e delete_self -e unmount d",
];

/// The same with fanotify, which joins what was not read yet: single events or rows must be equal. Its
/// paths are absolute, so that expressions must not meet the names of temporary folders.
const FSNOTIFY_LINES: &[&str] = &[
    "fsnotifywait -q -m d",
    "fsnotifywait --quiet --monitor d",
    "fsnotifywait -qq -m d",
    "fsnotifywait -q -m --exclude /m$ d",
    "fsnotifywait -q -m --excludei /M$ d",
    "fsnotifywait -q -m --include /m$ d",
    "fsnotifywait -q -m --includei /M$ d",
    "fsnotifywait -q -m -P d/f",
    "fsnotifywait -q -m --no-dereference d/f",
    "fsnotifywait -q -r -e attrib d/a",
    "fsnotifywait -q --recursive -e attrib d/a",
    "fsnotifywait -q -m -I d",
    "fsnotifywait -q -m --inotify d",
    "fsnotifywait -q -m -F d",
    "fsnotifywait -q -m --fanotify d",
    "fsnotifywait -q -m --fromfile list d",
    "fsnotifywait -q -m -o log d",
    "fsnotifywait -q -m --outfile log d",
    "fsnotifywait -q -m --format %w␣%e␣%f d",
    "fsnotifywait -q -m --format %w␣%e␣%f%n --no-newline d",
    "fsnotifywait -q -m --format %w␣%e␣%f%T --timefmt %Y -e create d",
    "fsnotifywait -q -m -c -e create d",
    "fsnotifywait -q -m --csv -e create d",
    "fsnotifywait -q -t 1 d/b",
    "fsnotifywait -q -m --timeout 1 d/b",
    "fsnotifywait -q -m --event create -e delete d",
    "fsnotifywatch -e create d",
    "fsnotifywatch -v -r -e create d",
    "fsnotifywatch --verbose --recursive --event create d",
    "fsnotifywatch --fromfile list -e create d",
    "fsnotifywatch --exclude /m$ -e create d",
    "fsnotifywatch --excludei /M$ -e create d",
    "fsnotifywatch --include /n$ -e create d",
    "fsnotifywatch --includei /N$ -e create d",
    "fsnotifywatch -z -e create d",
    "fsnotifywatch --zero -e create d",
    "fsnotifywatch -I -e create d",
    "fsnotifywatch --inotify -e create d",
    "fsnotifywatch -F -e create d",
    "fsnotifywatch --fanotify -e create d",
    "fsnotifywatch -P -e create d",
    "fsnotifywatch --no-dereference -e create d",
    "fsnotifywatch -t 1 d/b",
    "fsnotifywatch --timeout 1 d/b",
    "fsnotifywatch -a create -e create d",
    "fsnotifywatch --ascending total -e create d",
    "fsnotifywatch -d create -e create d",
    "fsnotifywatch --descending total -e create d",
];

/// Lines that both programs refuse, and with what.
const ERRORS: &[(&str, &str)] = &[
    ("inotifywait -e foo d", "'foo' is not a valid event!  Run with the '--help' option"),
    ("inotifywait --exclude a --excludei b d", "--exclude and --excludei cannot both"),
    ("inotifywait --include a --includei b d", "--include and --includei cannot both"),
    ("inotifywait --exclude a --include b d", "include and exclude regexp cannot both"),
    ("inotifywait -c --format x d", "-c and --format cannot both be specified."),
    ("inotifywait --no-newline d", "--no-newline cannot be specified without --format."),
    ("inotifywait --timefmt x d", "--timefmt cannot be specified without --format."),
    ("inotifywait --format %T d", "%T is in --format string, but --timefmt was not specified."),
    ("inotifywait -d d", "-o must be specified with -d."),
    ("inotifywait --fromfile a --fromfile b", "Multiple --fromfile options given."),
    ("inotifywait -o a -o b", "Multiple --outfile options given."),
    ("inotifywait", "No files specified to watch!"),
    ("inotifywait --exclude ( d", "Error in `exclude' regular expression."),
    ("inotifywait --include ( d", "Error in `include' regular expression."),
    ("inotifywait -f d", "The '--filename' option no longer exists."),
    ("inotifywait --filename d", "The '--filename' option no longer exists."),
    ("inotifywait -o /nowhere/at/all d", "Failed to open output file /nowhere/at/all"),
    ("inotifywait -d -o missing d", "missing"),
    ("inotifywait -t abc d", "'abc' is not a valid timeout value."),
    ("inotifywait -t ∅ d", "The provided value is not a valid timeout value."),
    ("inotifywait nope", "Couldn't watch nope: No such file or directory"),
    ("inotifywait --bogus", "unrecognized option '--bogus'"),
    ("inotifywatch -e foo d", "'foo' is not a valid event!"),
    ("inotifywatch -a foo d", "'foo' is not a valid key for sorting!"),
    ("inotifywatch -a open -e close d", "Can't sort by an event which isn't being watched for!"),
    ("inotifywatch -a open -a access d", "Please specify -a or -d once only!"),
    ("inotifywatch -a move d", "Cannot sort by `move' event"),
    ("inotifywatch -a close d", "Cannot sort by `close' event"),
    ("inotifywatch", "No files specified to watch!"),
    ("inotifywatch nope", "Failed to watch nope: No such file or directory"),
    ("fsnotifywait -S nope", "Couldn't add filesystem watch nope"),
];

/// What is in a name of the tree that `--fromfile` reads.
fn tree() -> Vec<&'static str> {
    [TREE, &["append more", "append list"]].concat()
}

/// The options of a help text: words that begin with a dash.
fn options(help: &str) -> BTreeSet<String> {
    let listed = help.lines().filter(|line| line.starts_with("\t-"));
    let words = listed.flat_map(|line| {
        let names = line.split_whitespace().next().unwrap_or_default();
        names.split('|').map(|name| name.trim_end_matches(',').to_owned()).collect::<Vec<_>>()
    });
    words.filter(|word| word.starts_with('-')).collect()
}

fn help(tool: &str) -> String {
    let output = starting(|| Command::new(tool).arg("--help").output()).unwrap();
    String::from_utf8(output.stdout).unwrap()
}

/// Every line that both programs run.
fn lines() -> impl Iterator<Item = &'static str> {
    let errors = ERRORS.iter().map(|(line, _)| *line);
    let tables = [LINES, FSNOTIFY_LINES, syslog::LINES, fsnotify::FILESYSTEM_LINES, HELP];
    tables.into_iter().flatten().copied().chain(errors)
}

/// The options that lines of this tool have.
fn compared(tool: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for line in lines() {
        let mut words = line.split_whitespace();
        if words.next() != Some(tool) {
            continue;
        }
        for word in words {
            if word.starts_with("--") {
                found.extend(word.split('=').next().map(str::to_owned));
            } else if word == "-qq" {
                found.insert(word.to_owned());
            } else if let Some(letters) = word.strip_prefix('-') {
                found.extend(letters.chars().map(|letter| format!("-{letter}")));
            }
        }
    }
    found
}

/// Nothing happens while a line waits for its time to be over.
fn course<'a, 'b>(line: &str, acts: &'a [&'b str]) -> (&'a [&'b str], End) {
    match line.contains(" -t ") || line.contains(" --timeout ") {
        true => (&[], End::Itself),
        false => (acts, End::Term),
    }
}

#[test]
fn every_option_of_the_originals_is_compared() {
    for tool in ["inotifywait", "inotifywatch", "fsnotifywait", "fsnotifywatch"] {
        let theirs = options(&help(tool));
        assert!(theirs.len() > 10, "{theirs:?}");
        let compared = compared(tool);
        let missing: Vec<_> = theirs.difference(&compared).collect();
        assert!(missing.is_empty(), "{tool}: no line compares {missing:?}");
        let ours = starting(|| Command::new(DRIFTLESS).args([tool, "--help"]).output()).unwrap();
        let ours = options(&String::from_utf8(ours.stdout).unwrap());
        let unknown: Vec<_> = theirs.difference(&ours).collect();
        assert!(unknown.is_empty(), "{tool}: our help lacks {unknown:?}");
    }
}

#[test]
fn every_event_and_escape_of_the_originals_is_compared() {
    let has = |tool: &str, wanted: &str| {
        lines().any(|line| line.starts_with(tool) && line.contains(wanted))
    };
    for tool in ["inotifywait", "inotifywatch"] {
        let help = help(tool);
        let (_, list) = help.split_once("Events:\n").expect("it lists the events");
        let names: Vec<&str> = list
            .lines()
            .filter_map(|line| line.strip_prefix('\t'))
            .filter_map(|line| line.split('\t').next())
            .filter(|name| !name.trim().is_empty())
            .collect();
        assert!(names.len() >= 15, "{names:?}");
        for name in names {
            let is_compared =
                has(tool, &format!("-e {name} ")) || has(tool, &format!("--event {name} "));
            assert!(is_compared, "{tool}: no line compares the event {name}");
        }
    }
    for name in ["q_overflow", "ignored", "isdir", "oneshot", "all_events"] {
        assert!(has("inotifywait", &format!("-e {name} ")), "no line compares the event {name}");
    }
    for escape in ["%w", "%f", "%e", "%;e", "%T", "%c", "%0", "%n", "%%", "%y"] {
        assert!(has("inotifywait", escape), "no line compares the escape {escape}");
    }
    for word in ["inotifywait -mr d @", "inotifywatch --verbose --recursive d @", " --fromfile -"] {
        assert!(lines().any(|line| line.contains(word)), "no line has {word}");
    }
}

#[test]
fn lines_of_all_options_give_the_same() {
    let acts = [CHANGES, &["append more"]].concat();
    let mut codes = BTreeSet::new();
    for line in LINES {
        let (acts, end) = course(line, &acts);
        codes.insert(same_in(line, &tree(), acts, end).code);
    }
    // By an event, by an error, by silence, by a signal.
    assert!(codes.is_superset(&[0, 1, 2, -15].into()), "{codes:?}");
}

#[test]
fn lines_of_all_options_give_the_same_with_fanotify() {
    let acts = [CHANGES, &["append more"]].concat();
    for line in FSNOTIFY_LINES {
        let (acts, end) = course(line, &acts);
        fsnotify::same_in(line, &tree(), acts, end);
    }
}

#[test]
fn error_lines_are_those_of_the_originals() {
    for (line, text) in ERRORS {
        refused(line);
        let (theirs, _) = both(line, TREE, &[], End::Itself);
        assert!(theirs.stderr.contains(text), "{line}: {}", theirs.stderr);
    }
}
