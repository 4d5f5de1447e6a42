//! Files that an operator names, where somebody else has put a link in their place.

use std::fs;
use std::os::unix::fs::{PermissionsExt, lchown, symlink};
use std::path::Path;
use std::process::{Command, Stdio};

use crate::side_by_side::ours;

/// Somebody who is neither the superuser nor we.
const SOMEBODY: u32 = 12345;

fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    for dir in ["real", "src", "dst"] {
        fs::create_dir(at(dir)).unwrap();
    }
    fs::write(at("src/a"), "a").unwrap();
    fs::write(at("src/b"), "b").unwrap();
    fs::write(at("real/rules"), "- a\n").unwrap();
    fs::write(at("real/names"), "a\n").unwrap();
    fs::write(at("real/pw"), "secret\n").unwrap();
    fs::set_permissions(at("real/pw"), fs::Permissions::from_mode(0o600)).unwrap();
    fs::write(at("real/log"), "").unwrap();
    for name in ["rules", "names", "pw", "log", "new"] {
        plant(&format!("real/{name}"), &at(&format!("their-{name}")));
        symlink(format!("real/{name}"), at(&format!("our-{name}"))).unwrap();
    }
    plant("real", &at("their-dir"));
    plant("dst", &at("their-dst"));
    folder
}

fn plant(target: &str, link: &Path) {
    symlink(target, link).unwrap();
    lchown(link, Some(SOMEBODY), None).unwrap();
}

/// What a program says to a command line, and what it leaves.
fn outcome(program: &Path, words: &[&str]) -> (Option<i32>, String, Vec<String>) {
    let folder = folder();
    let output = Command::new("timeout")
        .arg("60")
        .arg(program)
        .args(words)
        .current_dir(folder.path())
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .output()
        .expect("the program starts");
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    // The places in the source differ, and so does who speaks of a daemon that is not there.
    let counts =
        |line: &&str| !line.starts_with("rsync error:") && !line.contains("failed to connect");
    let text = text.replace(folder.path().to_str().unwrap(), "FOLDER");
    let text = text.lines().filter(counts).collect::<Vec<_>>().join("\n");
    let mut left = Vec::new();
    for dir in ["real", "dst", "out"] {
        for entry in fs::read_dir(folder.path().join(dir)).into_iter().flatten() {
            let path = entry.unwrap().path();
            let len = if path.is_file() { path.metadata().unwrap().len() } else { 0 };
            let shown = path.strip_prefix(folder.path()).unwrap().display().to_string();
            // Lines of a log have times and numbers of processes.
            left.push(format!("{shown} {}", if dir == "real" { len.min(1) } else { len }));
        }
    }
    left.sort();
    (output.status.code(), text, left)
}

#[test]
fn links_of_others_lead_nowhere() {
    let nobody = "rsync://127.0.0.1:1/m";
    for words in [
        &["-a", "--exclude-from=their-rules", "src/", "out/"][..],
        &["-a", "--include-from=their-dir/rules", "src/", "out/"],
        &["-a", "--filter=. their-rules", "src/", "out/"],
        &["-a", "--files-from=their-names", "src/", "out/"],
        &["-a", "--files-from=their-dir/names", "src/", "out/"],
        &["-a", "--log-file=their-log", "src/", "out/"],
        &["-a", "--log-file=their-new", "src/", "out/"],
        &["-a", "--exclude-from=our-rules", "src/", "out/"],
        &["-a", "--files-from=our-names", "src/", "out/"],
        &["-a", "--log-file=our-new", "src/", "out/"],
        &["-a", "--insecure-links", "--exclude-from=their-rules", "src/", "out/"],
        &["-a", "--insecure-links", "--files-from=their-names", "src/", "out/"],
        &["-a", "--insecure-links", "--log-file=their-new", "src/", "out/"],
        &["--password-file=their-pw", nobody],
        &["--password-file=our-pw", nobody],
        &["--early-input=their-names", nobody],
    ] {
        assert_eq!(outcome(&ours(), words), outcome("rsync".as_ref(), words), "{words:?}");
    }
    // Here the words differ.
    for words in [
        &["-a", "src/", "their-dst/"][..],
        &["-a", "src/", "their-dst/new/"],
        &["-a", "--only-write-batch=their-new", "src/", "out/"],
    ] {
        let (code, _, left) = outcome(&ours(), words);
        assert_eq!(code, outcome("rsync".as_ref(), words).0, "{words:?}");
        let untouched = left.iter().all(|name| !name.starts_with("dst/") && name != "real/new");
        assert!(untouched, "{words:?}: {left:?}");
    }
}

#[test]
fn rules_in_directories_are_not_read_through_links_of_others() {
    for (options, name) in [("-aF", ".rsync-filter"), ("-aC", ".cvsignore")] {
        for (owner, expected) in [(SOMEBODY, &["a", "b"][..]), (0, &["b"][..])] {
            let folder = folder();
            let rules = if name == ".cvsignore" { "a\n" } else { "- a\n" };
            fs::write(folder.path().join("real/rules"), rules).unwrap();
            let link = folder.path().join("src").join(name);
            symlink("../real/rules", &link).unwrap();
            lchown(&link, Some(owner), None).unwrap();
            for program in [ours(), "rsync".into()] {
                let _ = fs::remove_dir_all(folder.path().join("out"));
                let status = Command::new(&program)
                    .args([options, "src/", "out/"])
                    .current_dir(folder.path())
                    .stdin(Stdio::null())
                    .stderr(Stdio::null())
                    .status()
                    .unwrap();
                assert!(status.success(), "{options} {program:?}");
                let mut found: Vec<String> = fs::read_dir(folder.path().join("out"))
                    .unwrap()
                    .map(|entry| entry.unwrap().file_name().into_string().unwrap())
                    .filter(|found| !found.starts_with('.'))
                    .collect();
                found.sort();
                assert_eq!(found, expected, "{options}, link of {owner}, {program:?}");
            }
        }
    }
}

#[test]
fn rules_and_names_may_come_through_a_pipe() {
    for program in [ours(), "rsync".into()] {
        for (option, expected) in [("--exclude-from", &["b"][..]), ("--files-from", &["a"])] {
            let folder = folder();
            let file = if option == "--files-from" { "names" } else { "rules" };
            let script =
                format!("exec {} -a {option}=<(cat real/{file}) src/ out/", program.display());
            let status =
                Command::new("bash").args(["-c", &script]).current_dir(folder.path()).status();
            assert!(status.unwrap().success(), "{script}");
            let mut found: Vec<_> = fs::read_dir(folder.path().join("out"))
                .unwrap()
                .map(|entry| entry.unwrap().file_name())
                .collect();
            found.sort();
            assert_eq!(found, expected, "{script}");
        }
    }
}
