//! `driftless demo`: the main job on one machine, in a temporary folder, with nothing to configure.
//!
//! Three modules of a daemon of our own on loopback, a source that is edited for ten seconds, a live
//! mirror between them; at the end the trees are compared by checksum and everything is removed.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use clap::Args;
use driftless_live::Mirror;
use driftless_live::config::{Destination, MaxDelete, MirrorConfig, PasswordSource, TargetConfig};
use driftless_live::status::LaneState;
use driftless_transfer::TransferOptions;
use driftless_transfer::connect::url::DaemonUrl;
use sha2::{Digest, Sha256};

/// Names of the modules.
const MODULES: [&str; 3] = ["web1", "web2", "web3"];
/// Longest wait for anything that should take a moment.
const PATIENCE: Duration = Duration::from_secs(30);

/// Show live mirrors on this machine, in a temporary folder
#[derive(Debug, Args)]
pub struct Demo {
    /// How long the source is edited
    #[arg(long, value_name = "SECONDS", default_value_t = 10)]
    seconds: u64,
}

impl Demo {
    /// Shows a live mirror from its first pass to the proof that everything arrived.
    pub fn run(&self) -> anyhow::Result<ExitCode> {
        show(self.seconds)?;
        Ok(ExitCode::SUCCESS)
    }
}

fn show(seconds: u64) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    let place = tempfile::Builder::new().prefix("driftless-demo-").tempdir()?;
    let source = place.path().join("source");
    write_site(&source)?;
    let daemon = Daemon::start(place.path())?;
    writeln!(out, "source   {} (a small web site)", source.display())?;
    for module in MODULES {
        writeln!(out, "mirror   rsync://127.0.0.1:{}/{module}  (driftless daemon)", daemon.port)?;
    }

    let mirror = Mirror::start(config(&source, daemon.port)?)?;
    wait_until_live(&mirror)?;
    let files: usize = checksums(&source)?.len();
    writeln!(out, "first pass done: {files} files and directories on each mirror\n")?;
    writeln!(out, "editing the source for {seconds} s …")?;

    let mut latencies = edit(&source, place.path(), Duration::from_secs(seconds), &mut out)?;
    mirror.flush(None, PATIENCE)?;
    let sent: u64 = mirror.status().targets.iter().map(|target| target.bytes_sent).sum();
    mirror.stop();

    latencies.sort_unstable();
    let rank = |percent: usize| latencies[(latencies.len() - 1) * percent / 100];
    writeln!(
        out,
        "\n{} edits; changed at the source → readable on all three mirrors: p50 {:.1} ms, p99 {:.1} ms",
        latencies.len(),
        rank(50).as_secs_f64() * 1e3,
        rank(99).as_secs_f64() * 1e3,
    )?;
    writeln!(out, "{sent} bytes sent in all")?;
    let truth = checksums(&source)?;
    for module in MODULES {
        let mirrored = checksums(&place.path().join(module))?;
        ensure!(truth == mirrored, "{module} differs from the source");
    }
    writeln!(out, "all three identical: {} names compared by SHA-256", truth.len())?;
    Ok(())
}

/// Edits one file after the other; returns how long each edit took to be everywhere.
fn edit(
    source: &Path,
    place: &Path,
    time: Duration,
    out: &mut impl Write,
) -> anyhow::Result<Vec<Duration>> {
    let began = Instant::now();
    let mut latencies = Vec::new();
    let mut told = 0;
    for number in 0u32.. {
        if began.elapsed() >= time {
            break;
        }
        let name = format!("section{}/page{}.html", number % 10, number % 7);
        let text = format!("<p>edit {number}</p>\n");
        fs::write(source.join(&name), &text)?;
        let changed = Instant::now();
        for module in MODULES {
            let copy = place.join(module).join(&name);
            while fs::read(&copy).ok().as_deref() != Some(text.as_bytes()) {
                if changed.elapsed() > PATIENCE {
                    bail!("{name} did not reach {module}");
                }
                std::thread::sleep(Duration::from_micros(200));
            }
        }
        latencies.push(changed.elapsed());
        if number % 20 == 10 {
            // Moves and deletions travel too; the comparison at the end would notice.
            fs::rename(source.join("assets"), source.join("static"))?;
            fs::rename(source.join("static"), source.join("assets"))?;
            fs::write(source.join("notes.txt"), format!("{number}"))?;
        } else if number % 20 == 15 {
            let _ = fs::remove_file(source.join("notes.txt"));
        }
        let second = began.elapsed().as_secs();
        if second > told {
            told = second;
            let last = latencies.last().copied().unwrap_or_default();
            writeln!(
                out,
                "  {second:2} s  {:4} edits, all three mirrors identical after {:.1} ms",
                latencies.len(),
                last.as_secs_f64() * 1e3
            )?;
        }
        std::thread::sleep(Duration::from_millis(30));
    }
    Ok(latencies)
}

