//! Which options of the table a test of this crate runs beside the original, and which none does.

use driftless_rsync::flags::{FLAGS, Flag};

use crate::batches;
use crate::daemons;
use crate::options::SETS;
use crate::side_by_side;

/// Options that change what a transfer does, or says, and that no test runs to its end beside the
/// original. (What a client tells a server about them is compared all the same.)
const NOT_RUN: &[&str] = &[
    "stderr",
    "append-verify",
    "crtimes",
    "rsync-path",
    "sockopts",
    "early-input",
    "version",
    "help",
];

fn is_run(flag: &Flag, words: &[String]) -> bool {
    words.iter().any(|word| match word.strip_prefix("--") {
        Some(long) => {
            let name = long.split('=').next().unwrap_or_default();
            flag.long_names().any(|long| long == name) || flag.negations.contains(&name)
        }
        None => word.strip_prefix('-').is_some_and(|cluster| {
            flag.short.is_some_and(|letter| cluster.contains(char::from(letter)))
        }),
    })
}

#[test]
fn each_option_is_run_or_known_not_to_be() {
    let lines = side_by_side::SETS.iter().chain(side_by_side::FORMS).chain(side_by_side::SMALL);
    let lines = lines.chain(daemons::LINES).chain(batches::LINES);
    let words: Vec<String> = lines.flat_map(|line| line.split(' ')).map(str::to_owned).collect();
    let shown = FLAGS.iter().filter(|flag| !flag.help.is_empty() && !flag.long.is_empty());
    let left: Vec<&str> =
        shown.filter(|flag| !is_run(flag, &words)).map(|flag| flag.long).collect();
    assert_eq!(left, NOT_RUN);
}

#[test]
fn each_option_is_told_or_kept_from_a_server_as_by_the_original() {
    let words: Vec<String> =
        SETS.iter().flat_map(|set| set.split(' ')).map(str::to_owned).collect();
    let shown = FLAGS.iter().filter(|flag| !flag.help.is_empty() && !flag.long.is_empty());
    let left: Vec<&str> =
        shown.filter(|flag| !is_run(flag, &words)).map(|flag| flag.long).collect();
    assert_eq!(left, NOT_TOLD);
}

/// Options that the comparison of what a server is told leaves out.
const NOT_TOLD: &[&str] = &[
    "crtimes",
    "rsh",
    "rsync-path",
    "max-alloc",
    "contimeout",
    "exclude-from",
    "include-from",
    "copy-as",
    "address",
    "port",
    "sockopts",
    "log-file",
    "log-file-format",
    "password-file",
    "early-input",
    "stop-at",
    "write-batch",
    "only-write-batch",
    "read-batch",
    "version",
    "help",
];
