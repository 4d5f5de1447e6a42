//! Every way to a peer ends in the same session.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::process::Command;
use std::thread;
use std::time::Duration;

use driftless_testkit::PASSWORD;
use driftless_testkit::compare::{CompareOptions, differences};
use driftless_testkit::peer::{Module as Served, RsyncDaemon};
use driftless_testkit::sshd::{HOST, Sshd};
use driftless_transfer::connect::daemon::Reach;
use driftless_transfer::connect::proxy::Proxy;
use driftless_transfer::connect::shell::{RemoteShell, split_command};
use driftless_transfer::connect::{Connection, Direction, End, Module};
use driftless_transfer::options::ConnectOptions;
use driftless_transfer::remote_args::{ServerArgs, ServerSide};
use driftless_transfer::report::Quiet;
use driftless_transfer::{PushError, Request, TransferOptions, send};

use crate::support::Place;

fn options() -> TransferOptions {
    let mut options = TransferOptions { modify_window: 0, ..TransferOptions::default() };
    options.selection.recursive = true;
    options
}

fn request(place: &Place) -> Request {
    let mut source = place.path("src").into_os_string().into_encoded_bytes();
    source.push(b'/');
    Request { sources: vec![source], ..Request::default() }
}

/// Logs in at the module and pushes the usual tree.
fn push_to_module(
    place: &Place,
    mut connection: Connection,
    module: &str,
    user: &str,
) -> Result<(), PushError> {
    let options = options();
    let args = ServerArgs::new(&options, &ConnectOptions::default(), ServerSide::Receives);
    let password = || Some(PASSWORD.as_bytes().to_vec().into());
    let entrance = Module {
        name: module,
        user,
        password: &password,
        early_input: None,
        args: &args.for_daemon(&[format!("{module}/").into_bytes()]),
    };
    connection.enter_module(&entrance, &options, &mut Quiet)?;
    let established = connection.negotiate(End::Client, Direction::Send, &options, &mut Quiet)?;
    let ending = send(established, &options, &request(place), &mut Quiet).map_err(|f| f.error)?;
    assert_eq!(ending.exit_code(), 0);
    Ok(())
}

#[track_caller]
fn check_arrived(place: &Place, to: &std::path::Path) {
    let found = differences(&place.path("src"), to, &CompareOptions::default()).unwrap();
    assert!(found.is_empty(), "{}", found.join("\n"));
}

fn daemon() -> RsyncDaemon {
    RsyncDaemon::start(&[
        Served::book("locked"),
        Served::book("open").anonymous().set("list", "yes"),
    ])
}

#[test]
fn a_daemon_is_reached_by_its_socket() {
    let (place, daemon) = (Place::with_trees(), daemon());
    let reach = Reach::default();
    for (module, user) in [("open", "nobody"), ("locked", Served::book("locked").user().as_str())] {
        let connection = reach.connect("127.0.0.1", daemon.port(), &options(), &mut Quiet).unwrap();
        push_to_module(&place, connection, module, user).unwrap();
        check_arrived(&place, daemon.module_path(module));
    }
    let connection = reach.connect("127.0.0.1", daemon.port(), &options(), &mut Quiet).unwrap();
    let refused = push_to_module(&place, connection, "locked", "stranger").unwrap_err();
    assert!(matches!(refused, PushError::AuthFailed { .. }), "{refused:?}");
}

#[test]
fn the_modules_of_a_daemon_are_listed() {
    let daemon = daemon();
    let connection =
        Reach::default().connect("127.0.0.1", daemon.port(), &options(), &mut Quiet).unwrap();
    let mut lines = Vec::new();
    connection
        .list_modules(&options(), &mut Quiet, |line| {
            lines.push(String::from_utf8_lossy(line).into_owned());
        })
        .unwrap();
    assert!(lines.iter().any(|line| line.starts_with("open           \t")), "{lines:?}");
}

