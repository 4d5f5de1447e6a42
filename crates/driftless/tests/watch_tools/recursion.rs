//! `inotifywait -r`: the same lines in simple cases.

use super::support::{CHANGES, same};

#[test]
fn trees_are_watched_with_all_below() {
    let acts = [CHANGES, &["touch d/c/x/1", "mkdir d/c/x/y", "touch d/c/x/y/2"]].concat();
    for line in [
        "inotifywait -m -r d",
        "inotifywait --monitor --recursive d",
        "inotifywait -mr l",
        "inotifywait -mrq -e create,moved_to d",
        "inotifywait -mr -e modify d",
        "inotifywait -mr d/a d/c",
        "inotifywait -mr d/f",
        "inotifywait -mrc d",
        "inotifywait -mr --exclude x d",
        "inotifywait -r -e delete d",
    ] {
        same(line, &acts);
    }
}

#[test]
fn directories_that_come_and_go_one_by_one() {
    let acts = [
        "mkdir d/n",
        "mkdir d/n/m",
        "mkdir d/n/m/o",
        "touch d/n/m/o/p",
        "mv d/n/m/o d/n/o",
        "touch d/n/o/q",
        "mv d/n d/N",
        "touch d/N/o/r",
        "rm d/N/o/r",
        "rm d/N/o/q",
        "rmdir d/N/m",
        "rmdir d/a",
        "mv d/c d/b/c",
        "touch d/b/c/x/y",
    ];
    same("inotifywait -mr d", &acts);
    same("inotifywait -mr -e create,delete,move d", &acts);
}

#[test]
fn excluded_directories_are_left_out() {
    let acts = ["touch d/c/x/1", "touch d/c/2", "touch d/a/3"];
    for paths in ["d @d/c", "d @d/c/", "d @./d/c", "@d/c/x d", "@d d", "d @c"] {
        same(&format!("inotifywait -mr {paths}"), &acts);
    }
}
