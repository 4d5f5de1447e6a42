//! What each kind of change is told as.

use std::fs;
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;

use driftless_tree::RelPath;
use driftless_watch::{Backend, Hint, WatchOptions, What};
use rustix::fs::{AtFlags, CWD, Mode, OFlags, RenameFlags};

use crate::support::{
    Mounted, Watched, each_backend, is_covered, rel, renamed, subtree, until_stats, what, with,
};

each_backend! {
    a_written_file_is_created_modified_and_closed,
    reading_makes_no_hints,
    a_chain_of_new_directories_is_covered_to_its_end,
    a_rename_that_was_read_at_once_comes_before_the_two_names,
    a_renamed_directory_keeps_its_watches,
    a_directory_moved_away_is_let_go_and_one_moved_in_is_covered,
    exchanged_directories_keep_their_watches,
    a_directory_renamed_over_an_empty_one_takes_its_place,
    a_directory_that_is_replaced_at_once_is_watched_again,
    a_removed_directory_that_is_still_open_is_let_go,
    late_writes_to_a_file_that_was_made_without_a_name_are_covered,
    a_real_file_with_a_made_up_looking_name_costs_no_subtree,
    skipped_directories_are_watched_once_they_are_renamed,
    one_tree_reached_by_two_paths_is_covered_at_both,
    an_unmounted_file_system_uncovers_what_was_below,
}

fn a_written_file_is_created_modified_and_closed(backend: Backend) {
    let watched = Watched::new(backend);
    fs::write(watched.path("f"), "x").unwrap();
    let hints = watched.precise_hints();
    assert_eq!(what(&hints, "f"), What::CREATED | What::MODIFIED | What::CLOSED_WRITE);
    let is_on_f = |hint: &Hint| matches!(hint, Hint::Path { path, .. } if *path == rel("f"));
    assert!(hints.iter().all(is_on_f), "{hints:?}");
    fs::set_permissions(watched.path("f"), fs::Permissions::from_mode(0o600)).unwrap();
    assert_eq!(watched.precise_hints(), [Hint::Path { path: rel("f"), what: What::ATTRIBUTES }]);
    fs::remove_file(watched.path("f")).unwrap();
    assert_eq!(watched.precise_hints(), [Hint::Path { path: rel("f"), what: What::GONE }]);
}

fn reading_makes_no_hints(backend: Backend) {
    let watched = Watched::with(with(backend), |root| {
        fs::create_dir(root.join("d")).unwrap();
        fs::write(root.join("d/f"), "x").unwrap();
    });
    fs::read(watched.path("d/f")).unwrap();
    fs::read_dir(watched.path("d")).unwrap().count();
    assert_eq!(watched.precise_hints(), []);
    assert_eq!(watched.watcher.stats().events, 0);
}

fn a_chain_of_new_directories_is_covered_to_its_end(backend: Backend) {
    let watched = Watched::new(backend);
    for n in 0..50 {
        let chain = watched.path(&format!("{n}/b/c/d"));
        fs::create_dir_all(&chain).unwrap();
        fs::write(chain.join("leaf"), "x").unwrap();
    }
    let hints = watched.hints();
    for n in 0..50 {
        assert!(is_covered(&hints, &rel(&format!("{n}/b/c/d/leaf"))), "{n}");
        assert!(hints.contains(&subtree(&n.to_string())), "{n}");
    }
    watched.check_count(201);
    fs::write(watched.path("7/b/c/d/later"), "x").unwrap();
    assert!(what(&watched.hints(), "7/b/c/d/later").contains(What::CREATED));
}

fn a_rename_that_was_read_at_once_comes_before_the_two_names(backend: Backend) {
    let watched = Watched::new(backend);
    let expected = [
        renamed("a", "b", false),
        Hint::Path { path: rel("a"), what: What::GONE },
        Hint::Path { path: rel("b"), what: What::ARRIVED },
    ];
    // The kernel queues the two halves one after the other, so that a read may fall between them.
    let was_read_at_once = (0..100).any(|_| {
        fs::write(watched.path("a"), "x").unwrap();
        watched.hints();
        fs::rename(watched.path("a"), watched.path("b")).unwrap();
        let hints = watched.hints();
        assert_eq!(hints.len(), 3, "{hints:?}");
        assert!(expected.iter().all(|hint| hints.contains(hint)), "{hints:?}");
        hints == expected
    });
    assert!(was_read_at_once);
}

fn a_renamed_directory_keeps_its_watches(backend: Backend) {
    let watched = Watched::with(with(backend), |root| {
        fs::create_dir_all(root.join("a/b/c")).unwrap();
        fs::create_dir(root.join("z")).unwrap();
    });
    fs::rename(watched.path("a/b"), watched.path("z/y")).unwrap();
    fs::write(watched.path("z/y/c/f"), "x").unwrap();
    let hints = watched.hints();
    assert!(hints.contains(&renamed("a/b", "z/y", true)), "{hints:?}");
    assert!(what(&hints, "z/y/c/f").contains(What::CLOSED_WRITE));
    assert!(!hints.iter().any(|hint| matches!(hint, Hint::Subtree { .. })), "{hints:?}");
    watched.check_count(5);
}