fn write_site(source: &Path) -> anyhow::Result<()> {
    for section in 0..10 {
        let dir = source.join(format!("section{section}"));
        fs::create_dir_all(&dir)?;
        for page in 0..20 {
            fs::write(
                dir.join(format!("page{page}.html")),
                format!("<h1>{section}.{page}</h1>\n"),
            )?;
        }
    }
    let assets = source.join("assets");
    fs::create_dir_all(&assets)?;
    for image in 0..5u8 {
        fs::write(assets.join(format!("image{image}.bin")), vec![image; 100_000])?;
    }
    Ok(())
}

fn config(source: &Path, port: u16) -> anyhow::Result<MirrorConfig> {
    let target = |module: &str| {
        let url = DaemonUrl::parse(&format!("rsync://127.0.0.1:{port}/{module}"))?;
        Ok(TargetConfig { destination: Destination::Daemon(url), password: PasswordSource::None })
    };
    Ok(MirrorConfig {
        name: "demo".into(),
        source: source.to_owned(),
        targets: MODULES.iter().map(|module| target(module)).collect::<anyhow::Result<_>>()?,
        rules: Vec::new(),
        delete: true,
        max_delete: MaxDelete::default(),
        settle: Duration::from_secs(1),
        options: TransferOptions::default(),
        poll_interval: Duration::from_secs(30),
        backend: None,
        schedule: None,
        verify: None,
    })
}

fn wait_until_live(mirror: &Mirror) -> anyhow::Result<()> {
    let began = Instant::now();
    loop {
        let status = mirror.status();
        if status.targets.iter().all(|target| target.state == LaneState::Live) {
            return Ok(());
        }
        if began.elapsed() > PATIENCE {
            bail!("the mirrors did not come up: {status:?}");
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Each name below `root` with the checksum of its content; directories have none.
fn checksums(root: &Path) -> anyhow::Result<BTreeMap<PathBuf, Option<Vec<u8>>>> {
    let mut found = BTreeMap::new();
    let mut dirs = vec![root.to_owned()];
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(&dir)? {
            let path = entry?.path();
            let name = path.strip_prefix(root)?.to_owned();
            if path.is_dir() {
                found.insert(name, None);
                dirs.push(path);
            } else {
                found.insert(name, Some(Sha256::digest(fs::read(&path)?).to_vec()));
            }
        }
    }
    Ok(found)
}

/// A daemon of our own that ends with the demo.
struct Daemon {
    process: Child,
    port: u16,
}

impl Daemon {
    fn start(place: &Path) -> anyhow::Result<Self> {
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let mut text = format!(
            "pid file = {0}/rsyncd.pid\nlock file = {0}/rsyncd.lock\nlog file = {0}/rsyncd.log\n\
             use chroot = no\n",
            place.display()
        );
        for module in MODULES {
            let path = place.join(module);
            fs::create_dir(&path)?;
            text += &format!("[{module}]\npath = {}\nread only = no\nlist = no\n", path.display());
            if rustix::process::geteuid().is_root() {
                text += "uid = root\ngid = root\n";
            }
        }
        let conf = place.join("rsyncd.conf");
        fs::write(&conf, text)?;
        let process = Command::new(std::env::current_exe()?)
            .args(["daemon", "--no-detach", "--address=127.0.0.1"])
            .arg(format!("--control={}", place.join("control").display()))
            .arg(format!("--port={port}"))
            .arg(format!("--config={}", conf.display()))
            .stdin(Stdio::null())
            .spawn()
            .context("cannot start a copy of this program, which plays the web servers")?;
        let daemon = Self { process, port };
        let began = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            ensure!(began.elapsed() < PATIENCE, "the daemon does not answer");
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(daemon)
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
