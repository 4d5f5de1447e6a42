//! Which driftless a command talks to.

use std::env;
use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Args;
use driftless_control::Client;

/// `--control`.
#[derive(Debug, Args)]
pub struct ControlOption {
    /// Control socket of the running driftless [default: /run/driftless/control.sock as root,
    /// $XDG_RUNTIME_DIR/driftless/control.sock or ~/.local/state/driftless/control.sock otherwise]
    #[arg(long = "control", value_name = "ADDR")]
    path: Option<PathBuf>,
}

impl ControlOption {
    /// Returns a client for commands.
    pub fn client(&self) -> anyhow::Result<Client> {
        let path = match &self.path {
            Some(path) => path.clone(),
            None => default_path()?,
        };
        Ok(Client::new(&path))
    }

    /// Returns where to listen: as given here, else as given in a file, else at the default place,
    /// whose directory is made.
    pub fn to_listen_at(&self, in_file: Option<PathBuf>) -> anyhow::Result<PathBuf> {
        if let Some(path) = self.path.clone().or(in_file) {
            return Ok(path);
        }
        let path = default_path()?;
        if let Some(dir) = path.parent() {
            make_private(dir)?;
        }
        Ok(path)
    }
}

fn make_private(dir: &Path) -> anyhow::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(dir).with_context(|| {
        format!(
            "cannot create {} for the control socket; give another place with --control",
            dir.display()
        )
    })
}

fn default_path() -> anyhow::Result<PathBuf> {
    let home = |name| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let dir = if rustix::process::geteuid().is_root() {
        PathBuf::from("/run")
    } else if let Some(dir) = home("XDG_RUNTIME_DIR") {
        dir
    } else {
        home("HOME")
            .map(|home| home.join(".local/state"))
            .context("neither XDG_RUNTIME_DIR nor HOME is set; name the socket with --control")?
    };
    Ok(dir.join("driftless/control.sock"))
}
