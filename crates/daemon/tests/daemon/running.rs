//! How a daemon starts and ends, and the other ways to one.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use driftless_testkit::peer::free_port;
use driftless_testkit::plant::{executable, noise};
use rustix::process::{Pid, Resource, Rlimit, Signal, kill_process, prlimit};

use crate::pair::{Daemon, Pair, plant, program, soon};

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
fn a_signal_may_come_as_early_as_the_pid_file() {
    let dir = tempfile::tempdir().unwrap();
    plant(dir.path());
    let root = dir.path().to_str().unwrap();
    let conf = format!("pid file = @ROOT@/pid\nlog file = @ROOT@/log\n{M}");
    fs::write(dir.path().join("conf"), conf.replace("@ROOT@", root)).unwrap();
    for _ in 0..20 {
        let mut child = Command::new(program())
            .args(["--daemon", "--no-detach", "--address=127.0.0.1"])
            .arg(format!("--port={}", free_port()))
            .arg(format!("--config={root}/conf"))
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        // Not `soon`, which sleeps between its looks.
        while !dir.path().join("pid").exists() {
            assert!(child.try_wait().unwrap().is_none(), "it runs");
        }
        kill_process(Pid::from_raw(child.id() as i32).unwrap(), Signal::TERM).unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(0));
        assert!(!dir.path().join("pid").exists());
    }
}

