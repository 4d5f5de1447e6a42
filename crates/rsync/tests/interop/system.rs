//! Options that ask something of the system: threads, ids, memory, blocking ends, places. Also a
//! server's log.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::{Command, Output, Stdio};

use driftless_testkit::plant::{executable, noise, set_mtime};
use tempfile::TempDir;

use crate::ground::ours;

/// A source, an older destination and shells that run what they are told here.
fn folder() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), Permissions::from_mode(0o777)).unwrap();
    let path = |name: &str| folder.path().join(name);
    for dir in ["s/sub", "d", "in", "out"] {
        fs::create_dir_all(path(dir)).unwrap();
        fs::set_permissions(path(dir), Permissions::from_mode(0o777)).unwrap();
    }
    for name in ["s/f", "s/sub/g", "d/gone"] {
        fs::write(path(name), name).unwrap();
        set_mtime(&path(name), 1_000_000_000, 0);
    }
    // Whether a directory has another time does not depend on the second in which it was made.
    for (dir, seconds) in [("s/sub", 1_100_000_000), ("s", 1_100_000_000), ("d", 1_200_000_000)] {
        set_mtime(&path(dir), seconds, 0);
    }
    for shell in ["shell", "rsh"] {
        executable(path(shell), "#!/bin/sh\nshift\nexec sh -c \"$*\"\n");
    }
    folder
}

/// `HERE` in a word is the folder.
fn run(folder: &Path, program: &[&str], line: &str) -> Output {
    let here = folder.to_str().unwrap();
    let mut command = Command::new("timeout");
    command.arg("60").args(program);
    command.args(line.split(' ').map(|word| word.replace("HERE", here)));
    command.current_dir(folder).env("LC_ALL", "C").stdin(Stdio::null());
    command.output().expect("this test needs the program timeout")
}

fn text(output: &Output) -> String {
    let all = [&output.stdout[..], &output.stderr].concat();
    String::from_utf8_lossy(&all).into_owned()
}

/// Runs a line with our client and returns how often a text is in its trace.
fn count_in_trace(folder: &Path, options: &[&str], line: &str, part: &str) -> usize {
    let program = ours();
    let mut words = vec!["strace", "-o", "trace"];
    words.extend(options);
    words.push(program.to_str().unwrap());
    let output = run(folder, &words, line);
    assert!(output.status.success(), "{line}: {}", text(&output));
    fs::read_to_string(folder.join("trace")).unwrap().matches(part).count()
}

#[test]
fn long_literals_are_compressed_by_so_many_threads_but_not_more_than_eight() {
    let folder = folder();
    fs::write(folder.path().join("s/long"), b"the same line again\n".repeat(1_800_000)).unwrap();
    let threads = |option: &str| {
        let program = ours().display().to_string();
        let line =
            format!("-az {option} -e HERE/shell --rsync-path={program} s/ h:HERE/new{option}/");
        count_in_trace(folder.path(), &["-f"], &line, "clone3(")
    };
    let none = threads("--zt=0");
    let counts = ["--zt=1", "--compress-threads=4", "--zt=99", "--zt=-5"].map(threads);
    assert_eq!(counts, [none + 1, none + 4, none + 8, none]);
}

#[test]
fn ends_of_the_shells_pipes_block_where_that_is_asked_for() {
    let folder = folder();
    fs::write(folder.path().join("s/big"), noise(5, 3_000_000)).unwrap();
    let program = ours().display().to_string();
    let blocking = |option: &str, shell: &str| {
        let _ = fs::remove_dir_all(folder.path().join("e"));
        let line = format!("-a {option} -e HERE/{shell} --rsync-path={program} s/ h:HERE/e/");
        let count = count_in_trace(folder.path(), &[], &line, "F_SETFL");
        let came = fs::read(folder.path().join("e/big")).unwrap();
        assert!(came == fs::read(folder.path().join("s/big")).unwrap());
        let _ = fs::remove_dir_all(folder.path().join("e2"));
        let line = format!("-a {option} -e HERE/{shell} --rsync-path={program} h:HERE/s/ e2/");
        assert!(run(folder.path(), &[&program], &line).status.success());
        count == 0
    };
    assert!(!blocking("--recursive", "shell"));
    assert!(blocking("--blocking-io", "shell"));
    assert!(blocking("--recursive", "rsh"));
    assert!(!blocking("--no-blocking-io", "rsh"));
}