#[test]
fn a_proxy_makes_the_connection() {
    let (place, daemon) = (Place::with_trees(), daemon());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let target = daemon.port();
    let proxy = thread::spawn(move || {
        let (client, _) = listener.accept().unwrap();
        let mut reader = BufReader::new(client.try_clone().unwrap());
        let mut head = Vec::new();
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).unwrap();
            if line == "\r\n" {
                break;
            }
            head.push(line.trim_end().to_owned());
        }
        let mut server = TcpStream::connect(("127.0.0.1", target)).unwrap();
        (&client).write_all(b"HTTP/1.1 200 Go on\r\nServer: test\r\n\r\n").unwrap();
        let (mut back, mut to_client) = (server.try_clone().unwrap(), client);
        let pump = thread::spawn(move || {
            let _ = std::io::copy(&mut back, &mut to_client);
            let _ = to_client.shutdown(Shutdown::Write);
        });
        let _ = std::io::copy(&mut reader, &mut server);
        let _ = server.shutdown(Shutdown::Write);
        pump.join().unwrap();
        head
    });
    let named = Proxy::parse(&format!("u:secret@127.0.0.1:{port}")).unwrap();
    let reach = Reach { proxy: Some(named), ..Reach::default() };
    let connection = reach.connect("127.0.0.1", daemon.port(), &options(), &mut Quiet).unwrap();
    push_to_module(&place, connection, "open", "nobody").unwrap();
    check_arrived(&place, daemon.module_path("open"));
    let head = proxy.join().unwrap();
    assert_eq!(head[0], format!("CONNECT 127.0.0.1:{target} HTTP/1.0"));
    assert!(head.contains(&"Proxy-Authorization: Basic dTpzZWNyZXQ=".to_owned()), "{head:?}");
}

#[test]
fn a_proxy_that_refuses_is_quoted() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let proxy = thread::spawn(move || {
        let (mut client, _) = listener.accept().unwrap();
        client.write_all(b"HTTP/1.0 403 Forbidden\r\n\r\n").unwrap();
        let _ = std::io::copy(&mut client, &mut std::io::sink());
    });
    let reach = Reach { proxy: Proxy::parse(&format!("127.0.0.1:{port}")), ..Reach::default() };
    let error = reach.connect("daemon", 873, &options(), &mut Quiet).err().unwrap();
    assert_eq!(error.to_string(), "bad response from proxy -- HTTP/1.0 403 Forbidden");
    assert_eq!(error.exit_code(), 10);
    proxy.join().unwrap();
}

/// A daemon's configuration with one open module, and the module's folder.
fn configuration(place: &Place) -> (String, std::path::PathBuf) {
    let (file, folder) = (place.path("rsyncd.conf"), place.path("module"));
    fs::create_dir(&folder).unwrap();
    let text = format!(
        "use chroot = no\n[open]\npath = {}\nread only = no\nuid = 0\ngid = 0\n",
        folder.display()
    );
    fs::write(&file, text).unwrap();
    (file.display().to_string(), folder)
}

#[test]
fn a_program_takes_the_place_of_the_socket() {
    let place = Place::with_trees();
    let (file, folder) = configuration(&place);
    let program =
        format!("test %H = web.example && exec rsync --server --daemon --config={file} .");
    let reach = Reach { program: Some(program.into_bytes()), ..Reach::default() };
    let connection = reach.connect("web.example", 873, &options(), &mut Quiet).unwrap();
    push_to_module(&place, connection, "open", "nobody").unwrap();
    check_arrived(&place, &folder);
    let error = reach.connect("x;reboot", 873, &options(), &mut Quiet).err().unwrap();
    assert!(matches!(error, PushError::Shell { .. }), "{error:?}");
}

