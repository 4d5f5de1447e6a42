//! Each option changes what a command leaves, says or asks of the system: a command of the matrix
//! is run with the option and without, and the two must differ. An option that is ignored fails
//! here; one that does the wrong thing fails in the matrix.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::{Command, Stdio};

use driftless_rsync::flags::{FLAGS, Flag, NOT_YET, Refuser, Take};
use driftless_testkit::compare::{differences, names};

use crate::cells::{compared, has_letter};
use crate::ground::{Cast, Ground, Trace, Way, ours};
use crate::sets::{MORE, SETS};
use crate::trees::{copy, plant};

/// Options whose effect is in system calls: a command line, and what is called with it alone.
const CALLS: &[(&str, &str, &str)] =
    &[("fsync", "-a --fsync", "fsync("), ("preallocate", "-a --preallocate", "fallocate(")];

/// Options whose effect another test of this crate or of `transfer` demands, and where.
const ELSEWHERE: &[(&str, &str)] = &[
    ("one-file-system", "transfer: send::push, over mount points"),
    ("partial", "transfer: receive::interrupted"),
    ("partial-dir", "transfer: receive::interrupted"),
    ("crtimes", "refused"),
    ("iconv", "transfer: send::trees"),
    ("trust-sender", "transfer: the unit tests of receiver::requested"),
    ("address", "daemons"),
    ("port", "daemons"),
    ("password-file", "daemons"),
    ("contimeout", "side_by_side: refused without a daemon"),
    ("sockopts", "transfer: the unit tests of connect::sockopts"),
    ("early-input", "requested"),
];

/// The words without the option, when it is among them.
fn without(flag: &Flag, words: &[String]) -> Option<Vec<String>> {
    let takes = !matches!(flag.take, Take::Switch(_));
    let mut left = Vec::new();
    let mut found = false;
    let mut rest = words.iter();
    while let Some(word) = rest.next() {
        if let Some(long) = word.strip_prefix("--") {
            let name = long.split('=').next().unwrap_or_default();
            if flag.long_names().any(|long| long == name) || flag.negations.contains(&name) {
                found = true;
                continue;
            }
        } else if let Some(short) = flag.short.map(char::from)
            && word.starts_with('-')
            && if takes { word[1..].starts_with(short) } else { has_letter(word, short) }
            && (takes || !takes_value(word))
        {
            found = true;
            if takes {
                if word.len() == 2 {
                    rest.next();
                }
                continue;
            }
            let less = word.replace(short, "");
            if less.len() > 1 {
                left.push(less);
            }
            continue;
        }
        left.push(word.clone());
    }
    found.then_some(left)
}

/// Whether a cluster is an option with a value in the same word.
fn takes_value(word: &str) -> bool {
    ["-f", "-M", "-@", "-B", "-T", "-e"].iter().any(|start| word.starts_with(start))
}

/// What a run of ours says and leaves.
struct Outcome {
    trace: Trace,
    copy: String,
    blocks: Vec<(Vec<u8>, u64)>,
}

fn outcome(ground: &Ground, master: &Path, way: Way, name: &str, words: &[String]) -> Outcome {
    copy(master, &ground.path(name));
    let trace = ground.run(way, Cast::Client, name, words);
    let d = ground.path(name).join("d");
    let blocks = names(&d).unwrap_or_default().into_iter().map(|name| {
        let path = d.join(<std::ffi::OsStr as std::os::unix::ffi::OsStrExt>::from_bytes(&name));
        (name, fs::symlink_metadata(path).map_or(0, |meta| meta.blocks()))
    });
    Outcome { trace, copy: name.to_owned(), blocks: blocks.collect() }
}

/// Whether the option makes a difference to this command.
fn matters(ground: &Ground, master: &Path, way: Way, with: &[String], less: &[String]) -> bool {
    let outcomes = [("with", with), ("without", less)]
        .map(|(name, words)| outcome(ground, master, way, name, words));
    let [with, less] = outcomes.each_ref().map(|outcome| ground.path(&outcome.copy));
    let mut options = compared(&["-U".to_owned()]);
    options.excluded.clear();
    let differ = outcomes[0].trace != outcomes[1].trace
        || outcomes[0].blocks != outcomes[1].blocks
        || !differences(&with, &less, &options).unwrap().is_empty();
    for copy in [with, less] {
        fs::remove_dir_all(copy).unwrap();
    }
    differ
}

/// Whether ours makes a system call for this command line.
fn calls(ground: &Ground, master: &Path, words: &str, call: &str) -> bool {
    copy(master, &ground.path("traced"));
    let output = Command::new("strace")
        .args(["-f", "-o", "calls"])
        .arg(ours())
        .args(words.split_whitespace())
        .args(["s/", "d"])
        .current_dir(ground.path("traced"))
        .stdin(Stdio::null())
        .output()
        .expect("this test needs the program strace");
    let text = fs::read(ground.path("traced/calls")).unwrap();
    fs::remove_dir_all(ground.path("traced")).unwrap();
    assert!(!text.is_empty(), "{output:?}");
    String::from_utf8_lossy(&text).contains(call)
}

fn is_refused(flag: &Flag) -> bool {
    NOT_YET.iter().any(|(name, by)| *name == flag.long && *by != Refuser::Server)
}

#[test]
fn no_option_is_ignored() {
    let ground = Ground::new();
    let master = ground.path("master");
    fs::create_dir(&master).unwrap();
    plant(&master, 3);
    let mut ignored = Vec::new();
    for flag in FLAGS.iter().filter(|flag| !flag.help.is_empty() && !is_refused(flag)) {
        if ELSEWHERE.iter().any(|(name, _)| *name == flag.long) {
            continue;
        }
        if let Some((_, words, call)) = CALLS.iter().find(|(name, ..)| *name == flag.long) {
            let words_of = |words: &str| words.split(' ').map(str::to_owned).collect::<Vec<_>>();
            let less = without(flag, &words_of(words)).expect("it is in its own command");
            if !calls(&ground, &master, words, call)
                || calls(&ground, &master, &less.join(" "), call)
            {
                ignored.push(flag.shown());
            }
            continue;
        }
        let sets =
            SETS.iter().chain(MORE).map(|set| set.split_whitespace().map(str::to_owned).collect());
        let mut commands =
            sets.filter_map(|words: Vec<String>| without(flag, &words).map(|less| (words, less)));
        let shows = commands.any(|(with, less)| {
            [Way::Local, Way::PullShell, Way::PushShell]
                .into_iter()
                .any(|way| matters(&ground, &master, way, &with, &less))
        });
        if !shows {
            ignored.push(flag.shown());
        }
    }
    assert!(ignored.is_empty(), "no command shows an effect of {}", ignored.join(" "));
}
