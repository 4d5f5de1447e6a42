//! What the help texts of both tools share.

/// The version whose behaviour scripts can expect.
const COMPATIBLE_WITH: &str = "3.22.6.0";

/// The first line.
pub fn version(name: &str) -> String {
    format!("{name} {COMPATIBLE_WITH} (driftless {})", env!("CARGO_PKG_VERSION"))
}

/// The options that choose paths.
pub const LISTS: &str = "\
\t@PATH         \tDo not watch the directory PATH; for -r.
\t--exclude REGEX
\t              \tTell nothing about names that match the extended regular
\t              \texpression. The last one counts.
\t--excludei REGEX
\t              \tThe same, upper and lower case being equal.
\t--include REGEX
\t              \tTell only about names that match.
\t--includei REGEX
\t              \tThe same, upper and lower case being equal.
";

/// The options that choose the back end.
pub const BACKENDS: &str = "\
\t-I|--inotify  \tLearn of events by inotify.
\t-F|--fanotify \tLearn of events by fanotify.
\t-S|--filesystem
\t              \tWatch whole file systems by fanotify.
";

/// The events.
pub const EVENTS: &str = "\
Events:
\taccess\t\tcontent was read
\tmodify\t\tcontent was written
\tattrib\t\tattributes were changed
\tclose_write\tclosed after being open for writing
\tclose_nowrite\tclosed after being open for reading only
\tclose\t\tclosed, either way
\topen\t\topened
\tmoved_to\tmoved into the watched directory
\tmoved_from\tmoved out of the watched directory
\tmove\t\tmoved either way
\tmove_self\tthe watched file or directory itself was moved
\tcreate\t\tcreated in the watched directory
\tdelete\t\tdeleted from the watched directory
\tdelete_self\tthe watched file or directory itself was deleted
\tunmount\t\tthe file system with it was unmounted
";
