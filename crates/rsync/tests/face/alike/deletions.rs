//! What is deleted, and what that says.

use crate::alike::check;
use crate::side_by_side::Cast;

#[test]
fn an_error_at_the_source_is_told_of_where_nothing_could_be_deleted() {
    let trees = "mkdir -p s/sub; ln -s nothing s/l; echo f > s/sub/f";
    for here in ["true", "mkdir d", "mkdir -p d/s/sub; touch -d @1000000000 d/s d/s/sub"] {
        for when in ["during", "delay", "after", "before"] {
            let words = format!("-aiRL --delete-{when}");
            check(&format!("{trees}; {here}"), &words, Cast::Client, ["s/", "d"]);
        }
    }
}

#[test]
fn a_dry_run_tells_what_would_keep_a_directory() {
    let trees = "mkdir -p s d/a/b/c; echo k > d/a/b/c/kept; echo x > d/a/x";
    for trees in
        [trees.to_owned(), format!("{trees}; mkdir s/a; touch -d @1000000000 s/a/1 s/a d/a")]
    {
        for words in ["-ain --delete", "-ain --delete --max-delete=1"] {
            check(&trees, &format!("{words} --exclude=kept"), Cast::Client, ["s/", "d"]);
        }
    }
}

#[test]
fn what_cvs_excludes_is_kept_by_a_client_that_deletes_what_is_excluded() {
    let trees = "mkdir s d; touch s/f d/f d/x.o d/old~ d/k.c d/gone 'd/#hash' d/env d/listed
        echo listed | tee s/.cvsignore > d/.cvsignore; mkdir -p d/dir/CVS; touch d/dir/x.o
        find s d -exec touch -d @1000000000 {} +";
    for words in
        ["-aiC", "-aiC --exclude=*.c", "-ai -f-C", "-ai -f:C", "-aiCm", "-aiC --protocol=29"]
    {
        let words = format!("{words} --delete-excluded");
        check(trees, &words, Cast::Client, ["s/", "d"]);
        check(trees, &words, Cast::Client, ["host:s/", "d"]);
        check(trees, &words, Cast::Client, ["s/", "host:d"]);
        check(trees, &words, Cast::Server, ["s/", "host:d"]);
        check(trees, &words, Cast::Server, ["host:s/", "d"]);
    }
}

#[test]
fn only_what_goes_counts_for_the_most_that_may() {
    let trees = "mkdir -p s d/a/b/c d/x/in d/y; touch d/a/b/c/f d/a/b/g d/a/h d/x/in/keep d/x/f d/z
        find s d -exec touch -d @1000000000 {} +";
    for words in ["-aib --delete", "-ai --delete -fP_keep", "-ai --delete-after -fP_keep"] {
        for most in 0..8 {
            let words = format!("{words} --max-delete={most}");
            check(trees, &words, Cast::Client, ["s/", "d"]);
            check(trees, &format!("{words} -n"), Cast::Client, ["s/", "d"]);
        }
    }
}

#[test]
fn what_went_wrong_at_the_other_end_is_how_it_ends() {
    let trees = "mkdir -p s/a d/a/b; echo f > s/f; touch d/x d/a/z; printf 'nosuch\\n./\\n' > list
        find s d -exec touch -d @1000000000 {} +";
    for words in ["--delete --max-delete=0", "--delete-after --max-delete=1 --protocol=30"] {
        let words = format!("-ar --files-from=list {words}");
        check(trees, &words, Cast::Client, ["s/", "d"]);
        check(trees, &words, Cast::Client, ["host:s/", "d"]);
        check(trees, &words, Cast::Server, ["s/", "host:d"]);
    }
}

#[test]
fn deletions_of_a_pass_of_their_own_are_told_of_for_each_argument() {
    let trees = "mkdir -p s/e/in/side s/k/sub s/x/y d/k/sub; printf 'e/\\nk\\nx/y/\\n' > list
        find s d -exec touch -d @1000000000 {} +";
    for when in ["--delete-before", "--delete-after"] {
        let words = format!("-avvR --files-from=list -r {when}");
        check(trees, &words, Cast::Client, ["s", "d"]);
        check(trees, &words, Cast::Server, ["s", "host:d"]);
        check(trees, &format!("-avvRn {when}"), Cast::Client, ["s/./x/y s/./e", "d"]);
    }
}

#[test]
fn sources_that_are_removed_are_told_of_by_either_sender() {
    let trees = "mkdir s d; touch s/a s/b; ln -s a s/l; touch -hd @1000000000 s/* s d";
    for words in ["-avv", "-aivv", "-a --info=remove", "-ai"] {
        let words = format!("{words} --remove-source-files");
        check(trees, &words, Cast::Server, ["s/", "host:d"]);
        check(trees, &words, Cast::Server, ["host:s/", "d"]);
        check(trees, &words, Cast::Client, ["s/", "host:d"]);
    }
}
