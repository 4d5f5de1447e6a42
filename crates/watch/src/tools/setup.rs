//! Setting up watches, and what is said when that fails.

use rustix::fs::{FileType, RawDir};
use rustix::io::Errno;

use super::diagnostics::Diagnostics;
use super::limits;
use super::list::Targets;
use super::progress::Progress;
use super::watches::{Manner, Watches, open_dir};

/// How a tool words that a path cannot be watched.
#[derive(Debug, Clone, Copy)]
pub enum Wording {
    /// `Couldn't watch PATH: …`
    CouldNot,
    /// `Failed to watch PATH: …`
    Failed,
}

/// Makes an instance; says why when that fails.
pub fn instance(
    manner: Manner,
    targets: &Targets,
    progress: Progress,
    diagnostics: &Diagnostics,
) -> Option<Watches> {
    match Watches::new(manner, targets.clone(), progress) {
        Ok(watches) => Some(watches),
        Err(error) => {
            diagnostics.say(&format!("Couldn't initialize inotify: {}", super::reason(error)));
            if error == Errno::MFILE {
                diagnostics
                    .say("Try increasing the value of /proc/sys/fs/inotify/max_user_instances");
                diagnostics.say(&limits::instances());
            }
            None
        }
    }
}

/// Watches one path of the command line; says why when that fails.
pub fn watch(
    watches: &mut Watches,
    argument: &[u8],
    wording: Wording,
    diagnostics: &Diagnostics,
) -> Result<(), ()> {
    match watches.add_argument(argument) {
        Ok(()) => Ok(()),
        Err(Errno::NOSPC) => {
            watches.clear_progress();
            let head = [b"Failed to watch ", argument];
            let line = [&head.concat()[..], b"; upper limit on inotify watches reached!"].concat();
            diagnostics.say_bytes(&line);
            diagnostics.say(
                "Please increase the amount of inotify watches allowed per user via \
                 `/proc/sys/fs/inotify/max_user_watches'.",
            );
            let armed = watches.table().len();
            let all = if watches.is_recursive() { count_directories(argument) } else { armed + 1 };
            diagnostics.say(&limits::watches(armed, Some(all.saturating_sub(armed).max(1))));
            Err(())
        }
        Err(error) => {
            watches.clear_progress();
            let what = match wording {
                Wording::CouldNot => "Couldn't watch",
                Wording::Failed => "Failed to watch",
            };
            diagnostics.say_failed(what, argument, &super::reason(error));
            Err(())
        }
    }
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
