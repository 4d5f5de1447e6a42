//! How much memory each process needs at its peak when 300,000 files are pulled and pushed, with
//! driftless at either end and at both, beside rsync at both.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use driftless_testkit::compare::{CompareOptions, differences};
use driftless_testkit::plant;

/// The name on the command line.
pub const NAME: &str = "rsync-memory";

const FILES: usize = 300_000;
const FOLDERS: usize = 3_000;

/// Who plays the client and who the server.
const CASTS: [(&str, bool, bool); 4] = [
    ("rsync at both ends", false, false),
    ("driftless client", true, false),
    ("driftless server", false, true),
    ("driftless at both ends", true, true),
];

/// Runs all of it and prints a table.
pub fn run(driftless: &Path) {
    let driftless = &driftless.canonicalize().expect("it was looked for");
    let folder = tempfile::tempdir().expect("a folder for temporary files");
    let path = |name: &str| folder.path().join(name);
    make_tree(&path("s"));
    plant::age(&path("s"));
    // What a remote shell does with the words that it gets.
    plant::executable(path("shell"), "#!/bin/sh\nshift\neval \"exec $*\"\n");
    println!("peak memory, KiB, {FILES} files in {FOLDERS} folders");
    println!("{:24} {:6} {:10} {:>8}  each process", "", "", "", "sum");
    for (cast, client, server) in CASTS {
        for push in [true, false] {
            for state in ["first", "unchanged"] {
                let peaks = measure(&path(""), driftless, client, server, push);
                let each: Vec<String> =
                    peaks.iter().map(|(name, peak)| format!("{name} {peak}")).collect();
                let sum: u64 = peaks.iter().map(|(_, peak)| peak).sum();
                let way = if push { "push" } else { "pull" };
                println!("{cast:24} {way:6} {state:10} {sum:8}  {}", each.join(", "));
            }
            let options = CompareOptions::default();
            let found = differences(&path("s"), &path("d"), &options).expect("both can be read");
            assert!(found.is_empty(), "{cast}: {} differences, {}", found.len(), found[0]);
            fs::remove_dir_all(path("d")).expect("it is ours");
        }
    }
}

fn make_tree(root: &Path) {
    for folder in 0..FOLDERS {
        let dir = root.join(format!("group{:03}/folder{folder:05}", folder % 100));
        fs::create_dir_all(&dir).expect("the tree can be made");
        for file in 0..FILES / FOLDERS {
            fs::write(dir.join(format!("a file with number {file:05}")), b"content")
                .expect("the tree can be made");
        }
    }
}

/// The peak of each process of one run that is not a shell, by name.
fn measure(
    here: &Path,
    driftless: &Path,
    client: bool,
    server: bool,
    push: bool,
) -> Vec<(String, u64)> {
    let mut command = Command::new(if client { driftless } else { Path::new("rsync") });
    if client {
        command.arg("rsync");
    }
    if server {
        command.arg(format!("--rsync-path={} rsync", driftless.display()));
    }
    let ends = if push { ["s/", "h:d"] } else { ["h:s/", "d"] };
    let mut child = command
        .arg("-a")
        .args(ends)
        .current_dir(here)
        .env("RSYNC_RSH", here.join("shell"))
        .stdin(Stdio::null())
        .process_group(0)
        .spawn()
        .expect("the programs can be started");
    let peaks = watch(&mut child);
    let status = child.wait().expect("it is our child");
    assert!(status.success(), "{command:?}: {status}");
    peaks.into_values().filter(|(name, _)| name != "sh" && name != "shell").collect()
}

/// Follows the peaks of a process group until its leader ends.
fn watch(child: &mut Child) -> BTreeMap<u32, (String, u64)> {
    let group = child.id();
    let mut peaks = BTreeMap::new();
    while child.try_wait().is_ok_and(|status| status.is_none()) {
        let all = fs::read_dir("/proc").expect("there is a /proc").flatten();
        for pid in all.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok()) {
            if group_of(pid) == Some(group)
                && let Some(found) = peak_of(pid)
            {
                peaks.insert(pid, found);
            }
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    peaks
}

fn group_of(pid: u32) -> Option<u32> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // Behind the name in parentheses: state, parent, group.
    text.rsplit_once(')')?.1.split_whitespace().nth(2)?.parse().ok()
}

fn peak_of(pid: u32) -> Option<(String, u64)> {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name));
    let peak = field("VmHWM:")?.trim().strip_suffix(" kB")?.parse().ok()?;
    Some((field("Name:")?.trim().to_owned(), peak))
}
