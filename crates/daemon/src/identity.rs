//! As whom, and where, a session works: user, groups, directory, and what the kernel keeps from it.
//! Daemon reference, "Identity, chroot, paths, symlinks".
//!
//! ```text
//! ids of the configuration ─► enter (chroot or confine) ─► drop (gid, groups, uid) ─► seal (Landlock)
//! ```

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

use driftless_fs::{FsError, Root};
use landlock::{
    ABI, Access, AccessFs, PathBeneath, PathFd, Ruleset, RulesetAttr, RulesetCreatedAttr,
    RulesetStatus,
};
use nix::unistd::{Gid, Group, Uid, User};
use rustix::process::{Resource, Rlimit, Signal, getrlimit, setrlimit};

use crate::words;

/// Where links are munged to; there must be no such directory.
const MUNGED_DIR: &str = "/rsyncd-munged";

/// What a session without a `uid` of its own works as.
const NOBODY: &str = "nobody";

/// User and groups of a session; `None` keeps those of the daemon.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Ids {
    pub(crate) uid: Option<u32>,
    /// The first is the primary one.
    pub(crate) gids: Option<Vec<u32>>,
}

/// What is wrong with the configured ids.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum BadIds {
    Uid(String),
    Gid(String),
    GidSetting,
}

fn user(text: &[u8]) -> Option<u32> {
    let text = std::str::from_utf8(text).ok()?;
    if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
        return text.parse().ok();
    }
    User::from_name(text).ok().flatten().map(|user| user.uid.as_raw())
}

fn group(text: &[u8]) -> Option<u32> {
    let text = std::str::from_utf8(text).ok()?;
    if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
        return text.parse().ok();
    }
    Group::from_name(text).ok().flatten().map(|group| group.gid.as_raw())
}

/// Has the system's library read what it needs to find users and groups. Copies of this process
/// need not.
pub(crate) fn prepare_lookups() {
    let _ = (user(b"root"), group(b"root"));
}

impl Ids {
    /// Of the values of `uid` and `gid`, empty where nothing was said.
    pub(crate) fn find(uid: &[u8], gid: &[u8]) -> Result<Self, BadIds> {
        let is_root = Uid::effective().is_root();
        let shown = |text: &[u8]| String::from_utf8_lossy(text).into_owned();
        let uid = match uid {
            b"" if !is_root => None,
            b"" => Some(user(NOBODY.as_bytes()).ok_or_else(|| BadIds::Uid(NOBODY.to_owned()))?),
            text => Some(user(text).ok_or_else(|| BadIds::Uid(shown(text)))?),
        };
        let gids = match words::names(gid).as_slice() {
            [] if !is_root => None,
            [] => {
                let found = group(b"nogroup").or_else(|| group(NOBODY.as_bytes()));
                Some(vec![found.ok_or_else(|| BadIds::Gid(NOBODY.to_owned()))?])
            }
            [b"*", more @ ..] => {
                let mut gids = all_groups(uid.unwrap_or(Uid::effective().as_raw()));
                if gids.is_empty() {
                    return Err(BadIds::GidSetting);
                }
                for name in more {
                    gids.push(group(name).ok_or_else(|| BadIds::Gid(shown(name)))?);
                }
                Some(gids)
            }
            names => {
                let found =
                    names.iter().map(|name| group(name).ok_or_else(|| BadIds::Gid(shown(name))));
                Some(found.collect::<Result<_, _>>()?)
            }
        };
        Ok(Self { uid, gids })
    }
}

/// All groups of the account with this number, its own first.
fn all_groups(uid: u32) -> Vec<u32> {
    let Ok(Some(user)) = User::from_uid(Uid::from_raw(uid)) else { return Vec::new() };
    let Ok(name) = std::ffi::CString::new(user.name) else { return Vec::new() };
    let found = nix::unistd::getgrouplist(&name, user.gid).unwrap_or_default();
    let own = user.gid;
    std::iter::once(own)
        .chain(found.into_iter().filter(|gid| *gid != own))
        .map(Gid::as_raw)
        .collect()
}

/// Where a session works.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    /// `use chroot`, as it came out.
    pub(crate) chroot: bool,
    /// What the root becomes, or the directory itself without chroot.
    pub(crate) outer: Vec<u8>,
    /// The module below it; empty for the root.
    pub(crate) inner: Vec<u8>,
}

impl Place {
    /// Of `path` and `use chroot`. `log` gets why no chroot is made.
    pub(crate) fn new(path: &[u8], wanted: Option<bool>, log: &mut dyn FnMut(&str)) -> Self {
        let split = path.windows(3).position(|window| window == b"/./");
        let chroot = wanted.unwrap_or_else(|| {
            if split.is_some() {
                return true;
            }
            match nix::unistd::chroot("/") {
                Ok(()) => true,
                Err(why) => {
                    let why = io::Error::from(why);
                    let why = driftless_rsync::client::failure::system_text(&why);
                    log(&format!(
                        "chroot test failed: {}. Switching 'use chroot' from unset to false.",
                        why.rsplit_once(" (").map_or(why.as_str(), |(text, _)| text)
                    ));
                    false
                }
            }
        });
        match (split, chroot) {
            (Some(at), true) => {
                let inner = path[at + 3..].iter().skip_while(|b| **b == b'/').copied().collect();
                Self { chroot, outer: path[..at.max(1)].to_vec(), inner }
            }
            (Some(at), false) => {
                let whole = [&path[..at + 1], &path[at + 3..]].concat();
                Self { chroot, outer: whole, inner: Vec::new() }
            }
            (None, _) => Self { chroot, outer: path.to_vec(), inner: Vec::new() },
        }
    }

