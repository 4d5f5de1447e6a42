//! Sessions with a real daemon, with the real client and with ours.

use std::path::Path;

use driftless_testkit::PASSWORD;
use driftless_testkit::peer::{Module, RsyncDaemon, write_private};

use crate::side_by_side::{Bench, Cast, ours, plant};

/// A daemon that serves both copies of the destination, and what clients stumble over.
fn daemon(bench: &Bench) -> RsyncDaemon {
    let open = |name: &str| Module::book(name).anonymous().chroot();
    let source = bench.copy("theirs").join("s");
    RsyncDaemon::start(&[
        open("theirs").at(&bench.copy("theirs").join("d")),
        open("ours").at(&bench.copy("ours").join("d")),
        open("source").at(&source).set("list", "yes").set("comment", "what is served"),
        open("fixed").at(&source).set("read only", "yes"),
        open("blind").at(&source).set("write only", "yes"),
        open("choosy").at(&source).set("refuse options", "delete checksum"),
        Module::book("guarded").at(&source).chroot(),
    ])
}

#[track_caller]
fn check(lines: &[&str]) {
    let mut wrong = Vec::new();
    for line in lines {
        let bench = Bench::new(plant);
        let daemon = daemon(&bench);
        let password = bench.copy("theirs").parent().unwrap().join("password");
        write_private(&password, "no\n");
        let good = bench.copy("theirs").parent().unwrap().join("good");
        write_private(&good, &format!("{PASSWORD}\n"));
        let words: Vec<String> = line
            .split(' ')
            .map(|word| {
                word.replace("URL", &format!("rsync://127.0.0.1:{}", daemon.port()))
                    .replace("PORT", &daemon.port().to_string())
                    .replace("WRONG", password.to_str().unwrap())
                    .replace("GOOD", good.to_str().unwrap())
            })
            .collect();
        let found = bench.compare(Cast::Client, &words);
        if !found.is_empty() {
            wrong.push(format!("rsync {line}\n{}", found.join("\n")));
        }
    }
    assert!(wrong.is_empty(), "{}\n{}", wrong.len(), wrong.join("\n\n"));
}

/// Transfers, and then refusals.
pub const LINES: &[&str] = &[
    "-ai s/ URL/@COPY/",
    "-aHi --delete --stats s/ URL/@COPY/",
    "-av --delete s/ URL/@COPY",
    "-aiz s/new URL/@COPY/attr/",
    "-ai --port=PORT s/ 127.0.0.1::@COPY",
    "-ai -s s/ URL/@COPY/",
    "-avvs --copy-dest=../al* URL/source/ d",
    "-ai URL/source/ d",
    "-avz --delete URL/source/ d",
    "-ai URL/source/new URL/source/deep d",
    "-aiR URL/source/deep/er d",
    "-ai --password-file=GOOD guardeduser@127.0.0.1::guarded/ --port=PORT d",
    "-ani --delete URL/source/ d",
    "-ai --address=localhost URL/source/ d",
    "-ai --address=127.0.0.1 s/ URL/@COPY/",
    "URL",
    "--port=PORT 127.0.0.1::",
    "--no-motd URL",
    "URL/source/",
    "-r URL/source/deep/er/",
    "URL/nosuch/ d",
    "-a s/ URL/nosuch/",
    "-a s/ URL/fixed/",
    "-a URL/blind/ d",
    "-a --delete s/ URL/choosy/",
    "-a --password-file=WRONG URL/guarded/ d",
    "-a --password-file=/no/such URL/guarded/ d",
    "-a s/ URL/",
    "-a URL/source/nosuch d",
    "-a --address=nosuch.invalid URL/source/ d",
];
/// So many of them are transfers.
const TRANSFERS: usize = 14;

#[test]
fn transfers_with_a_daemon_are_those_of_the_original() {
    check(&LINES[..TRANSFERS]);
}

#[test]
fn a_daemon_refuses_with_the_same_words_and_codes() {
    check(&LINES[TRANSFERS..]);
}

/// Whether its end is read as a reset (10) or as the end (12) is a matter of time.
#[test]
fn a_daemon_that_leaves_after_an_error_is_told_of() {
    let bench = Bench::new(plant);
    let daemon = daemon(&bench);
    for program in [Path::new("rsync"), &ours()] {
        let done = std::process::Command::new(program)
            .args(["-a", "--files-from=:nosuch", &format!("{}/", daemon.url("source")), "d"])
            .current_dir(bench.copy("ours"))
            .output()
            .unwrap();
        let said = String::from_utf8(done.stderr).unwrap();
        assert!(said.starts_with("rsync: failed to open files-from file nosuch: "), "{said}");
        let (code, last) = (done.status.code(), said.lines().last().unwrap_or_default());
        assert!(matches!(code, Some(10 | 12)), "{code:?}");
        let is_last = last.starts_with("rsync error: ") && last.ends_with("[Receiver=3.5.0]");
        assert!(is_last, "{said}");
    }
}

#[test]
fn early_input_reaches_the_daemons_program() {
    let bench = Bench::new(plant);
    let folder = tempfile::tempdir().unwrap();
    let heard = folder.path().join("heard");
    let program = format!("cat > {}", heard.display());
    let module = Module::book("early").anonymous().at(&bench.copy("theirs").join("d"));
    let daemon = RsyncDaemon::start(&[module.set("early exec", &program)]);
    let said = folder.path().join("said");
    std::fs::write(&said, "what is said early").unwrap();
    let done = std::process::Command::new(ours())
        .arg("-a")
        .arg(format!("--early-input={}", said.display()))
        .arg(format!("{}/s/", bench.copy("theirs").display()))
        .arg(format!("{}/", daemon.url("early")))
        .status()
        .unwrap();
    assert!(done.success());
    assert_eq!(std::fs::read_to_string(heard).unwrap(), "what is said early");
}

#[test]
fn socket_options_are_set_on_the_connection() {
    let bench = Bench::new(plant);
    let daemon = daemon(&bench);
    let calls = bench.copy("theirs").join("calls");
    let done = std::process::Command::new("strace")
        .args(["-f", "-e", "trace=setsockopt", "-o"])
        .arg(&calls)
        .arg(ours())
        .args(["--sockopts=SO_RCVBUF=77824", &format!("{}/", daemon.url("source"))])
        .stdout(std::process::Stdio::null())
        .status()
        .expect("this test needs the program strace");
    assert!(done.success());
    let calls = std::fs::read_to_string(calls).unwrap();
    assert!(calls.contains("SO_RCVBUF, [77824]"), "{calls}");
}
