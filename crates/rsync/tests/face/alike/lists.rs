//! What is listed, and listings.

use crate::alike::check;
use crate::side_by_side::Cast;

/// The order in which names are given decides how often those above them are listed.
#[test]
fn names_that_are_listed_twice_are_counted_and_named() {
    let trees = |names: &str| {
        format!(
            "mkdir -p s/a/c/d s/b d; touch s/a/1 s/a/2 s/a/c/1 s/a/c/d/1 s/b/1 s/top
            printf '{names}' > list"
        )
    };
    for names in [
        "a/1\\nb/1\\na/2\\n",
        "a/c/1\\na/1\\na/c/d/1\\n",
        "a/1\\na\\nb/1\\na/c\\n",
        "a/c/\\na/c/1\\na/1\\na/c/1\\n",
        "./a/1\\nb/./1\\na/1\\n",
        "./.\\n",
        "./.\\n./\\n",
    ] {
        for words in ["-avv --stats", "-avv --stats --protocol=29", "-ar --stats"] {
            let words = format!("{words} --files-from=list");
            check(&trees(names), &words, Cast::Client, ["s", "d"]);
        }
    }
    check(&trees(""), "-rvv --no-i-r", Cast::Client, ["s/a s/./a s/top s/b", "d"]);
}

#[test]
fn directories_that_are_not_implied_are_not_listed() {
    let trees = "mkdir -p s/k/sub s/e/in d; echo a > s/k/sub/f; echo b > s/k/big
        printf 'k/sub/f\\nk/big\\ne/in\\n' > list; find s -exec touch -d @1000000000 {} +";
    for words in ["-a", "-r", "-a --no-implied-dirs", "-ar --no-implied-dirs"] {
        for protocol in ["", " --protocol=29"] {
            let words = format!("{words} --files-from=list --list-only{protocol}");
            check(trees, &words, Cast::Server, ["s/", "host:d"]);
            check(trees, &words, Cast::Client, ["host:s/", "d"]);
        }
    }
}

#[test]
fn options_of_the_other_end_are_not_for_a_listing_here() {
    let trees = "mkdir s; echo f > s/f; setfattr -n user.rsync.%stat -v '100600 0,0 5:6' s/f";
    for words in ["--fake-super", "-M--fake-super", "--fake-super -M--super"] {
        let words = format!("-r {words} --list-only");
        check(trees, &words, Cast::Client, ["s/", "d"]);
    }
}

#[test]
fn what_is_missing_fills_the_columns_of_a_listing() {
    let trees = "mkdir s d; touch s/f; touch -d @1000000000 s/f s; printf 'f\\nnone\\n' > list";
    for words in ["-a", "-aU", "-aUU", "-aUh", "-aU --no-h"] {
        let words = format!("{words} --list-only --delete-missing-args --files-from=list");
        check(trees, &words, Cast::Client, ["s/", "d"]);
    }
}

/// Of a name that is missing the directories above it may be missing, too, or be none.
#[test]
fn directories_above_what_is_missing_have_vanished() {
    for names in [
        "no/file\\nno/other\\n",
        "k/no/c\\nk/no/d/e\\nk/no/f\\nk/no2/x\\n",
        "no/\\nno/x/\\nk/l\\n",
        "no/b/x\\nk/no/a/x\\nk/no/a/y\\n",
        "ff/x\\nff/x/y\\n",
        "./no/x\\n",
        "k/./no/x\\nno/./y\\n",
    ] {
        let trees = format!(
            "mkdir -p s/k/l d/k/l d/no; touch s/k/l/f s/ff s/k/t d/no/file; printf '{names}' > list
            find s d -exec touch -d @1000000000 {{}} +"
        );
        for missing in ["--delete-missing-args", "--ignore-missing-args", ""] {
            for words in ["-a", "-ar", "-ar --no-i-r", "-a --protocol=29", "-a --no-implied-dirs"] {
                let words = format!("{words} -ii --files-from=list {missing}");
                check(&trees, &words, Cast::Client, ["s/", "d"]);
            }
        }
        let words = "-aii --files-from=list --delete-missing-args";
        check(&trees, words, Cast::Client, ["s/", "host:d"]);
        check(&trees, words, Cast::Server, ["host:s/", "d"]);
        check(&trees, words, Cast::Client, ["host:s/", "d"]);
    }
}

