//! Alternate directories: `--compare-dest`, `--copy-dest` and `--link-dest`.

use std::process::Command;

use crate::alike::{check, script};
use crate::side_by_side::{Bench, Cast, ours};

#[test]
fn a_copy_of_an_alternate_tells_of_its_acl_and_attributes() {
    let trees = "mkdir s d alt; for n in a b c; do echo f | tee s/$n > alt/$n; done
        setfacl -m u:7:rx alt/a; setfattr -n user.test -v value alt/b; setfacl -m u:7:rw s/c alt/c
        touch -d @1000000000 s/* alt/* s alt d";
    for words in ["-aAi", "-aXi", "-aAXni", "-aAXi --chmod=F640"] {
        for kind in ["compare", "copy", "link"] {
            let words = format!("{words} --{kind}-dest=../alt");
            check(trees, &words, Cast::Client, ["s/", "d"]);
            check(trees, &words, Cast::Server, ["s/", "host:d"]);
        }
    }
}

/// One file of three names, of which some are in an alternate directory, and the first here.
#[test]
fn names_of_one_file_are_told_of_as_copies_of_an_alternate() {
    for (alternates, here) in [
        ("cp -p s/a alt/a; ln alt/a alt/b; ln alt/a alt/c", "true"),
        ("cp -p s/a alt/a; ln alt/a alt/b; ln alt/a alt/c", "cp -p s/a d/a"),
        ("cp -p s/b alt/b; cp -p s/c alt/c", "cp -p s/a d/a"),
        ("cp -p s/b alt/b; chmod 777 alt/b", "cp -p s/a d/a"),
        ("echo differs > alt/b", "cp -p s/a d/a"),
        ("cp -p s/a alt/a", "true"),
        ("cp -p s/a alt/a; ln alt/a alt/b; chmod 600 alt/a", "true"),
    ] {
        let trees = format!(
            "mkdir s d alt; echo content > s/a; ln s/a s/b; ln s/a s/c
            touch -d @1000000000 s/a; {alternates}; {here}; touch -d @1000000000 s d alt"
        );
        for words in ["-aHi", "-aHii", "-aHnii", "-aHvv"] {
            for kind in ["copy", "link"] {
                let words = format!("{words} --{kind}-dest=../alt");
                check(&trees, &words, Cast::Client, ["s/", "d"]);
            }
        }
    }
}

/// No alternate has all of what the first name becomes: the others are compared with what it has of them.
#[test]
fn names_of_one_file_are_compared_with_what_an_alternate_has_of_them() {
    let trees = "mkdir s d alt; echo content > s/a; ln s/a s/b; ln s/a s/c; ln s/a s/e
        touch -d @1000000000 s/a; cp -p s/a alt/a; ln alt/a alt/b; cp -p s/e alt/e; chmod 600 alt/e";
    for here in ["true", "cp -p s/a d/a", "cp -p s/b d/b; echo older > d/e"] {
        let trees = format!("{trees}; {here}; touch -d @1000000000 s d alt");
        for words in ["-aHi", "-aHnii", "-aHvv"] {
            for kind in ["compare", "copy", "link"] {
                let words = format!("{words} --chmod=a+x --{kind}-dest=../alt");
                check(&trees, &words, Cast::Client, ["s/", "d"]);
                check(&trees, &words, Cast::Server, ["s/", "host:d"]);
            }
        }
    }
}

/// What is not here because an alternate directory has it is nothing to link to, a copy is.
#[test]
fn names_of_one_file_are_linked_to_a_copy_of_an_alternate() {
    let trees = "mkdir s d alt; echo content > s/a; ln s/a s/b; touch -d @1000000000 s/a
        cp -p s/a alt; chmod 700 alt/a; echo older and longer > d/b
        touch -d @1000000000 s d alt";
    for words in ["-aHi --compare-dest=../alt", "-aHi --append-verify --compare-dest=../alt"] {
        check(trees, words, Cast::Client, ["s/", "d"]);
    }
}

#[test]
fn what_is_like_an_alternates_is_told_of_by_that() {
    let files = "for f in a b c; do echo x | tee s/$f > alt/$f; done
        setfacl -m u:7:rx s/a s/c alt/b; chmod 644 alt/b; setfacl -m u:7:rx alt/a";
    let others = "for f in l m n; do ln -s x s/$f; done; mkfifo s/p s/q alt/p alt/q
        cp -a s/? alt; chown -h 5:5 alt/m; ln -sf y alt/n; chmod 600 s/p";
    for (what, words) in [
        (files, ["-aiAI", "-aiAI --no-W", "-aiAI --inplace"]),
        (others, ["-aii", "-aii -J", "-aii --no-times"]),
    ] {
        let trees = format!(
            "mkdir s d alt; {what}; touch -hd @1000000000 s/* alt/*; touch -d @1000000000 s d
            [ ! -h alt/l ] || touch -hd @1000000007 alt/l alt/q"
        );
        for words in words {
            for kind in ["link", "copy", "compare"] {
                let words = format!("{words} --{kind}-dest=../alt");
                check(&trees, &words, Cast::Client, ["s/", "d"]);
            }
        }
    }
}

#[test]
fn a_file_that_is_the_alternate_directory_s_already_is_no_new_link() {
    let trees = "mkdir s d old; echo x > s/f; touch -d @1000000000 s/f s d; cp -p s/f old/f
        ln old/f d/f";
    for words in ["-aii --link-dest=../old", "-aiin --link-dest=../old", "-aHii --link-dest=../old"]
    {
        check(trees, words, Cast::Client, ["s/", "d"]);
        check(trees, words, Cast::Server, ["s/", "h:d"]);
    }
}

/// The original itself breaks down there.
#[test]
fn names_that_an_alternate_has_are_not_told_of_when_the_sender_knows_them_no_more() {
    let bench = Bench::new(|root| {
        let trees = "mkdir -p s/k s/z d; echo content > s/a; ln s/a s/k/b; cp -a s alt
            ln s/a s/z/last; for n in $(seq 20); do mkdir s/m$n; touch s/m$n/f; done";
        script(root, trees);
    });
    for words in ["-aHn", "-aH"] {
        let done = Command::new(ours())
            .args([words, "--compare-dest=../alt", "-e"])
            .arg(bench.copy("shell"))
            .args(["--rsync-path=rsync", "host:s/", "d"])
            .current_dir(bench.copy("ours"))
            .output()
            .unwrap();
        assert!(done.status.success(), "{words} {done:?}");
    }
}

#[test]
fn links_that_an_alternate_has_stay_at_the_source() {
    let trees = "mkdir s d alt; ln -s x s/l; mkfifo s/p; touch -hd @1000000000 s/* s
        cp -a s/. alt; touch -d @1000000000 d";
    for kind in ["link", "compare", "copy"] {
        let words = format!("-ai --remove-source-files --{kind}-dest=../alt");
        check(trees, &words, Cast::Client, ["s/", "d"]);
    }
}

#[test]
fn directories_that_an_alternate_has_are_up_to_date() {
    let trees = "mkdir -p s/equal s/other s/new d alt/equal alt/other; chmod 700 alt/other
        echo f > s/equal/f; find s alt d -exec touch -d @1000000000 {} +";
    for words in ["-avv", "-dvv", "-avvn --no-i-r"] {
        for kind in ["copy", "link", "compare"] {
            let words = format!("{words} --{kind}-dest=../alt");
            check(trees, &words, Cast::Client, ["s/", "d"]);
            check(trees, &words, Cast::Server, ["s/", "host:d"]);
        }
    }
}

#[test]
fn names_that_wait_for_a_copy_of_an_alternate_are_told_of_backwards_and_twice() {
    let trees = "mkdir s d alt; echo content > s/a; for n in b c d e; do ln s/a s/$n; done
        cp -p s/c alt; touch -d @1000000000 s/a alt/c s d alt";
    for words in ["-aHi", "-aHvv", "-aHnvv", "-aHvv --no-i-r"] {
        let words = format!("{words} --copy-dest=../alt");
        check(trees, &words, Cast::Client, ["s/", "d"]);
        check(trees, &words, Cast::Server, ["s/", "host:d"]);
    }
}

#[test]
fn what_an_alternate_has_is_up_to_date_whatever_it_is() {
    let trees = "mkdir s d alt; ln -s x s/l; mkfifo s/p; mknod s/n c 1 3; echo a > s/f
        touch -hd @1000000000 s/* s; cp -a s/. alt; touch -d @1000000000 d";
    for kind in ["compare", "link", "copy"] {
        for words in ["-avv", "-aHvv", "-aivv", "-avvn", "-aHvvn"] {
            let words = format!("{words} --{kind}-dest=../alt");
            check(trees, &words, Cast::Client, ["s/", "d"]);
            check(trees, &words, Cast::Server, ["s/", "host:d"]);
        }
    }
}

#[test]
fn copies_of_an_alternate_come_by_way_of_the_folder_for_temporary_files() {
    let trees = "mkdir -p s/k d/k d/t alt/k; echo f | tee s/k/f > alt/k/f; echo g > s/k/g
        find s d alt -exec touch -d @1000000000 {} +; setfacl -d -m u:7:rwx d/k";
    for words in ["-aii -T t", "-aii -T t --inplace", "-aii -T t --delay-updates", "-anii -T t"] {
        let words = format!("{words} --copy-dest=../alt");
        check(trees, &words, Cast::Client, ["s/", "d"]);
    }
}
