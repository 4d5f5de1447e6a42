//! What a module says about transfers.

use crate::pair::{Pair, plant};

const BASE: &str = "uid = root\ngid = root\nuse chroot = no\n";

fn module(lines: &str) -> String {
    format!("{BASE}[m]\npath = @ROOT@/m\n[w]\npath = @ROOT@/w\nread only = no\n{lines}\n")
}

#[test]
fn pulls_and_pushes_are_those_of_the_real_daemon() {
    let pair = Pair::start(&module(""), plant);
    for words in [
        &["-a", "@URL@/m/", "out/"][..],
        &["-av", "@URL@/m/sub", "out2"],
        &["-ai", "@URL@/m/a.txt", "out3"],
        &["-aR", "@URL@/m/sub/./deep/c.log", "out4/"],
        &["-a", "@URL@/m/*.txt", "out5/"],
        &["-a", "@URL@/m/s*/b*", "@URL@/m/[a]*.key", "out6/"],
        &["-a", "@URL@/m/none*", "out7/"],
        &["-a", "@URL@/m/none", "out7/"],
        &["-s", "-a", "@URL@/m/sub/", "out8/"],
        &["-a", "--list-only", "@URL@/m/"],
        &["-a", "@URL@/m/../w/a.txt", "out9/"],
        &["-a", "@URL@/m//etc/passwd", "out9/"],
        &["-av", "src/", "@URL@/w/new/"],
        &["-av", "src/one", "@URL@/w/renamed"],
        &["-av", "--delete", "src/", "@URL@/w/new/"],
        &["-avn", "--delete", "src/", "@URL@/w/"],
        &["-aii", "src/", "@URL@/w/new/"],
        &["-av", "src/", "@URL@/w/deep/er/"],
        &["-av", "--mkpath", "src/", "@URL@/w/deep/er/"],
        &["-ab", "--backup-dir=/old", "src/", "@URL@/w/new/"],
        &["-ab", "--suffix=.bak", "-I", "src/", "@URL@/w/new/"],
        &["-a", "--temp-dir=sub", "src/", "@URL@/w/"],
        &["-a", "--temp-dir=/none", "src/", "@URL@/w/"],
        &["-a", "--link-dest=../new", "src/", "@URL@/w/linked/"],
        &["-a", "--partial-dir=.p", "src/", "@URL@/w/part/"],
        &["-a", "src/", "@URL@/m/"],
        &["-a", "--remove-source-files", "@URL@/m/", "gone/"],
        &["-az", "src/", "@URL@/w/z/"],
        &["-ac", "src/", "@URL@/w/z/"],
        &["-a", "--protocol=30", "src/", "@URL@/w/p30/"],
        &["-a", "--protocol=29", "@URL@/m/", "out29/"],
        &["-aS", "--numeric-ids", "src/", "@URL@/w/n/"],
        &["-a", "-M--nosuch", "src/", "@URL@/w/"],
        &["-a", "--bwlimit=5000", "@URL@/m/", "outb/"],
        &["-r", "--list-only", "src/", "@URL@/w/"],
        &["-aU", "--no-l", "--list-only", "src/", "@URL@/w/"],
    ] {
        pair.same(words);
    }
}

#[test]
fn modules_restrict_directions_alike() {
    let pair = Pair::start(&module(""), plant);
    for lines in ["read only = yes", "write only = yes", "read only = yes\nwrite only = yes"] {
        pair.configure(&module(lines));
        pair.same(&["-a", "@URL@/w/", "out/"]);
        pair.same(&["-a", "src/", "@URL@/w/"]);
        pair.same(&["-a", "--list-only", "@URL@/w/"]);
    }
}

#[test]
fn rules_of_the_module_hide_alike() {
    let pair = Pair::start(&module(""), plant);
    for lines in [
        "exclude = *.key",
        "exclude = /sub/deep/ *.key",
        "filter = - *.key - /d",
        "filter = + *.txt - *.key - *.log",
        "include = sub/ *.txt\nexclude = sub/*",
        "exclude from = @ROOT@/rules",
        "include from = @ROOT@/rules\nexclude = *.txt",
    ] {
        for daemon in [&pair.ours, &pair.stock] {
            std::fs::write(daemon.path("rules"), "*.key\nx*\n").unwrap();
        }
        pair.configure(&module(lines));
        pair.same(&["-a", "@URL@/w/", "out/"]);
        pair.same(&["-a", "@URL@/w/a.key", "out/"]);
        pair.same(&["-a", "--delete", "src/", "@URL@/w/"]);
        pair.same(&["-a", "--backup-dir=/x.key", "-b", "src/", "@URL@/w/"]);
    }
    pair.configure(&module("exclude from = @ROOT@/missing"));
    pair.same_code(&["-a", "@URL@/w/", "out/"]);
}