/// A slash follows what is no directory.
#[test]
fn a_slash_behind_a_name_asks_for_a_directory_alone_without_relative_names() {
    let trees = |names: &str| {
        format!(
            "mkdir -p s/k d; touch s/k/t s/f; ln -s k s/lk; ln -s f s/lf; ln -s no s/ln
            printf '{names}' > list; touch -hd @1000000000 s/k/* s/* s d"
        )
    };
    for names in
        ["f/\\nlk/\\nno/\\n", "lf/\\nk/t/.\\n", "ln/\\nno/./x\\n", "./f/\\nk/./t/\\n", ".\\n"]
    {
        for words in ["-aii", "-aii --no-R", "-aiir", "-aiiL"] {
            let words = format!("{words} --files-from=list");
            check(&trees(names), &words, Cast::Client, ["s/", "d"]);
        }
    }
    for from in ["s/f/", "s/./lk/", "s/no/.", "s/ln/."] {
        for words in ["-aii", "-aiiR"] {
            check(&trees(""), words, Cast::Client, [from, "d"]);
        }
    }
}

#[test]
fn directories_that_are_listed_twice_are_not_empty() {
    let trees =
        "mkdir -p s/k/sub s/e/in d/k d/e; echo a > s/k/sub/f; echo b > s/k/big; echo old > d/k/big
        printf 'k/big\\ne/\\nk/sub/f\\n' > list; find s -exec touch -d @1000000000 {} +";
    for words in ["-aim", "-air", "-airm", "-aimn"] {
        for protocol in ["", " --protocol=29"] {
            let words = format!("{words} --files-from=list{protocol}");
            check(trees, &words, Cast::Client, ["s/", "d"]);
            check(trees, &words, Cast::Client, ["host:s/", "d"]);
            check(trees, &words, Cast::Server, ["s/", "host:d"]);
        }
    }
}

#[test]
fn a_listing_makes_no_destination() {
    let trees = "mkdir -p s/a; touch s/a/b s/c; find s -exec touch -d @1000000000 {} +";
    for words in ["-a", "-r --progress", "-a --delete --mkpath", "-a --progress --delete"] {
        let words = format!("{words} --list-only");
        for to in ["d", "d/e/f"] {
            check(trees, &words, Cast::Client, ["s/", to]);
            check(trees, &words, Cast::Client, ["host:s/", to]);
            check(trees, &words, Cast::Server, ["s/", &format!("host:{to}")]);
        }
    }
}

#[test]
fn a_directory_that_is_not_made_is_told_of_in_its_turn() {
    let trees = "mkdir -p s/a/b/c s/g/h/i s/z/y d/z d/a
        touch s/a/b/c/f s/g/h/i/f s/a/x s/0 s/z/y/f; touch -d @1000000000 s/* s d/* d";
    for words in ["", "-n ", "--no-i-r ", "--ignore-existing ", "--delete "] {
        let words = format!("-a --info=skip {words}--existing");
        check(trees, &words, Cast::Client, ["s/", "d"]);
        check(trees, &words, Cast::Server, ["s/", "host:d"]);
    }
}

#[test]
fn hundreds_of_names_are_counted_when_more_come() {
    let trees = "mkdir s; touch $(seq -f s/%g 150); ln -s nowhere s/l";
    check(trees, "-rL --info=flist2 --no-i-r", Cast::Client, ["host:s/", "d"]);
    for many in [98, 99, 100, 199, 200] {
        for dir in ["s", "s/sub"] {
            let trees = format!("mkdir -p {dir}; touch $(seq -f {dir}/%g {many})");
            check(&trees, "-a --info=flist2 --no-i-r", Cast::Client, ["s/", "d"]);
        }
    }
}

#[test]
fn a_listing_here_tells_of_its_list_as_a_sender() {
    let trees = "mkdir -p s/a; touch $(seq -f s/a/%g 150) s/b";
    for words in
        ["-rv", "-rv --no-i-r", "-rv --protocol=29", "-dv", "-r --info=flist2 --delete-after"]
    {
        let words = format!("{words} --list-only");
        check(trees, &words, Cast::Client, ["s/", "d"]);
    }
}
