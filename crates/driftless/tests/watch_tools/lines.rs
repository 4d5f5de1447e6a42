//! What `inotifywait` prints: events, forms, filters, paths, ends.

use super::support::{CHANGES, End, TREE, same, same_in};

#[test]
fn the_command_of_the_book() {
    let outcome = same(
        "inotifywait -mrq --timefmt %d/%m/%y␣%H:%M --format %T%w%f \
         -e close_write,delete,create,attrib d",
        CHANGES,
    );
    assert!(outcome.stdout.lines().count() > 5 && outcome.stdout.contains("d/m"), "{outcome:?}");
}

#[test]
fn events_by_name() {
    for events in [
        "access",
        "modify",
        "attrib",
        "close_write",
        "close_nowrite",
        "close",
        "open",
        "moved_from",
        "moved_to",
        "move",
        "move_self",
        "create",
        "delete",
        "delete_self",
        "unmount",
        "q_overflow",
        "ignored",
        "isdir",
        "oneshot",
        "all_events",
        "Open,CLOSE",
        "open,",
        ",open",
        "open,,close",
        "oneshot,open",
        "delete_self,attrib",
    ] {
        let acts = [CHANGES, &["rm d/f", "rmdir d/c/x", "rmdir d/c"]].concat();
        same(&format!("inotifywait -m -e {events} d d/f d/c"), &acts);
    }
    same("inotifywait -m -e create --event delete d", CHANGES);
    same("inotifywait -m d", CHANGES);
}

#[test]
fn how_much_is_said() {
    for flags in ["", "-q", "--quiet", "-qq", "-q -q"] {
        same(&format!("inotifywait -m {flags} d"), CHANGES);
        same(&format!("inotifywait {flags} d"), CHANGES);
    }
}

#[test]
fn formats() {
    for format in [
        "%w|%f|%e|%;e|%y|%%|%n|%0|%T|%ee|%we|%ne",
        "abc%",
        "∅",
        "a%.",
        "a%..%e",
        "a%%e",
        "a%X",
        "a%Xz%e",
        "%T␣%w%f␣%e",
        "%Te%T",
    ] {
        same(&format!("inotifywait -mq --format {format} --timefmt %Y d"), CHANGES);
        // A time that gives nothing takes the line with it.
        same(&format!("inotifywait -mq --format {format} --timefmt ∅ d"), CHANGES);
    }
    same("inotifywait -mq --format %w%f%0 --no-newline d", CHANGES);
    same("inotifywait -mq --format ab --format %f d", CHANGES);
    same("inotifywait -mq --format %w%f --timefmt x d", CHANGES);
}

#[test]
fn the_halves_of_a_rename_have_one_cookie() {
    use super::support::{ours, run, words};
    let (tool, words) = words("inotifywait -mq --format %e␣%c d");
    let outcome = run(ours(tool), &words, TREE, &["mv d/f d/g", "touch d/g"], End::Term);
    let lines: Vec<&str> = outcome.stdout.lines().collect();
    let (from, to) = (lines[0].strip_prefix("MOVED_FROM "), lines[1].strip_prefix("MOVED_TO "));
    assert!(from.is_some() && from == to && from != Some("0"), "{lines:?}");
    assert_eq!(lines[2], "OPEN 0");
}

#[test]
fn csv() {
    let plant = ["mkdir a,b", "touch a,b/q\"r"];
    let acts =
        ["touch a,b/ x", "touch a,b/q\"r", "touch a,b/t ", "touch a,b/u\tv w", "touch a,b/n\nl"];
    for flag in ["-c", "--csv"] {
        same_in(&format!("inotifywait -m {flag} a,b a,b/q\"r"), &plant, &acts, End::Term);
    }
}

#[test]
fn names_are_printed_as_they_are() {
    same("inotifywait -m d", &["touch d/a\nb", "touch d/ ", "touch d/ü", "touch d/\u{1b}[0m"]);
}

#[test]
fn paths_as_they_were_typed() {
    let acts = [CHANGES, &["touch l/x", "chmod d"]].concat();
    for paths in ["d/", "./d", "d/f d", "d d", "l", "l/", "d/a d/b d/c/x", "d/../d", "-- d"] {
        same(&format!("inotifywait -m {paths}"), &acts);
    }
    same_in("inotifywait -m ./@x", &["mkdir @x"], &["touch @x/1"], End::Term);
    same_in("inotifywait -m -- -x", &["mkdir -x"], &["touch -x/1"], End::Term);
}

