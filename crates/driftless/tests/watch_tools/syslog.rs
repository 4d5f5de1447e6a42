//! `--syslog` and `--daemon`: what reaches the system's log and the output file, beside the original.

use std::fs;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Command, Stdio};

use driftless_testkit::kernel::has_mount_namespaces;
use driftless_testkit::wait;

use super::fsnotify::{cleaned, events};
use super::support::{DRIFTLESS, TREE, act, starting, words};

/// Command lines whose diagnostics go to the log; `DIR` is where the tree is. Each ends by itself.
pub const LINES: &[&str] = &[
    "inotifywait -s -m -t 1 d",
    "inotifywait --syslog -m -r -t 1 d",
    "inotifywait -s -q -t 1 nope",
    "inotifywait -d -o log -t 1 DIR/d",
    "inotifywait --daemon -r --outfile log -t 1 DIR/d",
    "inotifywait -d -c -q -o log -t 1 DIR/d DIR/nope",
    "fsnotifywait -s -m -t 1 d",
    "fsnotifywait --syslog -m -t 1 nope",
    "fsnotifywait -d -o log -t 1 DIR/d",
    "fsnotifywait --daemon -o log -t 1 DIR/d",
];

/// What one run left behind.
#[derive(Debug, PartialEq, Eq)]
struct Logged {
    code: Option<i32>,
    /// Standard output and standard error.
    said: (String, String),
    /// Messages, without the time and with `PID` for the number of the process.
    messages: Vec<String>,
    /// The output file.
    file: String,
}

/// `<PRIORITY>Mmm dd hh:mm:ss NAME[PID]: TEXT`, as the C library writes it.
fn normalised(message: &[u8]) -> String {
    let text = String::from_utf8_lossy(message).into_owned();
    let (priority, rest) = text.split_once('>').expect("a message begins with its priority");
    let (time, rest) = rest.split_at(16);
    assert!(time.as_bytes()[9] == b':' && time.ends_with(' '), "no time: {text}");
    let (name, rest) = rest.split_once('[').expect("the process is named");
    let (pid, rest) = rest.split_once(']').expect("the process is named");
    assert!(pid.parse::<u32>().is_ok(), "no process: {text}");
    format!("{priority}> {name}[PID]{rest}")
}

/// Runs a program where `/dev/log` is a socket of ours.
#[track_caller]
fn run(program: &Path, line: &str) -> Logged {
    let dir = tempfile::tempdir().unwrap();
    let place = dir.path().canonicalize().unwrap();
    TREE.iter().for_each(|line| act(&place, line));
    fs::write(place.join("log"), "").unwrap();
    let dev = place.join("dev");
    fs::create_dir(&dev).unwrap();
    let log = UnixDatagram::bind(dev.join("log")).unwrap();
    log.set_read_timeout(Some(wait::GENEROUS)).unwrap();
    let mut command = Command::new("unshare");
    command
        .args(["--mount", "sh", "-c"])
        .arg(
            "touch \"$0/null\" && mount --bind /dev/null \"$0/null\" && \
             mount --rbind \"$0\" /dev && exec \"$@\"",
        )
        .args([&dev, program])
        .args(words(line).1.iter().map(|word| word.replace("DIR", place.to_str().unwrap())))
        .current_dir(&place)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let child = starting(|| command.spawn()).expect("util-linux is installed");
    let mut messages = Vec::new();
    // The last message is that all is watched, or why not.
    while !messages.last().is_some_and(|last: &String| {
        last.contains("Watches established.") || last.contains("Couldn't watch")
    }) {
        let mut buffer = [0; 4096];
        let len = log.recv(&mut buffer).unwrap_or_else(|e| panic!("{line}: {e}: {messages:?}"));
        messages.push(normalised(&buffer[..len]).replace(place.to_str().unwrap(), "DIR"));
    }
    let file = || fs::read_to_string(place.join("log")).unwrap();
    if line.contains("-o") && messages.last().is_some_and(|last| last.contains("established")) {
        act(&place, "append d/n");
        wait::until("it is in the file", wait::GENEROUS, || {
            file().contains("CLOSE_WRITE").then_some(())
        });
    }
    let output = child.wait_with_output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap().replace("DIR", "");
    Logged {
        code: output.status.code(),
        said: (text(output.stdout), text(output.stderr)),
        messages,
        file: file().replace(place.to_str().unwrap(), "DIR"),
    }
}

#[test]
fn the_log_gets_what_the_original_writes() {
    if !has_mount_namespaces() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    for line in LINES {
        let (tool, _) = words(line);
        let ours = folder.path().join(tool);
        if !ours.exists() {
            symlink(DRIFTLESS, &ours).unwrap();
        }
        let (mut theirs, mut ours) = (run(Path::new(tool), line), run(&ours, line));
        if tool == "fsnotifywait" {
            // fanotify joins what was not read yet, so that lines differ from run to run. In the
            // background the original also tells how it opens the directory itself.
            let mut wanted = events(&cleaned(&theirs.file));
            wanted.retain(|event| !event.starts_with("DIR/d/ "));
            assert_eq!(events(&ours.file), wanted, "{line}");
            (theirs.file, ours.file) = Default::default();
            theirs.said.0 = cleaned(&theirs.said.0);
        }
        assert_eq!(ours, theirs, "left: ours, right: the original; {line}");
    }
}
