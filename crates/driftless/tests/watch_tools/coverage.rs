//! Nothing that the originals offer is without a comparison: their help lists it, a test names it.

use std::collections::BTreeSet;
use std::process::Command;

use super::support::{DRIFTLESS, starting};

/// The tests that run a tool beside its original, and those of our own options.
const TESTS: &str = concat!(
    include_str!("beyond.rs"),
    include_str!("fsnotify.rs"),
    include_str!("lines.rs"),
    include_str!("recursion.rs"),
    include_str!("refusals.rs"),
    include_str!("statistics.rs"),
);

/// The options of a help text: words that begin with a dash.
fn options(help: &str) -> BTreeSet<String> {
    let listed = help.lines().filter(|line| line.starts_with("\t-"));
    let words = listed.flat_map(|line| {
        let names = line.split_whitespace().next().unwrap_or_default();
        names.split('|').map(|name| name.trim_end_matches(',').to_owned()).collect::<Vec<_>>()
    });
    words.filter(|word| word.starts_with('-')).collect()
}

fn help(program: &mut Command) -> String {
    program.arg("--help");
    String::from_utf8(starting(|| program.output()).unwrap().stdout).unwrap()
}

/// The words of a tool's command lines in the tests.
fn tested(tool: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for word in TESTS.split(|c: char| c.is_whitespace() || "\"(),".contains(c)) {
        let word = word.split('=').next().unwrap_or_default();
        if word.starts_with("--") {
            found.insert(word.to_owned());
        } else if let Some(letters) = word.strip_prefix('-') {
            found.extend(letters.chars().map(|letter| format!("-{letter}")));
            if letters == "qq" {
                found.insert("-qq".to_owned());
            }
        }
    }
    assert!(TESTS.contains(tool));
    found
}

#[test]
fn every_option_has_a_test() {
    for tool in ["inotifywait", "inotifywatch", "fsnotifywait", "fsnotifywatch"] {
        let theirs = options(&help(&mut Command::new(tool)));
        let ours = options(&help(Command::new(DRIFTLESS).arg(tool)));
        assert!(theirs.len() > 10, "{theirs:?}");
        let unknown: Vec<_> = theirs.difference(&ours).collect();
        assert!(unknown.is_empty(), "{tool}: our help lacks {unknown:?}");
        let tested = tested(tool);
        let untested: Vec<_> = ours.difference(&tested).collect();
        assert!(untested.is_empty(), "{tool}: no test has {untested:?}");
    }
}

#[test]
fn every_event_has_a_test() {
    for tool in ["inotifywait", "inotifywatch"] {
        let help = help(&mut Command::new(tool));
        let (_, list) = help.split_once("Events:\n").expect("it lists the events");
        let names: Vec<&str> = list
            .lines()
            .filter_map(|line| line.strip_prefix('\t'))
            .filter_map(|line| line.split('\t').next())
            .filter(|name| !name.trim().is_empty())
            .collect();
        assert!(names.len() >= 15, "{names:?}");
        for name in names {
            assert!(TESTS.contains(&format!("\"{name}\"")), "no test has the event {name}");
        }
    }
}
