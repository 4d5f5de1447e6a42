//! `inotifywait --help`

use crate::tools::called::Called;
use crate::tools::help::{EVENTS, LISTS, version};

/// The text.
pub fn text(called: &Called) -> String {
    let name = called.name();
    let backends = called.help_backends();
    format!(
        "{}
Prints what happens to files and directories, as the kernel tells it.
Usage: {name} [options] PATH [PATH ...]
Options:
\t-h|--help     \tThis text.
{LISTS}\t-m|--monitor  \tGo on after the first event, until --timeout or a signal.
\t-d|--daemon   \tAs --monitor, in the background. Needs --outfile, which must
\t              \texist; implies --syslog. Paths may be relative.
\t-P|--no-dereference
\t              \tWatch symbolic links themselves.
\t-r|--recursive\tWatch all directories below, new ones too; what is in a new
\t              \tdirectory before it is watched is told as CREATE.
{backends}\t--fromfile FILE
\t              \tRead paths from FILE, one a line; - is standard input.
\t-o|--outfile FILE
\t              \tAppend events to FILE.
\t-s|--syslog   \tSend everything else to the system's log.
\t-q|--quiet    \tPrint events only.
\t-qq           \tPrint not even events.
\t--format FORMAT
\t              \tPrint events so: %w watched name, %f file, %e events, %Xe
\t              \tevents with X between them, %T time, %c cookie, %0 NUL,
\t              \t%n newline, %% percent sign.
\t--no-newline  \tNo newline after --format.
\t--timefmt FORMAT
\t              \tThe strftime format of %T.
\t-c|--csv      \tPrint events as comma-separated values.
\t-t|--timeout SECONDS
\t              \tEnd after so many seconds without an event; 0 is never.
\t-e|--event EVENT[,EVENT ...]
\t              \tTell these events only. May be repeated. Default: all.

Options that the original does not have:
\t--json        \tPrint events as JSON, one object a line. Where a name is not
\t              \tUTF-8, file_base64 or watched_base64 holds its bytes.
\t--null        \tEnd each event with NUL instead of a newline.
\t--settle TIME \tTell the events of a path as one, after it was quiet for TIME
\t              \t(200ms, 1.5s).
\t--rescan-on-overflow
\t              \tRemember what the directories hold; when the kernel loses
\t              \tevents, tell what has changed.
\t--stats-json  \tPrint counters on standard error at the end and on SIGUSR1.
\t--strict-compat
\t              \tTell nothing that the original would not tell.

Exit status:
\t0  -  An event that was asked for has happened.
\t1  -  Another event has ended the run (the watched file is gone), or
\t      something failed.
\t2  -  Nothing happened for the time that --timeout gives.

{EVENTS}",
        version(name)
    )
}
