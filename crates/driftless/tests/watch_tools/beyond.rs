//! What the originals lack: nothing lost below new directories, lost events told and repaired, other
//! forms of output.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::fs;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::{Command, Stdio};

use driftless_testkit::arb::Ops;
use driftless_testkit::wait;

use rustix::process::{Pid, Signal, kill_process};

use super::support::{DRIFTLESS, End, Outcome, Run, TREE, act, ours, run, same, starting, words};

/// Starts ours in a fresh tree.
fn started(line: &str) -> (tempfile::TempDir, Run) {
    let dir = tempfile::tempdir().unwrap();
    TREE.iter().for_each(|line| act(dir.path(), line));
    let (tool, words) = words(line);
    let mut command = ours(tool);
    command.args(words);
    let mut run = Run::start(command, dir.path());
    assert!(run.wait_idle());
    (dir, run)
}

/// Makes changes that the tool sees all at once.
fn at_once(dir: &Path, run: &mut Run, acts: &[&str]) {
    run.signal(Signal::STOP);
    wait::until("it is stopped", wait::GENEROUS, || {
        let stat = fs::read_to_string(format!("/proc/{}/stat", run.pid())).unwrap();
        stat.contains(") T ").then_some(())
    });
    acts.iter().for_each(|line| act(dir, line));
    run.signal(Signal::CONT);
}

/// What is printed for changes that are seen all at once, up to a file that is made last.
#[track_caller]
fn told_at_once(line: &str, acts: &[&str]) -> Outcome {
    let (dir, mut run) = started(line);
    at_once(dir.path(), &mut run, acts);
    act(dir.path(), "touch d/last");
    run.wait_for("last");
    assert!(run.wait_idle());
    run.end(End::Term)
}

#[test]
fn what_a_new_directory_held_before_its_watch_is_told_once() {
    let acts = ["mkdir d/n/m", "touch d/n/m/f", "touch d/n/g"];
    let line = "inotifywait -mrq -e create,close_write d";
    let told = told_at_once(line, &acts).stdout;
    for line in [
        "d/ CREATE,ISDIR n",
        "d/n/ CREATE,ISDIR m",
        "d/n/m/ CREATE f",
        "d/n/m/ CLOSE_WRITE,CLOSE f",
        "d/n/ CREATE g",
        "d/n/ CLOSE_WRITE,CLOSE g",
    ] {
        assert_eq!(told.lines().filter(|told| *told == line).count(), 1, "{line}\n{told}");
    }
    let strict =
        told_at_once("inotifywait -mrq --strict-compat -e create,close_write d", &acts).stdout;
    assert!(strict.starts_with("d/ CREATE,ISDIR n\nd/ CREATE last\n"), "{strict}");
    let written =
        told_at_once("inotifywait -mrq -e modify,moved_to d", &["mkdir d/n", "append d/n/f"]);
    assert!(written.stdout.contains("d/n/ MODIFY f\n"), "{written:?}");
    assert!(!written.stdout.contains("CREATE"), "{written:?}");
}

#[test]
fn no_leaf_of_trees_made_back_to_back_is_missed() {
    const TREES: usize = 300;
    let (dir, mut run) = started("inotifywait -mrq -e create,close_write --format %e␣%w%f d");
    for tree in 0..TREES {
        fs::create_dir_all(dir.path().join(format!("d/t{tree}/b/c"))).unwrap();
        fs::write(dir.path().join(format!("d/t{tree}/b/c/leaf")), "x").unwrap();
    }
    act(dir.path(), "touch d/last");
    run.wait_for("CLOSE_WRITE,CLOSE d/last");
    assert!(run.wait_idle());
    let told = run.end(End::Term).stdout;
    for tree in 0..TREES {
        for line in [
            format!("CREATE,ISDIR d/t{tree}"),
            format!("CREATE,ISDIR d/t{tree}/b"),
            format!("CREATE,ISDIR d/t{tree}/b/c"),
            format!("CREATE d/t{tree}/b/c/leaf"),
            format!("CLOSE_WRITE,CLOSE d/t{tree}/b/c/leaf"),
        ] {
            assert!(told.lines().any(|told| told == line), "{line}");
        }
    }
}

