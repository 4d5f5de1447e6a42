//! `--out-format` and `--log-file-format`: a line for each item.

use driftless_transfer::options::ChecksumKind;
use driftless_transfer::report::{Item, ItemFlags, Transferred};
use driftless_tree::Kind;
use jiff::tz::TimeZone;

use super::itemize::{DELETING, itemize};
use super::listing::{permissions, time};
use super::number::whole;

/// A format, read once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Format {
    parts: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(Vec<u8>),
    Escape { letter: u8, width: usize, left: bool, human: u8 },
}

/// What a line is about.
#[derive(Debug, Clone, Copy)]
pub enum Subject<'a> {
    /// An entry and what happens to it; with what went over, once it did.
    Item(&'a Item<'a>, Option<&'a Transferred<'a>>),
    /// A name that is deleted.
    Deleted {
        /// Below the destination.
        name: &'a [u8],
        /// Where that is, in the module of a daemon; empty elsewhere.
        dir: &'a [u8],
        /// A directory.
        is_dir: bool,
    },
}

/// What escapes need besides the subject.
#[derive(Debug, Clone, Copy)]
pub struct Context<'a> {
    /// Modification times are kept.
    pub times: bool,
    /// Groups are kept, else `%G` has no number to show.
    pub group: bool,
    /// Owners are kept.
    pub owner: bool,
    /// This side sends.
    pub sends: bool,
    /// Characters of a digest.
    pub digest_len: usize,
    /// What a dry run would transfer has zeros for a digest.
    pub shows_zeros: bool,
    /// Digests are those of the lists, which are of this kind.
    pub list_digests: Option<ChecksumKind>,
    /// Local time.
    pub zone: &'a TimeZone,
    /// Now.
    pub now: jiff::Timestamp,
    /// This process.
    pub pid: u32,
}

impl Format {
    /// Reads a format. What is no escape stands for itself.
    pub fn parse(text: &[u8]) -> Self {
        let mut parts = Vec::new();
        let mut plain = Vec::new();
        let mut rest = text;
        while let Some((&byte, after)) = rest.split_first() {
            match escape(rest) {
                Some((part, behind)) => {
                    if !plain.is_empty() {
                        parts.push(Part::Text(std::mem::take(&mut plain)));
                    }
                    parts.push(part);
                    rest = behind;
                }
                None => {
                    plain.push(byte);
                    rest = after;
                }
            }
        }
        if !plain.is_empty() {
            parts.push(Part::Text(plain));
        }
        Self { parts }
    }

    /// Whether one of the escapes occurs.
    pub fn has(&self, letters: &[u8]) -> bool {
        self.parts
            .iter()
            .any(|part| matches!(part, Part::Escape { letter, .. } if letters.contains(letter)))
    }

    /// Whether lines can be written only when content has gone over.
    pub fn waits_for_content(&self) -> bool {
        self.has(b"bcC")
    }

    /// Returns the line, without line feed.
    pub fn render(&self, subject: &Subject<'_>, context: &Context<'_>) -> Vec<u8> {
        let mut line = Vec::new();
        for part in &self.parts {
            match part {
                Part::Text(text) => line.extend_from_slice(text),
                Part::Escape { letter, width, left, human } => {
                    let value = value(*letter, *human, subject, context);
                    let pad = width.saturating_sub(value.len());
                    if !left {
                        line.resize(line.len() + pad, b' ');
                    }
                    line.extend_from_slice(&value);
                    if *left {
                        line.resize(line.len() + pad, b' ');
                    }
                }
            }
        }
        line
    }
}

