//! What a module's rules hide is neither read, used nor changed, by whatever way a client names it.

use std::fs;
use std::os::unix::fs::MetadataExt;

use driftless_testkit::plant::set_mtime;

use crate::pair::{Daemon, plant};

const HIDING: &str = "\
uid = root
gid = root
use chroot = no
[w]
path = @ROOT@/w
read only = no
exclude = /db/passwd /hidden.rules *.key
";

const SECRET: &str = "the secret of the hidden file";

fn place() -> Daemon {
    Daemon::ours(HIDING, |root| {
        plant(root);
        fs::create_dir_all(root.join("w/db")).unwrap();
        fs::create_dir_all(root.join("w/pub")).unwrap();
        fs::write(root.join("w/db/passwd"), SECRET).unwrap();
        set_mtime(&root.join("w/db/passwd"), 1_600_000_000, 0);
        fs::write(root.join("w/hidden.rules"), "- a*\n").unwrap();
        fs::write(root.join("w/pub/.key"), SECRET).unwrap();
        // Of the same length and age, which is what a client can guess.
        fs::create_dir_all(root.join("guess")).unwrap();
        fs::write(root.join("guess/passwd"), "?".repeat(SECRET.len())).unwrap();
        set_mtime(&root.join("guess/passwd"), 1_600_000_000, 0);
    })
}

#[test]
fn no_alternate_directory_gives_hidden_content_another_name() {
    let daemon = place();
    for option in ["--copy-dest", "--link-dest", "--compare-dest"] {
        for dir in ["/db", "../db", "/pub/../db", "/db/.", "//db"] {
            let option = format!("{option}={dir}");
            let words = ["-a", "--no-whole-file", &option, "guess/passwd", "@URL@/w/pub/"];
            assert_eq!(daemon.client(&words).code, 0, "{option}");
            let got = fs::read_to_string(daemon.path("w/pub/passwd")).unwrap();
            assert!(got.starts_with('?'), "{option}: {got}");
            fs::remove_file(daemon.path("w/pub/passwd")).unwrap();
        }
    }
}

#[test]
fn no_hidden_file_is_a_basis() {
    let daemon = place();
    let lines: String = (0..2000).map(|at| format!("line {at} of a key\n")).collect();
    fs::write(daemon.path("w/pub/data.key"), &lines).unwrap();
    fs::create_dir(daemon.path("w/alt")).unwrap();
    fs::write(daemon.path("w/alt/data.key"), &lines).unwrap();
    fs::write(daemon.path("guess/data.kex"), &lines).unwrap();
    for more in [&["--fuzzy"][..], &["--fuzzy", "--fuzzy", "--copy-dest=../alt"]] {
        let _ = fs::remove_file(daemon.path("w/pub/data.kex"));
        let start = ["-a", "--no-whole-file", "--stats", "guess/data.kex"];
        let words: Vec<&str> = start.into_iter().chain(more.iter().copied()).collect();
        let outcome = daemon.client(&[&words[..], &["@URL@/w/pub/"]].concat());
        let matched = outcome.out.iter().find(|line| line.starts_with("Matched data")).unwrap();
        assert_eq!(matched, "Matched data: 0 bytes", "{more:?}");
    }
}

#[test]
fn no_hidden_file_is_used_up_or_written_over() {
    let daemon = place();
    let untouched = |what: &str| {
        let text = fs::read_to_string(daemon.path("w/db/passwd")).unwrap_or_default();
        assert_eq!(text, SECRET, "{what}");
        let text = fs::read_to_string(daemon.path("w/pub/.key")).unwrap_or_default();
        assert_eq!(text, SECRET, "{what}");
    };
    for words in [
        &["-a", "--partial-dir=/db", "guess/passwd"][..],
        &["-a", "--partial-dir=/db", "--delay-updates", "guess/passwd"],
        &["-aI", "-b", "--backup-dir=/db", "guess/passwd"],
        &["-aI", "-b", "--backup-dir=../db", "guess/passwd"],
        &["-aI", "--inplace", "-b", "--backup-dir=/db", "guess/passwd"],
        &["-a", "--temp-dir=/db", "guess/passwd"],
    ] {
        for _ in 0..2 {
            daemon.client(&[words, &["@URL@/w/pub/"]].concat());
            untouched(&words.join(" "));
        }
    }
    // A backup's name is hidden by its end.
    fs::write(daemon.path("w/pub/x"), "old").unwrap();
    fs::write(daemon.path("w/pub/x.key"), SECRET).unwrap();
    fs::write(daemon.path("guess/x"), "new").unwrap();
    let outcome = daemon.client(&["-aI", "-b", "--suffix=.key", "guess/x", "@URL@/w/pub/"]);
    assert_eq!(outcome.code, 23);
    assert_eq!(fs::read_to_string(daemon.path("w/pub/x.key")).unwrap(), SECRET);
    assert_eq!(fs::read_to_string(daemon.path("w/pub/x")).unwrap(), "old");
}

