//! A running `driftless live`, operated through its own commands as a person would.

use std::ffi::OsString;
use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

use crate::{peer, wait};

/// How to start `driftless live`.
#[derive(Clone, Debug)]
pub struct LiveCommand {
    binary: PathBuf,
    wrapper: Vec<OsString>,
    args: Vec<OsString>,
    environment: Vec<(OsString, OsString)>,
}

/// Options that every mirror of a test run gets before its own: words of `DRIFTLESS_FORCED`.
pub fn forced() -> Vec<String> {
    let words = std::env::var("DRIFTLESS_FORCED").unwrap_or_default();
    words.split_whitespace().map(str::to_owned).collect()
}

impl LiveCommand {
    /// `binary live SOURCE TARGETS…`, with what is [`forced`].
    pub fn new(binary: &Path, source: &Path, targets: &[String]) -> Self {
        let mut args = vec![source.as_os_str().to_owned()];
        args.extend(targets.iter().map(OsString::from));
        args.extend(forced().into_iter().map(OsString::from));
        Self { binary: binary.to_owned(), wrapper: Vec::new(), args, environment: Vec::new() }
    }

    /// `binary live -c FILE`
    pub fn configured(binary: &Path, file: &Path) -> Self {
        let args = vec!["-c".into(), file.as_os_str().to_owned()];
        Self { binary: binary.to_owned(), wrapper: Vec::new(), args, environment: Vec::new() }
    }

    /// With one more argument.
    #[must_use]
    pub fn arg(mut self, arg: impl Into<OsString>) -> Self {
        self.args.push(arg.into());
        self
    }

    /// With `--password-file FILE`.
    #[must_use]
    pub fn password_file(self, file: &Path) -> Self {
        self.arg("--password-file").arg(file)
    }

    /// With a variable of the environment.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.into(), value.into()));
        self
    }

    /// Started by `command`, which ends by executing what follows it.
    #[must_use]
    pub fn through(mut self, command: &[&str]) -> Self {
        self.wrapper = command.iter().map(OsString::from).collect();
        self
    }

    /// Runs to the end, for what is refused at once.
    ///
    /// # Panics
    /// When the program cannot be started, or still runs after a generous time.
    #[track_caller]
    pub fn refused(self) -> Output {
        let mut run = self.start();
        let status = wait::until("the command gives up by itself", wait::GENEROUS, || {
            run.child.try_wait().expect("our own child")
        });
        Output { status, stdout: run.read("stdout"), stderr: run.read("stderr") }
    }

    /// Starts it, with a control socket of its own, and returns at once.
    ///
    /// # Panics
    /// When the program cannot be started.
    #[track_caller]
    pub fn start(self) -> LiveRun {
        let folder = tempfile::Builder::new()
            .prefix("live-")
            .tempdir()
            .expect("the folder for temporary files is writable");
        let child = self.launch(folder.path());
        LiveRun { command: self, folder, child }
    }

    fn launch(&self, folder: &Path) -> Child {
        let file = |name| {
            let path = folder.join(name);
            let options = fs::OpenOptions::new().create(true).append(true).open(path);
            options.expect("the folder for temporary files is writable")
        };
        let mut words = self.wrapper.clone();
        words.push(self.binary.clone().into_os_string());
        words.push("live".into());
        words.extend(self.args.iter().cloned());
        words.extend(["--control".into(), folder.join("control").into_os_string()]);
        let (program, rest) = words.split_first().expect("there is at least the binary");
        Command::new(program)
            .args(rest)
            .envs(self.environment.iter().cloned())
            .stdin(Stdio::null())
            .stdout(file("stdout"))
            .stderr(file("stderr"))
            .process_group(0)
            .spawn()
            .unwrap_or_else(|e| panic!("cannot start {}: {e}", program.display()))
    }
}

/// A started `driftless live`. Killed when dropped.
#[derive(Debug)]
pub struct LiveRun {
    command: LiveCommand,
    folder: TempDir,
    child: Child,
}

impl LiveRun {
    /// Runs `driftless COMMAND --control SOCKET ARGS…` against this process.
    ///
    /// # Panics
    /// When the program cannot be started.
    #[track_caller]
    pub fn control(&self, command: &str, args: &[&str]) -> Output {
        Command::new(&self.command.binary)
            .arg(command)
            .arg("--control")
            .arg(self.folder.path().join("control"))
            .args(args)
            .stdin(Stdio::null())
            .output()
            .expect("the binary starts")
    }

    /// What `status --json` prints, or nothing while the control socket does not answer.
    pub fn status(&self) -> Option<Value> {
        let output = self.control("status", &["--json"]);
        output.status.success().then(|| serde_json::from_slice(&output.stdout).ok())?
    }

    /// The only mirror's targets as in `status --json`; empty while there is no status.
    pub fn targets(&self) -> Vec<Value> {
        let status = self.status().unwrap_or_default();
        status["mirrors"][0]["targets"].as_array().cloned().unwrap_or_default()
    }