#[test]
fn a_directory_that_left_the_tree_is_no_longer_watched() {
    let (dir, mut run) = started("inotifywait -mrq --stats-json d");
    act(dir.path(), "mv d/c away");
    let watches = || {
        let all = (0..16).map(|fd| {
            fs::read_to_string(format!("/proc/{}/fdinfo/{fd}", run.pid())).unwrap_or_default()
        });
        all.map(|text| text.matches("inotify wd:").count()).sum::<usize>()
    };
    wait::until("its watches end", wait::GENEROUS, || (watches() == 3).then_some(()));
    act(dir.path(), "touch away/x/f");
    act(dir.path(), "touch d/last");
    run.wait_for("last");
    let outcome = run.end(End::Term);
    assert!(!outcome.stdout.contains(" f\n"), "{outcome:?}");
    assert!(outcome.stderr.contains("\"watches\":3}"), "{outcome:?}");
}

#[test]
fn renames_that_are_seen_late_leave_the_right_names() {
    let acts = ["mv d/a d/k", "mv d/b d/a", "mv d/k d/b", "mv d/c/x d/a/x", "mv d/c d/a/x/c"];
    let (dir, mut run) = started("inotifywait -mrq -e create d");
    at_once(dir.path(), &mut run, &acts);
    act(dir.path(), "touch d/last");
    run.wait_for("last");
    for file in ["d/a/1", "d/b/2", "d/a/x/3", "d/a/x/c/4"] {
        act(dir.path(), &format!("touch {file}"));
    }
    run.wait_for(" 4\n");
    let told = run.end(End::Term).stdout;
    for line in ["d/a/ CREATE 1", "d/b/ CREATE 2", "d/a/x/ CREATE 3", "d/a/x/c/ CREATE 4"] {
        assert!(told.lines().any(|told| told == line), "{line}\n{told}");
    }
}

#[test]
fn after_any_operations_each_directory_is_watched_under_its_name() {
    let dir = tempfile::tempdir().unwrap();
    let (tree, outside) = (dir.path().join("d"), dir.path().join("outside"));
    fs::create_dir_all(&tree).unwrap();
    fs::create_dir_all(&outside).unwrap();
    let mut ops = Ops::new(Ops::seed_from_environment(), &tree, &outside);
    ops.burst(40);
    let (tool, words) = words("inotifywait -mrq --null -e create --format %w%f d");
    let mut command = ours(tool);
    command.args(words);
    let mut run = Run::start(command, dir.path());
    assert!(run.wait_idle());
    for round in 0..8 {
        ops.burst(50);
        let mut probes = Vec::new();
        let mut dirs = vec![tree.clone()];
        while let Some(at) = dirs.pop() {
            let probe = at.join(format!("probe{round}"));
            // Some operations take rights away, but not from root.
            fs::write(&probe, "").unwrap();
            probes.push(probe);
            let entries = fs::read_dir(&at).unwrap().flatten();
            dirs.extend(
                entries.filter(|e| e.file_type().unwrap().is_dir()).map(|entry| entry.path()),
            );
        }
        let last = tree.join(format!("last{round}"));
        fs::write(&last, "").unwrap();
        let path =
            |probe: &Path| probe.strip_prefix(dir.path()).unwrap().as_os_str().as_bytes().to_vec();
        let told = wait::until("the last one is told", wait::GENEROUS, || {
            let told = run.stdout_bytes();
            let names: HashSet<Vec<u8>> = told.split(|&b| b == 0).map(<[u8]>::to_vec).collect();
            names.contains(&path(&last)).then_some(names)
        });
        for probe in probes {
            assert!(told.contains(&path(&probe)), "{probe:?}\n{}", ops.report(&[]));
        }
        for name in told.iter().filter(|name| name.ends_with(format!("probe{round}").as_bytes())) {
            let found = dir.path().join(OsStr::from_bytes(name));
            assert!(found.exists(), "{found:?} is told and was never there\n{}", ops.report(&[]));
        }
    }
    run.end(End::Term);
}

