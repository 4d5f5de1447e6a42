//! How a daemon starts and ends, and the other ways to one.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Stdio};

use driftless_testkit::peer::free_port;
use rustix::process::{Pid, Signal, kill_process};

use crate::pair::{Daemon, plant, program, soon};

const M: &str = "[m]\npath = @ROOT@/m\nuid = root\ngid = root\n";

fn signal(daemon: &Daemon, signal: Signal) -> Option<i32> {
    let pid = Pid::from_raw(daemon.child.id() as i32).unwrap();
    kill_process(pid, signal).unwrap();
    None
}

#[test]
fn signals_end_it_with_the_codes_of_the_real_one() {
    for (which, code, line) in [
        (Signal::TERM, 0, "sent 0 bytes"),
        (Signal::INT, 20, "code 20"),
        (Signal::HUP, 20, "code 20"),
    ] {
        let mut daemon = Daemon::ours(&format!("pid file = @ROOT@/pid\n{M}"), plant);
        let pid = fs::read_to_string(daemon.path("pid")).unwrap();
        assert_eq!(pid, format!("{}\n", daemon.child.id()));
        signal(&daemon, which);
        let status = soon("the daemon ends", || daemon.child.try_wait().unwrap());
        assert_eq!(status.code(), Some(code));
        assert!(!daemon.path("pid").exists());
        let log = fs::read_to_string(daemon.path("log")).unwrap();
        assert!(log.contains(line), "{log}");
    }
}

#[test]
fn a_second_daemon_leaves_the_pid_file_alone() {
    let daemon = Daemon::ours(&format!("pid file = @ROOT@/pid\n{M}"), plant);
    let output = Command::new(program())
        .args(["--daemon", "--no-detach", "--address=127.0.0.1"])
        .arg(format!("--port={}", free_port()))
        .arg(format!("--config={}", daemon.path("conf").display()))
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(11));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("failed to lock pid file"), "{said}");
    let pid = fs::read_to_string(daemon.path("pid")).unwrap();
    assert_eq!(pid, format!("{}\n", daemon.child.id()));
}

#[test]
fn it_goes_to_the_background_and_is_found_by_its_pid_file() {
    let dir = tempfile::tempdir().unwrap();
    plant(dir.path());
    let root = dir.path().to_str().unwrap();
    let port = free_port();
    let conf = format!(
        "pid file = @ROOT@/pid\nlog file = @ROOT@/log\nport = {port}\naddress = 127.0.0.1\n{M}"
    );
    fs::write(dir.path().join("conf"), conf.replace("@ROOT@", root)).unwrap();
    let status = Command::new(program())
        .arg("--daemon")
        .arg(format!("--config={root}/conf"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .unwrap();
    assert_eq!(status.code(), Some(0));
    let pid: i32 = soon("the pid file is written", || {
        fs::read_to_string(dir.path().join("pid")).ok()?.trim().parse().ok()
    });
    soon("it listens", || TcpStream::connect(("127.0.0.1", port)).ok());
    kill_process(Pid::from_raw(pid).unwrap(), Signal::TERM).unwrap();
    soon("it is gone", || (!dir.path().join("pid").exists()).then_some(()));
}

#[test]
fn mistakes_on_the_command_line_and_in_the_file_end_it_at_once() {
    let run = |words: &[&str]| {
        let output = Command::new(program()).args(words).stdin(Stdio::null()).output().unwrap();
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let (code, said) = run(&["--daemon", "--bogus"]);
    assert_eq!(code, Some(1));
    assert!(said.starts_with("rsync: --bogus: unknown option (in daemon mode)\n"), "{said}");
    let (code, said) = run(&["--daemon", "--no-detach", "--config=/none/conf"]);
    assert_eq!((code, said.as_str()), (Some(1), "Failed to parse config file: /none/conf\n"));
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let dir = tempfile::tempdir().unwrap();
    let conf = dir.path().join("conf");
    fs::write(&conf, format!("log file = {}/log\n", dir.path().display())).unwrap();
    let port = format!("--port={}", taken.local_addr().unwrap().port());
    let config = format!("--config={}", conf.display());
    let (code, _) = run(&["--daemon", "--no-detach", "--address=127.0.0.1", &port, &config]);
    assert_eq!(code, Some(10));
    let log = fs::read_to_string(dir.path().join("log")).unwrap();
    assert!(log.contains("bind() failed: Address already in use (address-family 2)"), "{log}");
    assert!(log.contains("unable to bind any inbound sockets on port"), "{log}");
}

#[test]
fn a_service_manager_may_hand_over_one_connection() {
    let daemon = Daemon::ours(M, plant);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (served, _) = listener.accept().unwrap();
    let mut child = Command::new(program())
        .arg("--daemon")
        .arg(format!("--config={}", daemon.path("conf").display()))
        .stdin(Stdio::from(std::os::fd::OwnedFd::from(served)))
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    client.write_all(b"@RSYNCD: 31.0\n#list\n").unwrap();
    let mut said = String::new();
    client.read_to_string(&mut said).unwrap();
    assert!(said.contains("m              \t\n@RSYNCD: EXIT\n"), "{said}");
    child.wait().unwrap();
}

#[test]
fn a_remote_shell_may_bring_the_client() {
    let daemon = Daemon::ours(M, plant);
    let shell = daemon.path("shell");
    // It ignores host and user, as a shell to this machine would.
    fs::write(
        &shell,
        "#!/bin/sh\nwhile [ \"$1\" != localhost ]; do shift; done\nshift\nexec sh -c \"$*\"\n",
    )
    .unwrap();
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(&shell, fs::Permissions::from_mode(0o755)).unwrap();
    let path = format!("--rsync-path={} --config=@ROOT@/conf", program().display());
    let outcome = daemon.client(&["-a", "-e", "@ROOT@/shell", &path, "localhost::m/", "out/"]);
    assert_eq!((outcome.code, outcome.err), (0, Vec::new()));
    assert_eq!(fs::read(daemon.path("out/a.txt")).unwrap(), b"hello\n");
    daemon.logs("connect from UNKNOWN (0.0.0.0)");
    assert!(!daemon.log().iter().any(|line| line.contains("allowed access")));
}

#[test]
fn it_tells_how_it_is() {
    let dir = tempfile::tempdir().unwrap();
    plant(dir.path());
    let root = dir.path().to_str().unwrap();
    let (port, control) = (free_port(), dir.path().join("control"));
    fs::write(
        dir.path().join("conf"),
        format!("log file = {root}/log\n{M}").replace("@ROOT@", root),
    )
    .unwrap();
    let mut child = Command::new(program())
        .args(["--daemon", "--no-detach", "--address=127.0.0.1"])
        .arg(format!("--port={port}"))
        .arg(format!("--config={root}/conf"))
        .arg(format!("--control={}", control.display()))
        .stdin(Stdio::null())
        .spawn()
        .unwrap();
    let mut idle = soon("it listens", || TcpStream::connect(("127.0.0.1", port)).ok());
    idle.write_all(b"@RSYNCD: 31.0\nm\n").unwrap();
    let text = soon("the session shows", || {
        let text = driftless_daemon::report::ask(&control, false).ok()?;
        text.contains("  m  ").then_some(text)
    });
    assert!(text.contains("modules: m\n") && text.contains("1 sessions run"), "{text}");
    let metrics = driftless_daemon::report::ask(&control, true).unwrap();
    assert!(metrics.contains("driftless_daemon_running 1\n"), "{metrics}");
    kill_process(Pid::from_raw(child.id() as i32).unwrap(), Signal::TERM).unwrap();
    child.wait().unwrap();
    assert!(!control.exists());
}
