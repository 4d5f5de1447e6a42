//! The configuration of the administrator's book, and the classical backup.

use crate::pair::{Pair, plant};

const BOOK: &str = "\
uid = nobody
gid = nogroup
use chroot = no
max connections = 10
strict modes = yes
pid file = @ROOT@/pid

[ixdba]
path = @ROOT@/m
comment = ixdba file
ignore errors
read only = no
write only = no
hosts allow = 127.0.0.1
hosts deny = *
list = false
uid = root
gid = root
auth users = alice
secrets file = @ROOT@/secrets
";

#[test]
fn the_book_s_module_serves_the_classical_backup() {
    let pair = Pair::start(BOOK, plant);
    let url = "rsync://alice@127.0.0.1:@PORT@/ixdba";
    let backup =
        ["-vzrtopg", "--delete", "--exclude", "*access*", "--exclude", "debug*", url, "dst"];
    pair.same(&[&backup[..], &["--password-file=pw"]].concat());
    // Again, with nothing to do, and with something to delete.
    pair.same(&[&backup[..], &["--password-file=pw"]].concat());
    for daemon in [&pair.ours, &pair.stock] {
        std::fs::remove_file(daemon.path("m/a.key")).unwrap();
    }
    pair.same(&[&backup[..], &["--password-file=pw"]].concat());
    pair.same(&["@URL@/"]);
    pair.same(&["-a", url, "dst2", "--password-file=pw-bad"]);
    pair.same(&["-av", "src/", &format!("{url}/up/"), "--password-file=pw"]);
    pair.same(&["-av", "--delete", "src/", &format!("{url}/"), "--password-file=pw"]);
    pair.same(&["-a", "@URL@/other/", "x"]);
    let lines = |log: Vec<String>| {
        let mut lines: Vec<String> = log
            .into_iter()
            .filter(|line| {
                line.starts_with("rsync ")
                    || line.starts_with("auth ")
                    || line.starts_with("unknown")
                    || line.starts_with("params.c")
                    || line.starts_with("connect")
                    || line.starts_with("module-list")
                    || line.ends_with("file list")
            })
            .collect();
        lines.sort();
        lines
    };
    pair.ours.logs("unknown module 'other' tried from");
    pair.stock.logs("unknown module 'other' tried from");
    assert_eq!(lines(pair.ours.log()), lines(pair.stock.log()));
}

#[test]
fn progress_is_shown_for_a_backup() {
    let pair = Pair::start(BOOK, plant);
    let outcome = pair.same_code(&[
        "-vzrtopg",
        "--delete",
        "--progress",
        "alice@127.0.0.1::ixdba",
        "dst",
        "--password-file=pw",
        "--port=@PORT@",
    ]);
    assert_eq!(outcome.code, 0);
}
