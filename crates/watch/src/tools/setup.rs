//! Setting up watches, and what is said when that fails.

use rustix::fs::{FileType, RawDir};
use rustix::io::Errno;

use super::called::{Backend, Called};
use super::diagnostics::Diagnostics;
use super::follow::{Asked, Follower};
use super::limits;
use super::list::Targets;
use super::marks::Marks;
use super::progress::Progress;
use super::source::Source;
use super::watches::{Manner, Watches, open_dir};

/// How a tool words that a path cannot be watched.
#[derive(Debug, Clone, Copy)]
pub enum Wording {
    /// `Couldn't watch PATH: …`
    CouldNot,
    /// `Failed to watch PATH: …`
    Failed,
}

impl Wording {
    fn watch(self) -> &'static str {
        match self {
            Self::CouldNot => "Couldn't watch",
            Self::Failed => "Failed to watch",
        }
    }
}

/// What is to be set up.
#[derive(Debug, Clone, Copy)]
pub struct Plan<'a> {
    /// How the tool was called.
    pub called: &'a Called,
    /// What is watched, and what is left out.
    pub targets: &'a Targets,
    /// What is told.
    pub asked: Asked,
    /// Whether directories are watched with all below them.
    pub recursive: bool,
    /// Whether symbolic links on the command line are watched themselves.
    pub no_dereference: bool,
}

/// What is being set up.
pub enum Setup {
    /// A watch on each directory.
    Inotify(Box<Watches>),
    /// Marks.
    Fanotify(Box<Marks>),
}

impl Setup {
    /// Opens the kernel's queue; says why when that fails.
    pub fn begin(plan: &Plan<'_>, progress: Progress, diagnostics: &Diagnostics) -> Option<Self> {
        let opened = match plan.called.backend() {
            Backend::Inotify => {
                let manner = Manner {
                    mask: plan.asked.mask | plan.asked.extra(),
                    recursive: plan.recursive,
                    no_dereference: plan.no_dereference,
                };
                Watches::new(manner, plan.targets.clone(), progress)
                    .map(|watches| Self::Inotify(Box::new(watches)))
            }
            Backend::Fanotify => Marks::new(
                plan.asked,
                plan.targets.clone(),
                plan.recursive,
                plan.no_dereference,
                plan.called.is_filesystem(),
            )
            .map(|marks| Self::Fanotify(Box::new(marks)))
            .map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO)),
        };
        opened.map_err(|error| say_not_opened(plan.called.backend(), error, diagnostics)).ok()
    }

    /// Watches one path of the command line; says why when that fails.
    pub fn watch(
        &mut self,
        argument: &[u8],
        wording: Wording,
        diagnostics: &Diagnostics,
    ) -> Result<(), ()> {
        match self {
            Self::Inotify(watches) => watches
                .add_argument(argument)
                .map_err(|error| say_not_watched(watches, argument, error, wording, diagnostics)),
            Self::Fanotify(marks) => marks.add_argument(argument).map_err(|error| {
                say_not_marked(marks.is_everything(), argument, &error, wording, diagnostics);
            }),
        }
    }

    /// Ends the setting up; from now on everything is told.
    pub fn complete(self, plan: &Plan<'_>, diagnostics: &Diagnostics, quiet: bool) -> Source {
        match self {
            Self::Inotify(mut watches) => {
                watches.complete();
                let follower = Follower::new(*watches, plan.asked, *diagnostics, quiet);
                Source::Inotify(Box::new(follower))
            }
            Self::Fanotify(marks) => Source::Fanotify { marks, diagnostics: *diagnostics, quiet },
        }
    }
}

fn say_not_opened(backend: Backend, error: Errno, diagnostics: &Diagnostics) {
    let (name, setting) = match backend {
        Backend::Inotify => ("inotify", "inotify/max_user_instances"),
        Backend::Fanotify => ("fanotify", "fanotify/max_user_groups"),
    };
    diagnostics.say(&format!("Couldn't initialize {name}: {}", super::reason(error)));
    if error == Errno::MFILE {
        diagnostics.say(&format!("Try increasing the value of /proc/sys/fs/{setting}"));
        diagnostics.say(&limits::raise(setting));
    } else if backend == Backend::Fanotify && error == Errno::INVAL {
        diagnostics.say("fanotify with names needs Linux 5.9 or newer; use -I.");
    } else if backend == Backend::Fanotify && error == Errno::PERM {
        diagnostics.say("fanotify watch requires admin privileges; use -I.");
    }
}

fn say_not_watched(
    watches: &mut Watches,
    argument: &[u8],
    error: Errno,
    wording: Wording,
    diagnostics: &Diagnostics,
) {
    watches.clear_progress();
    if error != Errno::NOSPC {
        diagnostics.say_failed(wording.watch(), argument, &super::reason(error));
        return diagnostics.say_next_step(error);
    }
    say_limit(argument, "inotify watches", "inotify/max_user_watches", diagnostics);
    let armed = watches.table().len();
    let all = if watches.is_recursive() { count_directories(argument) } else { armed + 1 };
    diagnostics.say(&limits::watches(armed, Some(all.saturating_sub(armed).max(1))));
}

fn say_not_marked(
    everything: bool,
    argument: &[u8],
    error: &std::io::Error,
    wording: Wording,
    diagnostics: &Diagnostics,
) {
    if Errno::from_io_error(error) == Some(Errno::NOSPC) {
        let setting = "fanotify/max_user_marks";
        say_limit(argument, "fanotify marks", setting, diagnostics);
        return diagnostics.say(&limits::raise(setting));
    }
    let what = if everything { "Couldn't add filesystem watch" } else { wording.watch() };
    diagnostics.say_failed(what, argument, &super::reason_of(error));
    if let Some(error) = Errno::from_io_error(error) {
        diagnostics.say_next_step(error);
    }
}

fn say_limit(argument: &[u8], what: &str, setting: &str, diagnostics: &Diagnostics) {
    let line = format!("; upper limit on {what} reached!");
    diagnostics.say_bytes(&[b"Failed to watch ", argument, line.as_bytes()].concat());
    diagnostics.say(&format!(
        "Please increase the amount of {what} allowed per user via `/proc/sys/fs/{setting}'."
    ));
}

/// The number of directories at and below a path.
fn count_directories(top: &[u8]) -> usize {
    let mut buffer = Vec::with_capacity(32 * 1024);
    let mut stack = vec![top.to_vec()];
    let mut count = 0;
    while let Some(path) = stack.pop() {
        count += 1;
        let Ok(dir) = open_dir(&path, count == 1) else { continue };
        let mut entries = RawDir::new(dir, buffer.spare_capacity_mut());
        while let Some(Ok(entry)) = entries.next() {
            let name = entry.file_name().to_bytes();
            if entry.file_type() == FileType::Directory && name != b"." && name != b".." {
                stack.push([path.strip_suffix(b"/").unwrap_or(&path), b"/", name].concat());
            }
        }
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_directories_below_are_counted() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("a/b/c")).unwrap();
        std::fs::create_dir(dir.path().join("d")).unwrap();
        std::fs::write(dir.path().join("file"), "").unwrap();
        std::os::unix::fs::symlink("a", dir.path().join("link")).unwrap();
        assert_eq!(count_directories(dir.path().as_os_str().as_encoded_bytes()), 5);
    }
}