/// Takes an escape off the front.
fn escape(text: &[u8]) -> Option<(Part, &[u8])> {
    let mut rest = text.strip_prefix(b"%")?;
    let mut human = 0;
    let quotes = |rest: &mut &[u8], human: &mut u8| {
        while let Some(after) = rest.strip_prefix(b"'") {
            (*rest, *human) = (after, human.saturating_add(1));
        }
    };
    quotes(&mut rest, &mut human);
    let left = rest.first() == Some(&b'-');
    rest = rest.strip_prefix(b"-").unwrap_or(rest);
    let digits = rest.iter().take_while(|b| b.is_ascii_digit()).count().min(4);
    let width = std::str::from_utf8(&rest[..digits]).ok().and_then(|w| w.parse().ok()).unwrap_or(0);
    rest = &rest[digits..];
    quotes(&mut rest, &mut human);
    let (&letter, rest) = rest.split_first()?;
    let known = b"bcBCfGilLmMnopUt%".contains(&letter);
    known.then_some((Part::Escape { letter, width, left, human }, rest))
}

fn value(letter: u8, human: u8, subject: &Subject<'_>, context: &Context<'_>) -> Vec<u8> {
    match letter {
        b'%' => return b"%".to_vec(),
        b'p' => return context.pid.to_string().into_bytes(),
        b't' => {
            let secs = context.now.as_second();
            let now = driftless_tree::Timestamp { secs, nanos: 0 };
            return time(now, context.zone, ' ').into_bytes();
        }
        // Names of the daemon's side, which a client does not have.
        b'm' => return Vec::new(),
        _ => {}
    }
    match subject {
        Subject::Item(item, transfer) => of_item(letter, human, item, *transfer, context),
        Subject::Deleted { name, dir, is_dir } => match (letter, *dir) {
            (b'f', [_, ..]) => [dir, &b"/"[..], name].concat(),
            _ => of_deletion(letter, human, name, *is_dir, context),
        },
    }
}

fn of_item(
    letter: u8,
    human: u8,
    item: &Item<'_>,
    transfer: Option<&Transferred<'_>>,
    context: &Context<'_>,
) -> Vec<u8> {
    let entry = item.entry;
    let number = |value| whole(value, human).into_bytes();
    match letter {
        b'b' => number(transfer.map_or(0, |transfer| transfer.data_bytes)),
        b'c' => number(transfer.map_or(0, |transfer| transfer.sum_bytes)),
        b'C' => match context.list_digests {
            Some(kind) => digest(&kind.shown(&entry.checksum), context),
            None if context.shows_zeros && item.flags & ItemFlags::TRANSFER != 0 => {
                vec![b'0'; context.digest_len]
            }
            None => digest(transfer.map_or(&[], |transfer| transfer.digest), context),
        },
        b'B' => permissions(entry.mode).into_bytes(),
        b'f' => long_name(item),
        b'G' if context.group && item.gives_group => entry.gid.to_string().into_bytes(),
        b'G' => b"DEFAULT".to_vec(),
        b'U' if context.owner => entry.uid.to_string().into_bytes(),
        b'U' => b"0".to_vec(),
        b'i' => itemize(item, context.times).to_vec(),
        b'l' => number(entry.size),
        b'L' => leads_to(item),
        b'M' => time(entry.mtime, context.zone, '-').into_bytes(),
        b'n' => shown_name(&entry.name, entry.kind() == Some(Kind::Dir)),
        b'o' if context.sends => b"send".to_vec(),
        b'o' => b"recv".to_vec(),
        _ => Vec::new(),
    }
}

fn of_deletion(letter: u8, human: u8, name: &[u8], is_dir: bool, context: &Context<'_>) -> Vec<u8> {
    match letter {
        b'b' | b'c' | b'l' => whole(0, human).into_bytes(),
        b'C' => digest(&[], context),
        b'f' => name.to_vec(),
        b'i' => DELETING.as_bytes().to_vec(),
        b'n' => shown_name(name, is_dir),
        b'o' => b"del.".to_vec(),
        b'B' => permissions(0).into_bytes(),
        b'G' if !context.group => b"DEFAULT".to_vec(),
        b'G' | b'U' => b"0".to_vec(),
        b'M' => time(driftless_tree::Timestamp::default(), context.zone, '-').into_bytes(),
        _ => Vec::new(),
    }
}

