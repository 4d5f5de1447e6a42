//! Which paths a daemon's message is about.
//!
//! A stock daemon names paths in its texts, escaped (`\#ooo`), quoted or after a colon, sometimes as
//! temporary names. The wording is rsync 3.5.0's, as observed.

/// What a text means to a mirror.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Meaning {
    /// Nothing that concerns a path.
    Talk,
    /// A directory was not deleted since it holds names that rules protect, or for want of force.
    NotEmpty,
    /// The daemon takes no deletions, without calling it an error.
    DeletionIgnored,
    /// The paths named were not applied.
    Failed,
}

/// Classifies a text. `error`: it came as an error or a warning, not as information.
pub fn meaning(text: &[u8], error: bool) -> Meaning {
    let has = |words: &str| contains(text, words.as_bytes());
    if has("cannot delete non-empty directory") {
        Meaning::NotEmpty
    } else if has("skipping non-regular file") {
        Meaning::DeletionIgnored
    } else if has("will try again") || !error || text.starts_with(b"rsync error:") {
        // The repeat of a file that was spoiled on purpose; a summary.
        Meaning::Talk
    } else {
        Meaning::Failed
    }
}

/// The paths, relative to the module, that a text names; final names for temporary ones.
pub fn paths(text: &[u8]) -> Vec<Vec<u8>> {
    let mut found = Vec::new();
    for quoted in quoted(text) {
        let name = unescape(quoted);
        found.extend(final_names(&name).into_iter().flatten());
        found.push(name);
    }
    for before in ["directory: ", "file: ", "delete_file: unlink(", "delete_file: rmdir("] {
        if let Some(at) = find(text, before.as_bytes()) {
            let rest = &text[at + before.len()..];
            let end = if before.ends_with('(') { find(rest, b") failed") } else { None };
            found.push(unescape(rest[..end.unwrap_or(rest.len())].trim_ascii_end()));
        }
    }
    let words: &[u8] = text.strip_prefix(b"WARNING: ").unwrap_or(text);
    let words = words.strip_prefix(b"ERROR: ").unwrap_or(words);
    if let Some(end) = find(words, b" failed verification") {
        found.push(unescape(&words[..end]));
    }
    found
}

/// Strings between double quotes. The daemon does not escape quotes inside a name, so every pair that
/// could enclose one counts; only names that were listed matter in the end.
fn quoted(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    const MOST_QUOTES: usize = 16;
    let at = |from: usize| text.get(from..).unwrap_or_default();
    let quotes: Vec<usize> =
        (0..text.len()).filter(|&i| text[i] == b'"').take(MOST_QUOTES).collect();
    let ends = move |end: usize| {
        let after = at(end + 1);
        after.is_empty() || [b' ', b':', b',', b'\n', b'.'].contains(&after[0])
    };
    let mut found = Vec::new();
    for (n, &start) in quotes.iter().enumerate() {
        found.extend(quotes[n + 1..].iter().filter(|&&end| ends(end)).map(|&end| (start, end)));
    }
    found.into_iter().map(|(start, end)| &text[start + 1..end])
}

/// `d/f` for the temporary name `d/.f.XXXXXX`, which is also that of `d/.f`.
fn final_names(name: &[u8]) -> Option<[Vec<u8>; 2]> {
    let slash = name.iter().rposition(|&b| b == b'/').map_or(0, |at| at + 1);
    let (dir, leaf) = name.split_at(slash);
    let (stem, random) = leaf.split_at_checked(leaf.len().checked_sub(7)?)?;
    let random = random.strip_prefix(b".")?;
    let hidden = random.iter().all(u8::is_ascii_alphanumeric).then_some(stem)?;
    let plain = stem.strip_prefix(b".")?;
    Some([[dir, plain].concat(), [dir, hidden].concat()])
}

/// Turns `\#ooo` back into bytes.
fn unescape(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&first, tail)) = rest.split_first() {
        let octal = rest.strip_prefix(b"\\#").and_then(|after| after.get(..3)).and_then(|digits| {
            let digits = std::str::from_utf8(digits).ok()?;
            u8::from_str_radix(digits, 8).ok()
        });
        match octal {
            Some(byte) => {
                out.push(byte);
                rest = &rest[5..];
            }
            None => {
                out.push(first);
                rest = tail;
            }
        }
    }
    out
}

fn find(text: &[u8], words: &[u8]) -> Option<usize> {
    text.windows(words.len()).position(|window| window == words)
}

fn contains(text: &[u8], words: &[u8]) -> bool {
    find(text, words).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn names(text: &str, expected: &[&[u8]]) {
        let found = paths(text.as_bytes());
        for name in expected {
            assert!(found.contains(&name.to_vec()), "{text}: {found:?}");
        }
        if expected.is_empty() {
            assert!(found.is_empty(), "{text}: {found:?}");
        }
    }

    #[test]
    fn paths_are_found_in_the_daemons_texts() {
        names(
            r#"rsync: [receiver] rename "d/.f2.AbC123" (in book) -> "d/f2": Operation not permitted (1)"#,
            &[b"d/f2"],
        );
        names(
            r#"rsync: [receiver] mkstemp "d/.new.XyZ987" (in book) failed: Permission denied (13)"#,
            &[b"d/new"],
        );
        names(r#"mkstemp "d/.htaccess.XyZ987" failed: x"#, &[b"d/.htaccess"]);
        names(r#"rsync: [generator] delete_file: unlink(d/f2) failed: x (1)"#, &[b"d/f2"]);
        names("cannot delete non-empty directory: k/sub", &[b"k/sub"]);
        names("could not make way for new regular file: k", &[b"k"]);
        names(r#"skipping non-regular file "g""#, &[b"g"]);
        names(r#"ERROR: daemon refused to receive file "k/n.key""#, &[b"k/n.key"]);
        names(
            r#"[receiver] write failed on "d/b" (in full): No space left on device (28)"#,
            &[b"d/b"],
        );
        names(r#"failed to set times on "a\#012b\#377" (in m): x"#, &[b"a\nb\xff"]);
        names(r#"failed to set times on "say "hi" now" (in m): x"#, &[b"say \"hi\" now"]);
        names("ERROR: module is read only", &[]);
    }

    #[test]
    fn only_errors_and_two_known_notes_concern_paths() {
        let note = b"cannot delete non-empty directory: k";
        assert_eq!(meaning(note, false), Meaning::NotEmpty);
        assert_eq!(meaning(b"skipping non-regular file \"g\"", false), Meaning::DeletionIgnored);
        assert_eq!(meaning(b"hello", false), Meaning::Talk);
        let again = b"WARNING: d/big failed verification -- update discarded (will try again).";
        assert_eq!(meaning(again, true), Meaning::Talk);
        assert_eq!(meaning(b"rsync: mkstemp \"x\" failed", true), Meaning::Failed);
    }
}
