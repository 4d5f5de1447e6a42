//! Symbolic links.

use std::process::Command;

use crate::alike::{check, check_with, script};
use crate::side_by_side::{Cast, ours};

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
    for rules in ["--exclude=gone", "--exclude=gone/", "--include=gone", "--include=gone/"] {
        for target in ["nothing", "gone", "f/x"] {
            let trees = format!("{trees}; ln -sfn {target} s/gone");
            check(&trees, &format!("-aLvv {rules}"), Cast::Client, ["s/", "d"]);
        }
        let trees = format!("{trees}; ln -sfn ../nothing s/gone");
        check(&trees, &format!("-avv --copy-unsafe-links {rules}"), Cast::Client, ["s/", "d"]);
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
fn links_that_cannot_be_followed_say_why() {
    for target in ["link", "f/x", "none"] {
        let trees = format!("mkdir s d; touch s/f; ln -s {target} s/link");
        for words in ["-aL", "-aLv", "-a --copy-unsafe-links"] {
            check(&trees, words, Cast::Client, ["s/", "d"]);
        }
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

/// The original tries to give them to the link itself, and fails.
#[test]
fn the_directory_behind_a_kept_link_gets_acls_and_attributes() {
    let folder = tempfile::tempdir().unwrap();
    let trees = "mkdir -p s/in s/out d/real out; ln -s real d/in; ln -s ../out d/out
        setfacl -d -m u:7:rwx s/in s/out; setfattr -n user.a -v b s/in s/out
        find s d out -exec touch -h -d @1000000000 {} +";
    script(folder.path(), trees);
    let mut command = Command::new(ours());
    command.args(["-aKAX", "s/", "d"]).current_dir(folder.path());
    assert_eq!(command.status().unwrap().code(), Some(0));
    let left = "getfacl -n d/real | grep default:user:7:rwx; getfattr -n user.a d/real
        [ -L d/in ]; [ -L d/out ]; [ -z \"$(getfattr -d out)\" ]";
    script(folder.path(), left);
}
