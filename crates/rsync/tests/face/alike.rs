//! Small trees on which one thing is decided, with the real program and with ours: what is said,
//! how it ends and what is left, to the nanosecond.

use std::fs;
use std::path::Path;
use std::process::Command;

use driftless_testkit::compare::{CompareOptions, differences};

use crate::side_by_side::{Bench, Cast, LONG_AGO, ours};

/// Runs a shell script in the folder that the trees are in.
fn script(root: &Path, text: &str) {
    let done = Command::new("bash").args(["-ec", text]).current_dir(root).status().unwrap();
    assert!(done.success(), "{text}");
}

/// Runs `rsync` with these words on `s/` and `d`, which the script makes.
#[track_caller]
fn check(trees: &str, words: &str, cast: Cast, ends: [&str; 2]) {
    check_with(trees, words, cast, ends, &["d"]);
}

/// Likewise; `left` are the folders that are compared.
#[track_caller]
fn check_with(trees: &str, words: &str, cast: Cast, ends: [&str; 2], left: &[&str]) {
    let bench = Bench::new(|root| script(root, trees));
    let ends = ends.iter().flat_map(|end| end.split(' '));
    let words: Vec<String> = words.split_whitespace().chain(ends).map(str::to_owned).collect();
    let mut found = bench.compare(cast, &words);
    let options = CompareOptions {
        hard_links: true,
        xattrs: true,
        now_from: Some(LONG_AGO),
        ..CompareOptions::default()
    };
    for folder in left {
        let [theirs, ours] = ["theirs", "ours"].map(|copy| bench.copy(copy).join(folder));
        if fs::exists(&theirs).unwrap() {
            found.extend(differences(&theirs, &ours, &options).unwrap());
        }
    }
    assert!(found.is_empty(), "rsync {}\n{}", words.join(" "), found.join("\n"));
}

