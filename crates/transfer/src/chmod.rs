//! Changes to modes, in the words of rsync's `--chmod`.

use driftless_tree::entry::TYPE_BITS;

/// A list of changes, applied in order to the modes of a list.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Chmod {
    changes: Vec<Change>,
}

/// The text that is no change of a mode.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is no change of a mode like Du+rwx,F644 or go-w")]
pub struct BadChmod(String);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Only {
    All,
    Dirs,
    NonDirs,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Change {
    only: Only,
    /// Bits that stay.
    keep: u32,
    set: Set,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Set {
    Bits(u32),
    /// Bits, and these execute bits where the file is a directory or executable already.
    BitsAndX(u32, u32),
    /// Add (or remove, or assign) the permissions of one class to others.
    Copy {
        from_shift: u32,
        to: u32,
        op: Op,
    },
    ClearAndX(u32, u32),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Op {
    Add,
    Remove,
    Assign,
}

const USER: u32 = 0o700;
const GROUP: u32 = 0o070;
const OTHER: u32 = 0o007;
const ALL_BITS: u32 = 0o7777;

impl Chmod {
    /// Parses a comma list of `[D|F][ugoa...]OP...` or `[D|F]OCTAL`; `umask` masks changes that
    /// name no class.
    ///
    /// # Errors
    /// The first item that is none.
    pub fn parse(text: &str, umask: u32) -> Result<Self, BadChmod> {
        let changes = text
            .split(',')
            .map(|item| Change::parse(item, umask).ok_or_else(|| BadChmod(item.to_owned())))
            .collect::<Result<_, _>>()?;
        Ok(Self { changes })
    }

    /// Adds the changes of `more` behind these.
    pub fn extend(&mut self, more: Self) {
        self.changes.extend(more.changes);
    }

    /// The mode after the changes; the type stays, and so does the mode of a symbolic link.
    pub fn apply(&self, mode: u32) -> u32 {
        if mode & TYPE_BITS == 0o120_000 {
            return mode;
        }
        let is_dir = mode & TYPE_BITS == 0o040_000;
        let applied = self.changes.iter().filter(|change| match change.only {
            Only::All => true,
            Only::Dirs => is_dir,
            Only::NonDirs => !is_dir,
        });
        applied.fold(mode, |mode, change| change.apply(mode, is_dir))
    }
}

impl Change {
    fn parse(item: &str, umask: u32) -> Option<Self> {
        let (only, rest) = match item.as_bytes().first()? {
            b'D' => (Only::Dirs, &item[1..]),
            b'F' => (Only::NonDirs, &item[1..]),
            _ => (Only::All, item),
        };
        if !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_digit()) {
            let bits = u32::from_str_radix(rest, 8).ok().filter(|bits| *bits <= ALL_BITS)?;
            return Some(Self { only, keep: !ALL_BITS, set: Set::Bits(bits) });
        }
        let at = rest.find(['+', '-', '='])?;
        let (classes, tail) = rest.split_at(at);
        let op = match tail.as_bytes().first()? {
            b'+' => Op::Add,
            b'-' => Op::Remove,
            _ => Op::Assign,
        };
        let mut who = 0;
        for class in classes.bytes() {
            who |= match class {
                b'u' => USER,
                b'g' => GROUP,
                b'o' => OTHER,
                b'a' => USER | GROUP | OTHER,
                _ => return None,
            };
        }
        let mask = if who == 0 { 0o777 & !umask } else { who };
        let reach = if who == 0 { 0o777 } else { who };
        let perms = &tail[1..];
        let from_shift = match perms {
            "u" => Some(6),
            "g" => Some(3),
            "o" => Some(0),
            _ => None,
        };
        if let Some(from_shift) = from_shift {
            return Some(Self {
                only,
                keep: u32::MAX,
                set: Set::Copy { from_shift, to: mask, op },
            });
        }
        let (mut bits, mut x) = (0, 0);
        for perm in perms.bytes() {
            match perm {
                b'r' => bits |= 0o444 & mask,
                b'w' => bits |= 0o222 & mask,
                b'x' => bits |= 0o111 & mask,
                b'X' => x |= 0o111 & mask,
                b's' => bits |= special_bits(who),
                b't' => bits |= 0o1000,
                _ => return None,
            }
        }
        Some(match op {
            Op::Add => Self { only, keep: u32::MAX, set: Set::BitsAndX(bits, x) },
            Op::Remove => Self { only, keep: u32::MAX, set: Set::ClearAndX(bits, x) },
            Op::Assign => {
                let special = special_bits(who) | if bits & 0o1000 != 0 { 0o1000 } else { 0 };
                Self { only, keep: !(reach | special), set: Set::BitsAndX(bits, x) }
            }
        })
    }

    fn apply(self, mode: u32, is_dir: bool) -> u32 {
        let takes_x = is_dir || mode & 0o111 != 0;
        let with_x = |bits, x| bits | if takes_x { x } else { 0 };
        match self.set {
            Set::Bits(bits) => mode & self.keep | bits,
            Set::BitsAndX(bits, x) => mode & self.keep | with_x(bits, x),
            Set::ClearAndX(bits, x) => mode & !with_x(bits, x),
            Set::Copy { from_shift, to, op } => {
                let one = mode >> from_shift & 0o7;
                let bits = (one << 6 | one << 3 | one) & to;
                match op {
                    Op::Add => mode | bits,
                    Op::Remove => mode & !bits,
                    Op::Assign => mode & !to | bits,
                }
            }
        }
    }
}

/// What `s` means for the classes named: set-user-id unless only the group is.
fn special_bits(who: u32) -> u32 {
    let user = if who == 0 || who & USER != 0 { 0o4000 } else { 0 };
    let group = if who & GROUP != 0 { 0o2000 } else { 0 };
    match user | group {
        0 => 0o4000,
        bits => bits,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, before: u32, after: u32) {
        let chmod = Chmod::parse(text, 0o022).unwrap();
        assert_eq!(chmod.apply(before), after, "{text}: {:o}", chmod.apply(before));
    }

    #[test]
    fn modes_change_as_the_words_say() {
        check("F600", 0o100_755, 0o100_600);
        check("F600", 0o040_755, 0o040_755);
        check("F600", 0o120_777, 0o120_777);
        check("D2775,F664", 0o040_700, 0o042_775);
        check("go-w", 0o100_666, 0o100_644);
        check("+w", 0o100_444, 0o100_644);
        check("a+X", 0o100_644, 0o100_644);
        check("a+X", 0o100_744, 0o100_755);
        check("Da+X", 0o040_600, 0o040_711);
        check("g=u", 0o100_640, 0o100_660);
        check("u=rw,go=r", 0o100_777, 0o100_644);
        check("a+s", 0o100_755, 0o106_755);
        check("u+s", 0o100_755, 0o104_755);
        check("+t", 0o040_777, 0o041_777);
    }

    #[test]
    fn other_words_are_refused() {
        for text in ["zz", "", "u", "u+q", "99999", "8", "D", "u+rg"] {
            assert!(Chmod::parse(text, 0).is_err(), "{text}");
        }
    }
}
