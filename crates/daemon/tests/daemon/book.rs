//! The configuration of the administrator's book, and the classical backup.

use std::fs;

use driftless_testkit::peer::write_private;

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
        fs::remove_file(daemon.path("m/a.key")).unwrap();
        // Whether the folder's time differs in whole seconds is not to depend on the moment.
        let long_ago = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1 << 30);
        fs::File::open(daemon.path("m")).unwrap().set_modified(long_ago).unwrap();
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
fn the_classical_command_works_unchanged() {
    let conf = BOOK.replace("auth users = alice", "auth users = backup");
    let pair = Pair::start_at(["127.87.3.1", "127.87.3.2"], &conf, |root| {
        plant(root);
        write_private(&root.join("secrets"), "backup:pass\n");
        write_private(&root.join("password"), "pass\n");
        for name in ["access.log", "sub/old-access", "debug.1", "sub/debug"] {
            fs::write(root.join("m").join(name), "a line\n").unwrap();
        }
        fs::create_dir(root.join("dst")).unwrap();
        fs::write(root.join("dst/gone"), "gone\n").unwrap();
    });
    let command = "-vzrtopg --delete --progress --exclude *access* --exclude debug* \
                   backup@@HOST@::ixdba @ROOT@/dst --password-file=@ROOT@/password";
    let words: Vec<&str> = command.split_whitespace().collect();
    let outcome = pair.same(&words);
    assert_eq!((outcome.code, &outcome.err), (0, &Vec::new()));
    assert!(outcome.out.iter().any(|line| line == "deleting gone"), "{outcome:?}");
    assert!(outcome.out.iter().any(|line| line.contains("100% (xfr#1, to-chk=")), "{outcome:?}");
    for daemon in [&pair.ours, &pair.stock] {
        let text = fs::read_to_string(daemon.path("dst/sub/deep/c.log")).unwrap();
        assert_eq!(text, "c\n");
        let left_out = ["access.log", "sub/old-access", "debug.1", "sub/debug", "gone"];
        assert!(left_out.iter().all(|name| !daemon.path("dst").join(name).exists()));
    }
    let log = pair.ours.log();
    for line in [
        "params.c:Parameter() - Ignoring badly formed line in config file: ignore errors",
        "connect from localhost (127.0.0.1)",
        "rsync allowed access on module ixdba from localhost (127.0.0.1)",
        "rsync on ixdba/ from backup@localhost (127.0.0.1)",
        "building file list",
    ] {
        assert!(log.iter().any(|logged| logged == line), "{line}: {log:#?}");
    }
    assert!(log.iter().any(|line| line.starts_with("sent and received, total size")));
}
