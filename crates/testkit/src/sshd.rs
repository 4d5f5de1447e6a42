//! A real OpenSSH server on loopback, with a port, a host key and a configuration of its own.

use std::fs;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use crate::peer::free_port;
use crate::wait;

/// The name that [`Sshd::client`] reaches the server by.
pub const HOST: &str = "h";

/// A running `sshd` that lets root in with a key of its own. Killed when dropped, and the shared
/// connection of its clients with it.
#[derive(Debug)]
pub struct Sshd {
    folder: TempDir,
    child: Child,
}

impl Sshd {
    /// Starts a server and waits until it answers.
    ///
    /// # Panics
    /// When OpenSSH is missing, or the server does not come up.
    #[track_caller]
    pub fn start() -> Self {
        let folder = tempfile::tempdir().expect("the folder for temporary files is writable");
        let path = |name: &str| folder.path().join(name);
        for key in ["host", "user"] {
            let made = Command::new("ssh-keygen")
                .args(["-q", "-t", "ed25519", "-N", "", "-f"])
                .arg(path(key))
                .status();
            assert!(made.expect("this test needs the program ssh-keygen").success());
        }
        fs::copy(path("user.pub"), path("authorized")).expect("the folder is ours");
        // sshd wants it to exist.
        let _ = fs::create_dir_all("/run/sshd");
        let port = free_port();
        let server = format!(
            "Port {port}\nListenAddress 127.0.0.1\nHostKey {}\nAuthorizedKeysFile {}\n\
             PidFile none\nUsePAM no\nStrictModes no\nPermitRootLogin yes\nMaxSessions 1000\n\
             SetEnv LC_ALL=C TZ=UTC HOME={}\n",
            path("host").display(),
            path("authorized").display(),
            // What the shell's start-up files of this machine say is not the peer's.
            folder.path().display()
        );
        fs::write(path("sshd_config"), server).expect("the folder is ours");
        let client = format!(
            "Host {HOST}\nHostName 127.0.0.1\nPort {port}\nUser root\nIdentityFile {}\n\
             IdentitiesOnly yes\nBatchMode yes\nLogLevel ERROR\nStrictHostKeyChecking no\n\
             UserKnownHostsFile /dev/null\nControlMaster auto\nControlPath {}\nControlPersist yes\n",
            path("user").display(),
            path("shared").display()
        );
        fs::write(path("ssh_config"), client).expect("the folder is ours");
        let child = Command::new("/usr/sbin/sshd")
            .args(["-D", "-e", "-f"])
            .arg(path("sshd_config"))
            .stdin(Stdio::null())
            .stderr(fs::File::create(path("log")).expect("the folder is ours"))
            .spawn()
            .expect("this test needs the program sshd (package openssh-server)");
        let sshd = Self { folder, child };
        let answers = || TcpStream::connect(("127.0.0.1", port)).ok();
        wait::until("sshd answers", wait::GENEROUS, answers);
        // Two first clients at once would both want to be the shared connection.
        let mut first = Command::new("ssh");
        first.arg("-F").arg(sshd.path("ssh_config")).args(["-n", HOST, "true"]);
        let first = first.stdout(Stdio::null()).stderr(Stdio::null()).status();
        assert!(first.expect("this test needs the program ssh").success(), "sshd lets nobody in");
        sshd
    }

    /// The words of a client that reaches the server as [`HOST`], all over one connection.
    pub fn client(&self) -> String {
        format!("ssh -F {}", self.path("ssh_config").display())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn shared(&self) -> Option<PathBuf> {
        Some(self.path("shared")).filter(|path| Path::exists(path))
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        if self.shared().is_some() {
            let mut ssh = Command::new("ssh");
            ssh.arg("-F").arg(self.path("ssh_config")).args(["-O", "exit", HOST]);
            let _ = ssh.stderr(Stdio::null()).status();
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            let log = fs::read(self.path("log")).unwrap_or_default();
            eprintln!("--- sshd\n{}", String::from_utf8_lossy(&log));
        }
    }
}
