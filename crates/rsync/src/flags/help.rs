//! `--help`, made from the table, and the lists of words of `--info` and `--debug`.

use std::fmt::Write;

use driftless_transfer::options::{DebugLevels, InfoLevels};

use super::defs::{FLAGS, Flag};
use super::typed::LevelHelp;

const USAGE: &str = "\
Usage: rsync [OPTION]... SRC [SRC]... DEST
  or   rsync [OPTION]... SRC [SRC]... [USER@]HOST:DEST
  or   rsync [OPTION]... SRC [SRC]... [USER@]HOST::DEST
  or   rsync [OPTION]... SRC [SRC]... rsync://[USER@]HOST[:PORT]/DEST
  or   rsync [OPTION]... [USER@]HOST:SRC [DEST]
  or   rsync [OPTION]... [USER@]HOST::SRC [DEST]
  or   rsync [OPTION]... rsync://[USER@]HOST[:PORT]/SRC [DEST]
One colon leads through a remote shell; two colons and rsync:// lead to a daemon, and what
follows begins with the name of one of its modules.
";

/// Width of the column of names.
const NAMES: usize = 25;

/// Returns the help, without the version that stands before it.
pub fn help() -> String {
    let mut text = format!("{USAGE}\nOptions\n");
    for flag in FLAGS.iter().filter(|flag| !flag.help.is_empty()) {
        let mut lines = flag.help.lines();
        let first = lines.next().unwrap_or_default();
        writeln!(text, "{:NAMES$}{first}", names(flag)).expect("a String takes all");
        for line in lines {
            writeln!(text, "{:NAMES$}{line}", "").expect("a String takes all");
        }
        if flag.long == "archive" {
            let off = "--no-OPTION";
            writeln!(text, "{off:NAMES$}undo an implied option (as in --no-D)").expect("see above");
        }
    }
    text
}

fn names(flag: &Flag) -> String {
    let mut names = match (flag.long, flag.value) {
        ("", _) => String::new(),
        (long, "") => format!("--{long}"),
        (long, value) => format!("--{long}={value}"),
    };
    if let Some(letter) = flag.short {
        let comma = if names.is_empty() { "" } else { ", " };
        names = format!("{names}{comma}-{}", char::from(letter));
    }
    names
}

/// Returns what `--info=help` and `--debug=help` print.
pub fn level_help(which: LevelHelp) -> String {
    let (words, highest) = match which {
        LevelHelp::Info => (InfoLevels::WORDS, InfoLevels::HIGHEST),
        LevelHelp::Debug => (DebugLevels::WORDS, DebugLevels::HIGHEST),
    };
    let mut text =
        String::from("WORD or WORD1 is level 1, WORD2 level 2 and so on; WORD0 is silent.\n\n");
    for (word, highest) in words.iter().zip(highest) {
        let levels =
            if *highest == 1 { "level 1".to_owned() } else { format!("levels 1-{highest}") };
        writeln!(text, "{word:10} {levels}").expect("a String takes all");
    }
    text.push_str(
        "\nALL        all words\nNONE       all words at level 0\nHELP       this list\n",
    );
    text
}
