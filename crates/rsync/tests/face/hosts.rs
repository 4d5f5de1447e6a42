//! Names of hosts that mean something to the program or the proxy that reaches them.

use std::fs;
use std::io::{ErrorKind, Read};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use driftless_testkit::plant::executable;
use driftless_testkit::wait;

use crate::side_by_side::ours;

/// Runs ours with a remote shell that tells what it was called with.
fn run(folder: &Path, words: &[&str], variables: &[(&str, &str)]) -> Output {
    let shell = folder.join("shell");
    executable(&shell, "#!/bin/sh\nprintf '%s|' \"$@\" >> called\n");
    Command::new("timeout")
        .arg("60")
        .arg(ours())
        .args(words)
        .current_dir(folder)
        .env("RSYNC_RSH", shell)
        .envs(variables.iter().copied())
        .stdin(Stdio::null())
        .output()
        .expect("the program starts")
}

#[test]
fn no_host_is_an_option_of_what_reaches_it() {
    let folder = tempfile::tempdir().unwrap();
    for host in [
        "-oProxyCommand=touch planted:x",
        "u@-oProxyCommand=touch planted:x",
        "-x::m/",
        "u@-x::m/",
        "rsync://-x/m/",
        "rsync://u@-x:873/m/",
    ] {
        for words in [["--", host, "d/"], ["--", "s/", host]] {
            let output = run(folder.path(), &words, &[]);
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            assert_eq!(output.status.code(), Some(1), "{words:?}: {said}");
            assert!(said.contains("hostnames may not start with '-'"), "{words:?}: {said}");
        }
    }
    let found = || fs::read_to_string(folder.path().join("called")).unwrap_or_default();
    assert_eq!(found(), "");
    // A user's name is the value of an option.
    run(folder.path(), &["--", "-oProxyCommand=touch planted@h:x", "d/"], &[]);
    assert!(found().starts_with("-l|-oProxyCommand=touch planted|h|"), "{}", found());
    assert!(!folder.path().join("planted").exists());
}

#[test]
fn a_daemon_may_be_the_connecting_program() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    let module =
        format!("use chroot = no\nuid = root\ngid = root\n[m]\npath = {}\n", root.display());
    std::fs::write(root.join("conf"), module).unwrap();
    std::fs::write(root.join("f"), "x").unwrap();
    let program = format!("rsync --daemon --config={}", root.join("conf").display());
    let words = ["-a", "--chown=7:9", "--out-format=%n_%U_%G", "rsync://anywhere/m/f", "copy"];
    let output = run(root, &words, &[("RSYNC_CONNECT_PROG", &program)]);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(output.stdout, b"f_7_9\n");
    assert_eq!(std::fs::read(root.join("copy")).unwrap(), b"x");
}

#[test]
fn no_host_commands_the_shell_of_a_connecting_program() {
    let folder = tempfile::tempdir().unwrap();
    let program = [("RSYNC_CONNECT_PROG", "echo %H >> called; exit 1")];
    for host in [
        "h;touch planted",
        "$(touch planted)",
        "`touch planted`",
        "h'; touch planted; '",
        "h\"; touch planted; \"",
        "h\ntouch planted",
        "h>planted",
        "+h",
        "~root",
    ] {
        for place in [format!("rsync://{host}/m/"), format!("{host}::m/")] {
            let output = run(folder.path(), &["--", &place, "d/"], &program);
            assert!(output.status.code().is_some_and(|code| code != 0 && code != 124), "{place}");
            assert!(!folder.path().join("planted").exists(), "{place}");
            assert!(!folder.path().join("called").exists(), "{place}");
        }
    }
    run(folder.path(), &["--", "h-1.example::m/", "d/"], &program);
    assert_eq!(fs::read_to_string(folder.path().join("called")).unwrap(), "h-1.example\n");
}

#[test]
fn no_host_adds_a_line_to_what_a_proxy_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let proxy = listener.local_addr().unwrap().to_string();
    for host in ["h\r\nEvil: 1", "h\nEvil: 1", "h\rEvil: 1", "h HTTP/1.0\r\nEvil: 1\r\n\r\n"] {
        let place = format!("{host}::m/");
        let variables = [("RSYNC_PROXY", proxy.as_str())];
        let words = ["--contimeout=2", "--", &place, "d/"];
        let output = run(folder.path(), &words, &variables);
        assert!(output.status.code().is_some_and(|code| code != 0 && code != 124), "{host:?}");
        match listener.accept() {
            Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
            Ok((mut stream, _)) => {
                stream.set_nonblocking(false).unwrap();
                stream.set_read_timeout(Some(wait::GENEROUS)).unwrap();
                let mut told = String::new();
                stream.read_to_string(&mut told).unwrap();
                assert!(!told.contains("Evil"), "{told:?}");
            }
        }
    }
}