fn a_directory_moved_away_is_let_go_and_one_moved_in_is_covered(backend: Backend) {
    let watched = Watched::with(with(backend), |root| {
        fs::create_dir_all(root.join("a/b/c")).unwrap();
    });
    fs::rename(watched.path("a"), watched.outside("a")).unwrap();
    let gone = What::GONE | What::IS_DIR;
    assert_eq!(watched.precise_hints(), [Hint::Path { path: rel("a"), what: gone }]);
    watched.until_count(1);
    fs::write(watched.outside("a/b/c/f"), "x").unwrap();
    assert_eq!(watched.precise_hints(), []);
    fs::rename(watched.outside("a"), watched.path("z")).unwrap();
    fs::write(watched.path("z/b/c/g"), "x").unwrap();
    let hints = watched.hints();
    assert!(hints.contains(&subtree("z")), "{hints:?}");
    watched.check_count(4);
    fs::write(watched.path("z/b/c/h"), "x").unwrap();
    assert!(what(&watched.hints(), "z/b/c/h").contains(What::CREATED));
}

fn exchanged_directories_keep_their_watches(backend: Backend) {
    let watched = Watched::with(with(backend), |root| {
        fs::create_dir_all(root.join("a/in-a")).unwrap();
        fs::create_dir_all(root.join("b/in-b")).unwrap();
    });
    let (a, b) = (watched.path("a"), watched.path("b"));
    // Looked at half way, an exchange ends in hints on subtrees, which is allowed, but not the rule.
    let mut subtrees = 0;
    for round in 0..20 {
        rustix::fs::renameat_with(CWD, &a, CWD, &b, RenameFlags::EXCHANGE).unwrap();
        let (in_a, in_b) = if round % 2 == 0 { ("b/in-a", "a/in-b") } else { ("a/in-a", "b/in-b") };
        let (in_a, in_b) = (format!("{in_a}/{round}"), format!("{in_b}/{round}"));
        fs::write(watched.path(&in_a), "x").unwrap();
        fs::write(watched.path(&in_b), "x").unwrap();
        let hints = watched.hints();
        for expected in [renamed("a", "b", true), renamed("b", "a", true)] {
            assert!(hints.contains(&expected), "{hints:?}");
        }
        assert!(what(&hints, &in_a).contains(What::CREATED), "{hints:?}");
        assert!(what(&hints, &in_b).contains(What::CREATED), "{hints:?}");
        subtrees += usize::from(hints.iter().any(|hint| matches!(hint, Hint::Subtree { .. })));
        watched.check_count(5);
    }
    assert!(subtrees < 20);
}

fn a_directory_renamed_over_an_empty_one_takes_its_place(backend: Backend) {
    let watched = Watched::with(with(backend), |root| {
        fs::create_dir_all(root.join("a/b")).unwrap();
        fs::create_dir(root.join("z")).unwrap();
    });
    fs::rename(watched.path("a"), watched.path("z")).unwrap();
    fs::write(watched.path("z/b/f"), "x").unwrap();
    let hints = watched.hints();
    assert!(hints.contains(&renamed("a", "z", true)), "{hints:?}");
    assert!(what(&hints, "z/b/f").contains(What::CREATED), "{hints:?}");
    watched.until_count(3);
}

fn a_directory_that_is_replaced_at_once_is_watched_again(backend: Backend) {
    let watched = Watched::with(with(backend), |root| {
        fs::create_dir(root.join("d")).unwrap();
    });
    for _ in 0..20 {
        fs::remove_dir(watched.path("d")).unwrap();
        fs::create_dir(watched.path("d")).unwrap();
    }
    assert!(watched.hints().contains(&subtree("d")));
    fs::write(watched.path("d/f"), "x").unwrap();
    assert!(what(&watched.hints(), "d/f").contains(What::CREATED));
    watched.check_count(2);
}

fn a_removed_directory_that_is_still_open_is_let_go(backend: Backend) {
    let watched = Watched::with(with(backend), |root| {
        fs::create_dir_all(root.join("d/e")).unwrap();
    });
    let held = fs::File::open(watched.path("d")).unwrap();
    fs::remove_dir_all(watched.path("d")).unwrap();
    assert!(what(&watched.hints(), "d").contains(What::GONE));
    watched.check_count(1);
    drop(held);
    assert_eq!(watched.precise_hints(), []);
}

