//! A mirror as far as it has been described.

use std::ffi::OsStr;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use driftless_filter::Given;
use driftless_live::config::{
    Destination, MaxDelete, MirrorConfig, PasswordSource, PullConfig, RemoteSource, TargetConfig,
};
use driftless_live::schedule::Schedule;
use driftless_transfer::TransferOptions;
use driftless_watch::Backend;
use zeroize::Zeroizing;

/// What a description means depends on where it was written and who runs it. No `Debug`, as there
/// is a password in it.
#[derive(Clone)]
pub struct Circumstances {
    /// Relative names start here.
    pub base: PathBuf,
    /// Masks `--chmod` changes that name no class.
    pub umask: u32,
    /// `RSYNC_PASSWORD`.
    pub password: Option<Zeroizing<Vec<u8>>>,
    /// `RSYNC_RSH` in words, or what reaches other machines without asking anybody.
    pub shell: Vec<Vec<u8>>,
}

impl Circumstances {
    /// Returns `name` as an absolute path.
    pub fn absolute(&self, name: &OsStr) -> PathBuf {
        let joined = self.base.join(name);
        std::path::absolute(&joined).unwrap_or(joined)
    }
}

/// A mirror without its source and targets; starts with the defaults.
#[derive(Clone)]
pub struct Draft {
    /// Where and by whom it was written.
    pub circumstances: Circumstances,
    /// Its name; else the source's last component.
    pub name: Option<String>,
    /// Filter rules in order.
    pub rules: Vec<Given>,
    /// Whether targets lose what the source has not.
    pub delete: bool,
    /// The guard against mass deletion.
    pub max_delete: MaxDelete,
    /// How long a file that is being written is waited for.
    pub settle: Duration,
    /// How often unwatchable directories are compared.
    pub poll_interval: Duration,
    /// How changes are learnt of.
    pub backend: Option<Backend>,
    /// When full passes run besides the needed ones.
    pub schedule: Option<Schedule>,
    /// When targets are compared by checksum.
    pub verify: Option<Schedule>,
    /// For targets without their own.
    pub password_file: Option<PathBuf>,
    /// What transfers do.
    pub options: TransferOptions,
}

/// A target and its own password file.
#[derive(Debug, Clone)]
pub struct TargetDraft {
    /// Where it is.
    pub destination: Destination,
    /// Instead of the mirror's.
    pub password_file: Option<PathBuf>,
}

impl Draft {
    /// Returns a mirror with rsync's `-a --delete`.
    pub fn new(circumstances: Circumstances) -> Self {
        Self {
            circumstances,
            name: None,
            rules: Vec::new(),
            delete: true,
            max_delete: MaxDelete::default(),
            settle: Duration::from_secs(1),
            poll_interval: Duration::from_secs(30),
            backend: None,
            schedule: None,
            verify: None,
            password_file: None,
            options: TransferOptions::default(),
        }
    }

    /// Returns the complete configuration.
    ///
    /// # Errors
    /// What does not fit together.
    pub fn finish(
        self,
        source: PathBuf,
        targets: Vec<TargetDraft>,
    ) -> Result<MirrorConfig, String> {
        check_targets(&source, &targets)?;
        let has_daemon = targets.iter().any(|t| matches!(t.destination, Destination::Daemon(_)));
        if self.password_file.is_some() && !has_daemon {
            return Err("password-file is for targets that are rsync daemons; there is none".into());
        }
        Ok(self.complete(source, &targets))
    }