#[test]
fn what_is_missing_has_empty_attributes_that_count() {
    let trees = "mkdir s d; touch s/f s/g s/h; setfacl -m u:7:rw s/f s/g
        setfattr -n user.a -v b s/g s/h; echo a > d/a; printf '.\\na\\nf\\ng\\nh\\n' > list
        touch -d @1000000000 s/* s d";
    let words = "-aiAX --delete-missing-args --files-from=list";
    check(trees, words, Cast::Client, ["s/", "d"]);
}

#[test]
fn what_gets_attributes_gets_its_time_to_the_nanosecond() {
    let trees = "mkdir -p s/sub d/sub; echo f | tee s/f > d/f; ln -s x s/l; ln -s x d/l
        mkfifo s/p d/p; setfattr -h -n trusted.test -v value s s/sub s/f s/l s/p
        touch -hd @1000000000 s/* s; touch -hd @1000000000.5 d/* d";
    for words in ["-aiX", "-aiX --no-t", "-aiXO", "-aiXJ", "-aniX", "-aiX --protocol=29"] {
        check(trees, words, Cast::Client, ["s/", "d"]);
    }
}

#[test]
fn the_mode_that_an_acl_says_is_told_of_with_it() {
    let trees = "mkdir -p s/sub d/sub; echo f | tee s/f > d/f; mkfifo s/p d/p; chmod 707 s/*
        setfacl -m u:7:rx s/sub s/f s/p; touch -d @1000000000 s/* s d/* d";
    for words in ["-aiA", "-aniA"] {
        check(trees, words, Cast::Client, ["s/", "d"]);
        check(&format!("{trees}; chmod u+s s/f"), words, Cast::Client, ["s/", "d"]);
    }
    check(&format!("{trees}; rm ?/p"), "-aiA -M--fake-super", Cast::Client, ["s/", "d"]);
}

/// Of each file the owning group's permissions and the mask, here and at the source.
#[test]
fn the_mode_is_the_mask_of_an_acl() {
    let trees = "mkdir s d; for here in g::4,m::4 g::4,m::7 g::6,m::4 g::6,m::6; do
        for there in g::4,m::4 g::4,m::7 g::6,m::4 g::6,m::6; do n=$here$there; touch s/$n d/$n
        setfacl -m u:7:rx,$there s/$n; setfacl -m u:7:rx,$here d/$n; cp -p s/$n s/new$n; done; done
        touch -d @1000000000 s/* d/* s d";
    for words in ["-aAi", "-aAni", "-aAi --chmod=F640", "-aAni --chmod=F600"] {
        check(trees, words, Cast::Client, ["host:s/", "d"]);
        check(trees, words, Cast::Server, ["s/", "host:d"]);
    }
    let trees = "mkdir s d; touch s/f; setfacl -m u:7:rwx s/f; touch -d @1000000000 s/f s d";
    check(trees, "-aAi --chmod=F640 -M--fake-super", Cast::Client, ["s/", "host:d"]);
}

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

/// Something gives way to a file, to a name of one, or to nothing, and is kept or not.
#[test]
fn what_gives_way_is_kept_unless_it_is_named_as_what_was_kept() {
    let names = |name: &str| {
        format!(
            "mkdir s d alt; echo content > s/{name}; touch -d @1000000000 s/{name}; ln -s x d/{name}
            mkfifo d/pipe; echo n > s/pipe; touch -d @1000000000 s/pipe s d"
        )
    };
    for name in ["f", "f~"] {
        let trees = names(name);
        for (alternate, kind) in
            [("true", "link"), ("cp -p s/* alt", "compare"), ("cp -p s/* alt", "link")]
        {
            let trees = format!("{trees}; {alternate}; touch -d @1000000000 alt");
            check(&trees, &format!("-aib --{kind}-dest=../alt"), Cast::Client, ["s/", "d"]);
        }
        check(&trees, "-aib --inplace", Cast::Client, ["s/", "d"]);
        check(&trees, "-aib --delay-updates", Cast::Client, ["s/", "d"]);
    }
    // The first name waits for its file, and is told of as new.
    let linked = "mkdir s d; echo content > s/a; ln s/a s/b; ln -s x d/a; ln -s x d/b
        touch -d @1000000000 s/a s d";
    check(linked, "-aib -H", Cast::Client, ["s/", "d"]);
}

#[test]
fn the_folder_for_what_is_kept_is_named() {
    let trees = "mkdir s d; echo new > s/f; echo older > d/f; touch -d @1000000000 s/f s d";
    for words in ["-ab --backup-dir=../kept/", "-anb --backup-dir=kept", "-ab --backup-dir=../s"] {
        check(trees, &format!("{words} --info=backup"), Cast::Client, ["s/", "d"]);
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
fn directories_on_the_way_stay_as_they_are() {
    let trees = "mkdir -p s/k d/k; echo f > s/k/f; echo k/f > list; chmod 700 d/k
        touch -d @1000000000 s/k/f s/k d/k d";
    for words in ["--usermap=0:7", "--chmod=D711", "-A"] {
        let words = format!("-ai {words} --files-from=list --no-implied-dirs");
        check(trees, &words, Cast::Client, ["s", "d"]);
    }
}

/// What gave way to nothing but a directory is kept by the same rule.
#[test]
fn a_file_named_as_a_backup_goes_for_a_directory() {
    for kind in ["echo h > d/f~", "ln -s h d/f~", "mkfifo d/f~"] {
        let trees = format!("mkdir -p s/f~ d; {kind}; touch -d @1000000000 s/f~ s d");
        check(&trees, "-aib", Cast::Client, ["s/", "d"]);
    }
}

#[test]
fn what_can_keep_no_attribute_keeps_its_owner() {
    let trees = "mkdir s d; mkfifo s/p d/p; mknod s/n c 1 3; mknod d/n c 1 3; touch s/f d/f
        chmod 600 s/*; touch -d @1000000000 s/* s d; touch -d @900000000 d/p";
    for words in ["-ai", "-ai --chown=7:9", "-ani --chown=7:9", "-aiX --usermap=0:7"] {
        check(trees, &format!("{words} --fake-super"), Cast::Client, ["s/", "d"]);
        check(trees, &format!("{words} -M--fake-super"), Cast::Server, ["s/", "host:d"]);
    }
}

#[test]
fn an_acl_is_completed_by_the_mode_that_stays() {
    let trees = "mkdir -p s/k s/new d/k; for f in a b; do echo x | tee s/$f > d/$f; done
        echo new > s/n; echo longer > s/t; echo x > d/t; setfacl -m u:7:rx s s/*
        setfacl -dm u:8:rw s/k; setfacl -m u:7:rwx d/b; setfacl -m g::x s/n
        touch -d @1000000000 s/* d/* s d";
    for words in ["-aiA --no-p", "-aiAn --no-p", "-rtA", "-aiAE --no-p", "-aiA --no-p --chmod=a+x"]
    {
        check(trees, words, Cast::Client, ["s/", "d"]);
        check(trees, words, Cast::Server, ["s/", "host:d"]);
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

/// Which end is heard first is a matter of time; that both hear of the other's version is not.
#[test]
fn what_a_protocol_has_no_words_for_is_refused_at_both_ends() {
    let bench = Bench::new(|root| script(root, "mkdir s d; touch s/f"));
    let shell = bench.copy("shell");
    let path = format!("--rsync-path={}", ours().display());
    for words in ["-aX", "-aXs", "-aAs"] {
        for ends in [["s/", "host:d"], ["host:s/", "d"]] {
            let done = Command::new("rsync")
                .args([words, "--protocol=29", &path, "-e"])
                .arg(&shell)
                .args(ends)
                .current_dir(bench.copy("ours"))
                .output()
                .unwrap();
            assert_eq!(done.status.code(), Some(2), "{words} {ends:?} {done:?}");
        }
    }
}

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
fn a_receiver_tells_of_owners_as_they_are_here() {
    let trees = "mkdir -p s/k d; echo x > s/f; chown 5:6 s/f; ln -s f s/l
        touch -hd @1000000000 s/* s";
    for words in ["-a --chown=7:9", "-a --usermap=0:daemon", "-a --groupmap=6:8", "-an --chown=7:9"]
    {
        let words = format!("{words} --out-format=%n_%U_%G");
        check(trees, &words, Cast::Client, ["host:s/", "d"]);
        check(trees, &words, Cast::Client, ["s/", "host:d"]);
        check(trees, &words, Cast::Client, ["s/", "d"]);
    }
}

#[test]
fn a_time_that_moves_by_nanoseconds_is_a_change() {
    let trees = "mkdir s d; for f in a b c; do echo x | tee s/$f > d/$f; done
        touch -d @1000000000 s/a d/a d/b s/c s d; touch -d @1000000000.5 s/b d/c";
    for words in ["-avvc", "-avvcn", "-avvcO", "-avvc --no-t", "-avv", "-ac --info=name2"] {
        for more in ["", " --out-format=%n", " --protocol=29"] {
            let words = format!("{words}{more}");
            check(trees, &words, Cast::Client, ["s/", "d"]);
            check(trees, &words, Cast::Client, ["host:s/", "d"]);
            check(trees, &words, Cast::Server, ["s/", "host:d"]);
        }
    }
}

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

#[test]
fn a_dry_run_has_zeros_for_digests() {
    let trees = "mkdir -p s/dir d; echo 1 > s/f; ln s/f s/g; echo 2 | tee s/h > d/h; ln -s x s/l
        touch -d @1000000000 s/* d/h";
    for protocol in ["", " --protocol=29"] {
        for sums in ["", " --cc=md4", " --cc=sha1", " --cc=none", " -c"] {
            let words = format!("-anHii --out-format=%C_%i_%n{sums}{protocol}");
            check(trees, &words, Cast::Client, ["s/", "d"]);
            check(trees, &words, Cast::Client, ["s/", "host:d"]);
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

/// What a link leads to outside stays as it is, and so does the link.
#[test]
fn a_kept_link_that_leads_outside_is_not_gone_through() {
    let trees = "mkdir -p s/k/deeper d alt/k; echo f > s/k/deeper/file; echo l > s/k/linked
        ln -s l s/k/l; mkfifo s/k/p; touch -hd @1000000000 s/k/* s/k s";
    for outside in [
        "true",
        "chmod 700 alt/k; chown 7:9 alt/k",
        "mkdir -p alt/k/deeper alt/k/e/in; touch alt/k/linked alt/k/e/in/f",
    ] {
        let trees = format!("{trees}; {outside}; ln -s ../alt/k d/k; touch -hd @1100000000 d/k");
        for words in ["-aKi", "-aKni --no-i-r", "-aKi --existing", "-aKi --delete-delay"] {
            for cast in [Cast::Client, Cast::Server] {
                let to = if cast == Cast::Server { "h:d" } else { "d" };
                check_with(&trees, words, cast, ["s/", to], &["d", "alt"]);
            }
        }
    }
}

/// A directory that has two names, of which one is a link.
#[test]
fn a_directory_behind_a_kept_link_is_one_directory() {
    let trees = "mkdir -p s/a s/k d/a d/old; echo f > s/k/f; ln -s a d/k; echo e > d/old/e
        touch -hd @1000000000 s/k/* s/* s; chmod 700 d/a; ln -s old d/l; mkdir s/l";
    for words in ["-aKi --no-i-r", "-aKi --delete-after", "-aib -K --delete-delay", "-aKi -O"] {
        check(trees, words, Cast::Client, ["s/", "d"]);
    }
}

#[test]
fn a_file_that_comes_again_has_the_access_time_of_writing() {
    let trees = "mkdir s d; head -c 9000 /dev/zero > s/f; head -c 5000 /dev/zero | tr '\\0' x > d/f
        touch -d @1000000000 s/f s d; touch -d @900000000 d/f; touch -a -d @1000000007 s/f";
    check(trees, "-aiU --append-verify", Cast::Client, ["s/", "d"]);
    // The same times on both sides.
    let trees = format!("{trees}; touch -a -d @1000000007 d/f; touch -m -d @1000000000 d/f");
    check(&trees, "-aiU --append-verify", Cast::Client, ["s/", "d"]);
    check(&trees, "-aiU --append-verify --open-noatime", Cast::Client, ["s/", "h:d"]);
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

/// The original leaves another file.
#[test]
fn a_file_that_resembles_another_one_is_not_appended_to_that() {
    for words in [
        "-aiy --append",
        "-aiI --append --link-dest=../alt",
        "-aiI --append-verify --copy-dest=../alt",
    ] {
        let bench = Bench::new(|root| {
            let trees = "mkdir s d alt; seq 2000 > s/f.1; seq 1000 | tee d/f.2 > alt/f.1";
            script(root, &format!("{trees}; touch -d @1000000000 s/f.1 s d"));
        });
        let here = bench.copy("ours");
        let words = words.split(' ').chain(["s/", "d"]);
        let done = Command::new(ours()).args(words).current_dir(&here).output().unwrap();
        assert!(done.status.success(), "{done:?}");
        let [from, to] = ["s/f.1", "d/f.1"].map(|name| fs::read(here.join(name)).unwrap());
        assert!(from == to, "{done:?}");
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
fn what_is_no_file_has_the_mode_of_what_it_replaces() {
    for there in ["touch", "mkfifo", "mkdir", "mknod -m 600"] {
        for here in ["touch", "mkfifo", "mknod -m 600"] {
            let rest = |words: &str| if words.starts_with("mknod") { "c 1 3" } else { "" };
            let trees = format!(
                "mkdir s d; {there} d/x {}; {here} s/x {}; chmod 751 d/x; chmod 664 s/x
                touch -d @1000000000 s/x s d",
                rest(there),
                rest(here)
            );
            for words in ["-rlD", "-rlDE", "-rlDp"] {
                check(&trees, words, Cast::Client, ["s/", "d"]);
            }
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
fn links_that_an_alternate_has_stay_at_the_source() {
    let trees = "mkdir s d alt; ln -s x s/l; mkfifo s/p; touch -hd @1000000000 s/* s
        cp -a s/. alt; touch -d @1000000000 d";
    for kind in ["link", "compare", "copy"] {
        let words = format!("-ai --remove-source-files --{kind}-dest=../alt");
        check(trees, &words, Cast::Client, ["s/", "d"]);
    }
}

#[test]
fn attributes_that_nothing_here_keeps_go() {
    let trees = "mkdir s d; echo a | tee s/f > d/f; touch -d @1000000000 s/f d/f s d
        setfattr -n user.rsync.%stat -v '100600 7,9 0:0' d/f";
    for words in ["-aiX", "-aiXX", "-aiX --protocol=30"] {
        check(trees, words, Cast::Client, ["s/", "d"]);
    }
}

#[test]
fn links_that_are_followed_for_safety_are_named() {
    let trees = "mkdir -p s/k d; echo x > x; ln -s ../../x s/k/u; ln -s ../x s/a; ln -s k s/l";
    for words in ["-rlv", "-rl --info=symsafe", "-rlnv --protocol=30", "-rLv"] {
        let words = format!("{words} --copy-unsafe-links");
        for from in ["s/", "s", "s/a s/k"] {
            check(trees, &words, Cast::Client, [from, "d"]);
        }
    }
}

#[test]
fn a_link_that_leads_back_is_followed_until_that_fails() {
    let trees = "mkdir s d; ln -s . s/back; echo f > s/f; touch -hd @1000000000 s/* s d";
    for words in ["-aL", "-ak", "-aLn", "-aL --delete"] {
        check(trees, words, Cast::Client, ["s/", "d"]);
        check(trees, words, Cast::Server, ["host:s/", "d"]);
    }
}

#[test]
fn a_link_that_leads_nowhere_and_is_hidden_is_told_of() {
    let trees = "mkdir -p s d; ln -s nothing s/gone; echo f > s/f";
    for rules in
        ["--exclude=gone --exclude=f", "--exclude=gone/", "--include=gone", "--include=gone/"]
    {
        for target in ["nothing", "gone", "f/x"] {
            let trees = format!("{trees}; ln -sfn {target} s/gone");
            check(&trees, &format!("-aLvv {rules}"), Cast::Client, ["s/", "d"]);
        }
        let trees = format!("{trees}; ln -sfn ../nothing s/gone");
        check(&trees, &format!("-avv --copy-unsafe-links {rules}"), Cast::Client, ["s/", "d"]);
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

/// Whether it is replaced, removed, linked to another name, or in the way of a directory.
#[test]
fn a_dry_run_tells_what_would_be_kept() {
    let trees = "mkdir s d alt; for n in ff lf pf df hf dir; do echo older > d/$n; done
        for n in fl ll pl hl dirl; do ln -s x d/$n; done; mkfifo d/fp d/lp; mknod d/pd c 1 3
        for n in ff fl fp; do echo n > s/$n; done; for n in lf ll lp; do ln -s new s/$n; done
        mkfifo s/pf s/pl s/pd; mknod s/df c 1 3; ln s/ff s/hf; ln s/ff s/hl; mkdir s/dir s/dirl
        cp -pP s/fl s/ll alt; echo new > s/f~; ln -s x d/f~; touch -hd @1000000000 ?/* alt/* s d alt";
    for words in ["", "-H", "-O", "--no-i-r", "-H --link-dest=../alt", "--copy-dest=../alt"] {
        for backup in ["", "--backup-dir=bak", "--inplace", "--delete"] {
            let words = format!("-anib --info=backup {words} {backup}");
            check(trees, &words, Cast::Server, ["s/", "host:d"]);
        }
    }
}

#[test]
fn links_that_may_lead_out_are_not_kept() {
    let trees = "mkdir -p s/dir s/sub d/sub; for n in gone sub/gone link file pipe dir; do
        ln -s /abs d/$n; done; ln -s ../../y d/sub/out; ln -s ../in d/sub/safe; ln -s new s/link
        echo f > s/file; mkfifo s/pipe; touch -hd @1000000000 s/* d/* d/sub/* s d";
    for words in ["-aib", "-aiv --backup-dir=bak", "-aib --info=symsafe,backup", "-anbv"] {
        let words = format!("{words} --delete --safe-links");
        check(trees, &words, Cast::Server, ["s/", "host:d"]);
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

/// A version that is kept as a copy, and a file that is taken from an alternate directory.
#[test]
fn copies_have_the_attributes_that_new_files_get() {
    let trees = "mkdir s d alt; echo newer > s/old; echo o > d/old; echo equal > s/new
        cp s/new alt; setfattr -n user.test -v value d/old; chmod 642 d/old; chmod 604 alt/new
        chown 7:8 d/old s/new alt/new; touch -d @1000000000 ?/* alt/*";
    for words in ["-r", "-rp", "-rto", "-rtg", "-a", "-aX"] {
        let words = format!("{words} --backup --inplace --copy-dest=../alt");
        check(trees, &words, Cast::Client, ["s/", "d"]);
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

#[test]
fn owners_are_shown_as_they_are_here() {
    let trees = "mkdir s d; echo a > s/a; chown 7:8 s/a; touch d/x
        find s d -exec touch -d @1000000000 {} +";
    for words in [
        "-a",
        "-r",
        "-a --usermap=7:9",
        "-r --groupmap=8:5",
        "-a --usermap=7:9,*:8",
        "-a --chown=9:9 --delete",
    ] {
        let words = format!("{words} --out-format=%o_%n_%U_%G");
        check(trees, &words, Cast::Client, ["host:s/", "d"]);
        check(trees, &words, Cast::Client, ["s/", "host:d"]);
        check(trees, &words, Cast::Client, ["s/", "d"]);
    }
}

#[test]
fn devices_that_are_copied_are_compared_by_checksum() {
    let trees =
        "mkdir s d; mknod s/null c 1 3; touch d/null; touch -d @1000000000 s/null d/null s d";
    for words in ["-aic", "-anic --out-format=%C_%i_%n"] {
        let words = format!("{words} --copy-devices");
        check(trees, &words, Cast::Client, ["s/", "d"]);
        check(&format!("{trees}; rm d/null"), &words, Cast::Client, ["s/", "d"]);
    }
}

#[test]
fn what_is_to_stay_in_the_place_of_a_directory_only_gets_its_time() {
    let trees = "mkdir -p s/file s/link s/pipe s/dir d/dir; echo f > d/file; ln -s x d/link
        mkfifo d/pipe; chmod 600 d/file d/pipe d/dir; touch -hd @1000000000 s/*; touch -hd @1100000000 d/*
        touch -d @1000000000 s d";
    for words in ["-ai", "-ani", "-avv", "-ai --no-i-r", "-aiO", "-aiJ", "-ri"] {
        let words = format!("{words} --ignore-existing");
        check(trees, &words, Cast::Client, ["s/", "d"]);
    }
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
fn a_link_that_leads_to_itself_ends_somewhere() {
    for words in ["-rLi", "-rLi --no-i-r", "-rki"] {
        check("mkdir s; ln -s . s/l", words, Cast::Client, ["s/", "d"]);
    }
}

#[test]
fn links_to_directories_that_are_followed_are_no_unsafe_ones() {
    let trees = "mkdir -p s out/sub; echo f > out/f; ln -s ../out/sub s/dir; ln -s ../out/f s/file
        ln -s dir s/inner";
    for words in ["-rkv", "-rknv", "-rkv --no-i-r", "-rkLv"] {
        let words = format!("{words} --copy-unsafe-links");
        check(trees, &words, Cast::Client, ["s/", "d"]);
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
fn an_update_with_a_window_below_zero_goes_by_seconds() {
    let trees = "mkdir s d; for at in 0 0.5 1 1.5 2 3 3.5 4; do echo one > s/$at; echo of > d/$at
        touch -d @1000000000 s/$at; touch -d @100000000$at d/$at; done";
    for words in ["-aiu", "-aiu -@-1", "-aiu -@-3", "-aiu -@2"] {
        check(trees, words, Cast::Client, ["s/", "d"]);
    }
}

#[test]
fn links_that_are_none_in_disguise_are_not_kept() {
    let trees = "mkdir -p s d/in; ln -s new s/stored; ln -s new s/link; ln -s /out d/link
        ln -s here d/real; ln -s /out d/none; touch d/empty d/in/empty; echo old > d/file
        printf here > d/stored; printf /out > d/out; ln -s /out d/in/link
        for link in stored out empty in/empty; do
        setfattr -n user.rsync.%stat -v '120777 0,0 0:0' d/$link; done
        find s d -exec touch -h -d @1000000000 {} +";
    for words in ["-avb", "-av --backup-dir=../bak", "-a --backup-dir=../bak -n"] {
        for disguise in ["", "--fake-super", "-M--fake-super"] {
            let words = format!("{words} --delete --safe-links {disguise}");
            check_with(trees, &words, Cast::Client, ["s/", "d"], &["d", "bak"]);
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
fn links_that_cannot_be_followed_say_why() {
    for target in ["link", "f/x", "none"] {
        let trees = format!("mkdir s d; touch s/f; ln -s {target} s/link");
        for words in ["-aL", "-aLv", "-a --copy-unsafe-links"] {
            check(&trees, words, Cast::Client, ["s/", "d"]);
        }
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
fn a_link_that_is_kept_has_the_time_of_its_directory_but_for_nanoseconds() {
    for (dir, link, there) in [
        (".5", "0000", "0000.5"),
        (".5", "0000", "0000"),
        ("", "0000.5", "0000"),
        (".5", "1000", "0000.5"),
    ] {
        let trees = format!(
            "mkdir -p s/l s/t d/t; echo newer > s/l/f; cp s/l/f s/t; echo old > d/t/f; ln -s t d/l
            find s d -type f -exec touch -d @1000000000 {{}} +; touch -d @1000000000{dir} s/l s/t
            touch -d @100000{there} d/t; touch -hd @100000{link} d/l; touch -d @1000000000 s d"
        );
        for words in ["-aiK", "-aiK --no-i-r", "-aiKO"] {
            check(&trees, words, Cast::Client, ["s/", "d"]);
            check(&trees, words, Cast::Server, ["s/", "host:d"]);
        }
    }
}

#[test]
fn a_directory_in_which_only_something_failed_keeps_its_nanoseconds() {
    let trees = "mkdir -p s/sub d/sub/n/x; mkfifo s/sub/n
        touch -d @1000000000.5 s/sub; touch -d @1000000000 s d/sub d";
    for words in ["-ai", "-aib", "-ai --no-i-r", "-ai --delete"] {
        check(trees, words, Cast::Server, ["s/", "host:d"]);
        check(
            &format!("{trees}; touch -d @1100000000 d/sub"),
            words,
            Cast::Server,
            ["s/", "host:d"],
        );
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
fn sources_that_are_removed_are_told_of_by_either_sender() {
    let trees = "mkdir s d; touch s/a s/b; ln -s a s/l; touch -hd @1000000000 s/* s d";
    for words in ["-avv", "-aivv", "-a --info=remove", "-ai"] {
        let words = format!("{words} --remove-source-files");
        check(trees, &words, Cast::Server, ["s/", "host:d"]);
        check(trees, &words, Cast::Server, ["host:s/", "d"]);
        check(trees, &words, Cast::Client, ["s/", "host:d"]);
    }
}

#[test]
fn directories_of_backups_have_what_is_kept_of_attributes() {
    let trees = "mkdir -p s/k d/k/in; setfacl -m u:7:rx -m d:u:7:rwx d/k; chmod 2770 d/k; chown 1:2 d/k
        touch -d @1000000000 d/k; cp -a d/k s; echo new | tee s/k/f > s/k/in/f; echo old | tee d/k/f > d/k/in/f
        touch -d @1000000000 s/* s d";
    let whats = ["-r", "-rt", "-rp", "-rg", "-ro", "-a", "-aA", "-aAX", "-a --no-super"];
    for what in whats.into_iter().chain(["-a --fake-super", "-aA --fake-super"]) {
        let words = format!("{what} -b --backup-dir=../bak");
        check_with(trees, &words, Cast::Client, ["s/", "d"], &["d", "bak"]);
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