#[test]
fn the_sums_of_one_file_may_take_no_more_than_what_is_allowed() {
    let folder = folder();
    fs::write(folder.path().join("s/big"), noise(6, 6_000_000)).unwrap();
    fs::write(folder.path().join("d/big"), noise(6, 5_999_999)).unwrap();
    let program = ours();
    let program = program.to_str().unwrap();
    let output = run(folder.path(), &[program], "-a --no-W -B 30 --max-alloc=1m s/ d/");
    assert_eq!(output.status.code(), Some(22), "{}", text(&output));
    assert!(text(&output).contains("exceeded --max-alloc=1048576 setting"), "{}", text(&output));
    let output = run(folder.path(), &[program], "-a --max-alloc=0 s/ d/");
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output).contains("max-alloc must be greater than zero"), "{}", text(&output));
    let output = run(folder.path(), &[program], "-a --no-W -B 30 --max-alloc=8m s/ d/");
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
}

/// Owners of what a line leaves at the destination, and what it says.
fn copied_as(program: &str, line: &str) -> (Option<i32>, Vec<(u32, u32)>, String) {
    let folder = folder();
    fs::remove_dir_all(folder.path().join("d")).unwrap();
    fs::set_permissions(folder.path().join("s/sub"), Permissions::from_mode(0o700)).unwrap();
    let line = line.replace("OURS", ours().to_str().unwrap());
    let output = run(folder.path(), &[program], &line);
    let owners = ["d", "d/f", "d/sub", "d/sub/g"].iter().filter_map(|name| {
        let meta = fs::symlink_metadata(folder.path().join(name)).ok()?;
        Some((meta.uid(), meta.gid()))
    });
    let said = text(&output).replace(folder.path().to_str().unwrap(), "HERE");
    let first = said.lines().find(|line| line.contains("copy-as") || line.contains("failed"));
    (output.status.code(), owners.collect(), first.unwrap_or_default().to_owned())
}

#[test]
fn a_copy_is_made_as_the_user_who_is_named() {
    let program = ours();
    let program = program.to_str().unwrap();
    for line in [
        "-a --copy-as=nobody s/ d/",
        "-a --copy-as=nobody:daemon s/ d/",
        "-a --copy-as=65534:1 s/ d/",
        "-a -M--copy-as=nobody s/ d/",
        "-a --copy-as=nosuch s/ d/",
        "-a --copy-as=nobody:nosuch s/ d/",
        "-a --copy-as=nobody: s/ d/",
        "-a --copy-as=nobody -e HERE/shell h:HERE/s/ d/",
        "-a -M--copy-as=nobody -e HERE/shell s/ h:HERE/d/",
        "-a -M--copy-as=nobody -e HERE/shell h:HERE/s/ d/",
    ] {
        let theirs = copied_as("rsync", line);
        assert_eq!(copied_as(program, line), theirs, "{line}");
        if line.contains("-e ") && line.contains("-M") {
            let served = line.replace("-e ", "--rsync-path=OURS -e ");
            assert_eq!(copied_as("rsync", &served), theirs, "{served}");
        }
    }
}

#[test]
fn directories_that_options_name_lie_inside_the_root_that_is_given() {
    let folder = folder();
    let path = |name: &str| folder.path().join(name);
    for place in ["in", "out"] {
        fs::copy(path("s/f"), path(place).join("f")).unwrap();
        set_mtime(&path(place).join("f"), 1_000_000_000, 0);
    }
    std::os::unix::fs::symlink("../out", path("in/link")).unwrap();
    let program = ours();
    let program = program.to_str().unwrap();
    let linked = |dir: &str| {
        let _ = fs::remove_dir_all(path("new"));
        let line = format!("-a --confine-root=HERE/in --link-dest=HERE/{dir} s/ new/");
        run(folder.path(), &[program], &line);
        fs::metadata(path("new/f")).unwrap().nlink() > 1
    };
    assert!(linked("in") && !linked("out") && !linked("in/link"));
    let code = |line: &str| {
        fs::write(path("d/f"), "older").unwrap();
        let line = format!("-a --confine-root=HERE/in {line} s/ d/");
        run(folder.path(), &[program], &line).status.code()
    };
    assert_eq!(code("-T HERE/in"), Some(0));
    assert_eq!(code("-T HERE/out"), Some(23));
    assert_eq!(code("--backup-dir=HERE/in/old"), Some(0));
    assert_eq!(fs::read(path("in/old/f")).unwrap(), b"older");
    // The original goes on without a backup; what was there is worth more than the update.
    assert_eq!(code("--backup-dir=HERE/out/old"), Some(23));
    assert_eq!(fs::read(path("d/f")).unwrap(), b"older");
    assert!(!path("out/old").exists());
    let names: Vec<_> =
        fs::read_dir(path("out")).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(names, ["f"]);
}