    /// Whether the module is all that the process sees.
    pub(crate) fn is_root(&self) -> bool {
        if self.chroot { self.inner.is_empty() } else { self.outer == b"/" }
    }

    /// The whole path of the module, as the daemon knows it.
    pub(crate) fn full_path(&self) -> Vec<u8> {
        match self.inner.as_slice() {
            b"" => self.outer.clone(),
            inner => [&self.outer[..], b"/", inner].concat(),
        }
    }

    /// Goes there; returns the module's path as the process knows it now.
    ///
    /// # Errors
    /// What was tried, and why it failed.
    pub(crate) fn enter(
        &self,
        insecure: bool,
    ) -> Result<(Root, Vec<u8>), (&'static str, io::Error)> {
        let outer = Path::new(OsStr::from_bytes(&self.outer));
        let target = if self.chroot {
            nix::unistd::chroot(outer).map_err(|error| ("chroot", error.into()))?;
            nix::unistd::chdir("/").map_err(|error| ("chdir", error.into()))?;
            [b"/", &self.inner[..]].concat()
        } else {
            self.outer.clone()
        };
        let path = Path::new(OsStr::from_bytes(&target));
        let opened = if insecure { Root::open(path) } else { Root::open_operator(path) };
        let root = opened.map_err(|FsError::Open { source, .. }| ("chdir", source))?;
        rustix::process::fchdir(&root).map_err(|error| ("chdir", error.into()))?;
        let here = std::env::current_dir().map_err(|error| ("chdir", error))?;
        Ok((root, here.into_os_string().into_vec()))
    }
}

/// Whether there is a directory that munged links would lead into.
pub(crate) fn munging_is_unsafe() -> bool {
    std::fs::metadata(MUNGED_DIR).is_ok_and(|meta| meta.is_dir())
}

/// What was tried when ids were to be changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Failed {
    Setgid,
    Setgroups,
    Setuid,
    /// The old ids can be had back.
    Kept,
}

/// Becomes another user for good.
pub(crate) fn drop_to(ids: &Ids) -> Result<(), Failed> {
    if let Some(gids) = &ids.gids {
        let all: Vec<Gid> = gids.iter().copied().map(Gid::from_raw).collect();
        let [first, more @ ..] = all.as_slice() else { return Err(Failed::Setgid) };
        nix::unistd::setgid(*first).map_err(|_| Failed::Setgid)?;
        let supplementary = if more.is_empty() { &all[..0] } else { &all[..] };
        nix::unistd::setgroups(supplementary).map_err(|_| Failed::Setgroups)?;
    }
    if let Some(uid) = ids.uid {
        let was_root = Uid::effective().is_root();
        nix::unistd::setuid(Uid::from_raw(uid)).map_err(|_| Failed::Setuid)?;
        if was_root && uid != 0 && nix::unistd::setuid(Uid::from_raw(0)).is_ok() {
            return Err(Failed::Kept);
        }
    }
    Ok(())
}

/// Bounds the memory of this process; 0 leaves it as it is. What goes beyond ends the process.
///
/// # Errors
/// As the system says.
pub(crate) fn limit_memory(bytes: u64) -> io::Result<()> {
    // Memory of its own, not what is mapped of libraries or merely reserved.
    limit(Resource::Data, bytes)
}

/// Bounds the time that this process may compute; 0 leaves it as it is. What goes beyond ends the
/// process.
///
/// # Errors
/// As the system says.
pub(crate) fn limit_cpu(secs: u64) -> io::Result<()> {
    limit(Resource::Cpu, secs)
}

fn limit(resource: Resource, most: u64) -> io::Result<()> {
    if most == 0 {
        return Ok(());
    }
    let known = getrlimit(resource);
    let current = Some(known.maximum.map_or(most, |maximum| maximum.min(most)));
    Ok(setrlimit(resource, Rlimit { current, ..known })?)
}

/// How a session ended that a signal ended.
pub(crate) fn ending(signal: i32) -> String {
    match signal == Signal::XCPU.as_raw() {
        true => "used up its CPU time (session cpu seconds)".to_owned(),
        false => format!("ended by signal {signal}"),
    }
}

/// What names of users and character sets are read from.
const NAME_SERVICE: &[&str] = &[
    "/etc/passwd",
    "/etc/group",
    "/etc/nsswitch.conf",
    "/etc/ld.so.cache",
    "/lib",
    "/lib64",
    "/usr/lib",
    "/usr/lib64",
    "/proc",
];

/// Lets the kernel refuse programs, and everything outside the module. `false` where the kernel cannot
/// do the latter.
pub(crate) fn seal(module: &Root) -> Result<bool, landlock::RulesetError> {
    let all = AccessFs::from_all(ABI::V5);
    // For a link the kernel walks upwards from both directories until a rule allows all that the
    // ruleset handles, or there is nothing above: that would be half of what a link costs.
    let inside = match driftless_fs::forbid_programs() {
        Ok(()) => all,
        Err(_) => all & !AccessFs::Execute,
    };
    let read = AccessFs::ReadFile | AccessFs::ReadDir;
    let mut ruleset = Ruleset::default()
        .handle_access(all)?
        .create()?
        .add_rule(PathBeneath::new(module, inside))?;
    for path in NAME_SERVICE {
        if let Ok(fd) = PathFd::new(path) {
            let is_dir = Path::new(path).is_dir();
            let access = if is_dir { read } else { AccessFs::ReadFile.into() };
            ruleset = ruleset.add_rule(PathBeneath::new(fd, access))?;
        }
    }
    let status = ruleset.restrict_self()?;
    Ok(status.ruleset != RulesetStatus::NotEnforced)
}
