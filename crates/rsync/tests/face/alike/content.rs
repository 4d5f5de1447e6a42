//! Content and its digests.

use std::fs;
use std::process::Command;

use crate::alike::{check, script};
use crate::side_by_side::{Bench, Cast, ours};

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