#[test]
fn an_overflow_is_told_and_repaired() {
    let limit = fs::read_to_string("/proc/sys/fs/inotify/max_queued_events").unwrap();
    let files = limit.trim().parse::<usize>().unwrap() + 100;
    for line in [
        "inotifywait -mrq -e create,delete,close_write,q_overflow d",
        "inotifywait -mrq --rescan-on-overflow -e create,delete,close_write,q_overflow d",
    ] {
        let (dir, mut run) = started(line);
        let names: Vec<String> = (0..files).map(|n| format!("touch d/a/{n}")).collect();
        let mut acts: Vec<&str> = names.iter().map(String::as_str).collect();
        acts.extend(["rm d/f", "mkdir d/new/sub", "touch d/new/sub/f", "rmtree d/c"]);
        at_once(dir.path(), &mut run, &acts);
        run.wait_for("Q_OVERFLOW");
        run.wait_for("fs.inotify.max_queued_events is");
        assert!(run.wait_idle());
        act(dir.path(), "touch d/new/sub/later");
        run.wait_for("d/new/sub/ CREATE later");
        let told = run.end(End::Term).stdout;
        let told: HashSet<&str> = told.lines().collect();
        if line.contains("rescan") {
            for number in 0..files {
                assert!(told.contains(&*format!("d/a/ CREATE {number}")), "{number}");
            }
            for line in [
                "d/ DELETE f",
                "d/ CREATE,ISDIR new",
                "d/new/sub/ CLOSE_WRITE,CLOSE f",
                "d/ DELETE,ISDIR c",
            ] {
                assert!(told.contains(line), "{line}");
            }
        } else {
            assert!(!told.contains("d/ DELETE f"));
        }
    }
}

#[test]
fn json_and_null_survive_any_name() {
    let names: [&[u8]; 4] = [b"a\nb", b"\xff\xfe,\"", b"back\\slash\ttab", "ü".as_bytes()];
    let make = |dir: &Path| {
        for name in names {
            fs::write(dir.join("d").join(OsStr::from_bytes(name)), "").unwrap();
        }
    };
    let (dir, mut run) = started("inotifywait -mq --json -e create,move d");
    make(dir.path());
    act(dir.path(), "mv d/f d/last");
    run.wait_for("\"last\"");
    let lines: Vec<serde_json::Value> =
        run.end(End::Term).stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), names.len() + 2);
    assert_eq!(lines[0]["file"], "a\nb");
    assert_eq!(lines[0]["path"], "d/a\nb");
    assert_eq!(lines[0]["events"], serde_json::json!(["CREATE"]));
    assert_eq!(lines[1]["file_base64"], "//4sIg==");
    assert_eq!(lines[2]["file"], "back\\slash\ttab");
    assert!(lines[3]["file"] == "ü" && lines[3]["file_base64"].is_null());
    assert!(lines[4]["cookie"].as_u64().unwrap() > 0 && lines[4]["cookie"] == lines[5]["cookie"]);
    assert!(lines[0]["time"].as_f64().unwrap() > 1e9);

    let (dir, mut run) = started("inotifywait -mq --null --format %w%f -e create d");
    make(dir.path());
    act(dir.path(), "touch d/last");
    run.wait_for("d/last\0");
    let told = run.end(End::Term).stdout;
    let told: Vec<&str> = told.split('\0').collect();
    assert_eq!((told[0], told.len()), ("d/a\nb", names.len() + 2));
}

#[test]
fn events_of_a_path_are_joined_while_it_is_not_quiet() {
    let (dir, mut run) = started("inotifywait -mq --settle 300ms d");
    for line in ["touch d/n", "append d/n", "append d/n", "append d/other"] {
        act(dir.path(), line);
    }
    run.wait_for("d/ MODIFY,CLOSE_WRITE,OPEN,CREATE,CLOSE other");
    let told = run.end(End::Term).stdout;
    assert_eq!(
        told,
        "d/ MODIFY,CLOSE_WRITE,OPEN,CREATE,CLOSE n\nd/ MODIFY,CLOSE_WRITE,OPEN,CREATE,CLOSE other\n"
    );
}