#[test]
fn a_sorting_that_takes_all_names_leaves_no_incremental_lists() {
    let program = ours();
    let outputs = ["rsync", program.to_str().unwrap()].map(|program| {
        let folder = folder();
        let output = run(folder.path(), &[program], "-av --qsort s/ d/");
        let lines = text(&output);
        lines.lines().take(4).map(str::to_owned).collect::<Vec<_>>()
    });
    assert_eq!(outputs[0], outputs[1]);
    assert!(outputs[1][0].starts_with("building file list"), "{outputs:?}");
}

#[test]
fn content_within_one_machine_is_copied_by_the_kernel_where_nobody_asks_about_it() {
    let folder = folder();
    fs::write(folder.path().join("s/big"), noise(7, 3_000_000)).unwrap();
    let copies = |options: &str| {
        let _ = fs::remove_dir_all(folder.path().join("new"));
        let line = format!("-a {options} s/ new/");
        let cloned = count_in_trace(folder.path(), &["-f"], &line, "FICLONE");
        let came = fs::read(folder.path().join("new/big")).unwrap();
        assert!(came == fs::read(folder.path().join("s/big")).unwrap(), "{options}");
        cloned
    };
    assert_eq!(copies("--recursive"), 1);
    for options in ["--out-format=%C", "--no-W", "--bwlimit=90m", "--sparse", "--progress"] {
        assert_eq!(copies(options), 0, "{options}");
    }
}

#[test]
fn names_that_are_linked_in_the_alternate_directory_too_are_no_news() {
    let program = ours();
    let said = ["rsync", program.to_str().unwrap()].map(|program| {
        let folder = folder();
        for name in ["s/sub/linked", "s/zz"] {
            fs::hard_link(folder.path().join("s/f"), folder.path().join(name)).unwrap();
        }
        text(&run(folder.path(), &[program], "-aHi --link-dest=HERE/s s/ new/"))
    });
    assert_eq!(said[1], said[0]);
}

/// What a server that the real client starts writes into its log, without times and byte counts.
fn served_log(path: &str, options: &str, ends: &str) -> Vec<String> {
    let folder = folder();
    let line = format!("{options} -e HERE/shell --rsync-path={path} -M--log-file=HERE/log {ends}");
    let output = run(folder.path(), &["rsync"], &line);
    let log = fs::read_to_string(folder.path().join("log"));
    let log = log.unwrap_or_else(|error| panic!("{line}: {error}: {}", text(&output)));
    let here = folder.path().to_str().unwrap();
    let lines = log.lines().map(|line| {
        let said = line.split_once("] ").map_or(line, |(_, said)| said);
        match said.starts_with("sent ") {
            true => said.rsplit("  ").next().unwrap_or(said).to_owned(),
            false => said.replace(here, "HERE").split(" at ").next().unwrap_or(said).to_owned(),
        }
    });
    lines.collect()
}

#[test]
fn a_servers_log_says_what_the_originals_says() {
    let ours = ours().display().to_string();
    let sets = [
        "-a",
        "-ai",
        "-av --delete",
        "-a --stats",
        "-an",
        "-aq",
        "-a -M--log-file-format=%o_%n_%l",
        "-a -M--log-file-format=%n_%C --cc=md5",
    ];
    for set in sets {
        for ends in ["s/ h:HERE/d/", "h:HERE/s/ d/", "h:HERE/nosuch d/"] {
            let theirs = served_log("rsync", set, ends);
            assert_eq!(served_log(&ours, set, ends), theirs, "{set} {ends}");
        }
    }
}

#[test]
fn a_log_that_cannot_be_opened_stops_no_server() {
    let folder = folder();
    let line = format!(
        "-a -e HERE/shell --rsync-path={} -M--log-file=HERE/none/log s/ h:HERE/d/",
        ours().display()
    );
    let output = run(folder.path(), &["rsync"], &line);
    assert!(output.status.success() && folder.path().join("d/f").exists());
    assert!(text(&output).contains("[server] failed to open log-file"), "{}", text(&output));
}
