//! The session becomes what its module says: user, place, programs around it.

use std::sync::Arc;

use driftless_filter::{ModuleRules, ParseOptions, ReadFile, Rules};
use driftless_fs::{Fork, Root, fork, operator};
use driftless_rsync::client::failure::system_text;
use driftless_transfer::chmod::Chmod;
use driftless_transfer::module::ModuleTerms;
use driftless_tree::path::printable;
use rustix::process::{Pid, Signal, WaitOptions, waitpid};

use super::enter::Entry;
use crate::conf::{Key, Module};
use crate::hooks::{self, Prepared, Task, Variables};
use crate::identity::{self, BadIds, Failed, Ids, Place};
use crate::session::{End, Session, log_choice};

/// Longest file of rules.
const MAX_RULES_LEN: u64 = 16 << 20;

/// Files of rules that the configuration names.
struct RuleFiles;

impl ReadFile for RuleFiles {
    fn read(&mut self, path: &[u8]) -> std::io::Result<Option<Vec<u8>>> {
        use std::os::unix::ffi::OsStrExt;
        let path = std::path::Path::new(std::ffi::OsStr::from_bytes(path));
        match operator::read(path, MAX_RULES_LEN) {
            Ok(text) => Ok(Some(text)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// A session that is where it belongs.
pub(super) struct Settled<'h> {
    pub(super) module: Module<'h>,
    pub(super) entry: Entry,
    pub(super) place: Place,
    /// The module's path as this process knows it.
    pub(super) here: Vec<u8>,
    /// The module's path as the operator knows it.
    pub(super) path: Vec<u8>,
    pub(super) terms: Arc<ModuleTerms>,
    pub(super) munges: bool,
    pub(super) before: Option<Prepared>,
    pub(super) converter: Option<Prepared>,
    pub(super) is_read_only: bool,
}

impl<'h> Session<'_, 'h> {
    /// Does the rest in a process of its own where something is to run behind it.
    pub(super) fn settle(&mut self, module: Module<'h>, mut entry: Entry) -> Result<u8, End> {
        let ids = self.ids(&module, &entry.variables)?;
        let path = self.value(&module, Key::Path, &entry.variables)?;
        if path.is_empty() {
            let name = printable(module.name());
            self.error(format!("No path specified for module {name}"));
            return Err(End::error("no path setting.", 255));
        }
        let mut told = Vec::new();
        let place =
            Place::new(&path, module.tri(Key::UseChroot), &mut |line| told.push(line.to_owned()));
        told.iter().for_each(|line| self.info(line));
        let full_path = place.full_path();
        entry.variables.set("RSYNC_MODULE_PATH", full_path.as_slice());
        entry.variables.set("RSYNC_PID", std::process::id().to_string());
        let rules = self.rules(&module, &entry.variables)?;
        self.log.switch(log_choice(&module, self.host.settings));
        let after = self.hook(&module, Key::PostXferExec, &entry.variables)?;
        if let Some(command) = after
            && let Some(code) = self.run_before(&command, &entry.variables)?
        {
            return Ok(code);
        }
        if let Some(command) = self.hook(&module, Key::EarlyExec, &entry.variables)? {
            let mut variables = entry.variables.clone();
            variables.set("RSYNC_REQUEST", *b"(NONE)");
            match hooks::run(&command, &variables, &self.caller.early_input) {
                Ok(0) => {}
                Ok(status) => {
                    self.error(format!("early exec returned failure ({status})"));
                    return Err(End::error("early exec failed", 255));
                }
                Err(_) => return Err(End::error("early exec preparation failed", 255)),
            }
        }
        let before = self.prepare(&module, Key::PreXferExec, Task::Allow, &entry.variables)?;
        let converter =
            self.prepare(&module, Key::NameConverter, Task::Convert, &entry.variables)?;
        let insecure = module.flag(Key::InsecureLinks);
        let (root, here) = place.enter(insecure).map_err(|(act, error)| {
            let text = format!(
                "rsync: [Receiver] {act} {} failed: {}",
                printable(&full_path),
                system_text(&error)
            );
            self.error(text);
            End::error(format_args!("{act} failed"), 255)
        })?;
        let munges = module.tri(Key::MungeSymlinks).unwrap_or(!place.chroot || !place.is_root());
        if munges && identity::munging_is_unsafe() {
            self.error("Symlink munging is unsafe when a /rsyncd-munged directory exists.");
            return Err(End::error("daemon security issue -- contact admin", 4));
        }
        let is_read_only = match entry.access {
            crate::auth::Access::AsModule => module.flag(Key::ReadOnly),
            crate::auth::Access::ReadOnly => true,
            crate::auth::Access::ReadWrite => false,
        };
        let mut terms = ModuleTerms::new(module.name(), &here, rules)
            .map_err(|error| self.bad_rules(&error.to_string()))?;
        terms.sanitizes_links = !munges && !place.is_root();
        terms.numeric_ids =
            module.tri(Key::NumericIds).unwrap_or(place.chroot && converter.is_none());
        terms.max_files = u64::try_from(module.int(Key::MaxFiles)).ok().filter(|most| *most > 0);
        terms.ignores_nonreadable = module.flag(Key::IgnoreNonreadable);
        self.confine(&ids, &place, &root, &here, insecure)?;
        let settled = Settled {
            module,
            entry,
            place,
            here,
            path: full_path,
            terms: Arc::new(terms),
            munges,
            before,
            converter,
            is_read_only,
        };
        self.request(settled)
    }

    fn ids(&mut self, module: &Module<'_>, variables: &Variables) -> Result<Ids, End> {
        let uid = self.value(module, Key::Uid, variables)?;
        let gid = self.value(module, Key::Gid, variables)?;
        Ids::find(&uid, &gid).map_err(|bad| match bad {
            BadIds::Uid(name) => {
                self.error(format!("Invalid uid {name}"));
                End::error(format_args!("invalid uid {name}"), 255)
            }
            BadIds::Gid(name) => {
                self.error(format!("Invalid gid {name}"));
                if name == "nobody" {
                    self.info("on this system the group of that account may be called nogroup");
                }
                End::error(format_args!("invalid gid {name}"), 255)
            }
            BadIds::GidSetting => End::error("invalid gid setting.", 255),
        })
    }

    fn rules(&mut self, module: &Module<'_>, variables: &Variables) -> Result<Rules, End> {
        let given = ModuleRules {
            filter: self.value(module, Key::Filter, variables)?,
            include_from: self.value(module, Key::IncludeFrom, variables)?,
            include: self.value(module, Key::Include, variables)?,
            exclude_from: self.value(module, Key::ExcludeFrom, variables)?,
            exclude: self.value(module, Key::Exclude, variables)?,
        };
        let options = ParseOptions {
            delete_excluded: false,
            from0: false,
            protocol: 32,
            root: b"/".to_vec(),
            home_cvsignore: None,
            cvsignore: None,
        };
        Rules::parse_module(&given, &options, &mut RuleFiles)
            .map_err(|error| self.bad_rules(&error.to_string()))
    }

    fn bad_rules(&mut self, text: &str) -> End {
        self.error(format!("rsync: [Receiver] {text}"));
        End::Silent(11)
    }

    fn hook(
        &mut self,
        module: &Module<'_>,
        key: Key,
        variables: &Variables,
    ) -> Result<Option<Vec<u8>>, End> {
        hooks::command(module.raw(key), variables).map_err(|hooks::Unsafe(name)| {
            self.error(format!("refusing to run shell hook: %{name}% holds a shell metacharacter"));
            End::Silent(4)
        })
    }

    /// A program that waits for the request.
    fn prepare(
        &mut self,
        module: &Module<'_>,
        key: Key,
        task: Task,
        variables: &Variables,
    ) -> Result<Option<Prepared>, End> {
        let Some(command) = self.hook(module, key, variables)? else { return Ok(None) };
        let prepared = Prepared::new(&command, variables, task).map_err(|_| {
            let what = match task {
                Task::Allow => "pre-xfer exec",
                Task::Convert => "name-converter exec",
            };
            End::error(format_args!("{what} preparation failed"), 255)
        })?;
        Ok(Some(prepared))
    }

    /// Lets a copy of this process serve, waits for it and runs the program; `None` in the copy.
    fn run_before(&mut self, command: &[u8], variables: &Variables) -> Result<Option<u8>, End> {
        let us = std::process::id();
        let child = match fork() {
            Err(error) => {
                self.error(format!("fork failed: {}", system_text(&error)));
                return Err(End::error("fork failed", 255));
            }
            Ok(Fork::Child) => {
                self.keeper = Some(us);
                return Ok(None);
            }
            Ok(Fork::Parent(pid)) => pid,
        };
        // The client's connection ends with the copy.
        drop(self.wire.take_stream());
        let status = wait_for(child);
        let mut variables = variables.clone();
        let code = match status & 0x7f {
            0 => status >> 8 & 0xff,
            signal => {
                self.error(format!("the session {}", identity::ending(signal)));
                -1
            }
        };
        variables.set("RSYNC_EXIT_STATUS", code.to_string());
        variables.set("RSYNC_RAW_STATUS", status.to_string());
        if let Err(error) = hooks::run(command, &variables, b"") {
            self.error(format!("post-xfer exec failed: {}", system_text(&error)));
        }
        Ok(Some(u8::try_from(code).unwrap_or(255)))
    }

    /// What a client can make this process use up, and for how long it lives.
    fn limit(&mut self) {
        let mib = u64::try_from(self.host.config.globals().int(Key::SessionMemoryMib)).unwrap_or(0);
        if let Err(error) = identity::limit_memory(mib << 20) {
            self.error(format!("the session's memory cannot be limited: {}", system_text(&error)));
        }
        let secs = self.host.config.globals().int(Key::SessionCpuSeconds);
        if let Err(error) = identity::limit_cpu(u64::try_from(secs).unwrap_or(0)) {
            self.error(format!("the session's CPU cannot be limited: {}", system_text(&error)));
        }
        if self.keeper.is_some() {
            // The listener knows that one alone: where it is ended, so is this one.
            let _ = rustix::process::set_parent_process_death_signal(Some(Signal::KILL));
        }
    }

    /// From here on nothing outside the module is ours.
    fn confine(
        &mut self,
        ids: &Ids,
        place: &Place,
        root: &Root,
        here: &[u8],
        insecure: bool,
    ) -> Result<(), End> {
        identity::drop_to(ids).map_err(|failed| {
            let (text, log) = match failed {
                Failed::Setgid => ("setgid failed", "setgid failed"),
                Failed::Setgroups => ("setgroups failed", "setgroups failed"),
                Failed::Setuid => ("setuid failed", "setuid failed"),
                Failed::Kept => ("setuid failed", "the superuser's powers could not be given up"),
            };
            self.error(log);
            End::error(text, 255)
        })?;
        self.limit();
        if insecure {
            return Ok(());
        }
        if !place.is_root() {
            driftless_fs::ground::confine(root.clone(), here);
        }
        match identity::seal(root) {
            Ok(true) => {}
            Ok(false) => self.info("this kernel has no Landlock; the session goes on without"),
            Err(error) => self.error(format!("Landlock: {error}")),
        }
        Ok(())
    }
}

/// A change of modes that a client without a umask of its own asked for.
pub(super) fn chmod(text: &[u8]) -> Option<Chmod> {
    Chmod::parse(std::str::from_utf8(text).ok()?, 0).ok()
}

/// The raw status of a process.
fn wait_for(pid: Pid) -> i32 {
    loop {
        match waitpid(Some(pid), WaitOptions::empty()) {
            Ok(Some((_, status))) => return status.as_raw(),
            Err(rustix::io::Errno::INTR) | Ok(None) => {}
            Err(_) => return -1,
        }
    }
}
