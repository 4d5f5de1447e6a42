//! Owners, modes, times, ACLs and extended attributes.

use crate::alike::check;
use crate::side_by_side::Cast;

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
fn directories_on_the_way_stay_as_they_are() {
    let trees = "mkdir -p s/k d/k; echo f > s/k/f; echo k/f > list; chmod 700 d/k
        touch -d @1000000000 s/k/f s/k d/k d";
    for words in ["--usermap=0:7", "--chmod=D711", "-A"] {
        let words = format!("-ai {words} --files-from=list --no-implied-dirs");
        check(trees, &words, Cast::Client, ["s", "d"]);
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
fn a_group_that_may_not_be_given_is_told_of_as_the_default() {
    let trees = "mkdir -p s/k d; echo x > s/f; echo y > s/g; chgrp 6 s/f s/k
        touch -d @1000000000 s/* s";
    for words in ["-a --no-super", "-an --no-super", "-a --no-super --groupmap=0:9", "-a"] {
        let words = format!("{words} --out-format=%n_%U_%G");
        check(trees, &words, Cast::Client, ["host:s/", "d"]);
        check(trees, &words, Cast::Server, ["s/", "host:d"]);
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
fn attributes_that_nothing_here_keeps_go() {
    let trees = "mkdir s d; echo a | tee s/f > d/f; touch -d @1000000000 s/f d/f s d
        setfattr -n user.rsync.%stat -v '100600 7,9 0:0' d/f";
    for words in ["-aiX", "-aiXX", "-aiX --protocol=30"] {
        check(trees, words, Cast::Client, ["s/", "d"]);
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
fn an_update_with_a_window_below_zero_goes_by_seconds() {
    let trees = "mkdir s d; for at in 0 0.5 1 1.5 2 3 3.5 4; do echo one > s/$at; echo of > d/$at
        touch -d @1000000000 s/$at; touch -d @100000000$at d/$at; done";
    for words in ["-aiu", "-aiu -@-1", "-aiu -@-3", "-aiu -@2"] {
        check(trees, words, Cast::Client, ["s/", "d"]);
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
