//! A daemon on loopback, stock or driftless, and what it and its sessions cost.

use std::fs;
use std::net::{Ipv4Addr, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use driftless_testkit::peer::free_port;
use driftless_testkit::wait;

/// A daemon that runs.
pub struct Served {
    pub port: u16,
    child: Child,
}

impl Served {
    /// rsync's own.
    pub fn stock(conf: &Path) -> Self {
        Self::start(&mut Command::new("rsync"), conf)
    }

    /// driftless, with its control socket in `folder`.
    pub fn ours(driftless: &Path, conf: &Path, folder: &Path) -> Self {
        let control = format!("--control={}", folder.join("control").display());
        Self::start(Command::new(driftless).args(["daemon", &control]), conf)
    }

    fn start(command: &mut Command, conf: &Path) -> Self {
        let port = free_port();
        let child = command
            .args(["--daemon", "--no-detach", "--address=127.0.0.1"])
            .arg(format!("--port={port}"))
            .arg(format!("--config={}", conf.display()))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .expect("the daemon can be started");
        let served = Self { port, child };
        wait::until("the daemon listens", wait::GENEROUS, || served.try_connect().ok());
        served.rest();
        served
    }

    fn try_connect(&self) -> std::io::Result<TcpStream> {
        TcpStream::connect((Ipv4Addr::LOCALHOST, self.port))
    }

    pub fn connect(&self) -> TcpStream {
        self.try_connect().expect("the daemon listens")
    }

    /// Processes of the daemon, itself included.
    pub fn processes(&self) -> Vec<u32> {
        let group = self.child.id().to_string();
        let all = fs::read_dir("/proc").expect("there is one").flatten();
        let pids = all.filter_map(|entry| entry.file_name().to_string_lossy().parse().ok());
        let in_group = |pid: &u32| {
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            let rest = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
            let mut words = rest.split_whitespace();
            words.next() != Some("Z") && words.nth(1) == Some(&group)
        };
        pids.filter(in_group).collect()
    }

    /// Waits until all sessions are over and counted.
    pub fn rest(&self) {
        wait::until("the sessions end", wait::GENEROUS, || {
            (self.processes().len() == 1).then_some(())
        });
    }

    /// User and system time of the daemon and all sessions that it has waited for.
    pub fn cpu(&self) -> Duration {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id()));
        let stat = stat.expect("the daemon runs");
        let rest = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
        let ticks = rest.split_whitespace().skip(11).take(4);
        let ticks: u64 = ticks.map(|word| word.parse::<u64>().expect("a number")).sum();
        // Linux counts in hundredths for whoever asks.
        Duration::from_millis(ticks * 10)
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
