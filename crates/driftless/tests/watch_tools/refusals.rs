//! Command lines that are refused: the original's words and code.

pub use super::support::refused;
use super::support::{DRIFTLESS, End, TREE, both, same_in, starting};

#[test]
fn options_that_getopt_does_not_take() {
    for line in [
        "inotifywait --bogus",
        "inotifywait --bogus=1",
        "inotifywait -x d",
        "inotifywait -e",
        "inotifywait --event",
        "inotifywait --quiet=3 d",
        "inotifywait --e open d",
        "inotifywait --excl a d",
        "inotifywait --in a d",
        "inotifywait --no a d",
        "inotifywait --f a d",
        "inotifywait --fi a d",
        "inotifywait --t 1 d",
        "inotifywait --exc=2 d",
        "inotifywatch --bogus",
        "inotifywatch --f x d",
        "inotifywatch --in x d",
        "inotifywatch --e x d",
        "inotifywatch -m d",
        "fsnotifywait --f a d",
    ] {
        refused(line);
    }
}

#[test]
fn values_that_make_no_sense() {
    for line in [
        "inotifywait -f d",
        "inotifywait --filename d",
        "inotifywait -e foo d",
        "inotifywait -e open,foo d",
        "inotifywait --event foo,,open d",
        "inotifywait -t abc d",
        "inotifywait -t 1x d",
        "inotifywait --timeout 0x1 d",
        "inotifywait -t ∅ d",
        "inotifywait -t 99999999999999999999 d",
        "inotifywait --exclude ( d",
        "inotifywait --excludei [ d",
        "inotifywait --include a{2,1} d",
        "inotifywait --includei \\ d",
        "inotifywait --fromfile a --fromfile b",
        "inotifywait -o a -o b",
        "inotifywait --outfile /nowhere/at/all d",
        "inotifywait --daemon --outfile missing d",
        "inotifywatch -e foo d",
        "inotifywatch -t abc d",
        "inotifywatch --exclude ( d",
        "inotifywatch -a foo d",
        "inotifywatch -d foo d",
        "inotifywatch --fromfile a --fromfile b",
    ] {
        refused(line);
    }
}

#[test]
fn options_that_do_not_go_together() {
    for line in [
        "inotifywait --exclude a --excludei b d",
        "inotifywait --include a --includei b d",
        "inotifywait --exclude a --include b d",
        "inotifywait -c --format x d",
        "inotifywait --csv --format x d",
        "inotifywait --no-newline d",
        "inotifywait --timefmt x d",
        "inotifywait --format %T d",
        "inotifywait --format %%T d",
        "inotifywait -d d",
        "inotifywatch --exclude a --excludei b d",
        "inotifywatch --exclude a --include b d",
        "inotifywatch -a open -e close d",
        "inotifywatch -a open -a access d",
        "inotifywatch --ascending move d",
        "inotifywatch --ascending close d",
        "inotifywatch --descending open -e create d",
    ] {
        refused(line);
    }
    let long = format!("inotifywait --format {} d", "x".repeat(4097));
    refused(&long);
}

#[test]
fn nothing_to_watch_or_nothing_there() {
    for line in [
        "inotifywait",
        "inotifywait @d",
        "inotifywait nope",
        "inotifywait -r nope",
        "inotifywait d nope",
        "inotifywait -q nope",
        "inotifywait -qq nope",
        "inotifywait -P nope",
        "inotifywatch",
        "inotifywatch nope",
        "inotifywatch -r nope",
        "inotifywatch -v d nope",
        "fsnotifywait nope",
        "fsnotifywait -S nope",
        "fsnotifywatch nope",
    ] {
        refused(line);
    }
}

#[test]
fn a_directory_that_may_not_be_read_is_named() {
    // As another user: root may read everything.
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("secret")).unwrap();
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(dir.path(), PermissionsExt::from_mode(0o755)).unwrap();
    let secret = dir.path().join("secret");
    std::fs::set_permissions(&secret, PermissionsExt::from_mode(0o700)).unwrap();
    let program = dir.path().join("inotifywait");
    std::fs::copy(DRIFTLESS, &program).unwrap();
    let refused = |program: &std::path::Path| {
        let mut command = std::process::Command::new("setpriv");
        command.args(["--reuid", "65534", "--clear-groups"]).arg(program).arg(&secret);
        let output = starting(|| command.output()).unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let (theirs, ours) = (refused("inotifywait".as_ref()), refused(&program));
    assert!(theirs.1.ends_with("Permission denied\n"), "{theirs:?}");
    let more = ours.1.strip_prefix(&theirs.1).expect("the original's lines come first");
    assert!(more.starts_with("It must be readable"), "{more}");
    assert_eq!(ours.0, theirs.0);
}

#[test]
fn where_a_missing_path_was_looked_for_is_said() {
    let (theirs, ours) = both("inotifywait -q nope", TREE, &[], End::Itself);
    let more = ours.stderr.strip_prefix(&theirs.stderr).expect("the original's lines come first");
    assert!(more.starts_with("Check the path: ") && more.lines().count() == 1, "{more}");
}

/// Lines that ask for help.
pub const HELP: &[&str] = &[
    "inotifywait -h",
    "inotifywait --help",
    "inotifywait --bad --help",
    "inotifywait -mh",
    "inotifywatch -h",
    "inotifywatch --help",
    "fsnotifywait -h",
    "fsnotifywait --help",
    "fsnotifywatch -h",
    "fsnotifywatch --help",
];

#[test]
fn help_is_on_standard_output_and_yet_a_failure() {
    for line in HELP {
        let (theirs, ours) = both(line, TREE, &[], End::Itself);
        assert_eq!((ours.code, &ours.stderr), (theirs.code, &theirs.stderr), "{line}");
        assert_eq!(ours.code, 1, "{line}");
        let first = |text: &str| text.lines().next().unwrap_or_default().to_owned();
        assert!(first(&ours.stdout).starts_with(&first(&theirs.stdout)), "{}", ours.stdout);
    }
}

#[test]
fn warnings_do_not_stop_a_run() {
    for line in [
        "inotifywait --exclude a --exclude b -t 1 d",
        "inotifywait --excludei a --excludei b -t 1 d",
        "inotifywait --include a --include b -t 1 d",
        "inotifywait --fromfile nowhere -t 1 d",
        "inotifywatch --exclude a --exclude b -t 1 d",
        "inotifywatch --fromfile nowhere -t 1 d",
    ] {
        same_in(line, TREE, &[], End::Itself);
    }
}