#[test]
fn options_are_refused_alike() {
    refuse_alike(&["checksum", "c", "delete", "delete*", "z", "compress"]);
}

#[test]
fn groups_of_options_are_refused_alike() {
    let all_but_a = "* !a !r !l !p !t !g !o !D";
    let others = ["a", "hard-links", "delete,checksum", "recursive", "links", "bwlimit"];
    refuse_alike(&[&[all_but_a][..], &others].concat());
}

fn refuse_alike(refused: &[&str]) {
    let pair = Pair::start(&module(""), plant);
    for refused in refused {
        pair.configure(&module(&format!("refuse options = {refused}")));
        for words in [
            &["-a", "--checksum", "src/", "@URL@/w/c/"][..],
            &["-a", "--delete", "src/", "@URL@/w/c/"],
            &["-az", "src/", "@URL@/w/c/"],
            &["-rt", "src/", "@URL@/w/c/"],
            &["-rlt", "-H", "src/", "@URL@/w/c/"],
        ] {
            pair.same(words);
        }
    }
}

#[test]
fn options_that_no_module_takes_are_refused_alike() {
    let pair = Pair::start(&module(""), plant);
    for words in [
        &["-a", "-M--insecure-links", "src/", "@URL@/w/c/"][..],
        &["-a", "-M--log-file=/tmp/x", "src/", "@URL@/w/c/"],
        &["-a", "-M--write-devices", "src/", "@URL@/w/c/"],
        &["-a", "--iconv=utf-8,latin1", "src/", "@URL@/w/c/"],
    ] {
        pair.same(words);
    }
}

#[test]
fn modes_links_and_ids_follow_the_module() {
    let pair = Pair::start(&module(""), plant);
    for (at, lines) in [
        "incoming chmod = D700,F600",
        "outgoing chmod = go-rwx",
        "incoming chmod = bogus",
        "munge symlinks = no",
        "munge symlinks = yes",
        "use chroot = yes",
        "use chroot = yes\nmunge symlinks = yes",
        "path = @ROOT@/./w\nuse chroot = yes",
        "numeric ids = yes",
        "uid = 12345\ngid = 54321 54322",
        "max verbosity = 0",
        "max verbosity = 3",
        "ignore errors = yes",
        "timeout = 30",
        "dont compress = *",
        "temp dir = /sub",
        "temp dir = /none",
        "open noatime = yes",
    ]
    .iter()
    .enumerate()
    {
        pair.configure(&module(lines));
        for daemon in [&pair.ours, &pair.stock] {
            let _ = std::os::unix::fs::symlink("/etc/passwd", daemon.path("src/far"));
            let dir = daemon.path(&format!("w/for{at}"));
            std::fs::create_dir(&dir).unwrap();
            std::os::unix::fs::chown(&dir, Some(12345), Some(54321)).unwrap();
        }
        let to = format!("@URL@/w/for{at}/");
        pair.same(&["-av", "src/", &to]);
        pair.same(&["-rlv", "src/", &to]);
        pair.same(&["-a", &to, "back/"]);
        pair.same(&["-azv", &to, "back2/"]);
    }
}

#[test]
fn what_cannot_be_read_is_left_out_when_asked() {
    for lines in ["", "ignore nonreadable = yes"] {
        let pair = Pair::start(
            &format!("{BASE}[m]\npath = @ROOT@/m\nuid = nobody\ngid = nogroup\n{lines}\n"),
            |root| {
                use std::os::unix::fs::PermissionsExt;
                plant(root);
                let private = std::fs::Permissions::from_mode(0o600);
                std::fs::set_permissions(root.join("m/a.key"), private).unwrap();
                let private = std::fs::Permissions::from_mode(0o700);
                std::fs::set_permissions(root.join("m/sub/deep"), private).unwrap();
            },
        );
        pair.same(&["-a", "@URL@/m/", "out/"]);
    }
}