fn late_writes_to_a_file_that_was_made_without_a_name_are_covered(backend: Backend) {
    let watched = Watched::with(with(backend), |root| {
        fs::create_dir(root.join("d")).unwrap();
    });
    let flags = OFlags::TMPFILE | OFlags::WRONLY;
    let file = rustix::fs::open(watched.path("d"), flags, Mode::RUSR | Mode::WUSR).unwrap();
    let magic = format!("/proc/self/fd/{}", file.as_raw_fd());
    let to = watched.path("d/named");
    rustix::fs::linkat(CWD, magic, CWD, to, AtFlags::SYMLINK_FOLLOW).unwrap();
    assert!(what(&watched.hints(), "d/named").contains(What::CREATED));
    rustix::io::write(&file, b"late").unwrap();
    drop(file);
    let hints = watched.hints();
    assert!(is_covered(&hints, &rel("d/named")), "{hints:?}");
}

fn a_real_file_with_a_made_up_looking_name_costs_no_subtree(backend: Backend) {
    let watched = Watched::new(backend);
    fs::write(watched.path("#123"), "x").unwrap();
    let hints = watched.hints();
    assert!(what(&hints, "#123").contains(What::CLOSED_WRITE), "{hints:?}");
    assert!(hints.iter().all(|hint| matches!(hint, Hint::Path { .. })), "{hints:?}");
}

fn skipped_directories_are_watched_once_they_are_renamed(backend: Backend) {
    let skip = |dir: &RelPath| dir.file_name() == b"skip" || dir.as_bytes() == b"a/deep";
    let options = WatchOptions { skip: Box::new(skip), ..with(backend) };
    let watched = Watched::with(options, |root| {
        fs::create_dir_all(root.join("skip/below")).unwrap();
        fs::create_dir_all(root.join("a/deep/er")).unwrap();
    });
    watched.check_count(2);
    fs::write(watched.path("skip/below/f"), "x").unwrap();
    fs::write(watched.path("a/deep/f"), "x").unwrap();
    assert_eq!(watched.precise_hints(), []);
    fs::rename(watched.path("skip"), watched.path("keep")).unwrap();
    fs::rename(watched.path("a"), watched.path("z")).unwrap();
    let hints = watched.hints();
    assert!(hints.contains(&subtree("keep")), "{hints:?}");
    assert!(is_covered(&hints, &rel("z/deep/er")), "{hints:?}");
    watched.check_count(6);
    fs::rename(watched.path("keep"), watched.path("skip")).unwrap();
    watched.hints();
    watched.until_count(4);
}

fn one_tree_reached_by_two_paths_is_covered_at_both(backend: Backend) {
    let watched = Watched::with(with(backend), |root| {
        fs::create_dir_all(root.join("a/b")).unwrap();
        fs::create_dir(root.join("mounted")).unwrap();
    });
    let mounted = Mounted::bind(&watched.path("a"), &watched.path("mounted"));
    fs::create_dir(watched.path("new")).unwrap();
    fs::rename(watched.path("new"), watched.path("mounted/b/new")).unwrap_err();
    fs::write(watched.path("mounted/b/f"), "x").unwrap();
    let hints = watched.hints();
    assert!(is_covered(&hints, &rel("a/b/f")), "{hints:?}");
    drop(mounted);
    watched.hints();
}

#[test]
fn a_bind_mount_inside_the_tree_is_compared() {
    let mounted = std::cell::OnceCell::new();
    let watched = Watched::with(with(Backend::Inotify), |root| {
        fs::create_dir_all(root.join("a/b")).unwrap();
        fs::create_dir(root.join("m")).unwrap();
        let _ = mounted.set(Mounted::bind(&root.join("a"), &root.join("m")));
    });
    let stats = watched.watcher.stats();
    assert_eq!((stats.watched, stats.polled), (3, 2), "{stats:?}");
    fs::write(watched.path("m/b/f"), "x").unwrap();
    let hints = watched.hints();
    assert!(is_covered(&hints, &rel("a/b/f")) && is_covered(&hints, &rel("m/b/f")), "{hints:?}");
    drop(mounted);
    watched.hints();
    let stats = until_stats(&watched.watcher, |stats| stats.polled == 0);
    assert_eq!(stats.watched, 4);
}

fn an_unmounted_file_system_uncovers_what_was_below(backend: Backend) {
    let mounted = std::cell::OnceCell::new();
    let watched = Watched::with(with(backend), |root| {
        fs::create_dir_all(root.join("m/hidden")).unwrap();
        let _ = mounted.set(Mounted::tmpfs(&root.join("m")));
        fs::create_dir(root.join("m/d")).unwrap();
    });
    watched.check_count(3);
    drop(mounted);
    let hints = watched.hints();
    assert!(is_covered(&hints, &rel("m/hidden")) && is_covered(&hints, &rel("m/d")), "{hints:?}");
    fs::write(watched.path("m/hidden/f"), "x").unwrap();
    assert!(what(&watched.hints(), "m/hidden/f").contains(What::CREATED));
    watched.check_count(3);
}
