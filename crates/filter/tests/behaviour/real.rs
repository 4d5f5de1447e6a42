//! The same rules given to the installed rsync.

use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use driftless_filter::{Chain, Given, ParseOptions, Rules, Side};
use driftless_tree::RelPath;
use proptest::prelude::*;
use tempfile::TempDir;

use crate::{Files, options};

const NAMES: [&str; 22] = [
    "a", "b", "ab", "ba", "-", "]", "[", "^", "!", "a-b", "[a]", "a]", "abab", "\\", "a\\b", "A",
    "0", ":", "d", "d/a", "d/d/b", "d/d/d/ab",
];

fn plant(root: &Path, name: &str, content: &str) {
    let path = root.join(name);
    fs::create_dir_all(path.parent().expect("below the root")).unwrap();
    if name != "d" {
        fs::write(path, content).unwrap();
    }
}

fn world() -> TempDir {
    let dir = TempDir::new().unwrap();
    for name in NAMES {
        plant(dir.path(), name, "x");
    }
    dir
}

/// The names that rsync would send, without its words about creating the destination.
fn by_rsync(root: &Path, rules: &[String]) -> Option<BTreeSet<Vec<u8>>> {
    let source = format!("{}/", root.display());
    let run = Command::new("rsync")
        .args(["-rn", "--out-format=>%n"])
        .args(rules.iter().flat_map(|rule| ["-f", rule]))
        .args([source.as_str(), "/nonexistent/destination/"])
        .args(["--mkpath"])
        .env("LC_ALL", "C")
        .output()
        .expect("rsync is installed");
    let names = run.stdout.split(|&b| b == b'\n').filter_map(|line| {
        let name = line.strip_prefix(b">")?;
        let name = name.strip_suffix(b"/").unwrap_or(name);
        (name != b".").then(|| name.to_vec())
    });
    run.status.success().then(|| names.collect())
}

/// The names that a walk with the rules finds; `None` when a rule is wrong.
fn by_us(root: &Path, rules: &[String]) -> Option<BTreeSet<Vec<u8>>> {
    let mut files = Files(HashMap::new());
    let options =
        ParseOptions { root: root.to_str().expect("UTF-8").as_bytes().to_vec(), ..options() };
    let given: Vec<Given> =
        rules.iter().map(|rule| Given::Filter(rule.as_bytes().to_vec())).collect();
    let rules = Arc::new(Rules::parse(&given, &options, &mut files).ok()?);
    for (name, path) in [".r", "d/.r", "d/d/.r"].map(|name| (name, root.join(name))) {
        if let Ok(text) = fs::read(path) {
            files.0.insert(name.as_bytes().to_vec(), text);
        }
    }
    let mut found = BTreeSet::new();
    let chain = Chain::root(rules, Side::Sender, &mut files).ok()?;
    walk(root, None, &chain, &mut files, &mut found)?;
    Some(found)
}

fn walk(
    root: &Path,
    dir: Option<&RelPath>,
    chain: &Chain,
    files: &mut Files,
    found: &mut BTreeSet<Vec<u8>>,
) -> Option<()> {
    let path = dir.map_or(root.to_path_buf(), |dir| root.join(dir.to_string()));
    for entry in fs::read_dir(path).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().expect("UTF-8");
        let name = RelPath::child(dir, name.as_bytes()).unwrap();
        let is_dir = entry.file_type().unwrap().is_dir();
        if chain.check(name.as_bytes(), is_dir).is_excluded() {
            continue;
        }
        found.insert(name.as_bytes().to_vec());
        if is_dir {
            walk(root, Some(&name), &chain.enter(&name, files).ok()?, files, found)?;
        }
    }
    Some(())
}

fn pattern() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        "a",
        "b",
        "A",
        "0",
        "*",
        "**",
        "***",
        "?",
        "[",
        "]",
        "^",
        "!",
        "-",
        "\\",
        "/",
        "d",
        "d/",
        ":",
        "[a",
        "[!",
        "[^",
        "a-b]",
        "[[:alpha:]",
        "[:",
        ":]",
    ]);
    prop::collection::vec(piece, 1..7).prop_map(|pieces| pieces.concat())
}

fn rule() -> impl Strategy<Value = String> {
    let kind = prop::sample::select(vec![
        "- ", "+ ", "-! ", "H ", "S ", "P ", "-/ ", "-p ", "+_", "-s ", "-r ",
    ]);
    let pattern = prop::sample::select(vec![
        "a", "b", "ab", "/a", "/d/a", "d/", "*", "*/", "d/***", "**b", "/d/**", "d/*", "?", "d/d",
        "/d/", "/d/d/b",
    ]);
    (kind, pattern).prop_map(|(kind, pattern)| format!("{kind}{pattern}"))
}

/// One line of a per-directory file.
fn line() -> impl Strategy<Value = String> {
    prop_oneof![
        8 => rule(),
        1 => Just("!".to_string()),
        1 => Just("# - a".to_string()),
        1 => Just(String::new()),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn random_patterns_match_as_in_rsync(pattern in pattern()) {
        let world = world();
        let rules = [format!("- {pattern}")];
        prop_assert_eq!(by_us(world.path(), &rules), by_rsync(world.path(), &rules));
    }

    #[test]
    fn random_lists_and_directory_files_act_as_in_rsync(
        rules in prop::collection::vec(rule(), 0..4),
        slot in prop::sample::select(vec![": .r", ":n .r", ":s .r", ":r .r", ":e .r", ":p/ .r", ":- .r"]),
        at in 0..4_usize,
        lines in prop::collection::vec(prop::collection::vec(line(), 0..4), 3),
    ) {
        let world = world();
        for (name, lines) in [".r", "d/.r", "d/d/.r"].into_iter().zip(&lines) {
            plant(world.path(), name, &lines.join("\n"));
        }
        let mut rules = rules;
        rules.insert(at.min(rules.len()), slot.to_string());
        prop_assert_eq!(by_us(world.path(), &rules), by_rsync(world.path(), &rules));
    }
}