    /// Returns the complete configuration of a mirror whose source is elsewhere.
    ///
    /// # Errors
    /// What does not fit together.
    pub fn finish_pull(
        self,
        source: RemoteSource,
        targets: Vec<TargetDraft>,
    ) -> Result<PullConfig, String> {
        let Some(schedule) = self.schedule else {
            return Err("a remote source needs a schedule".to_owned());
        };
        let mut paths = Vec::new();
        for target in &targets {
            match (&target.destination, &target.password_file) {
                (Destination::Local(path), None) if !paths.contains(path) => {
                    paths.push(path.clone());
                }
                (Destination::Local(path), None) => {
                    return Err(format!("{} is a target twice", path.display()));
                }
                (Destination::Local(path), Some(_)) => {
                    return Err(format!(
                        "the target {} is a directory here and takes no password-file; that of \
                         the source belongs into the mirror",
                        path.display()
                    ));
                }
                (place, _) => {
                    return Err(format!(
                        "{place}: the targets of a remote source are directories of this machine"
                    ));
                }
            }
        }
        if paths.is_empty() {
            return Err("a mirror needs at least one target".to_owned());
        }
        let password = match (&source, self.password_file, self.circumstances.password) {
            (RemoteSource::Daemon(_), Some(file), _) => PasswordSource::File(file),
            (RemoteSource::Daemon(_), None, Some(value)) => PasswordSource::Value(value),
            (RemoteSource::Shell { .. }, Some(_), _) => {
                return Err("password-file is for rsync daemons; the remote shell asks for its \
                            own proof"
                    .to_owned());
            }
            _ => PasswordSource::None,
        };
        let last = source.path_inside();
        let last = last.split(|b| *b == b'/').rfind(|name| !name.is_empty() && *name != b".");
        let by_source = match (&source, last) {
            (_, Some(last)) => String::from_utf8_lossy(last).into_owned(),
            (RemoteSource::Daemon(url), None) => url.module.clone(),
            (RemoteSource::Shell { host, .. }, None) => String::from_utf8_lossy(host).into_owned(),
        };
        Ok(PullConfig {
            name: self.name.unwrap_or(by_source),
            source,
            targets: paths,
            rules: self.rules,
            delete: self.delete,
            max_delete: self.max_delete,
            options: self.options,
            schedule,
            password,
        })
    }

    /// Returns what is known of a mirror that has no targets yet.
    pub fn without_targets(self, source: PathBuf) -> MirrorConfig {
        self.complete(source, &[])
    }

    fn complete(self, source: PathBuf, targets: &[TargetDraft]) -> MirrorConfig {
        let password = |target: &TargetDraft| match &target.destination {
            Destination::Local(_) => PasswordSource::None,
            Destination::Daemon(_) => {
                let file = target.password_file.as_ref().or(self.password_file.as_ref());
                match (file, &self.circumstances.password) {
                    (Some(file), _) => PasswordSource::File(file.clone()),
                    (None, Some(value)) => PasswordSource::Value(value.clone()),
                    (None, None) => PasswordSource::None,
                }
            }
        };
        let targets = targets
            .iter()
            .map(|target| TargetConfig {
                destination: target.destination.clone(),
                password: password(target),
            })
            .collect();
        MirrorConfig {
            name: self.name.unwrap_or_else(|| name_after(&source)),
            source,
            targets,
            rules: self.rules,
            delete: self.delete,
            max_delete: self.max_delete,
            settle: self.settle,
            options: self.options,
            poll_interval: self.poll_interval,
            backend: self.backend,
            schedule: self.schedule,
            verify: self.verify,
        }
    }
}

/// The source's last component, as far as it can be a name in commands.
fn name_after(source: &Path) -> String {
    match source.file_name() {
        Some(name) => name.to_string_lossy().into_owned(),
        None => "root".to_owned(),
    }
}

fn check_targets(source: &Path, targets: &[TargetDraft]) -> Result<(), String> {
    if targets.is_empty() {
        return Err("a mirror needs at least one target".to_owned());
    }
    for (index, target) in targets.iter().enumerate() {
        let place = &target.destination;
        if targets.iter().take(index).any(|earlier| earlier.destination == *place) {
            return Err(format!("{place} is a target twice"));
        }
        if let Destination::Local(path) = place {
            if path.starts_with(source) {
                return Err(format!("the target {place} lies in the source {}", source.display()));
            }
            if source.starts_with(path) {
                return Err(format!("the source {} lies in the target {place}", source.display()));
            }
        } else {
            continue;
        }
        if target.password_file.is_some() {
            return Err(format!(
                "the target {place} is a directory here and takes no password-file"
            ));
        }
    }
    Ok(())
}

/// Returns the bytes of a file name that rules refer to, absolute.
pub(super) fn rule_file(circumstances: &Circumstances, name: &OsStr) -> Result<Vec<u8>, String> {
    if name.as_bytes() == b"-" {
        return Err("rules are read again whenever needed, so they cannot come from standard \
                    input; give a file"
            .to_owned());
    }
    Ok(circumstances.absolute(name).into_os_string().into_vec())
}
