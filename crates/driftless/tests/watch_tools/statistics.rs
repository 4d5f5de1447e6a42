//! `inotifywatch`: the same tables.

use super::support::{CHANGES, End, Run, TREE, act, both, original, ours, same, same_in, words};

fn changes() -> Vec<&'static str> {
    [CHANGES, &["touch d/a/1", "touch d/a/2", "touch d/b/2"]].concat()
}

#[test]
fn tables_of_all_kinds() {
    for options in [
        "d",
        "-r d",
        "--recursive d",
        "-z d",
        "--zero -r d",
        "-e create,modify -r d",
        "--event open d",
        "-z -e create,unmount,modify -r d",
        "d d/a d/b",
        "-v d d/a",
        "-r -v d",
        "--verbose -v -r d d/f",
        "l",
        "-P l",
        "--no-dereference l",
        "-r l",
        "-I d",
        "d/f d/a",
    ] {
        same(&format!("inotifywatch {options}"), &changes());
    }
}

#[test]
fn rows_are_sorted() {
    for options in [
        "-a create",
        "-d create",
        "-a total",
        "-d total",
        "--ascending open",
        "--descending close_write",
        "-z -a modify",
        "-a TOTAL",
        "-d open -a access",
        "-d open -d access",
        "-a delete -e delete,create",
    ] {
        same(&format!("inotifywatch -r {options} d"), &changes());
    }
}

#[test]
fn sorting_by_a_group_does_not_crash() {
    // The original dies of a segmentation fault when it prints the table.
    let (_, ours) = both("inotifywatch -r -d move d", TREE, &changes(), End::Term);
    assert_eq!(ours.code, 0);
    assert!(ours.stdout.lines().nth(1).unwrap().ends_with("d/"), "{}", ours.stdout);
}

#[test]
fn only_some_names_count() {
    for filter in
        ["--exclude 1", "--include 1", "--excludei Z", "--includei Z", "@d/a", "--exclude ."]
    {
        same(&format!("inotifywatch -r {filter} d"), &changes());
    }
}

#[test]
fn directories_that_come_and_go_keep_their_rows() {
    same(
        "inotifywatch -r d",
        &[
            "rmdir d/a",
            "touch d/b/1",
            "mkdir d/z",
            "touch d/z/1",
            "mv d/z d/y",
            "touch d/y/2",
            "append d/b/1",
        ],
    );
}

#[test]
fn nothing_happened() {
    for options in ["-t 1 d", "--timeout=1 -z d", "-v -t 1 d", "-v -r -t 1 d"] {
        let outcome = same_in(&format!("inotifywatch {options}"), TREE, &[], End::Itself);
        assert_eq!((outcome.code, &*outcome.stdout), (0, ""));
    }
    same("inotifywatch d", &[]);
}

#[test]
fn a_time_or_a_signal_ends_it() {
    same_in("inotifywatch -t 1 d", TREE, &["touch d/1"], End::Itself);
    for end in [End::Term, End::Int] {
        same_in("inotifywatch d", TREE, &["touch d/1"], end);
    }
}

#[test]
fn sigusr1_prints_the_table_so_far() {
    let outcomes = [original("inotifywatch"), ours("inotifywatch")].map(|mut command| {
        let dir = tempfile::tempdir().unwrap();
        TREE.iter().for_each(|line| act(dir.path(), line));
        command.args(words("x -r d").1);
        let mut run = Run::start(command, dir.path());
        assert!(run.wait_idle());
        act(dir.path(), "touch d/1");
        assert!(run.wait_idle());
        run.signal(rustix::process::Signal::USR1);
        assert!(run.wait_idle());
        act(dir.path(), "touch d/a/2");
        assert!(run.wait_idle());
        run.end(End::Term)
    });
    assert_eq!(outcomes[1], outcomes[0]);
    assert_eq!(outcomes[1].stdout.matches("total").count(), 2);
}

#[test]
fn paths_come_from_a_file() {
    let plant = [TREE, &["append list"]].concat();
    // The file names a path that is not there: said as for an operand.
    let ours = same_in("inotifywatch --fromfile list d", &plant, &[], End::Term);
    assert!(ours.stderr.contains("Failed to watch more"), "{}", ours.stderr);
}
