//! The kernel's limits: short queues, few watches, no instances, no rights.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::Duration;

use driftless_testkit::kernel::{Sysctl, Untouched, has_user_namespaces};
use driftless_watch::{Backend, Hint, WatchError, WatchOptions, Watcher, What};

use crate::support::{
    Kept, Watched, each_backend, is_covered, rel, subtree, until_stats, what, with,
};

fn an_overflow_ends_in_a_hint_on_the_whole_tree(backend: Backend) {
    let watched = with_queue(backend, 64, || Watched::unguarded(backend));
    let mut told = 0;
    // The reader may keep up for a while.
    for round in 0.. {
        for n in 0..100 {
            fs::create_dir(watched.path(&format!("{round}-{n}"))).unwrap();
            fs::write(watched.path(&format!("{round}-{n}/f")), "x").unwrap();
        }
        let overflows = watched.watcher.stats().overflows;
        let hints = watched.hints();
        watched.check_count(1 + (round + 1) * 100);
        // With fanotify others that use the file system make it overflow again at any time.
        if backend == Backend::Inotify {
            assert!(!watched.watcher.stats().recovering);
        }
        if overflows > told {
            assert!(hints.contains(&Hint::Subtree { path: None }), "{hints:?}");
        }
        told = watched.watcher.stats().overflows;
        if overflows > 2 {
            return;
        }
        assert!(round < 1000, "no overflow");
    }
}

each_backend! {
    an_overflow_ends_in_a_hint_on_the_whole_tree,
}

fn limited(max_watches: usize, prepare: impl FnOnce(&std::path::Path)) -> Watched {
    let options = WatchOptions {
        max_watches: Some(max_watches),
        poll_interval: Duration::from_millis(20),
        ..with(Backend::Inotify)
    };
    Watched::with(options, prepare)
}

#[test]
fn directories_beyond_the_limit_are_compared() {
    let watched = limited(3, |root| {
        for n in 0..6 {
            fs::create_dir_all(root.join(format!("{n}/deep"))).unwrap();
            fs::write(root.join(format!("{n}/deep/f")), "old").unwrap();
        }
    });
    let stats = watched.watcher.stats();
    assert_eq!((stats.directories, stats.watched, stats.polled), (13, 3, 10), "{stats:?}");
    let limit = stats.limit.expect("the limit is told");
    assert_eq!((limit.sysctl, limit.unwatched), ("fs.inotify.max_user_watches", 10));
    assert!(limit.sufficient > limit.present);
    watched.hints();
    for n in 0..6 {
        fs::write(watched.path(&format!("{n}/deep/f")), "longer").unwrap();
        fs::create_dir_all(watched.path(&format!("{n}/new/er"))).unwrap();
        fs::write(watched.path(&format!("{n}/new/er/f")), "x").unwrap();
    }
    let hints = watched.hints();
    for n in 0..6 {
        assert!(what(&hints, &format!("{n}/deep/f")).contains(What::MODIFIED), "{hints:?}");
        assert!(is_covered(&hints, &rel(&format!("{n}/new/er/f"))), "{hints:?}");
    }
    assert_eq!(watched.watcher.stats().polled, 22);
}

#[test]
fn comparisons_happen_without_a_barrier() {
    let watched = limited(1, |root| fs::create_dir(root.join("d")).unwrap());
    fs::write(watched.path("d/f"), "x").unwrap();
    let told = |hint: &Hint| matches!(hint, Hint::Path { path, .. } if *path == rel("d/f"));
    watched.kept.wait_for(told);
}

#[test]
fn watches_that_come_free_are_given_to_others() {
    let watched = limited(3, |root| {
        for n in 0..4 {
            fs::create_dir(root.join(n.to_string())).unwrap();
        }
    });
    assert_eq!(watched.watcher.stats().polled, 2);
    for n in 0..4 {
        fs::remove_dir(watched.path(&n.to_string())).unwrap();
        watched.hints();
        let left = 3 - n;
        until_stats(&watched.watcher, |stats| {
            (stats.directories, stats.watched) == (1 + left, 3.min(1 + left))
        });
    }
    assert_eq!(watched.watcher.stats().limit, None);
}

