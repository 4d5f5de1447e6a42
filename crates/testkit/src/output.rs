//! What rsync prints and logs, without what differs between two runs of one command.

use std::fs;
use std::path::Path;

/// Text without what differs from run to run.
pub fn normal(text: &str) -> String {
    // The time lines appear only where it took a millisecond; which blocks are found, and how
    // often in vain, is not a matter of the face.
    let lines = text.lines().filter(|line| {
        let times = line.contains("File list ") && line.contains(" time:");
        // The original's processes also complain about each other's end.
        let kin = line.contains("received SIGUSR1")
            || line.contains("write error: Broken pipe")
            || line.contains("read error: Connection reset");
        !times && !kin && !line.starts_with("total: matches=")
    });
    let lines = lines.map(|line| {
        if line.contains("B/s") && line.contains('%') {
            let mut states: Vec<String> = line.split('\r').map(without_rate).collect();
            states.dedup();
            return states.join("|");
        }
        let starts = |start: &str| line.starts_with(start);
        if let Some((before, behind)) = line.split_once(" at ")
            && let Some((_, role)) = behind.split_once(" [")
            && starts("rsync ")
        {
            return format!("{before} [{role}");
        }
        if starts("sent ") || starts("Total bytes ") || starts("File list ") {
            let words = line.split(' ');
            let shown: Vec<&str> = words
                .map(|word| if word.starts_with(|c: char| c.is_ascii_digit()) { "#" } else { word })
                .collect();
            return shown.join(" ");
        }
        match line.split_once("speedup is ") {
            Some((before, behind)) => {
                let note = behind.split_once(' ').map_or("", |(_, note)| note);
                format!("{before}speedup is # {note}")
            }
            None => line.to_owned(),
        }
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// A line of progress without what depends on the clock.
fn without_rate(line: &str) -> String {
    let counts: Vec<&str> = line.split_whitespace().take(2).collect();
    // How much is still to be checked depends on how far ahead the lists are.
    let checked = line.find("(xfr#").map_or("", |at| line[at..].split('=').next().unwrap_or(""));
    format!("{} {checked}", counts.join(" "))
}

/// Lines of the log file `path` without time, process and totals.
pub fn log_lines(path: &Path) -> String {
    let text = String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).into_owned();
    let lines = text.lines().map(|line| line.split_once("] ").map_or(line, |(_, behind)| behind));
    normal(&lines.collect::<Vec<_>>().join("\n"))
}