/// Directories end in a slash.
pub fn shown_name(name: &[u8], is_dir: bool) -> Vec<u8> {
    let mut shown = name.to_vec();
    if is_dir && !shown.ends_with(b"/") {
        shown.push(b'/');
    }
    shown
}

/// The path from where the sender started, or from the root, without a slash in front.
fn long_name(item: &Item<'_>) -> Vec<u8> {
    let name = &item.entry.name;
    let path = match item.source_dir {
        b"" => name.to_vec(),
        dir => [dir, b"/", name].concat(),
    };
    let start = path.iter().position(|b| *b != b'/').unwrap_or(0);
    path[start..].to_vec()
}

fn leads_to(item: &Item<'_>) -> Vec<u8> {
    let linked = item.flags & ItemFlags::TRANSFER == 0;
    match item.xname.filter(|name| !name.is_empty() && linked) {
        Some(name) => [b" => ", name].concat(),
        None if item.entry.kind() == Some(Kind::Symlink) => {
            [b" -> ", &item.entry.link_target[..]].concat()
        }
        None => Vec::new(),
    }
}

fn digest(digest: &[u8], context: &Context<'_>) -> Vec<u8> {
    // One byte stands for none.
    if digest.len() <= 1 {
        return vec![b' '; context.digest_len];
    }
    digest.iter().flat_map(|byte| format!("{byte:02x}").into_bytes()).collect()
}

#[cfg(test)]
mod tests {
    use driftless_transfer::report::Direction;
    use driftless_tree::Timestamp;
    use driftless_tree::flist::Entry;

    use super::*;

    #[track_caller]
    fn check(format: &str, expected: &str) {
        let entry = Entry {
            name: b"f1"[..].into(),
            mode: 0o100_644,
            size: 4096,
            mtime: Timestamp { secs: 1_000_000_000, nanos: 0 },
            ..Entry::default()
        };
        let direction = Direction::Received;
        let item = Item {
            entry: &entry,
            flags: 0xa000,
            xname: None,
            direction,
            source_dir: b"/src",
            gives_group: true,
        };
        let context = Context {
            times: true,
            group: false,
            owner: false,
            sends: true,
            digest_len: 4,
            shows_zeros: false,
            list_digests: None,
            zone: &TimeZone::UTC,
            now: jiff::Timestamp::UNIX_EPOCH,
            pid: 7,
        };
        let line = Format::parse(format.as_bytes()).render(&Subject::Item(&item, None), &context);
        assert_eq!(String::from_utf8_lossy(&line), expected);
    }

    #[test]
    fn escapes_stand_for_properties_of_the_item() {
        check(
            "%% %o|%n|%f|%l|%B|%M|%i",
            "% send|f1|src/f1|4096|rw-r--r--|2001/09/09-01:46:40|>f+++++++++",
        );
        check("%'l %''l %'''l", "4,096 4.10K 4.00K");
        check("[%6l|%-6l|%6''l]", "[  4096|4096  | 4.10K]");
        check("%a %h %P %u %q [%m] %", "%a %h %P %u %q [] %");
        check("%b %c %C|%G %p %t", "0 0     |DEFAULT 7 1970/01/01 00:00:00");
    }

    #[test]
    fn deletions_have_their_own_values() {
        let context = Context {
            times: true,
            group: true,
            owner: true,
            sends: false,
            digest_len: 0,
            shows_zeros: false,
            list_digests: None,
            zone: &TimeZone::UTC,
            now: jiff::Timestamp::UNIX_EPOCH,
            pid: 7,
        };
        let subject = Subject::Deleted { name: b"x", dir: b"", is_dir: true };
        let line = Format::parse(b"%o %i %n%L").render(&subject, &context);
        assert_eq!(String::from_utf8_lossy(&line), "del. *deleting   x/");
    }
}
