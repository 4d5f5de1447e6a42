//! A real rsync daemon on loopback, gone with its value.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use driftless_transfer::connect::url::DaemonUrl;
use driftless_transfer::{Peer, TransferOptions};

pub struct Daemon {
    child: Child,
    pub port: u16,
    dir: tempfile::TempDir,
}

impl Daemon {
    /// Serves module `m`, with these further lines of configuration.
    pub fn start(lines: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let module = dir.path().join("m");
        fs::create_dir(&module).unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let config = dir.path().join("rsyncd.conf");
        let text = format!(
            "address = 127.0.0.1\nport = {port}\nuse chroot = no\nuid = 0\ngid = 0\n\
             log file = {log}\nmunge symlinks = no\n[m]\npath = {path}\nread only = no\n{lines}\n",
            log = dir.path().join("log").display(),
            path = module.display(),
        );
        fs::write(&config, text).unwrap();
        let child = Command::new("rsync")
            .args(["--daemon", "--no-detach", "--config"])
            .arg(&config)
            .stdin(Stdio::null())
            .spawn()
            .expect("rsync is installed");
        let limit = Instant::now() + Duration::from_secs(20);
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(Instant::now() < limit, "the daemon does not listen");
            std::thread::sleep(Duration::from_millis(5));
        }
        Self { child, port, dir }
    }

    pub fn module(&self) -> PathBuf {
        self.dir.path().join("m")
    }

    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    pub fn peer(&self) -> Peer {
        let url = DaemonUrl::parse(&format!("rsync://127.0.0.1:{}/m", self.port)).unwrap();
        Peer { url, default_user: "nobody".to_owned(), password: None }
    }

    /// What a stock client with these options finds different between `source` and the module.
    #[track_caller]
    pub fn differences(&self, source: &Path, options: &str) -> String {
        let output = Command::new("rsync")
            .arg(options)
            .args(["--modify-window=-1", "--delete"])
            .arg(format!("{}/", source.display()))
            .arg(format!("{}/", self.module().display()))
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    #[track_caller]
    pub fn assert_same(&self, source: &Path) {
        assert_eq!(self.differences(source, "-aniHc"), "");
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub fn options() -> TransferOptions {
    TransferOptions {
        hard_links: true,
        timeout: Some(Duration::from_secs(20)),
        ..TransferOptions::default()
    }
}
