//! Running the real program with a remote shell that only writes down what it was told.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use driftless_rsync::flags::Environment;
use driftless_testkit::plant::executable;
use jiff::Timestamp;
use jiff::tz::TimeZone;

/// The program with its fake shell.
pub struct Stock {
    dir: tempfile::TempDir,
    shell: PathBuf,
}

/// What came of a command line.
#[derive(Debug, PartialEq, Eq)]
pub enum Answer {
    /// What the remote shell was to run, behind the program's name.
    Arguments(Vec<String>),
    /// What is printed in place of a transfer (without its last line), and the exit code.
    Refused(String, i32),
}

impl Stock {
    pub fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let shell = dir.path().join("shell");
        let script = "#!/bin/sh\nshift 2\nfor word; do printf '%s\\0' \"$word\"; done > \"$HEARD\"\nexit 1\n";
        executable(&shell, script);
        fs::create_dir(dir.path().join("s")).unwrap();
        Self { dir, shell }
    }

    pub fn run(&self, words: &[String]) -> Answer {
        let heard = self.dir.path().join("heard");
        let _ = fs::remove_file(&heard);
        let output = Command::new("rsync")
            .arg("-e")
            .arg(&self.shell)
            .args(words)
            .current_dir(self.dir.path())
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap())
            .env("HEARD", &heard)
            .env("LC_ALL", "C")
            .stdin(Stdio::null())
            .output()
            .expect("rsync is installed");
        if let Ok(text) = fs::read(&heard) {
            let words = text.split(|b| *b == 0).map(|w| String::from_utf8_lossy(w).into_owned());
            let mut words: Vec<String> = words.collect();
            words.pop();
            return Answer::Arguments(words);
        }
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        let said: Vec<&str> =
            text.lines().filter(|line| !line.starts_with("rsync error:")).collect();
        Answer::Refused(said.join("\n"), output.status.code().unwrap())
    }
}

pub fn environment() -> Environment {
    Environment {
        umask: 0o022,
        now: Timestamp::now(),
        zone: TimeZone::UTC.into(),
        rsh: None,
        old_args: None,
        protect_args: None,
        partial_dir: None,
        iconv: None,
        checksum_list: None,
        compress_list: None,
        max_alloc: None,
    }
}

/// Splits a set of options, and adds the arguments.
pub fn words(options: &str, arguments: &[&str]) -> Vec<String> {
    options.split_whitespace().chain(arguments.iter().copied()).map(str::to_owned).collect()
}

pub fn bytes(words: &[String]) -> Vec<Vec<u8>> {
    words.iter().map(|word| word.as_bytes().to_vec()).collect()
}
