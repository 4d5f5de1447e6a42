//! Names of users and groups, as a name service knows them: the system's, if nothing else is said.

use nix::unistd::{Gid, Group, Uid, User};
use std::collections::HashMap;
use std::fmt::Debug;
use std::hash::Hash;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

/// Who knows names and numbers. `None` says that there is no such name or number.
pub trait NameService: Debug + Send + Sync {
    /// The name of a user.
    ///
    /// # Errors
    /// It cannot be told now.
    fn user_name(&self, uid: u32) -> io::Result<Option<Vec<u8>>>;

    /// The name of a group.
    ///
    /// # Errors
    /// It cannot be told now.
    fn group_name(&self, gid: u32) -> io::Result<Option<Vec<u8>>>;

    /// The number of a user.
    ///
    /// # Errors
    /// It cannot be told now.
    fn uid(&self, name: &[u8]) -> io::Result<Option<u32>>;

    /// The number of a group.
    ///
    /// # Errors
    /// It cannot be told now.
    fn gid(&self, name: &[u8]) -> io::Result<Option<u32>>;
}

/// The system's. Its names are text; another name is nobody's.
#[derive(Debug)]
struct System;

impl NameService for System {
    fn user_name(&self, uid: u32) -> io::Result<Option<Vec<u8>>> {
        Ok(User::from_uid(Uid::from_raw(uid))?.map(|user| user.name.into_bytes()))
    }

    fn group_name(&self, gid: u32) -> io::Result<Option<Vec<u8>>> {
        Ok(Group::from_gid(Gid::from_raw(gid))?.map(|group| group.name.into_bytes()))
    }

    fn uid(&self, name: &[u8]) -> io::Result<Option<u32>> {
        let Ok(name) = std::str::from_utf8(name) else { return Ok(None) };
        Ok(User::from_name(name)?.map(|user| user.uid.as_raw()))
    }

    fn gid(&self, name: &[u8]) -> io::Result<Option<u32>> {
        let Ok(name) = std::str::from_utf8(name) else { return Ok(None) };
        Ok(Group::from_name(name)?.map(|group| group.gid.as_raw()))
    }
}

/// Names and numbers of owners, each asked for once; that there is none is remembered, too.
///
/// Answers grow old with the value: make a new one for a new pass.
#[derive(Debug)]
pub struct Owners {
    service: Arc<dyn NameService>,
    user_names: Cache<u32, Vec<u8>>,
    group_names: Cache<u32, Vec<u8>>,
    uids: Cache<Vec<u8>, u32>,
    gids: Cache<Vec<u8>, u32>,
}

/// Covers only its own map and is never held while the name service is asked, which may take long.
type Cache<K, V> = Mutex<HashMap<K, Option<V>>>;

impl Default for Owners {
    fn default() -> Self {
        Self::new()
    }
}

impl Owners {
    /// Knows nothing yet, and asks the system.
    pub fn new() -> Self {
        Self::asking(Arc::new(System))
    }

    /// Knows nothing yet, and asks `service`.
    pub fn asking(service: Arc<dyn NameService>) -> Self {
        Self {
            service,
            user_names: Cache::default(),
            group_names: Cache::default(),
            uids: Cache::default(),
            gids: Cache::default(),
        }
    }

    /// The name of a user; `None` when it has none or the name service cannot tell.
    pub fn user_name(&self, uid: u32) -> Option<Vec<u8>> {
        cached(&self.user_names, uid, || self.service.user_name(uid))
    }

    /// The name of a group; `None` when it has none or the name service cannot tell.
    pub fn group_name(&self, gid: u32) -> Option<Vec<u8>> {
        cached(&self.group_names, gid, || self.service.group_name(gid))
    }

    /// The group that a user belongs to first.
    pub fn main_group(uid: u32) -> Option<u32> {
        let user = User::from_uid(Uid::from_raw(uid)).ok()??;
        Some(user.gid.as_raw())
    }

    /// The number of the user of this name.
    pub fn uid(&self, name: &[u8]) -> Option<u32> {
        cached(&self.uids, name.to_vec(), || self.service.uid(name))
    }

    /// The number of the group of this name.
    pub fn gid(&self, name: &[u8]) -> Option<u32> {
        cached(&self.gids, name.to_vec(), || self.service.gid(name))
    }
}

