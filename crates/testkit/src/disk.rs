//! File systems of a test's own, in image files that are mounted.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A kind of file system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names speak")]
pub enum DiskKind {
    Ext4,
    Xfs,
    Btrfs,
    Tmpfs,
    /// Has no extended attributes.
    Ramfs,
}

impl DiskKind {
    /// Those that files are kept on.
    pub const ALL: [Self; 4] = [Self::Ext4, Self::Xfs, Self::Btrfs, Self::Tmpfs];

    /// The name that the kernel has for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ext4 => "ext4",
            Self::Xfs => "xfs",
            Self::Btrfs => "btrfs",
            Self::Tmpfs => "tmpfs",
            Self::Ramfs => "ramfs",
        }
    }

    /// The package that has the program that makes one.
    fn package(self) -> &'static str {
        match self {
            Self::Ext4 => "e2fsprogs",
            Self::Xfs => "xfsprogs",
            Self::Btrfs => "btrfs-progs",
            Self::Tmpfs | Self::Ramfs => "mount",
        }
    }
}

/// An empty file system, mounted until this is dropped.
#[derive(Debug)]
pub struct Disk {
    at: PathBuf,
    _folder: tempfile::TempDir,
}

/// Large enough for any of them; the image file has holes.
const IMAGE_LEN: u64 = 320 << 20;

impl Disk {
    /// Makes and mounts one; `None`, and a line of output, when this kernel does not know the kind.
    ///
    /// # Panics
    /// When a program is missing or the rights to mount are.
    #[track_caller]
    pub fn new(kind: DiskKind) -> Option<Self> {
        let folder = tempfile::tempdir().expect("the folder for temporary files is writable");
        let at = folder.path().join("mounted");
        fs::create_dir(&at).expect("the folder is ours");
        let name = kind.name();
        if matches!(kind, DiskKind::Tmpfs | DiskKind::Ramfs) {
            run(Command::new("mount").args(["-t", name, name]).arg(&at), kind);
            return Some(Self { at, _folder: folder });
        }
        if !is_known(name) {
            println!("SKIPPED: this kernel cannot mount {name}");
            return None;
        }
        let image = folder.path().join("image");
        fs::File::create(&image).and_then(|file| file.set_len(IMAGE_LEN)).expect("there is room");
        run(Command::new(format!("mkfs.{name}")).arg("-q").arg(&image), kind);
        run(Command::new("mount").args(["-t", name, "-o", "loop"]).arg(&image).arg(&at), kind);
        Some(Self { at, _folder: folder })
    }

    /// Where it is mounted.
    pub fn path(&self) -> &Path {
        &self.at
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let done = Command::new("umount").arg(&self.at).status();
        if !done.is_ok_and(|status| status.success()) {
            eprintln!("cannot unmount {}", self.at.display());
        }
    }
}

fn is_known(name: &str) -> bool {
    let known = || {
        let all = fs::read_to_string("/proc/filesystems").unwrap_or_default();
        all.lines().any(|line| line.split_whitespace().last() == Some(name))
    };
    // It may be in a module that is not loaded yet.
    known() || (Command::new("modprobe").arg(name).output().is_ok() && known())
}

#[track_caller]
fn run(command: &mut Command, kind: DiskKind) {
    let package = kind.package();
    let output = command.output().unwrap_or_else(|error| {
        panic!("cannot run {command:?}: {error}; this test needs the package {package}")
    });
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?} failed, which needs root and {package}: {text}");
}