#[test]
fn counters_on_request() {
    let (dir, mut run) = started("inotifywait -m --stats-json -e create d");
    act(dir.path(), "touch d/1");
    run.wait_for("CREATE 1");
    run.signal(Signal::USR1);
    run.wait_for("\"events\":1,\"lines\":1,");
    let outcome = run.end(End::Term);
    assert_eq!(outcome.code, -15);
    assert_eq!(outcome.stderr.matches("\"overflows\":0,\"watches\":1}").count(), 2, "{outcome:?}");

    let words = words("x -r --stats-json -e create,delete d").1;
    let outcome = run_watch(&words);
    let table: serde_json::Value = serde_json::from_str(&outcome.stdout).unwrap();
    assert_eq!(
        (&table["total"], &table["create"], &table["delete"]),
        (&2.into(), &2.into(), &0.into())
    );
    assert_eq!(table["files"].as_array().unwrap().len(), 2);
    assert_eq!(table["files"][0]["create"], 1);
}

fn run_watch(words: &[String]) -> Outcome {
    run(ours("inotifywatch"), words, TREE, &["touch d/1", "touch d/a/2"], End::Term)
}

#[test]
fn statistics_can_be_held_to_what_the_original_counts() {
    let strict = words("x -r --strict-compat -e modify d").1;
    let acts = ["mkdir d/n", "append d/n/f", "append d/f"];
    let theirs = run(
        super::support::original("inotifywatch"),
        &words("x -r -e modify d").1,
        TREE,
        &acts,
        End::Term,
    );
    let held = run(ours("inotifywatch"), &strict, TREE, &acts, End::Term);
    assert_eq!(held, theirs);
    let own = run(ours("inotifywatch"), &words("x -r -e modify d").1, TREE, &acts, End::Term);
    assert!(own.stdout.contains("d/n/"), "{own:?}");
}

#[test]
fn our_options_take_no_abbreviation_away() {
    same("inotifywait -m --s -o log --mon --rec d", &["touch d/1"]);
    same("inotifywait --js d", &[]);
    same("inotifywait --nul d", &[]);
}

#[test]
fn our_options_are_refused_where_they_make_no_sense() {
    for (line, said) in [
        ("inotifywait --json -c d", "--json cannot be specified with -c or --format."),
        ("inotifywait --null --no-newline --format x d", "--null and --no-newline"),
        ("inotifywait --settle 1s d", "--settle cannot be specified without -m."),
        ("inotifywait -m --settle soon d", "--settle: 'soon' is no duration"),
        ("inotifywait -S -I d", "-S and -I cannot both be specified."),
        (
            "fsnotifywait --rescan-on-overflow d",
            "--rescan-on-overflow cannot be used with fanotify",
        ),
    ] {
        let (tool, words) = words(line);
        let outcome = run(ours(tool), &words, TREE, &[], End::Itself);
        assert!(outcome.code == 1 && outcome.stderr.starts_with(said), "{line}: {outcome:?}");
    }
}

#[test]
fn a_reader_that_is_slow_loses_nothing_and_one_that_leaves_ends_it() {
    const FILES: usize = 20_000;
    let dir = tempfile::tempdir().unwrap();
    let mut command = ours("inotifywait");
    command.args(["-m", "-e", "create", "--format", "%f"]).arg(dir.path());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = starting(|| command.spawn()).unwrap();
    let mut progress = child.stderr.take().unwrap();
    let mut seen = Vec::new();
    while !seen.ends_with(b"Watches established.\n") {
        let mut byte = [0];
        assert_eq!(progress.read(&mut byte).unwrap(), 1);
        seen.push(byte[0]);
    }
    for file in 0..FILES {
        fs::write(dir.path().join(file.to_string()), "").unwrap();
        // So that the kernel's own queue is never the limit.
        if file % 1000 == 0 {
            wait::until("the queue is read", wait::GENEROUS, || {
                let stat = fs::read_to_string(format!("/proc/{}/wchan", child.id())).unwrap();
                stat.contains("poll").then_some(())
            });
        }
    }
    let mut out = std::io::BufReader::new(child.stdout.take().unwrap());
    for file in 0..FILES {
        let mut line = String::new();
        std::io::BufRead::read_line(&mut out, &mut line).unwrap();
        assert_eq!(line, format!("{file}\n"));
    }
    drop(out);
    fs::write(dir.path().join("more"), "").unwrap();
    use std::os::unix::process::ExitStatusExt;
    assert_eq!(child.wait().unwrap().signal(), Some(13));
}

