//! `docs/advisories.md` says which tests hold against what was published: they exist.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};

fn sources(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => sources(&path, found),
            false => found.push(path),
        }
    }
}

/// Whether a file of this name in a crate has a test of this name.
fn exists(crates: &Path, krate: &str, file: &str, test: &str) -> bool {
    let mut found = Vec::new();
    for part in ["src", "tests"] {
        let dir = crates.join(krate).join(part);
        if dir.is_dir() {
            sources(&dir, &mut found);
        }
    }
    let head = format!("fn {test}(");
    found.iter().filter(|path| path.ends_with(format!("{file}.rs"))).any(|path| {
        let text = fs::read_to_string(path).unwrap();
        let mut before = text.split(&head);
        let lines = before.next().unwrap_or_default().lines().rev();
        // Right above, but for its own attributes and visibility.
        let above = lines.take(3).any(|line| line.trim() == "#[test]");
        before.next().is_some() && above
    })
}

#[test]
fn each_row_names_tests_that_exist() {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let text = fs::read_to_string(crates.join("../docs/advisories.md")).unwrap();
    let rows = text.lines().filter(|line| line.starts_with("| ")).skip(1);
    let mut seen = HashSet::new();
    let mut problems = Vec::new();
    for row in rows {
        let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
        let [advisory, _, tests] = cells[..] else { panic!("three cells: {row}") };
        for id in advisory.split(", ").filter(|id| !id.is_empty()) {
            if id.starts_with('C') && !seen.insert(id) {
                problems.push(format!("{id} has two rows"));
            }
        }
        if tests == "not shipped" {
            continue;
        }
        for test in tests.split(", ") {
            let parts: Vec<&str> = test.trim_matches('`').split("::").collect();
            match parts[..] {
                [krate, file, name] if exists(crates, krate, file, name) => {}
                _ => problems.push(format!("{advisory}: there is no test {test}")),
            }
        }
    }
    assert!(seen.len() > 50, "the table is not found: {} rows", seen.len());
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}
