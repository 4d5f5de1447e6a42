//! Every recorded filter case through the command line: what is kept, deleted and said is what was
//! recorded of rsync 3.5.0.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use driftless_testkit::compare::names;
use serde_json::Value;

use crate::ground::ours;

fn cases(kind: &str) -> Vec<Value> {
    let text = include_str!("../../../filter/tests/data/filter-cases.json");
    let all: Vec<Value> = serde_json::from_str(text).expect("valid JSON");
    all.into_iter().filter(|case| case["kind"] == kind).collect()
}

fn text(value: &Value) -> &str {
    value.as_str().expect("a string")
}

/// Makes a file with this content, a link (`->TARGET`), or a directory (`NAME/`).
fn plant(root: &Path, name: &str, content: &str) {
    let path = root.join(name);
    if name.ends_with('/') {
        return fs::create_dir_all(path).unwrap();
    }
    fs::create_dir_all(path.parent().expect("below the root")).unwrap();
    match content.strip_prefix("->") {
        Some(target) => symlink(target, path).unwrap(),
        None => fs::write(path, content).unwrap(),
    }
}

fn run(root: &Path, cvsignore: Option<&str>, words: &[String]) -> Output {
    let mut command = Command::new(ours());
    command
        .args(words)
        .current_dir(root)
        .env_clear()
        .env("HOME", root.join("home"))
        .env("LC_ALL", "C")
        .stdin(Stdio::null());
    if let Some(cvsignore) = cvsignore {
        command.env("CVSIGNORE", cvsignore);
    }
    command.output().unwrap()
}

/// Names below a directory, with a slash behind those of directories.
fn listed(root: &Path) -> Vec<String> {
    let all = names(root).unwrap().into_iter().filter(|name| !name.is_empty());
    let mut all: Vec<String> = all
        .map(|name| {
            let name = String::from_utf8(name).unwrap();
            let is_dir = fs::symlink_metadata(root.join(&name)).unwrap().is_dir();
            if is_dir { name + "/" } else { name }
        })
        .collect();
    all.sort();
    all
}

#[test]
fn each_recorded_pattern_excludes_what_it_excluded() {
    let cases = cases("match");
    assert_eq!(cases.len(), 166);
    let mut wrong = Vec::new();
    for case in &cases {
        let folder = tempfile::tempdir().unwrap();
        let path = text(&case["path"]);
        let is_dir = case["is_dir"] == Value::Bool(true);
        plant(folder.path(), &format!("src/{path}{}", if is_dir { "/" } else { "" }), "x");
        let rule = format!("- {}", text(&case["pattern"]));
        let words = ["-r", "-n", "--out-format=%n", "-f", &rule, "src/", "dst/"];
        let output = run(folder.path(), None, &words.map(str::to_owned));
        assert!(output.status.success(), "{case}: {output:?}");
        let listing = String::from_utf8_lossy(&output.stdout).into_owned();
        let there = listing.lines().any(|line| line.trim_end_matches('/') == path);
        if Value::Bool(!there) != case["excluded"] {
            wrong.push(format!("{} {rule} {path}\n{listing}", text(&case["id"])));
        }
    }
    assert!(wrong.is_empty(), "{}\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn each_recorded_command_ends_as_it_ended() {
    let cases = cases("scenario");
    assert_eq!(cases.len(), 135);
    let wrong: Vec<String> = cases.iter().filter_map(|case| check(case).err()).collect();
    assert!(wrong.is_empty(), "{}\n{}", wrong.len(), wrong.join("\n"));
}

fn check(case: &Value) -> Result<(), String> {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    for (place, dir) in [("src", "src/"), ("dst", "dst/"), ("other_files", "")] {
        fs::create_dir_all(root.join(dir)).unwrap();
        for (name, content) in case[place].as_object().expect("an object") {
            plant(root, &format!("{dir}{name}"), text(content));
        }
    }
    let here = root.to_str().expect("UTF-8");
    let strings = |value: &Value| -> Vec<String> {
        let list = value.as_array().expect("a list").iter();
        list.map(|value| text(value).replace("$ROOT", here)).collect()
    };
    let mut words = strings(&case["args"]);
    words.insert(0, "-v".to_owned());
    let output = run(root, case["env"]["CVSIGNORE"].as_str(), &words);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    let fail = |what: String| Err(format!("{} {}: {what}", case["id"], words.join(" ")));
    if case["rc"] != output.status.code().unwrap() {
        return fail(format!("{} {errors}", output.status));
    }
    if case["stderr"].is_array()
        && let Some(line) = strings(&case["stderr"]).first()
        && !errors.contains(line.split(" at ").next().unwrap_or(line))
    {
        return fail(format!("said {errors}, expected {line}"));
    }
    if case["rc"] != 0 {
        return Ok(());
    }
    let mut expected = strings(&case["dst_after"]);
    expected.sort();
    let found = listed(&root.join("dst"));
    if found != expected {
        return fail(format!("left {found:?}, expected {expected:?}"));
    }
    let deleting = said.lines().filter_map(|line| line.strip_prefix("deleting "));
    let mut deleted: Vec<String> = deleting.map(str::to_owned).collect();
    deleted.sort();
    let mut expected = strings(&case["deleted"]);
    expected.sort();
    if deleted != expected {
        return fail(format!("deleted {deleted:?}, expected {expected:?}"));
    }
    Ok(())
}
