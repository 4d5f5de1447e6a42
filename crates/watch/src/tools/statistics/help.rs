//! `inotifywatch --help`

use crate::tools::called::Called;
use crate::tools::help::{EVENTS, LISTS, version};

/// The text.
pub fn text(called: &Called) -> String {
    let name = called.name();
    let backends = called.help_backends();
    format!(
        "{}
Counts what happens to files and directories.
Usage: {name} [options] PATH [PATH ...]
Options:
\t-h|--help     \tThis text.
\t-v|--verbose  \tSay more.
{LISTS}\t--fromfile FILE
\t              \tRead paths from FILE, one a line; - is standard input.
\t-z|--zero     \tPrint rows and columns that are all zeros too.
\t-r|--recursive\tWatch all directories below, new ones too.
{backends}\t-P|--no-dereference
\t              \tWatch symbolic links themselves.
\t-t|--timeout SECONDS
\t              \tEnd after so many seconds; 0 is at a signal.
\t-e|--event EVENT[,EVENT ...]
\t              \tCount these events only. May be repeated. Default: all.
\t-a|--ascending EVENT
\t              \tSort by the count of EVENT, or by total.
\t-d|--descending EVENT
\t              \tThe same, largest first.

Options that the original does not have:
\t--stats-json  \tPrint the table as JSON.
\t--strict-compat
\t              \tCount nothing that the original would not count.

SIGUSR1 prints the table so far.

Exit status:
\t0  -  The table was printed, or nothing happened.
\t1  -  Something failed.

{EVENTS}",
        version(name)
    )
}
