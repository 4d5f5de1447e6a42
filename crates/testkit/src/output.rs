//! What rsync prints and logs, without what differs between two runs of one command.

use std::fs;
use std::path::Path;

/// Text without what differs from run to run.
pub fn normal(text: &str) -> String {
    // The time lines appear only where it took a millisecond; which blocks are found, and how
    // often in vain, is not a matter of the face.
    let all: Vec<&str> = text.lines().collect();
    let is_heap = |line: Option<&&str>| line.is_some_and(|l| l.ends_with(" heap statistics:"));
    let shown = all.iter().enumerate().filter(|(at, line)| {
        // With a blank line before it.
        !(is_heap(Some(*line)) || line.is_empty() && is_heap(all.get(at + 1)))
    });
    let lines = shown.map(|(_, line)| *line).filter(|line| {
        let times = line.contains("File list ") && line.contains(" time:");
        // The original's processes also complain about each other's end.
        let kin = line.contains("received SIGUSR1")
            || line.contains("write error: Broken pipe")
            || line.contains("read error: Connection reset");
        // Of its memory it tells with -vv and --stats.
        let heap = line.starts_with("  ") && line.contains(":  ") && line.ends_with(')');
        !times && !kin && !heap && !line.starts_with("total: matches=")
    });
    let lines = lines.map(|line| {
        if line.contains("B/s") && line.contains('%') {
            let (states, texts): (Vec<&str>, Vec<&str>) = line.split('\r').map(apart).unzip();
            let mut states: Vec<String> = states.into_iter().map(without_rate).collect();
            states.dedup();
            let texts = texts.into_iter().filter(|text| !text.is_empty()).map(normal);
            let lines = std::iter::once(states.join("|")).chain(texts);
            return lines.collect::<Vec<_>>().join("\n");
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
        if starts("rsync: [") {
            return without_random(line);
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

/// An error text with the temporary name of a file, but for what is random in it.
fn without_random(line: &str) -> String {
    for (end, _) in line.match_indices('"') {
        let Some((path, random)) = line.get(..end).and_then(|path| path.rsplit_once('.')) else {
            continue;
        };
        let is_random = random.len() == 6 && random.bytes().all(|b| b.is_ascii_alphanumeric());
        let leaf = path.rsplit(['/', '"']).next().unwrap_or(path);
        if is_random && leaf.starts_with('.') {
            return format!("{path}.XXXXXX{}", &line[end..]);
        }
    }
    line.to_owned()
}

/// Parts progress from what another process writes behind it, which knows of no open line.
fn apart(state: &str) -> (&str, &str) {
    let behind = |part: &str| state.find(part).map_or("", |at| &state[at + part.len()..]);
    let rest = match state.contains("(xfr#") {
        true => behind(")"),
        false => behind("B/s").trim_start().split_once(' ').map_or("", |(_, rest)| rest),
    };
    (&state[..state.len() - rest.len()], rest.trim())
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