#[test]
fn a_root_beyond_the_limit_is_compared() {
    let watched = limited(0, |_| ());
    fs::write(watched.path("f"), "x").unwrap();
    assert!(what(&watched.hints(), "f").contains(What::CREATED));
    fs::set_permissions(&watched.root, fs::Permissions::from_mode(0o700)).unwrap();
    assert!(watched.hints().contains(&Hint::RootAttributes));
}

/// Runs one test of this program again, as another user and with a variable set.
pub fn again(test: &str, variable: &str, wrap: impl FnOnce(Command) -> Command) {
    // The program is copied to where that user may read it.
    let dir = tempfile::tempdir().unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o777)).unwrap();
    let program = dir.path().join("tests");
    fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
    let mut command = wrap(Command::new(program));
    let output =
        command.args(["--exact", test, "--nocapture"]).env(variable, dir.path()).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("1 passed"), "{output:?}");
}

#[test]
fn a_directory_is_watched_once_it_may_be_read() {
    if std::env::var_os("WATCH_AS_USER").is_none() {
        // Nothing is unreadable for root.
        let name = "limits::a_directory_is_watched_once_it_may_be_read";
        return again(name, "WATCH_AS_USER", |mut command| {
            command.uid(65534).gid(65534);
            command
        });
    }
    let mode = |path: &std::path::Path, mode| {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    };
    let watched = Watched::with(with(Backend::Inotify), |root| {
        fs::create_dir_all(root.join("d/e")).unwrap();
        mode(&root.join("d"), 0o000);
    });
    let stats = watched.watcher.stats();
    assert_eq!((stats.watched, stats.polled), (1, 1), "{stats:?}");
    assert_eq!(stats.limit, None);
    mode(&watched.path("d"), 0o700);
    let hints = watched.hints();
    assert!(hints.contains(&subtree("d")), "{hints:?}");
    fs::write(watched.path("d/e/f"), "x").unwrap();
    assert!(what(&watched.hints(), "d/e/f").contains(What::CREATED));
    assert_eq!(watched.watcher.stats().watched, 3);
}

#[test]
fn the_kernels_own_limits_are_met_with_advice() {
    const LIMITS: &str = "/proc/sys/user/max_inotify_";
    if std::env::var_os("WATCH_IN_NAMESPACE").is_none() {
        if !has_user_namespaces() {
            return;
        }
        // The limits of a user namespace of its own, so that nobody else has to live with them.
        let name = "limits::the_kernels_own_limits_are_met_with_advice";
        return again(name, "WATCH_IN_NAMESPACE", |program| {
            let mut command = Command::new("unshare");
            command.args(["-U", "-r"]).arg(program.get_program());
            command
        });
    }
    fs::write(format!("{LIMITS}watches"), "5").unwrap();
    let watched = Watched::with(with(Backend::Inotify), |root| {
        for n in 0..10 {
            fs::create_dir(root.join(n.to_string())).unwrap();
        }
    });
    let stats = watched.watcher.stats();
    assert!(stats.watched <= 5 && stats.directories == 11, "{stats:?}");
    assert!(stats.limit.is_some_and(|limit| limit.unwatched == stats.polled));
    for n in 0..10 {
        fs::write(watched.path(&format!("{n}/f")), "x").unwrap();
    }
    let hints = watched.hints();
    assert!((0..10).all(|n| is_covered(&hints, &rel(&format!("{n}/f")))), "{hints:?}");

    fs::write(format!("{LIMITS}instances"), "1").unwrap();
    let sink = std::sync::Arc::new(Kept::default());
    let refused = Watcher::start(&watched.root, with(Backend::Inotify), sink).err().unwrap();
    assert!(matches!(refused, WatchError::Instances { .. }), "{refused:?}");
    assert!(refused.to_string().contains("sysctl fs.inotify.max_user_instances="), "{refused}");
}

/// Runs `start` while the kernel makes queues of this length. The value is read when a queue is made,
/// so it is put back at once.
pub fn with_queue<T>(backend: Backend, len: u64, start: impl FnOnce() -> T) -> T {
    let _short = Sysctl::set(&format!("fs.{}.max_queued_events", backend.as_str()), len);
    start()
}

/// Runs `start` while no test has shortened the queue.
pub fn with_ordinary_queue<T>(start: impl FnOnce() -> T) -> T {
    let _ordinary = Untouched::settings();
    start()
}