/// Names of one file each. Hidden is the first of a group, one in its middle, the last, one in a
/// directory, or all.
const GROUPS: [&[&str]; 6] = [
    &["a.key", "b", "c"],
    &["e", "f.key", "g"],
    &["h", "i", "j.key"],
    &["k", "kk", "shut/k"],
    &["m", "n", "o/p.key", "o/q", "shut/r"],
    &["s.key", "shut/t", "u.key"],
];

#[test]
fn groups_of_hard_links_stay_whole_where_some_are_hidden_or_deleted() {
    let daemon = Daemon::ours(&HIDING.replace("*.key", "*.key /up/shut/"), |root| {
        plant(root);
        for dir in ["src/o", "src/shut"] {
            fs::create_dir_all(root.join(dir)).unwrap();
        }
        for names in GROUPS {
            let all: Vec<_> = names.iter().map(|name| root.join("src").join(name)).collect();
            fs::write(&all[0], names[0]).unwrap();
            all[1..].iter().for_each(|name| fs::hard_link(&all[0], name).unwrap());
        }
    });
    for when in ["--delete-before", "--delete", "--delete-delay", "--delete-after"] {
        for form in ["--inc-recursive", "--no-inc-recursive"] {
            // In the way: a directory that is not to be emptied, and names of one other file.
            fs::create_dir_all(daemon.path("w/up/b")).unwrap();
            fs::write(daemon.path("w/up/b/old.key"), SECRET).unwrap();
            fs::write(daemon.path("w/up/e"), "old").unwrap();
            for name in ["y", "z"] {
                fs::hard_link(daemon.path("w/up/e"), daemon.path("w/up").join(name)).unwrap();
            }
            let outcome = daemon.client(&["-aH", "--force", when, form, "src/", "@URL@/w/up/"]);
            assert_eq!(outcome.code, 23, "{when} {form} {outcome:?}");
            let found = |name: &str| {
                let file = daemon.path("w/up").join(name);
                file.metadata().ok().filter(|meta| meta.is_file()).map(|meta| meta.ino())
            };
            for names in GROUPS {
                let is_hidden = |name: &&str| name.ends_with(".key") || name.starts_with("shut");
                let (hidden, shown): (Vec<&str>, Vec<&str>) =
                    names.iter().partition(|name| is_hidden(name));
                assert!(hidden.iter().all(|name| found(name).is_none()), "{names:?}");
                let mut inodes: Vec<_> =
                    shown.iter().filter(|name| **name != "b").map(|name| found(name)).collect();
                inodes.dedup();
                assert!(
                    inodes.len() <= 1 && inodes.first() != Some(&None),
                    "{names:?} {outcome:?}"
                );
            }
            assert!(found("y").is_none() && found("z").is_none());
            assert_eq!(fs::read_to_string(daemon.path("w/up/b/old.key")).unwrap(), SECRET);
            // What is hidden is not deleted either.
            fs::remove_dir_all(daemon.path("w/up")).unwrap();
        }
    }
}

#[test]
fn rules_in_files_are_told_by_their_place_and_read_to_a_depth() {
    let daemon = place();
    fs::write(daemon.path("w/bad.rules"), SECRET).unwrap();
    fs::write(daemon.path("w/loop.rules"), ". loop.rules\n").unwrap();
    fs::create_dir(daemon.path("empty")).unwrap();
    for (rule, what, code) in [
        (": bad.rules", "bad.rules line 1>", 1),
        (": loop.rules", "include depth limit (32) exceeded", 11),
        (":n loop.rules", "include depth limit (32) exceeded", 11),
    ] {
        for words in [&["@URL@/w/"][..], &["--delete", "empty/", "@URL@/w/"]] {
            let outcome = daemon.client(&[&["-r", "-f", rule], words].concat());
            let said = [outcome.out, outcome.err].concat().concat();
            assert!(outcome.code == code && said.contains(what), "{rule} {words:?}: {said}");
            assert!(!said.contains("secret"), "{rule} {words:?}: {said}");
        }
    }
    assert!(daemon.path("w/a.txt").exists());
}

#[test]
fn hidden_files_of_rules_rule_nothing() {
    let daemon = place();
    let visible = |rule: &str, path: &str| {
        let outcome = daemon.client(&["-r", "-f", rule, path]);
        assert_eq!(outcome.code, 0, "{rule} {outcome:?}");
        outcome.out.iter().any(|line| line.ends_with("a.txt"))
    };
    for rule in [": hidden.rules", ": /hidden.rules", ":n hidden.rules", "dir-merge,- hidden.rules"]
    {
        assert!(visible(rule, "@URL@/w/"), "{rule}");
    }
    assert!(visible(": ../hidden.rules", "@URL@/w/"));
    // On the receiving side they would protect names from deletion.
    fs::create_dir(daemon.path("empty")).unwrap();
    let words = ["-r", "--delete", "-f", ": hidden.rules", "empty/", "@URL@/w/"];
    assert_eq!(daemon.client(&words).code, 0);
    assert!(!daemon.path("w/a.txt").exists());
    assert!(daemon.path("w/db/passwd").exists() && daemon.path("w/hidden.rules").exists());
}
