//! What is kept of old versions.

use crate::alike::{check, check_with};
use crate::side_by_side::Cast;

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

/// What gave way to nothing but a directory is kept by the same rule.
#[test]
fn a_file_named_as_a_backup_goes_for_a_directory() {
    for kind in ["echo h > d/f~", "ln -s h d/f~", "mkfifo d/f~"] {
        let trees = format!("mkdir -p s/f~ d; {kind}; touch -d @1000000000 s/f~ s d");
        check(&trees, "-aib", Cast::Client, ["s/", "d"]);
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
fn copies_have_no_acl_but_the_mode() {
    let trees = "mkdir -p s d; echo new | tee s/f > s/g; echo o > d/f; cp d/f d/g
        setfacl -m u:9:rwx d/g; setfacl -d -m u:7:rwx d; touch -d @1000000000 s/* s d/* d";
    for words in ["-abA --inplace", "-ab --inplace", "-abAX --inplace"] {
        check(trees, words, Cast::Client, ["s/", "d"]);
    }
}