/// What failed of becoming another user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IdStep {
    /// Taking its group.
    Group,
    /// Giving up all other groups.
    Groups,
    /// Taking its id.
    User,
}

/// Gives the calling thread, and those it starts from now on, other ids for good. Threads that run
/// already keep theirs.
///
/// # Errors
/// The step that the kernel refused, which leaves what went before.
pub fn become_user(uid: u32, gid: u32) -> Result<(), (IdStep, std::io::Error)> {
    use rustix::fs::{Gid, Uid};
    let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
    let failed = |step| move |error: rustix::io::Errno| (step, error.into());
    rustix::thread::set_thread_res_gid(gid, gid, gid).map_err(failed(IdStep::Group))?;
    rustix::thread::set_thread_groups(&[gid]).map_err(failed(IdStep::Groups))?;
    rustix::thread::set_thread_res_uid(uid, uid, uid).map_err(failed(IdStep::User))
}

/// What this process may set, and what the kernel takes from the modes of what it makes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Powers {
    /// It may give files to any user.
    pub superuser: bool,
    /// Groups that it may give its own files to.
    pub groups: Vec<u32>,
    /// Permission bits that new files do not get.
    pub umask: u32,
}

impl Powers {
    /// Those of this process now.
    pub fn of_process() -> Self {
        let mut groups = vec![rustix::process::getegid().as_raw()];
        groups.extend(rustix::process::getgroups().unwrap_or_default().iter().map(|g| g.as_raw()));
        Self { superuser: rustix::process::geteuid().is_root(), groups, umask: umask() }
    }

    /// Whether it may give its own files to the group.
    pub fn may_give_to(&self, gid: u32) -> bool {
        self.superuser || self.groups.contains(&gid)
    }
}

/// The usual one where `/proc` is missing. The system call sets it in order to tell it, which other
/// threads would feel.
fn umask() -> u32 {
    const USUAL: u32 = 0o022;
    let Ok(status) = std::fs::read_to_string("/proc/self/status") else { return USUAL };
    let line = status.lines().find_map(|line| line.strip_prefix("Umask:"));
    line.and_then(|octal| u32::from_str_radix(octal.trim(), 8).ok()).unwrap_or(USUAL)
}

/// What the cache says, or `ask`, whose failures are not remembered.
fn cached<K: Hash + Eq, V: Clone>(
    cache: &Cache<K, V>,
    key: K,
    ask: impl FnOnce() -> io::Result<Option<V>>,
) -> Option<V> {
    // A map is whole whenever the lock is free, even if a holder panicked.
    let lock = || cache.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(known) = lock().get(&key) {
        return known.clone();
    }
    let answer = ask().ok()?;
    lock().insert(key, answer.clone());
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_are_those_of_the_system() {
        let owners = Owners::new();
        for _ in 0..2 {
            assert_eq!(owners.user_name(0).as_deref(), Some(&b"root"[..]));
            assert_eq!(owners.group_name(0).as_deref(), Some(&b"root"[..]));
            assert_eq!(owners.uid(b"root"), Some(0));
            assert_eq!(owners.gid(b"root"), Some(0));
            assert_eq!(owners.user_name(0xffff_fff0), None);
            assert_eq!(owners.gid(b"no such group"), None);
            assert_eq!(owners.uid(b"\xff"), None);
        }
    }

    #[test]
    fn the_umask_is_what_new_files_lack() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("f");
        std::fs::File::create(&path).unwrap();
        let mode = std::os::unix::fs::MetadataExt::mode(&std::fs::metadata(&path).unwrap());
        assert_eq!(mode & 0o777, 0o666 & !Powers::of_process().umask);
    }

    #[test]
    fn each_owner_is_asked_for_once_and_failures_again() {
        let cache = Cache::<u32, u32>::default();
        assert_eq!(cached(&cache, 1, || Err(nix::Error::EIO.into())), None);
        assert_eq!(cached(&cache, 1, || Ok(None)), None);
        assert_eq!(cached(&cache, 1, || unreachable!("known to be none")), None);
        assert_eq!(cached(&cache, 2, || Ok(Some(3))), Some(3));
        assert_eq!(cached(&cache, 2, || unreachable!("known")), Some(3));
    }
}
