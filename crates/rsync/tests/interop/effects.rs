//! Each option changes what a command leaves, says or asks of the system: a command of the matrix
//! is run with the option and without, and the two must differ. A part of the options by default,
//! all with `DRIFTLESS_FULL` in the environment. An option that is ignored fails
//! here; one that does the wrong thing fails in the matrix.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::{Command, Stdio};

use driftless_rsync::flags::{FLAGS, Flag, Take};
use driftless_testkit::arb::Ops;
use driftless_testkit::compare::{differences, names};

use crate::cells::{Count, compared, has_letter};
use crate::ground::{Cast, Ground, Trace, Way, ours};
use crate::matrix::on_all_cores;
use crate::sets::{MORE, SETS};
use crate::trees::{copy, plant};

/// Every so manieth option is tried by default.
const PART: usize = 5;

/// The part that runs when none is chosen by a seed.
const USUAL_PART: u64 = 4;

/// Options whose effect is in system calls: a command line, and what is called with it alone.
const CALLS: &[(&str, &str, &str)] = &[
    ("fsync", "-a --fsync", "fsync("),
    ("preallocate", "-a --preallocate", "fallocate("),
    // A folder's line is written by itself.
    ("outbuf", "-ai --outbuf=L", "/\\n\", "),
];

/// Options whose effect another test of this crate or of `transfer` demands, and where: they need
/// more than two runs of one command.
const ELSEWHERE: &[(&str, &str)] = &[
    ("one-file-system", "transfer: send::push, over mount points"),
    ("partial", "transfer: receive::interrupted"),
    ("partial-dir", "transfer: receive::interrupted"),
    ("write-batch", "batches"),
    ("only-write-batch", "batches"),
    ("read-batch", "batches"),
    ("crtimes", "refused"),
    ("iconv", "transfer: send::trees"),
    ("trust-sender", "requested"),
    ("blocking-io", "system"),
    ("compress-threads", "system"),
    ("confine-root", "system"),
    ("copy-as", "system"),
    ("max-alloc", "system"),
    ("address", "daemons"),
    ("port", "daemons"),
    ("password-file", "daemons"),
    ("contimeout", "side_by_side: refused without a daemon"),
    ("sockopts", "daemons"),
    ("early-input", "daemons"),
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

/// Whether the option makes a difference to this command; `name` is that of the folder for it.
fn matters(
    ground: &Ground,
    master: &Path,
    way: Way,
    name: &str,
    [with, less]: [&[String]; 2],
) -> bool {
    let outcomes = [("with", with), ("less", less)]
        .map(|(copy, words)| outcome(ground, master, way, &format!("{name}{copy}"), words));
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
fn calls(ground: &Ground, master: &Path, name: &str, words: &[String], call: &str) -> bool {
    let here = ground.path(&format!("{name}traced"));
    copy(master, &here);
    let output = Command::new("strace")
        .args(["-f", "-o", "calls"])
        .arg(ours())
        .args(words)
        .args(["s/", "d"])
        .current_dir(&here)
        .stdin(Stdio::null())
        .output()
        .expect("this test needs the program strace");
    let text = fs::read(here.join("calls")).unwrap();
    fs::remove_dir_all(here).unwrap();
    assert!(!text.is_empty(), "{output:?}");
    String::from_utf8_lossy(&text).contains(call)
}

/// Whether some command shows an effect of the option.
fn shows(ground: &Ground, master: &Path, name: &str, flag: &Flag) -> bool {
    let words_of = |words: &str| words.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    if let Some((_, words, call)) = CALLS.iter().find(|(name, ..)| *name == flag.long) {
        let with = words_of(words);
        let less = without(flag, &with).expect("it is in its own command");
        return calls(ground, master, name, &with, call)
            && !calls(ground, master, name, &less, call);
    }
    let all = SETS.iter().chain(MORE).map(|set| words_of(set));
    let mut commands: Vec<_> =
        all.filter_map(|words| without(flag, &words).map(|less| (words, less))).collect();
    // Most likely those that say little else.
    commands.sort_by_key(|(words, _)| words.concat().len());
    commands.iter().any(|(with, less)| {
        [Way::Local, Way::PullShell, Way::PushShell]
            .into_iter()
            .any(|way| matters(ground, master, way, name, [with, less]))
    })
}

fn wants_all() -> bool {
    std::env::var_os("DRIFTLESS_FULL").is_some()
}

#[test]
fn no_option_is_ignored() {
    let seed = match wants_all() || std::env::var_os("DRIFTLESS_SEED").is_some() {
        true => Ops::seed_from_environment(),
        false => USUAL_PART,
    };
    let ground = Ground::new();
    let master = ground.path("master");
    fs::create_dir(&master).unwrap();
    plant(&master, 3);
    let elsewhere = |flag: &Flag| ELSEWHERE.iter().any(|(name, _)| *name == flag.long);
    let shown = FLAGS.iter().filter(|flag| !flag.help.is_empty());
    let mut flags: Vec<&Flag> = shown.filter(|flag| !elsewhere(flag)).collect();
    if !wants_all() {
        flags = flags.into_iter().skip(seed as usize % PART).step_by(PART).collect();
    }
    on_all_cores(flags.len(), seed, |at| {
        let is_shown = shows(&ground, &master, &format!("{at}-"), flags[at]);
        let wrong = format!("no command shows an effect of {}", flags[at].shown());
        Count { cells: 1, wrong: if is_shown { Vec::new() } else { vec![wrong] } }
    });
}
