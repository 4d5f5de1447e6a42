//! The programs that are compared, each set up as its users do.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

/// A way to keep mirrors up to date.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Program {
    /// `inotifywait | while read; do rsync …`
    ShellLoop,
    /// lsyncd that collects for one second.
    LsyncdDelay1,
    /// lsyncd that does not wait.
    LsyncdDelay0,
    /// One run of stock rsync; only for the first pass.
    Rsync,
    /// `inotifywait -m -r`; only for watching.
    InotifyWait,
    /// `driftless live`, `driftless inotifywait`
    Driftless,
}

impl Program {
    /// All of them, in the order of the table's columns.
    pub const ALL: &[Self] = &[
        Self::ShellLoop,
        Self::LsyncdDelay1,
        Self::LsyncdDelay0,
        Self::Rsync,
        Self::InotifyWait,
        Self::Driftless,
    ];

    /// Those that keep running.
    pub const LIVE: &[Self] =
        &[Self::ShellLoop, Self::LsyncdDelay1, Self::LsyncdDelay0, Self::Driftless];

    /// Those that watch a tree and print what happens in it.
    pub const WATCHING: &[Self] = &[Self::InotifyWait, Self::Driftless];

    /// The name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::ShellLoop => "shell",
            Self::LsyncdDelay1 => "lsyncd1",
            Self::LsyncdDelay0 => "lsyncd0",
            Self::Rsync => "rsync",
            Self::InotifyWait => "inotifywait",
            Self::Driftless => "driftless",
        }
    }

    /// How long a change may take before the bench goes on without it.
    pub fn patience(self) -> Duration {
        match self {
            // It copies everything once for each event.
            Self::ShellLoop => Duration::from_secs(30),
            _ => Duration::from_secs(120),
        }
    }

    /// How often it is measured when driftless is `runs` times.
    pub fn runs(self, runs: usize) -> usize {
        match self {
            Self::ShellLoop | Self::LsyncdDelay1 | Self::LsyncdDelay0 => 1,
            Self::Rsync | Self::InotifyWait | Self::Driftless => runs,
        }
    }

    /// The command that mirrors `source` to `urls` until it is killed. Files that it needs go to
    /// `folder`.
    pub fn command(
        self,
        driftless: &Path,
        source: &Path,
        urls: &[String],
        password_file: &Path,
        folder: &Path,
    ) -> Command {
        let mut command = match self {
            Self::ShellLoop => {
                let script = folder.join("mirror.sh");
                fs::write(&script, shell_loop(source, urls, password_file))
                    .expect("the folder is ours");
                let mut command = Command::new("bash");
                command.arg(script);
                command
            }
            Self::LsyncdDelay1 => lsyncd(1, source, urls, password_file, folder),
            Self::LsyncdDelay0 => lsyncd(0, source, urls, password_file, folder),
            Self::Rsync => {
                let mut command = Command::new("rsync");
                command.args(["-a", "--delete"]).arg(format!("{}/", source.display()));
                command.arg(format!("--password-file={}", password_file.display())).args(urls);
                command
            }
            Self::InotifyWait => {
                let mut command = Command::new("inotifywait");
                command.arg("-mr").arg(source);
                command
            }
            Self::Driftless => {
                let mut command = Command::new(driftless);
                command.arg("live").arg(source).args(urls);
                command.arg("--password-file").arg(password_file);
                command.arg("--control").arg(folder.join("control"));
                command
            }
        };
        let log = fs::File::create(folder.join("log")).expect("the folder is ours");
        let log2 = log.try_clone().expect("a file can be opened twice");
        command.stdin(Stdio::null()).stdout(log).stderr(log2);
        command
    }
}

fn shell_loop(source: &Path, urls: &[String], password_file: &Path) -> String {
    let (source, password_file) = (source.display(), password_file.display());
    let pushes: String = urls
        .iter()
        .map(|url| {
            format!(
                "  rsync -vzrtopg --delete --progress --password-file={password_file} {source}/ {url}\n"
            )
        })
        .collect();
    format!(
        "#!/bin/bash\n{pushes}\
         inotifywait -mrq --timefmt '%d/%m/%y %H:%M' --format '%T %w%f%e' \
         -e modify,delete,create,attrib,move {source} | while read files\ndo\n{pushes}done\n"
    )
}

fn lsyncd(
    delay: u32,
    source: &Path,
    urls: &[String],
    password_file: &Path,
    folder: &Path,
) -> Command {
    let mut text = format!(
        "settings {{ nodaemon = true, logfile = {:?}, pidfile = {:?} }}\n",
        folder.join("lsyncd.log"),
        folder.join("lsyncd.pid")
    );
    for url in urls {
        text.push_str(&format!(
            "sync {{ default.rsync, source = {source:?}, target = {url:?}, delay = {delay}, \
             rsync = {{ archive = true, password_file = {password_file:?} }} }}\n"
        ));
    }
    let file = folder.join("lsyncd.conf.lua");
    fs::write(&file, text).expect("the folder is ours");
    let mut command = Command::new("lsyncd");
    command.arg(file);
    command
}
