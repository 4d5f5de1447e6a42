//! Filter rules.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::alike::{check, script};
use crate::side_by_side::{Bench, Cast, ours};

/// A file of rules is read when its option is; those of directories later.
#[test]
fn rules_end_as_was_said_before_their_file() {
    for end in ["\\n", "\\0"] {
        let trees = format!(
            "mkdir s d; touch s/x.o s/y.o; printf 'x.o{end}y.o{end}' | tee rules > s/.r
            touch -d @1000000000 s/* s/.r s"
        );
        for words in ["--exclude-from=rules", "--filter=.-_rules", "--filter=:-_.r"] {
            for order in ["-0 RULES", "RULES -0", "-0 RULES --no-from0", "-0 --no-from0 RULES"] {
                let words = format!("-ai {}", order.replace("RULES", words));
                check(&trees, &words, Cast::Client, ["s/", "d"]);
                check(&trees, &words, Cast::Client, ["host:s/", "d"]);
            }
        }
    }
}

/// In any order: the original lists names as the disk does.
#[test]
fn rules_are_told_of_wherever_they_decide() {
    let trees =
        "mkdir -p s/kinds/sub d/kinds d/other d/q~; touch s/kinds/f s/kinds/x.o s/kinds/sub/g
        touch s/other s/q~ s/a.c d/kinds/ex d/other/keep d/other/in.c d/q~/x
        printf -- '- *.o\\n+ kinds/***\\nP keep*\\n+ *.c\\n' > rules";
    for words in
        ["-avv", "-avvn", "-avv --delete", "-avvC --delete", "-avvC", "-avv --trust-sender"]
    {
        for more in ["--exclude-from=rules", "--include=kinds/*** --filter=R_*.c"] {
            for from in ["s/", "h:s/"] {
                let bench = Bench::new(|root| script(root, trees));
                let words = format!("{words} {more} {from} d");
                let words: Vec<String> = words.split(' ').map(str::to_owned).collect();
                let [theirs, ours] = bench.lines(&words);
                assert_eq!(theirs, ours, "rsync {}", words.join(" "));
            }
        }
    }
}

#[test]
fn files_of_rules_end_in_nul_where_that_was_said_before() {
    let trees = "mkdir s d; touch s/a s/b s/c; printf 'a\\nb\\n' > lines; printf 'a\\0b\\0' > nul
        find s d -exec touch -d @1000000000 {} +";
    for file in ["lines", "nul"] {
        for words in ["-0 --exclude-from=", "-0 --no-from0 --exclude-from=", "--exclude-from="] {
            let words = format!("-ai {words}{file} -0");
            check(trees, &words, Cast::Client, ["s/", "d"]);
            check(trees, &words, Cast::Client, ["host:s/", "d"]);
        }
    }
}

#[test]
fn rules_come_from_standard_input() {
    for program in [Path::new("rsync"), &ours()] {
        let folder = tempfile::tempdir().unwrap();
        script(folder.path(), "mkdir s; touch s/a s/b; echo a > rules");
        let rules = fs::File::open(folder.path().join("rules")).unwrap();
        let mut command = Command::new(program);
        command.args(["-r", "--exclude-from=-", "s/", "d"]).current_dir(folder.path());
        assert!(command.stdin(rules).status().unwrap().success());
        assert!(!folder.path().join("d/a").exists() && folder.path().join("d/b").exists());
    }
}

/// Both ends need them, and standard input says them once.
#[test]
fn rules_of_standard_input_protect_what_is_in_the_way() {
    for program in [Path::new("rsync"), &ours()] {
        let folder = tempfile::tempdir().unwrap();
        script(folder.path(), "mkdir -p s d/x; touch s/x d/x/keep; echo keep > rules");
        let rules = fs::File::open(folder.path().join("rules")).unwrap();
        let mut command = Command::new(program);
        command.args(["-r", "--force", "--exclude-from=-", "s/", "d"]).current_dir(folder.path());
        assert_eq!(command.stdin(rules).status().unwrap().code(), Some(23));
        assert!(folder.path().join("d/x/keep").exists());
    }
}