#[test]
fn a_daemon_is_reached_over_a_remote_shell() {
    let place = Place::with_trees();
    let (file, folder) = configuration(&place);
    let shell = RemoteShell {
        command: vec![place.path("sh").into_os_string().into_encoded_bytes()],
        host: b"h".to_vec(),
        program: format!("test $RSYNC_PORT = 77 && rsync --config={file}").into_bytes(),
        args: [&b"--server"[..], b"--daemon", b"."].map(<[u8]>::to_vec).to_vec(),
        daemon_port: Some(77),
        ..RemoteShell::default()
    };
    let connection = Connection::shell(&shell, &options()).unwrap();
    push_to_module(&place, connection, "open", "nobody").unwrap();
    check_arrived(&place, &folder);
}

#[test]
fn a_real_ssh_carries_the_session() {
    let place = Place::with_trees();
    let sshd = Sshd::start();
    let options = options();
    let to = place.path("with blank");
    let path = to.clone().into_os_string().into_encoded_bytes();
    let args = ServerArgs::new(&options, &ConnectOptions::default(), ServerSide::Receives);
    let shell = RemoteShell {
        command: split_command(sshd.client().as_bytes()).unwrap(),
        host: HOST.into(),
        program: b"rsync".to_vec(),
        args: args.for_shell(&[path]),
        ..RemoteShell::default()
    };
    let connection = Connection::shell(&shell, &options).unwrap();
    let established =
        connection.negotiate(End::Client, Direction::Send, &options, &mut Quiet).unwrap();
    let ending = send(established, &options, &request(&place), &mut Quiet).unwrap();
    assert_eq!(ending.exit_code(), 0);
    check_arrived(&place, &to);
}

#[test]
fn the_exit_code_of_the_far_end_is_told() {
    let place = Place::with_trees();
    let shell = RemoteShell {
        command: vec![place.path("sh").into_os_string().into_encoded_bytes()],
        host: b"h".to_vec(),
        program: b"exit 42;".to_vec(),
        ..RemoteShell::default()
    };
    let connection = Connection::shell(&shell, &options()).unwrap();
    let error = connection.negotiate(End::Client, Direction::Send, &options(), &mut Quiet);
    assert_eq!(error.err().unwrap().exit_code(), 42);
}

#[test]
fn a_session_ends_at_its_time_limit() {
    let place = Place::with_trees();
    let shell = RemoteShell {
        command: vec![place.path("sh").into_os_string().into_encoded_bytes()],
        host: b"h".to_vec(),
        program: format!("cd {} && rsync", place.path("").display()).into_bytes(),
        args: ServerArgs::new(&options(), &ConnectOptions::default(), ServerSide::Receives)
            .for_shell(&[b"to".to_vec()]),
        ..RemoteShell::default()
    };
    let mut options = options();
    let connection = Connection::shell(&shell, &options).unwrap();
    let established =
        connection.negotiate(End::Client, Direction::Send, &options, &mut Quiet).unwrap();
    options.limit.stop_at = Some(std::time::SystemTime::now());
    let failure = send(established, &options, &request(&place), &mut Quiet).unwrap_err();
    assert!(matches!(failure.error, PushError::TimeLimit), "{failure:?}");
    assert_eq!(failure.error.exit_code(), 30);
}

#[test]
fn a_shell_that_says_nothing_is_given_up_and_not_waited_for() {
    let place = Place::with_trees();
    let shell = RemoteShell {
        command: vec![place.path("sh").into_os_string().into_encoded_bytes()],
        host: b"h".to_vec(),
        program: b"exec sleep 20;".to_vec(),
        ..RemoteShell::default()
    };
    let options = TransferOptions { timeout: Some(Duration::from_secs(1)), ..options() };
    let connection = Connection::shell(&shell, &options).unwrap();
    let error = connection.negotiate(End::Client, Direction::Send, &options, &mut Quiet);
    assert_eq!(error.err().unwrap().exit_code(), 30);
    // The shell still runs, since it was not waited for.
    let sleeps = Command::new("pgrep").args(["-P", &std::process::id().to_string()]).output();
    assert!(!sleeps.expect("this test needs the program pgrep").stdout.is_empty());
}
