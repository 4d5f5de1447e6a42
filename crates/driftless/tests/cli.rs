//! Command lines as they are typed, with the real binary: exit codes, what is said, signals.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

const BINARY: &str = env!("CARGO_BIN_EXE_driftless");
/// Far more than anything here takes.
const LIMIT: Duration = Duration::from_secs(60);

fn driftless(dir: &Path, words: &[&str]) -> Output {
    Command::new(BINARY)
        .args(words)
        .current_dir(dir)
        .env_remove("RSYNC_PASSWORD")
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

/// Checks the exit code and the only line of standard error.
#[track_caller]
fn refused(dir: &Path, words: &[&str], code: i32, line: &str) {
    let output = driftless(dir, words);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(said, format!("{line}\n"), "{words:?}");
    assert_eq!(output.status.code(), Some(code), "{words:?}");
    assert!(output.stdout.is_empty(), "{words:?}");
}

/// Checks the exit code of wrong usage and a part of standard error.
#[track_caller]
fn usage(dir: &Path, words: &[&str], part: &str) {
    let output = driftless(dir, words);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains(part), "{words:?}: {said}");
    assert_eq!(output.status.code(), Some(2), "{words:?}");
}

/// A folder with `source` and `copy`.
fn folder() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("source")).unwrap();
    fs::create_dir(dir.path().join("copy")).unwrap();
    dir
}

/// `driftless live`, ended when dropped.
struct Live {
    child: Child,
    log: PathBuf,
}

impl Live {
    fn start(dir: &Path, words: &[&str]) -> Self {
        let log = dir.join("log");
        let child = Command::new(BINARY)
            .arg("live")
            .args(words)
            .args(["--control", "s"])
            .current_dir(dir)
            .stderr(fs::File::create(&log).unwrap())
            .spawn()
            .unwrap();
        let mut live = Self { child, log };
        live.wait_for_log("answers at");
        live
    }

    fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap()
    }

    #[track_caller]
    fn wait_for_log(&mut self, text: &str) {
        let start = Instant::now();
        while !self.log().contains(text) {
            let ended = self.child.try_wait().unwrap();
            assert!(ended.is_none() && start.elapsed() < LIMIT, "{ended:?}: {}", self.log());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-s", name, &pid]).status().unwrap().success());
    }

    /// Ends it with a signal that asks for it.
    #[track_caller]
    fn ends_well(mut self, signal: &str) {
        self.signal(signal);
        assert_eq!(self.child.wait().unwrap().code(), Some(0), "{}", self.log());
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        // Fails when it has ended already, which is fine.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn options_that_do_not_work_yet_are_refused_by_name() {
    let dir = folder();
    for (word, name) in [
        ("--crtimes", "--crtimes"),
        ("-U", "--atimes"),
        ("--partial", "--partial"),
        ("--iconv=utf8", "--iconv"),
        ("-aL", "--copy-links"),
    ] {
        let line = format!("driftless: {name} is not supported by driftless live yet");
        refused(dir.path(), &["live", word, "source", "copy"], 1, &line);
    }
}

#[test]
fn wrong_usage_is_refused_with_what_was_meant() {
    let dir = folder();
    usage(dir.path(), &["live", "--exclud", "x", "source", "copy"], "'--exclude'");
    usage(dir.path(), &["statu"], "'status'");
    usage(dir.path(), &["live"], "<SRC>");
    usage(dir.path(), &["live", "source"], "<DEST>...");
    usage(dir.path(), &["live", "-c", "f", "source", "copy"], "cannot be used with");
    usage(dir.path(), &["flush", "--timeout", "soon"], "'soon' is no duration like 30s");
}

#[test]
fn wrong_values_are_refused_in_one_line() {
    let dir = folder();
    refused(
        dir.path(),
        &["live", "--max-delete=lots", "source", "copy"],
        2,
        "error: --max-delete: 'lots' is neither a number, nor a share like 50%, nor none",
    );
    refused(
        dir.path(),
        &["live", "-c", "live.toml", "--exclude=x"],
        2,
        "error: --exclude describes a mirror; with -c it belongs into FILE",
    );
}

#[test]
fn places_that_mirrors_cannot_use_are_refused() {
    let dir = folder();
    refused(
        dir.path(),
        &["live", "source", "web1:/srv"],
        1,
        "driftless: web1:/srv: targets through a remote shell are not supported by driftless live \
         yet; use rsync://host/module or host::module",
    );
    refused(
        dir.path(),
        &["live", "rsync://h/m", "copy"],
        1,
        "driftless: rsync://h/m: a remote source needs live = false and a schedule, in a file for \
         -c; to mirror changes as they happen, run driftless on the machine that has the source",
    );
    let source = dir.path().join("source");
    let line = format!("driftless: the target {0}/copy lies in the source {0}", source.display());
    refused(dir.path(), &["live", "source", "source/copy"], 1, &line);
}

#[test]
fn a_missing_source_is_named_and_nothing_is_left_behind() {
    let dir = folder();
    let output = driftless(dir.path(), &["live", "nowhere", "copy", "--control", "s"]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    let line = said.lines().last().unwrap();
    assert!(line.starts_with("driftless: mirror nowhere: "), "{said}");
    assert!(!dir.path().join("s").exists());
}

#[test]
fn a_password_file_that_others_can_read_is_refused_before_anything_starts() {
    let dir = folder();
    let secret = dir.path().join("secret");
    fs::write(&secret, "pw\n").unwrap();
    fs::set_permissions(&secret, Permissions::from_mode(0o644)).unwrap();
    let target = "rsync://127.0.0.1:1/m";
    let line = format!(
        "driftless: the password file {0} must not be other-accessible; run: chmod 600 {0}",
        secret.display()
    );
    refused(
        dir.path(),
        &["live", "source", target, "--password-file", "secret", "--control", "s"],
        1,
        &line,
    );
    let text = format!(
        "[[mirror]]\nsource = 'source'\n\
         targets = [{{ url = '{target}', password-file = 'secret' }}]\n"
    );
    fs::write(dir.path().join("live.toml"), text).unwrap();
    refused(dir.path(), &["live", "-c", "live.toml", "--control", "s"], 1, &line);
    assert!(!dir.path().join("s").exists());
}

#[test]
fn a_wrong_file_is_refused_with_line_and_key() {
    let dir = folder();
    let file = dir.path().join("live.toml");
    fs::write(&file, "[[mirror]]\nsource = 'source'\ntargets = 'copy'\nexclud = 'x'\n").unwrap();
    let line = format!(
        "driftless: {}:4: unknown key 'exclud' in [[mirror]]; did you mean 'exclude'?",
        file.display()
    );
    refused(dir.path(), &["live", "-c", "live.toml"], 1, &line);
    refused(
        dir.path(),
        &["live", "-c", "nowhere.toml"],
        1,
        "driftless: cannot read the configuration nowhere.toml: No such file or directory (os \
         error 2); check the path after -c",
    );
}

#[test]
fn commands_without_a_running_driftless_say_so() {
    let dir = folder();
    for words in [
        &["status"][..],
        &["flush", "--timeout", "1s"],
        &["pause"],
        &["resume", "--accept-deletes"],
        &["resync"],
    ] {
        refused(
            dir.path(),
            &[words, &["--control", "s"]].concat(),
            1,
            "driftless: no driftless answers at s (is `driftless live` running with --control \
             there?): No such file or directory (os error 2)",
        );
    }
}

#[test]
fn a_running_mirror_is_asked_over_its_socket_and_ends_with_sigterm() {
    let dir = folder();
    let live = Live::start(dir.path(), &["source", "copy"]);
    let output = driftless(dir.path(), &["status", "--json", "--control", "s"]);
    let status: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let mirror = &status["mirrors"][0];
    assert_eq!(mirror["name"], "source");
    assert_eq!(mirror["targets"][0]["url"], dir.path().join("copy").to_str().unwrap());
    let table = driftless(dir.path(), &["status", "--control", "s"]);
    assert!(String::from_utf8(table.stdout).unwrap().contains("BATCHES"));
    for command in ["pause", "resume", "resync"] {
        let output = driftless(dir.path(), &[command, "source", "--control", "s"]);
        assert!(output.status.success(), "{command}: {output:?}");
    }
    refused(
        dir.path(),
        &["pause", "sorce", "--control", "s"],
        1,
        "driftless: no mirror is named 'sorce'; there is: source",
    );
    refused(
        dir.path(),
        &["live", "source", "copy", "--control", "s", "-q"],
        1,
        "driftless: another driftless answers at the control socket s; stop it, or give this one \
         its own with --control",
    );
    live.ends_well("TERM");
    assert!(!dir.path().join("s").exists());
}

#[test]
fn sighup_reads_the_file_again_and_a_wrong_file_changes_nothing() {
    let dir = folder();
    fs::create_dir(dir.path().join("more")).unwrap();
    let file = dir.path().join("live.toml");
    let first = "[[mirror]]\nsource = 'source'\ntargets = 'copy'\n";
    fs::write(&file, first).unwrap();
    let mut live = Live::start(dir.path(), &["-c", "live.toml"]);
    let names = || {
        let output = driftless(dir.path(), &["status", "--json", "--control", "s"]);
        let status: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        let mirrors = status["mirrors"].as_array().unwrap();
        mirrors.iter().map(|one| one["name"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(names(), ["source"]);

    fs::write(&file, format!("{first}[[mirror]]\nsource = 'more'\ntargets = 'h:x'\n")).unwrap();
    live.signal("HUP");
    live.wait_for_log("mirrors keep running as before");
    assert!(live.log().contains("live.toml:6: h:x: "), "{}", live.log());
    assert_eq!(names(), ["source"]);

    fs::create_dir(dir.path().join("copy2")).unwrap();
    fs::write(&file, format!("[[mirror]]\nsource = 'more'\ntargets = 'copy2'\n{first}")).unwrap();
    live.signal("HUP");
    live.wait_for_log("unchanged mirrors: 1");
    assert_eq!(names(), ["more", "source"]);
    live.ends_well("INT");
}

#[test]
fn the_log_is_json_on_request() {
    let dir = folder();
    for word in ["--json-log", "--log-format=json"] {
        let live = Live::start(dir.path(), &[word, "source", "copy"]);
        // Read when nothing writes any more, lest a line be read half.
        let log = live.log.clone();
        live.ends_well("TERM");
        let log = fs::read_to_string(log).unwrap();
        for line in log.lines() {
            let line: serde_json::Value = serde_json::from_str(line).unwrap();
            assert!(line["level"].is_string() && line["message"].is_string(), "{line}");
            let target = line["target"].as_str().unwrap_or_default();
            assert!(!target.contains("::"), "a module of ours is no target: {line}");
        }
    }
}

#[test]
fn completions_and_manual_pages_come_from_the_same_options() {
    let dir = folder();
    let printed = |words: &[&str]| {
        let output = driftless(dir.path(), words);
        assert!(output.status.success(), "{words:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    for shell in ["bash", "zsh", "fish"] {
        let script = printed(&["completions", shell]);
        assert!(script.contains("exclude-from"), "{shell}");
        assert!(script.contains("copy-unsafe-links"), "{shell}");
    }
    // An option that mirrors do not have is offered for rsync only.
    let fish = printed(&["completions", "fish"]);
    let offered = |line: &&str| line.contains("-l atimes");
    assert!(fish.lines().any(|line| offered(&line) && line.contains("subcommand rsync")));
    assert!(!fish.lines().any(|line| offered(&line) && line.contains("subcommand live")));
    let page = printed(&["man", "live"]);
    assert!(page.contains(r"\-\-exclude\-from") && !page.contains("atimes"), "{page}");
    assert!(printed(&["man"]).contains(r"driftless\-flush"));
}
