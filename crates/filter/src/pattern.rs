//! One prepared pattern: which part of a name it is compared with, and the comparison.
//!
//! Invariants
//! * A pattern is prepared once and matched without allocation.
//! * Names are relative to the transfer root; a full-path pattern also gets the root's path.
//!
//! Knows nothing of sides, senses or lists.

mod wild;

use wild::Wild;

/// A prepared pattern, without the prefix and the modifiers of its rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pattern {
    text: Vec<u8>,
    dir_only: bool,
    full_path: bool,
    compare: Compare,
}

/// How the pattern is compared. Its text has lost the leading slash where that only anchors.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Compare {
    /// No wildcard: byte for byte.
    Literal(Reach),
    /// Wildcards.
    Wild(Reach, Wild),
}

/// The part of the name that is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reach {
    /// The whole name, from its start.
    Whole,
    /// The last components, this many.
    Tail(usize),
    /// A slash and the whole name, from the start (a pattern that begins with `**`).
    SlashWhole,
    /// The whole name, from its start or from behind any slash (a pattern with `**` inside).
    Anywhere,
}

impl Pattern {
    /// Prepares the text of a rule: takes off one trailing slash and finds out how to compare.
    ///
    /// `full_path` compares with the root's path and the name instead of the name.
    pub(crate) fn new(raw: &[u8], full_path: bool) -> Self {
        let (text, dir_only) = match raw.strip_suffix(b"/") {
            Some(text) if !text.is_empty() => (text, true),
            _ => (raw, false),
        };
        let double_star = text.windows(2).any(|pair| pair == b"**");
        let slash_count = text.iter().filter(|&&b| b == b'/').count();
        let reach = match text {
            [b'/', ..] => Reach::Whole,
            [b'*', b'*', ..] => Reach::SlashWhole,
            _ if double_star => Reach::Anywhere,
            _ => Reach::Tail(slash_count + 1),
        };
        let body = text.strip_prefix(b"/").unwrap_or(text);
        let compare = if text.iter().any(|b| b"*?[".contains(b)) {
            Compare::Wild(reach, Wild::compile(body))
        } else {
            Compare::Literal(reach)
        };
        Self { text: text.to_vec(), dir_only, full_path, compare }
    }

    /// The text without the slash that stood for "directories only".
    pub(crate) fn text(&self) -> &[u8] {
        &self.text
    }

    /// Whether it matches directories only.
    pub(crate) fn is_dir_only(&self) -> bool {
        self.dir_only
    }

    /// Whether it is compared with the full path.
    pub(crate) fn is_full_path(&self) -> bool {
        self.full_path
    }

    /// What every name that it matches must begin with, when that is known: the literal start of
    /// an anchored pattern, up to its first wildcard.
    pub(crate) fn fixed_start(&self) -> Option<&[u8]> {
        if self.full_path {
            return None;
        }
        let body = self.text.strip_prefix(b"/")?;
        let end = match self.compare {
            Compare::Literal(_) => body.len(),
            Compare::Wild(..) => {
                body.iter().position(|b| b"*?[\\".contains(b)).unwrap_or(body.len())
            }
        };
        body.get(..end)
    }

    /// Whether the name matches. `root` is the absolute path of the transfer root.
    pub(crate) fn matches(&self, name: &[u8], is_dir: bool, root: &[u8]) -> bool {
        if name.is_empty() || (self.dir_only && !is_dir) {
            return false;
        }
        // "dir/***" is to match the directory itself as well as what is below.
        let tail: &[u8] = if is_dir && self.text.ends_with(b"***") { b"/" } else { b"" };
        let whole: [&[u8]; 3] = if self.full_path {
            let root = root.strip_suffix(b"/").unwrap_or(root);
            // The leading slash of the root is the anchor, which the comparison leaves out.
            match root.strip_prefix(b"/").unwrap_or(root) {
                b"" => [b"", b"", name],
                root => [root, b"/", name],
            }
        } else {
            [b"", b"", name]
        };
        match &self.compare {
            Compare::Literal(Reach::Tail(1)) => last_component(name) == self.text,
            Compare::Literal(reach) => self.matches_literally(*reach, whole),
            Compare::Wild(Reach::Whole, wild) => {
                let [root, slash, name] = whole;
                wild.matches(&[root, slash, name, tail], false)
            }
            Compare::Wild(Reach::SlashWhole, wild) => {
                let [root, slash, name] = whole;
                wild.matches(&[b"/", root, slash, name, tail], false)
            }
            Compare::Wild(Reach::Anywhere, wild) => {
                let [root, slash, name] = whole;
                wild.matches(&[root, slash, name, tail], true)
            }
            Compare::Wild(Reach::Tail(1), wild) => wild.matches(&[last_component(name)], false),
            Compare::Wild(Reach::Tail(count), wild) => match last_components(whole, *count) {
                Some([root, slash, name]) => wild.matches(&[root, slash, name], false),
                None => false,
            },
        }
    }

    fn matches_literally(&self, reach: Reach, whole: [&[u8]; 3]) -> bool {
        match reach {
            Reach::Tail(count) => {
                last_components(whole, count).is_some_and(|parts| parts.concat() == self.text)
            }
            _ => {
                let mut rest = &self.text[1..];
                for part in whole {
                    match rest.strip_prefix(part) {
                        Some(after) => rest = after,
                        None => return false,
                    }
                }
                rest.is_empty()
            }
        }
    }
}

fn last_component(name: &[u8]) -> &[u8] {
    name.rsplit(|&b| b == b'/').next().unwrap_or(name)
}

/// The last `count` components of the parts taken together; `None` when there are fewer.
fn last_components(mut parts: [&[u8]; 3], count: usize) -> Option<[&[u8]; 3]> {
    let mut missing = count;
    for at in (0..parts.len()).rev() {
        let part = parts[at];
        for (offset, _) in part.iter().enumerate().rev().filter(|&(_, &b)| b == b'/') {
            missing -= 1;
            if missing == 0 {
                parts[at] = &part[offset + 1..];
                parts[..at].fill(b"");
                return Some(parts);
            }
        }
    }
    (missing == 1).then_some(parts)
}

/// Whether the whole text matches a pattern with rsync's wildcards; a `*` does not stand for a slash.
pub fn matches_wildcard(pattern: &[u8], text: &[u8]) -> bool {
    Wild::compile(pattern).matches(&[text], false)
}
