//! Lines of `--list-only`.

use driftless_tree::flist::Entry;
use driftless_tree::{Kind, Timestamp};
use jiff::tz::TimeZone;

use super::number::whole;

/// The mode as `ls -l` writes it, ten characters.
pub fn mode(mode: u32) -> String {
    let kind = match Kind::of_mode(mode) {
        Some(Kind::Dir) => 'd',
        Some(Kind::Symlink) => 'l',
        Some(Kind::CharDevice) => 'c',
        Some(Kind::BlockDevice) => 'b',
        Some(Kind::Fifo) => 'p',
        Some(Kind::Socket) => 's',
        Some(Kind::File) | None => '-',
    };
    format!("{kind}{}", permissions(mode))
}

/// The nine characters of the permissions.
pub fn permissions(mode: u32) -> String {
    let bits = "rwxrwxrwx".chars().enumerate();
    let mut text: Vec<char> =
        bits.map(|(at, letter)| if mode & (0o400 >> at) != 0 { letter } else { '-' }).collect();
    for (bit, place, letter) in [(0o4000, 2, 's'), (0o2000, 5, 's'), (0o1000, 8, 't')] {
        if mode & bit != 0 {
            let executable = text[place] == 'x';
            text[place] = if executable { letter } else { letter.to_ascii_uppercase() };
        }
    }
    text.into_iter().collect()
}

/// A time as `%Y/%m/%d %H:%M:%S`, with `between` for the blank.
pub fn time(time: Timestamp, zone: &TimeZone, between: char) -> String {
    let Ok(moment) = jiff::Timestamp::from_second(time.secs) else {
        return format!("{:19}", time.secs);
    };
    let local = moment.to_zoned(zone.clone());
    format!(
        "{:04}/{:02}/{:02}{between}{:02}:{:02}:{:02}",
        local.year(),
        local.month(),
        local.day(),
        local.hour(),
        local.minute(),
        local.second()
    )
}

/// What a listing shows.
#[derive(Debug, Clone, Copy)]
pub struct Columns<'a> {
    /// Level of `-h`.
    pub human: u8,
    /// A column of access times.
    pub atimes: bool,
    /// Targets of symbolic links.
    pub links: bool,
    /// Local time.
    pub zone: &'a TimeZone,
}

impl Columns<'_> {
    /// The whole line of an entry.
    pub fn line(&self, entry: &Entry) -> Vec<u8> {
        let mut line = columns(entry, self).into_bytes();
        line.extend_from_slice(&entry.name);
        if self.links && entry.kind() == Some(Kind::Symlink) {
            line.extend_from_slice(b" -> ");
            line.extend_from_slice(&entry.link_target);
        }
        line
    }
}

/// The line without its name: mode, size and times, with a blank at the end.
fn columns(entry: &Entry, show: &Columns<'_>) -> String {
    let width = if show.human == 0 { 11 } else { 14 };
    if entry.mode == 0 {
        let width = width + if show.atimes { 51 } else { 31 };
        return format!("{:<width$} ", "*missing");
    }
    let size = whole(entry.size, show.human);
    let mut line =
        format!("{} {size:>width$} {} ", mode(entry.mode), time(entry.mtime, show.zone, ' '));
    if show.atimes {
        let atime = entry.atime.filter(|_| entry.kind() != Some(Kind::Dir));
        let shown = atime.map(|secs| time(Timestamp { secs, nanos: 0 }, show.zone, ' '));
        line.push_str(&format!("{:19} ", shown.unwrap_or_default()));
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_are_written_as_ls_does() {
        assert_eq!(mode(0o100_644), "-rw-r--r--");
        assert_eq!(mode(0o041_777), "drwxrwxrwt");
        assert_eq!(mode(0o106_711), "-rws--s--x");
        assert_eq!(mode(0o107_644), "-rwSr-Sr-T");
        assert_eq!(mode(0o120_777), "lrwxrwxrwx");
    }

    #[test]
    fn sizes_stand_in_a_column() {
        let entry = Entry {
            mode: 0o100_644,
            size: 2_345_678,
            mtime: Timestamp { secs: 1_000_000_000, nanos: 5 },
            ..Entry::default()
        };
        let zone = TimeZone::UTC;
        let show = |human| Columns { human, atimes: false, links: true, zone: &zone };
        assert_eq!(columns(&entry, &show(1)), "-rw-r--r--      2,345,678 2001/09/09 01:46:40 ");
        assert_eq!(columns(&entry, &show(0)), "-rw-r--r--     2345678 2001/09/09 01:46:40 ");
        assert_eq!(columns(&entry, &show(2)), "-rw-r--r--          2.35M 2001/09/09 01:46:40 ");
    }
}
