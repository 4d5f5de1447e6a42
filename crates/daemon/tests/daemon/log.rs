//! What is logged, and the programs around a transfer.

use crate::pair::{Daemon, Pair, plant};

const BASE: &str = "uid = root\ngid = root\nuse chroot = no\n";

fn transfers(daemon: &Daemon) -> Vec<String> {
    let log = daemon.log();
    log.into_iter().filter(|line| line.starts_with("T ") || line.starts_with("deleting ")).collect()
}

#[test]
fn transfers_are_logged_in_the_module_s_format() {
    let conf = |format: &str| {
        format!(
            "{BASE}transfer logging = yes\n[w]\npath = @ROOT@/w\nread only = no\nlog format = {format}\n"
        )
    };
    let pair = Pair::start(&conf("T %o %h [%a] %m (%u) %f %l"), plant);
    for format in
        ["T %o %h [%a] %m (%u) %f %l", "T %n|%B|%U|%8l|%-6m|%P|%%|%q", "T %i %n%L", "T %f"]
    {
        pair.configure(&conf(format));
        pair.same(&["-a", "@URL@/w/a.txt", "@URL@/w/sub", "out/"]);
        pair.same(&["-rlt", "--delete", "src/", "@URL@/w/up/"]);
        pair.same(&["-rlt", "--delete", "src/d/", "@URL@/w/up/"]);
    }
    pair.ours.logs("T ");
    let sorted = |daemon: &Daemon| {
        let mut lines = transfers(daemon);
        lines.sort();
        lines
    };
    assert_eq!(sorted(&pair.ours), sorted(&pair.stock));
    assert!(sorted(&pair.ours).len() > 20);
}

#[test]
fn without_transfer_logging_no_file_is_named() {
    let conf = format!("{BASE}[w]\npath = @ROOT@/w\nread only = no\n");
    let daemon = Daemon::ours(&conf, plant);
    assert_eq!(daemon.client(&["-a", "@URL@/w/", "out/"]).code, 0);
    daemon.logs("building file list");
    assert!(!daemon.log().iter().any(|line| line.contains("a.txt")), "{:?}", daemon.log());
}

#[test]
fn a_module_may_have_a_log_of_its_own() {
    let conf = format!("{BASE}[m]\npath = @ROOT@/m\nlog file = @ROOT@/own\n");
    let pair = Pair::start(&conf, plant);
    pair.same_code(&["-a", "@URL@/m/", "out/"]);
    for daemon in [&pair.ours, &pair.stock] {
        let own = std::fs::read_to_string(daemon.path("own")).unwrap();
        assert!(own.contains("rsync on m/ from"), "{own}");
        assert!(daemon.log().iter().any(|line| line.contains("allowed access on module m")));
        assert!(!daemon.log().iter().any(|line| line.contains("rsync on m/")));
        std::fs::remove_file(daemon.path("own")).unwrap();
    }
}

#[test]
fn programs_run_around_a_transfer_and_know_about_it() {
    let hook = |name: &str| {
        format!(
            "(echo {name}; env | grep ^RSYNC_ | grep -v -e PID -e PORT -e _PATH | sort) >> @ROOT@/hooks"
        )
    };
    let conf = |more: &str| {
        format!(
            "{BASE}[w]\npath = @ROOT@/w\nread only = no\nearly exec = {}\npre-xfer exec = {}\n\
             post-xfer exec = {}; touch @ROOT@/done\n{more}\n",
            hook("early"),
            hook("pre"),
            hook("post")
        )
    };
    let pair = Pair::start(&conf(""), plant);
    let wait_for_hooks = || {
        for daemon in [&pair.ours, &pair.stock] {
            crate::pair::soon("the program behind the session ran", || {
                daemon.path("done").exists().then_some(())
            });
            std::fs::remove_file(daemon.path("done")).unwrap();
        }
    };
    let told = |daemon: &Daemon| {
        let text = std::fs::read_to_string(daemon.path("hooks")).unwrap_or_default();
        text.replace(daemon.folder.path().to_str().unwrap(), "ROOT")
    };
    for words in [
        &["-a", "@URL@/w/a.txt", "@URL@/w/sub", "out/"][..],
        &["-a", "src/", "@URL@/w/up/"],
        &["-a", "@URL@/w/none", "out/"],
    ] {
        let (ours, stock) = (pair.ours.client(words), pair.stock.client(words));
        assert_eq!(ours, stock, "{words:?}");
        wait_for_hooks();
        assert_eq!(told(&pair.ours), told(&pair.stock), "{words:?}");
    }
    assert!(told(&pair.ours).contains("RSYNC_EXIT_STATUS=0"));
}

#[test]
fn a_program_that_fails_ends_the_session() {
    let conf = |lines: &str| {
        format!(
            "{BASE}[w]\npath = @ROOT@/w\nread only = no\nauth users = *\nsecrets file = @ROOT@/secrets\n{lines}\n"
        )
    };
    let pair = Pair::start(&conf(""), plant);
    let push = ["-a", "src/", "rsync://alice@127.0.0.1:@PORT@/w/up/", "--password-file=pw"];
    pair.configure(&conf("early exec = exit 3"));
    // The real one's own handler takes the program's status away from it, which it logs.
    pair.same_but_log(&push);
    pair.ours.logs("early exec returned failure (768)");
    for lines in [
        "pre-xfer exec = echo not today; exit 3",
        "pre-xfer exec = exit 1",
        "pre-xfer exec = test %RSYNC_USER_NAME% = alice",
        "pre-xfer exec = test %RSYNC_USER_NAME% = bob",
    ] {
        pair.configure(&conf(lines));
        pair.same(&push);
    }
}
