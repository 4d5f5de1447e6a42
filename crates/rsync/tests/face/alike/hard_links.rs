//! Names of one file.

use crate::alike::check;
use crate::side_by_side::Cast;

#[test]
fn of_the_acl_of_a_name_that_becomes_a_link_nothing_is_told() {
    for here in [
        "echo o > d/a; echo oo > d/b; setfacl -m u:7:rwx d/b; setfattr -n user.x -v y d/b",
        "cp -p s/a d/a; echo oo > d/b; setfacl -m u:7:r d/b",
        "echo o > d/a; cp -p s/a d/b; setfacl -m u:7:r d/b",
        "echo o > d/a; echo oo > d/b; setfacl -m u:7:rx s/a",
    ] {
        let trees = format!(
            "mkdir s d; echo content > s/a; ln s/a s/b; touch -d @1000000000 s/a; {here}
            touch -d @1000000000 s d"
        );
        for words in ["-aiHA", "-aniHA", "-aiHAX"] {
            check(&trees, words, Cast::Client, ["s/", "d"]);
        }
    }
}

#[test]
fn what_is_never_made_is_skipped_for_what_is_there_first() {
    let trees = "mkdir -p s d/p; ln -s /abs s/l; ln -s /abs s/m; ln -s old d/m; ln -s /abs s/p
        mkfifo s/fifo; mkfifo s/there d/there; touch -hd @1000000000 s/* s d/* d";
    for kind in ["-aiv --safe-links", "-aivv --safe-links", "-rvv", "-rv"] {
        for rule in ["--existing", "--ignore-existing", "--existing --ignore-existing"] {
            check(trees, &format!("{kind} {rule}"), Cast::Client, ["s/", "d"]);
        }
    }
}

#[test]
fn an_empty_file_acts_for_its_names_where_it_resembles_another_one() {
    for here in ["echo abc > d/dash14", "touch d/zzz", "touch d/dash14"] {
        for content in ["true", "echo hello"] {
            let trees = format!(
                "mkdir -p s/z d; {{ {content}; }} > s/dash17; ln s/dash17 s/z/blank; {here}
                find s d -exec touch -d @1000000000 {{}} +"
            );
            check(&trees, "-aiyH --no-W", Cast::Client, ["host:s/", "d"]);
            check(&trees, "-aiyH --no-W", Cast::Server, ["s/", "host:d"]);
        }
    }
}

#[test]
fn no_name_is_linked_where_only_existing_ones_count() {
    let trees = "mkdir s d; echo content > s/a; ln s/a s/b; ln s/a s/c; echo older > d/a
        touch -d @1000000000 s/a s d";
    for words in ["-aHi --existing", "-aHii --existing"] {
        check(trees, words, Cast::Client, ["s/", "d"]);
        let trees = format!("{trees}; cp -p s/a d/a; ln d/a d/b; touch -d @1000000000 d");
        check(&trees, words, Cast::Client, ["s/", "d"]);
    }
}

/// Names of a file whose turn comes before it is known which of them it is sent as.
#[test]
fn a_dry_run_tells_twice_what_gives_way_to_names_that_wait() {
    let trees = "mkdir s d; echo f > s/a; ln s/a s/b; ln s/a s/c; touch -d @1000000000 s/a";
    let links = "for n in a b c; do ln -s x d/$n; done";
    for here in [links, "mkdir d/a d/b d/c; touch d/a/x d/b/y d/c/z"] {
        for equal in ["true", "rm -r d/b; cp -p s/b d/b"] {
            let trees = format!("{trees}; {here}; {equal}; touch -hd @1000000000 d/* s d");
            for words in ["-aHi", "-aHni", "-aHnib --info=backup"] {
                let words = format!("{words} --delete");
                check(&trees, &words, Cast::Server, ["s/", "host:d"]);
            }
        }
    }
}

/// Of names of one file, the first one waits and others are too long to be appended to.
#[test]
fn a_name_that_is_left_alone_leaves_the_choice_to_those_behind_it() {
    let trees = "mkdir -p s/x/y d/x/y; echo content > s/a; ln s/a s/x/b; ln s/a s/x/y/c
        echo something longer > d/x/b";
    for last in ["true", "cp d/x/b d/x/y/c", "printf con > d/x/y/c"] {
        let trees = format!("{trees}; {last}; find s d -exec touch -d @1000000000 {{}} +");
        for words in ["-aHi --append-verify", "-aHi --append --no-i-r"] {
            check(&trees, words, Cast::Client, ["s/", "d"]);
        }
    }
}

#[test]
fn a_file_that_will_be_tried_again_is_named_where_names_are() {
    let trees = "mkdir s d; seq 1 20000 > s/f; seq 5 4000 > d/f; touch -d @1000000000 s/f s d";
    for words in
        ["-a", "-av", "-ai", "-a --info=name", "-a --out-format=%n", "-aiq", "-ai --info=name0"]
    {
        let words = format!("{words} --append-verify");
        check(trees, &words, Cast::Client, ["s/", "d"]);
        check(trees, &words, Cast::Server, ["s/", "host:d"]);
    }
}

/// A directory is searched when a basis is first looked for, and a name that is linked is there then.
#[test]
fn a_name_that_is_linked_is_similar_to_those_behind_it() {
    let trees = "mkdir -p s/k d; echo equal > s/a; ln s/a s/k/n33; cp -p s/a d
        seq 1 10000 > s/k/n34; ln s/k/n34 s/k/one; touch -d @1000000000 s/k/one s/a d/a s/k s d";
    for words in ["-aHiy --no-W", "-aHiy --no-W --no-i-r"] {
        check(trees, words, Cast::Client, ["s/", "d"]);
    }
}

#[test]
fn nothing_gives_way_to_names_that_a_rule_leaves_alone() {
    let trees = "mkdir -p s d/f/in d/g/in; echo small > s/f; ln s/f s/g; touch d/f/in/a d/g/in/b
        find s d -exec touch -d @1000000000 {} +";
    for words in ["--min-size=2k", "--max-size=2", "--min-size=2k -n", "--max-size=2 -n", "-n"] {
        let words = format!("-aHi --delete {words}");
        check(trees, &words, Cast::Client, ["s/", "d"]);
    }
}

#[test]
fn a_dry_run_tells_of_the_acl_of_what_gives_way_to_a_name() {
    for other in ["mkfifo d/g", "mkdir d/g", "mknod d/g c 1 3", "echo old > d/g"] {
        let trees = format!(
            "mkdir s d; echo one > s/f; ln s/f s/g; cp -a s/f d/f; {other}; setfacl -m u:7:rwx d/g
            find s d -exec touch -d @1000000000 {{}} +"
        );
        for words in ["-aniiHA --delete", "-aniiHAX --delete"] {
            check(&trees, words, Cast::Client, ["s/", "d"]);
        }
    }
}
