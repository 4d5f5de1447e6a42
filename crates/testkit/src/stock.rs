//! The stock rsync client as judge: what would it still transfer?

use std::path::Path;
use std::process::{Command, Stdio};

use rustix::fs::Mode;

/// What stock `rsync -aniHc --delete` prints from `source` to `url`; empty means identical.
///
/// A dry run: nothing is changed. An exit other than 0 is reported as one more line.
///
/// # Panics
/// When rsync is missing.
#[track_caller]
pub fn audit(source: &Path, url: &str, password_file: &Path, more: &[&str]) -> Vec<String> {
    let mut from = source.as_os_str().to_owned();
    from.push("/");
    let output = Command::new("rsync")
        .args(["-aniHc", "--delete"])
        .args(more)
        .arg(format!("--password-file={}", password_file.display()))
        .arg(from)
        .arg(format!("{url}/"))
        .stdin(Stdio::null())
        .output()
        .expect("this test needs the program rsync (package rsync)");
    let mut lines: Vec<String> =
        String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect();
    if !output.status.success() {
        lines.push(format!(
            "rsync ended with {}: {}",
            output.status,
            String::from_utf8_lossy(&output.stderr).trim()
        ));
    }
    lines
}

/// Makes a FIFO.
///
/// # Panics
/// When it cannot be made.
#[track_caller]
pub fn make_fifo(path: &Path) {
    rustix::fs::mknodat(
        rustix::fs::CWD,
        path,
        rustix::fs::FileType::Fifo,
        Mode::from_raw_mode(0o640),
        0,
    )
    .unwrap_or_else(|e| panic!("cannot make the FIFO {}: {e}", path.display()));
}