    /// Waits until the mirror's status satisfies `condition`, and returns that status.
    ///
    /// # Panics
    /// When it does not come true, or the process ends; with the last status and the process's
    /// messages.
    #[track_caller]
    pub fn wait_status(&mut self, what: &str, condition: impl Fn(&Value) -> bool) -> Value {
        let mut last = None;
        let found = wait::within(wait::GENEROUS, || {
            if let Ok(Some(status)) = self.child.try_wait() {
                return Some(Err(format!("driftless ended with {status}")));
            }
            last = self.status();
            last.clone().filter(&condition).map(Ok)
        });
        match found {
            Some(Ok(status)) => status,
            Some(Err(ended)) => panic!("while waiting until {what}: {ended}\n{}", self.tail()),
            None => panic!(
                "waited in vain until {what}; last status:\n{}\n{}",
                last.map_or_else(|| "none".to_owned(), |v| format!("{v:#}")),
                self.tail()
            ),
        }
    }

    /// Waits until every target is `live`.
    ///
    /// # Panics
    /// As [`LiveRun::wait_status`].
    #[track_caller]
    pub fn wait_live(&mut self) {
        self.wait_status("every target is live", |status| {
            let targets = status["mirrors"][0]["targets"].as_array();
            targets.is_some_and(|all| !all.is_empty() && all.iter().all(|t| t["state"] == "live"))
        });
    }

    /// Waits until target number `index` satisfies `condition`, and returns its status.
    ///
    /// # Panics
    /// As [`LiveRun::wait_status`].
    #[track_caller]
    pub fn wait_target(
        &mut self,
        index: usize,
        what: &str,
        condition: impl Fn(&Value) -> bool,
    ) -> Value {
        let status =
            self.wait_status(what, |status| condition(&status["mirrors"][0]["targets"][index]));
        status["mirrors"][0]["targets"][index].clone()
    }

    /// Waits until target number `index` reports an error that contains `text`.
    ///
    /// # Panics
    /// As [`LiveRun::wait_status`].
    #[track_caller]
    pub fn wait_error(&mut self, index: usize, text: &str) -> Value {
        self.wait_target(index, &format!("the last error says {text:?}"), |target| {
            target["last_error"].as_str().is_some_and(|error| error.contains(text))
        })
    }

    /// `driftless flush`; succeeds when everything is everywhere.
    ///
    /// # Errors
    /// With what the command printed.
    pub fn flush(&self, limit: Duration) -> Result<(), String> {
        let output = self.control("flush", &["--timeout", &format!("{}s", limit.as_secs())]);
        if output.status.success() {
            return Ok(());
        }
        Err(format!("flush: {}: {}", output.status, String::from_utf8_lossy(&output.stderr).trim()))
    }

    /// `driftless flush` that has to succeed.
    ///
    /// # Panics
    /// When it does not, with status and messages.
    #[track_caller]
    pub fn flush_everywhere(&self) {
        if let Err(error) = self.flush(wait::GENEROUS) {
            panic!("{error}\n{:#}\n{}", self.status().unwrap_or_default(), self.tail());
        }
    }

    /// Kills the process at once and starts it again in the same way.
    ///
    /// # Panics
    /// When it cannot be started.
    #[track_caller]
    pub fn kill9_and_restart(&mut self) {
        self.kill9();
        self.child = self.command.launch(self.folder.path());
    }

    /// Kills the process at once.
    pub fn kill9(&mut self) {
        peer::kill_group(&mut self.child);
    }

    /// Sends SIGTERM and waits for the end.
    ///
    /// # Panics
    /// When it does not end.
    #[track_caller]
    pub fn terminate(&mut self) -> ExitStatus {
        let pid = Pid::from_raw(self.child.id().cast_signed()).expect("a child has a pid");
        let _ = kill_process(pid, Signal::TERM);
        wait::until("driftless ends after SIGTERM", wait::GENEROUS, || {
            self.child.try_wait().expect("our own child")
        })
    }

    /// The exit status once the process has ended.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// The process group, which holds only this process and what it started.
    pub fn group(&self) -> u32 {
        self.child.id()
    }

    /// What it wrote to standard error so far.
    pub fn stderr(&self) -> String {
        String::from_utf8_lossy(&self.read("stderr")).into_owned()
    }

    fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.folder.path().join(name)).unwrap_or_default()
    }

    fn tail(&self) -> String {
        let text = self.stderr();
        let lines: Vec<&str> = text.lines().collect();
        let last = lines.get(lines.len().saturating_sub(40)..).unwrap_or_default();
        format!("--- last lines of driftless\n{}", last.join("\n"))
    }
}

impl Drop for LiveRun {
    fn drop(&mut self) {
        self.kill9();
        if std::thread::panicking() {
            eprintln!("{}", self.tail());
        }
    }
}