#[test]
fn links_are_followed_unless_told() {
    for flag in ["", "-P", "--no-dereference", "-r", "-rP"] {
        let acts = ["touch d/f", "touch d/new", "mv l k"];
        same(&format!("inotifywait -m {flag} l"), &acts);
    }
}

#[test]
fn paths_from_a_file() {
    let plant = ["mkdir d/a", "append d/f"];
    let line = |rest: &str| format!("inotifywait -m --fromfile list {rest}");
    for (list, rest) in
        [("d\n\nd/a", ""), ("d/a\n", "d/f"), ("@d/a\nd\n#x\n", "-r"), ("d", "@d/a -r")]
    {
        use super::support::{alike, original, ours, run, words};
        let line = line(rest);
        let (tool, words) = words(&line);
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), list).unwrap();
        let name = file.path().display().to_string();
        let words: Vec<String> = words
            .into_iter()
            .map(|word| if word == "list" { name.clone() } else { word })
            .collect();
        let acts = ["touch d/1", "touch d/a/2", "touch d/f"];
        // A comment is not one: the line names a path that is not there.
        let [theirs, ours] = [original(tool), ours(tool)]
            .map(|command| run(command, &words, &plant, &acts, End::Term));
        alike(ours, &theirs, &format!("{list:?} {rest}"));
    }
}

#[test]
fn filters_by_expression() {
    for filter in [
        "--exclude m$",
        "--exclude M$",
        "--excludei M$",
        "--include m$",
        "--includei M$",
        "--include ^d/n",
        "--exclude ^./d",
        "--exclude d/(n|q)",
        "--exclude (a)/z|q",
        "--include ([mn])$",
        "--include [[:alpha:]]{1}$",
        "--exclude \\bm\\b",
        "--include d/\\w$",
        "--exclude .",
        "--include ∅",
        "--exclude (d)/.*\\1",
    ] {
        same(&format!("inotifywait -m {filter} d d/a"), CHANGES);
    }
}

#[test]
fn the_first_event_ends_a_run_without_monitor() {
    same("inotifywait d", CHANGES);
    same("inotifywait -e delete d", CHANGES);
    same("inotifywait -e modify d/f", &["chmod d/f", "rm d/f"]);
    same("inotifywait -e unmount d/a", &["rmdir d/a"]);
    same("inotifywait --exclude f$ d", &["touch d/f", "touch d/g"]);
    same("inotifywait -qq d", CHANGES);
    same("inotifywait -r -e create d", &["touch d/c/x/new"]);
    same("inotifywait -c -e create d", CHANGES);
}

#[test]
fn a_timeout_is_the_longest_silence() {
    for flags in ["-t 1", "-t 1 -m", "--timeout=1 -q", "-t 1 -qq --monitor", "-t ␣1", "-t +1"] {
        let outcome = same_in(&format!("inotifywait {flags} d"), TREE, &[], End::Itself);
        assert_eq!(outcome.code, 2, "{flags}");
    }
    same_in("inotifywait -m -t 1 d", TREE, &["touch d/n"], End::Itself);
    same_in("inotifywait -m -t 0 d", TREE, &["touch d/n"], End::Term);
}

#[test]
fn a_negative_timeout_is_refused_once_all_is_set_up() {
    // As in the original from 4.25; before, it waited for ever.
    use super::support::{ours, run, words};
    for tool in ["inotifywait", "inotifywatch"] {
        let outcome = run(ours(tool), &words("x -t -1 d").1, TREE, &[], End::Itself);
        assert_eq!(outcome.code, 1);
        assert!(outcome.stderr.ends_with("Negative timeout specified - abort!\n"), "{outcome:?}");
    }
}

#[test]
fn events_go_to_a_file_on_request() {
    for flags in
        ["-o log", "--outfile log", "-q --outfile=log", "-c -o log", "-s -o log", "--syslog -o log"]
    {
        let outcome = same(&format!("inotifywait -m {flags} d"), CHANGES);
        assert!(outcome.stdout.contains("CREATE"), "{outcome:?}");
    }
    same_in("inotifywait -m -o log d", &["mkdir d", "append log"], &["touch d/n"], End::Term);
}

#[test]
fn watched_objects_may_end() {
    same("inotifywait -m d/f", &["rm d/f"]);
    same("inotifywait -m d/a", &["rmdir d/a"]);
    same("inotifywait -m d/a", &["mv d/a d/k", "touch d/k/x"]);
    same("inotifywait -m d/f d/f", &["touch d/f"]);
    same("inotifywait -I -m d", CHANGES);
}

#[test]
fn signals_end_it_as_they_end_any_program() {
    for end in [End::Term, End::Int] {
        same_in("inotifywait -m d", TREE, CHANGES, end);
    }
}