/// The background process of `inotifywait -d`; ended when dropped.
struct Background(i32);

impl Background {
    /// Waits for the process with `mark` on its command line.
    fn find(mark: &str) -> Self {
        // The guard is made for the one that was found, and for no other: dropping it kills.
        let pid = wait::until("it runs in the background", wait::GENEROUS, || pid_with(mark));
        Self(pid)
    }
}

fn pid_with(mark: &str) -> Option<i32> {
    fs::read_dir("/proc").unwrap().flatten().find_map(|entry| {
        let pid = entry.file_name().to_str()?.parse::<i32>().ok()?;
        let is_ours = fs::read_link(entry.path().join("exe")).ok()? == Path::new(DRIFTLESS);
        let line = fs::read(entry.path().join("cmdline")).ok()?;
        (is_ours && String::from_utf8_lossy(&line).contains(mark)).then_some(pid)
    })
}

impl Drop for Background {
    fn drop(&mut self) {
        // Fails when it has ended already, which is fine.
        if let Some(pid) = Pid::from_raw(self.0) {
            let _ = kill_process(pid, Signal::KILL);
        }
    }
}

#[test]
fn a_daemon_appends_to_its_file_from_relative_paths_too() {
    for (flags, list) in [("-d", "d"), ("--daemon -r -c", "-"), ("-d -P", "d/f")] {
        let dir = tempfile::tempdir().unwrap();
        TREE.iter().for_each(|line| act(dir.path(), line));
        let log = dir.path().join("log");
        fs::write(&log, "before\n").unwrap();
        let mut command = ours("inotifywait");
        command.args(flags.split(' ')).args(["-o", "log", "-e", "attrib", "--exclude"]);
        let mark = format!("{}$", dir.path().display());
        command.arg(&mark);
        if list == "-" {
            command.args(["--fromfile", "-"]);
        } else {
            command.arg(list);
        }
        command.current_dir(dir.path()).stdin(Stdio::piped());
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = starting(|| command.spawn()).unwrap();
        let mut stdin = child.stdin.take().unwrap();
        if list == "-" {
            std::io::Write::write_all(&mut stdin, b"d\n").unwrap();
        }
        drop(stdin);
        let output = child.wait_with_output().unwrap();
        assert_eq!(
            (output.status.code(), &*output.stdout, &*output.stderr),
            (Some(0), &b""[..], &b""[..])
        );
        let background = Background::find(&mark);
        let place = format!("/proc/{}", background.0);
        wait::until("it waits", wait::GENEROUS, || {
            let sleeps_in = fs::read_to_string(format!("{place}/wchan")).unwrap();
            sleeps_in.contains("poll").then_some(())
        });
        assert_eq!(fs::read_link(format!("{place}/cwd")).unwrap(), Path::new("/"));
        act(dir.path(), "chmod d/f");
        let told = wait::until("it is logged", wait::GENEROUS, || {
            let told = fs::read_to_string(&log).unwrap();
            (told.lines().count() > 1).then_some(told)
        });
        assert!(told.starts_with("before\n") && told.contains("ATTRIB"), "{told}");
        assert!(told.contains(&format!("{}/d/", dir.path().display())), "{told}");
    }
}

#[test]
fn the_tools_are_subcommands_as_well() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("-x")).unwrap();
    let output = |words: &[&str]| {
        let mut command = Command::new(DRIFTLESS);
        command.args(words).current_dir(dir.path());
        starting(|| command.output()).unwrap()
    };
    let help = |words: &[&str]| String::from_utf8(output(words).stdout).unwrap();
    let output = output(&["inotifywait", "-t", "1", "--", "-x"]);
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(output.stderr, b"Setting up watches.\nWatches established.\n");
    let all = help(&["--help"]);
    for tool in ["inotifywait", "inotifywatch", "fsnotifywait", "fsnotifywatch"] {
        assert!(all.contains(tool), "{all}");
        assert!(help(&[tool, "--help"]).starts_with(tool));
    }
}