#[test]
fn a_signal_may_come_with_that_of_a_child() {
    let dir = tempfile::tempdir().unwrap();
    plant(dir.path());
    let root = dir.path().to_str().unwrap();
    let conf = format!("reverse lookup = no\nlisten backlog = 60\n{M}");
    fs::write(dir.path().join("conf"), conf.replace("@ROOT@", root)).unwrap();
    for round in 0..10 {
        let port = free_port();
        let mut child = Command::new(program())
            .args(["--daemon", "--no-detach", "--address=127.0.0.1"])
            .arg(format!("--port={port}"))
            .arg(format!("--config={root}/conf"))
            .arg(format!("--log-file={root}/log"))
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        let mut first = soon("it listens", || TcpStream::connect(("127.0.0.1", port)).ok());
        first.write_all(b"@RSYNCD: 31.0\n#list\n").unwrap();
        first.read_to_string(&mut String::new()).unwrap();
        let pid = Pid::from_raw(child.id() as i32).unwrap();
        // It has clients to care for first, then the child.
        kill_process(pid, Signal::STOP).unwrap();
        let stat = format!("/proc/{}/stat", child.id());
        soon("it has stopped", || fs::read_to_string(&stat).ok()?.contains(") T ").then_some(()));
        let _clients = [0; 50].map(|_| TcpStream::connect(("127.0.0.1", port)).unwrap());
        kill_process(pid, Signal::CHILD).unwrap();
        kill_process(pid, Signal::CONT).unwrap();
        let start = Instant::now();
        while start.elapsed() < Duration::from_micros(100 * round) {
            std::hint::spin_loop();
        }
        kill_process(pid, Signal::TERM).unwrap();
        let status = soon("it ends", || child.try_wait().unwrap());
        assert_eq!(status.code(), Some(0));
    }
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
    executable(
        &shell,
        "#!/bin/sh\nwhile [ \"$1\" != localhost ]; do shift; done\nshift\nexec sh -c \"$*\"\n",
    );
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

/// The sessions of a daemon.
fn sessions(daemon: &Daemon) -> Vec<Pid> {
    let pid = daemon.child.id();
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
    children.split_whitespace().filter_map(|word| Pid::from_raw(word.parse().ok()?)).collect()
}

#[test]
fn a_session_that_is_told_to_end_tells_its_client() {
    let conf = "[m]\npath = @ROOT@/m\nuid = root\ngid = root\nuse chroot = no\n";
    let pair = Pair::start(conf, |root| {
        plant(root);
        fs::write(root.join("m/large"), vec![7; 40 << 20]).unwrap();
    });
    let ended = |daemon: &Daemon| {
        std::thread::scope(|scope| {
            let words = ["-a", "--bwlimit=1000", "@URL@/m/", "out/"];
            let client = scope.spawn(move || daemon.client(&words));
            let arrives = || {
                let entries = fs::read_dir(daemon.path("out")).ok()?;
                let is_part = |name: &str| name.starts_with(".large.");
                entries.flatten().any(|e| is_part(&e.file_name().to_string_lossy())).then_some(())
            };
            soon("content arrives", arrives);
            for session in sessions(daemon) {
                kill_process(session, Signal::TERM).unwrap();
            }
            client.join().expect("the client ends")
        })
    };
    let (ours, stock) = (ended(&pair.ours), ended(&pair.stock));
    assert_eq!(ours, stock);
    assert_eq!(ours.code, 20);
    pair.ours.rests();
    let last = "rsync error: received SIGINT, SIGTERM, or SIGHUP (code 20) [sender]";
    assert_eq!(pair.ours.log().last().map(String::as_str), Some(last));
    assert_eq!(pair.ours.client(&["-a", "@URL@/m/a.txt", "out/"]).code, 0);
}

#[test]
fn a_service_manager_may_hand_over_the_listening_socket() {
    let dir = tempfile::tempdir().unwrap();
    plant(dir.path());
    let root = dir.path().to_str().unwrap();
    let conf = format!("log file = @ROOT@/log\npid file = @ROOT@/pid\n{M}");
    fs::write(dir.path().join("conf"), conf.replace("@ROOT@", root)).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    let mut child = Command::new("sh")
        .arg("-c")
        .arg("exec 3<&0 </dev/null; export LISTEN_FDS=1 LISTEN_PID=$$; exec \"$@\"")
        .args(["sh".as_ref(), program().as_os_str()])
        .args(["--daemon", "--port=1", &format!("--config={root}/conf")])
        .stdin(Stdio::from(std::os::fd::OwnedFd::from(listener)))
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    for _ in 0..2 {
        let mut client = TcpStream::connect(addr).unwrap();
        client.write_all(b"@RSYNCD: 31.0\n#list\n").unwrap();
        let mut said = String::new();
        client.read_to_string(&mut said).unwrap();
        assert!(said.contains("m              \t\n@RSYNCD: EXIT\n"), "{said}");
    }
    // It is the process that was started, in the foreground.
    let pid = fs::read_to_string(dir.path().join("pid")).unwrap();
    assert_eq!(pid, format!("{}\n", child.id()));
    let log = fs::read_to_string(dir.path().join("log")).unwrap();
    assert!(log.contains(&format!("listening on port {}", addr.port())), "{log}");
    kill_process(Pid::from_raw(child.id() as i32).unwrap(), Signal::TERM).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn metrics_are_told_over_http_where_the_operator_says() {
    let dir = tempfile::tempdir().unwrap();
    plant(dir.path());
    let root = dir.path().to_str().unwrap();
    let (port, metrics) = (free_port(), format!("127.0.0.1:{}", free_port()));
    let conf = format!("log file = @ROOT@/log\n{M}");
    fs::write(dir.path().join("conf"), conf.replace("@ROOT@", root)).unwrap();
    let mut child = Command::new(program())
        .args(["--daemon", "--no-detach", "--address=127.0.0.1"])
        .arg(format!("--port={port}"))
        .arg(format!("--config={root}/conf"))
        .arg(format!("--metrics-address={metrics}"))
        .stdin(Stdio::null())
        .spawn()
        .unwrap();
    let mut client = soon("it listens", || TcpStream::connect(("127.0.0.1", port)).ok());
    client.write_all(b"@RSYNCD: 31.0\n#list\n").unwrap();
    client.read_to_string(&mut String::new()).unwrap();
    // These stay, and say nothing.
    let silent: Vec<TcpStream> = (0..3).map(|_| TcpStream::connect(&metrics).unwrap()).collect();
    let asked = |request: &str| {
        let mut stream = TcpStream::connect(&metrics).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        let _ = stream.read_to_string(&mut answer);
        answer
    };
    let answer = asked("GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n");
    let (head, body) = answer.split_once("\r\n\r\n").expect("head and body");
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    assert!(head.contains("Content-Type: application/openmetrics-text; version=1.0.0"), "{head}");
    assert!(head.contains(&format!("Content-Length: {}\r\n", body.len())), "{head}");
    assert!(body.contains("# TYPE driftless_daemon_listings counter\n"), "{body}");
    assert!(body.contains("\ndriftless_daemon_listings_total 1\n"), "{body}");
    assert!(body.ends_with("\n# EOF\n"), "{body}");
    assert!(asked("GET / HTTP/1.1\r\n\r\n").starts_with("HTTP/1.1 404 "));
    let long = format!("GET /metrics HTTP/1.1\r\nX: {}", "x".repeat(20_000));
    assert!(asked(&long).starts_with("HTTP/1.1 431 ") || asked(&long).is_empty());
    drop(silent);
    kill_process(Pid::from_raw(child.id() as i32).unwrap(), Signal::TERM).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn a_session_whose_user_may_have_no_more_threads_does_all_by_itself() {
    let conf = "[w]\npath = @ROOT@/w\nuid = 65534\ngid = 65534\nread only = no\nuse chroot = no\n";
    let daemon = Daemon::ours(conf, |root| {
        for (tree, salt) in [("src", 0), ("w", 1)] {
            fs::create_dir(root.join(tree)).unwrap();
            // As long as what two threads share.
            fs::write(root.join(tree).join("long"), noise(salt, 9 << 20)).unwrap();
            for file in 0..3 {
                let content = noise(file + salt, 1 << 20);
                fs::write(root.join(tree).join(format!("f{file}")), content).unwrap();
            }
        }
        for gone in ["w/gone1/deep", "w/gone2/deep"] {
            fs::create_dir_all(root.join(gone)).unwrap();
        }
        let nobody = Command::new("chown").args(["-R", "65534:65534"]).arg(root.join("w")).status();
        assert!(nobody.unwrap().success());
    });
    let pid = Pid::from_raw(daemon.child.id() as i32).unwrap();
    prlimit(Some(pid), Resource::Nproc, Rlimit { current: Some(0), maximum: Some(0) }).unwrap();
    let done = daemon.client(&["-rc", "--delete", "src/", "@URL@/w/"]);
    assert_eq!((done.code, done.err), (0, vec![]));
    let names = |tree: &str| {
        let all = fs::read_dir(daemon.path(tree)).unwrap().map(|entry| entry.unwrap().file_name());
        let mut all: Vec<_> = all.collect();
        all.sort();
        all
    };
    assert_eq!(names("w"), names("src"));
    for name in names("src") {
        let read = |tree: &str| fs::read(daemon.path(tree).join(&name)).unwrap();
        assert!(read("w") == read("src"), "{name:?}");
    }
}
