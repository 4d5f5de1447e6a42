//! `refuse options`. Daemon reference, "refuse options".

use driftless_filter::matches_wildcard;
use driftless_rsync::flags::{FLAGS, Flag};
use driftless_tree::path::printable;

/// The letters that `-a` stands for.
const ARCHIVE: &[u8] = b"rdlptgoD";

/// Which spellings of options are refused.
#[derive(Debug, Clone)]
pub(crate) struct Refusals {
    /// One for each row of the table: the option itself, and its negations.
    rows: Vec<(bool, bool)>,
}

impl Refusals {
    /// Of the value of the parameter; `log` gets what matches nothing.
    pub(crate) fn new(text: &[u8], has_charset: bool, log: &mut dyn FnMut(&str)) -> Self {
        let mut refusals = Self { rows: vec![(false, false); FLAGS.len()] };
        for name in ["copy-devices", "write-devices"] {
            refusals.set(name.as_bytes(), true);
        }
        for word in text.split(|b| *b == b' ').filter(|word| !word.is_empty()) {
            let (token, refused) = match word.strip_prefix(b"!") {
                Some(token) => (token, false),
                None => (word, true),
            };
            let known = match token {
                b"a" | b"archive" => refusals.archive(refused),
                token => refusals.set(token, refused),
            };
            if !known {
                log(&format!("No match for refuse-options string \"{}\"", printable(token)));
            }
        }
        for name in ["log-file", "log-file-format", "insecure-links"] {
            refusals.set(name.as_bytes(), true);
        }
        if !has_charset {
            refusals.set(b"iconv", true);
        }
        refusals
    }

    fn archive(&mut self, refused: bool) -> bool {
        for letter in ARCHIVE {
            self.set(&[*letter], refused);
        }
        self.set(b"archive", refused)
    }

    fn set(&mut self, token: &[u8], refused: bool) -> bool {
        let is_wild = token.iter().any(|b| b"*?[".contains(b));
        let mut known = false;
        for (row, flag) in self.rows.iter_mut().zip(FLAGS) {
            let is = |name: &[u8]| match is_wild {
                true => matches_wildcard(token, name),
                false => token == name,
            };
            let by_letter = flag.short.is_some_and(|letter| is(&[letter]));
            let by_name = flag.long_names().any(|name| is(name.as_bytes()));
            if (by_letter || by_name) && !(is_wild && flag.exact_refusal) {
                row.0 = refused;
                known = true;
            }
            let by_negation = flag.negations.iter().any(|name| is(name.as_bytes()));
            if by_negation && !(is_wild && flag.exact_refusal) {
                row.1 = refused;
                known = true;
            }
        }
        known
    }

    fn has(&self, name: &str) -> bool {
        let row = FLAGS.iter().position(|flag| {
            flag.long == name || flag.short.is_some_and(|letter| name.as_bytes() == [letter])
        });
        row.is_some_and(|at| self.rows[at].0)
    }

    /// Whether a client may not use the option (or, for `on` of `false`, may not deny it).
    pub(crate) fn refuses(&self, flag: &Flag, on: bool, is_sender: bool) -> bool {
        let at = FLAGS.iter().position(|row| std::ptr::eq(row, flag)).unwrap_or(FLAGS.len());
        let Some((itself, denied)) = self.rows.get(at) else { return false };
        if !on {
            return *denied;
        }
        let implied = |names: &[&str]| names.iter().any(|name| self.has(name));
        *itself
            || match flag.long {
                "delete-before"
                | "delete-during"
                | "delete-after"
                | "delete-delay"
                | "delete-excluded"
                | "delete-missing-args"
                | "del" => implied(&["delete"]),
                "remove-source-files" | "remove-sent-files" => is_sender && implied(&["delete"]),
                "archive" => ARCHIVE
                    .iter()
                    .any(|letter| std::str::from_utf8(&[*letter]).is_ok_and(|name| self.has(name))),
                "compress-level" | "compress-choice" | "new-compress" | "old-compress"
                | "compress-threads" => implied(&["compress"]),
                "append" | "append-verify" | "write-devices" => implied(&["inplace"]),
                "inplace" => implied(&["partial"]),
                "" if flag.short == Some(b'P') => implied(&["partial", "progress"]),
                _ => false,
            }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flag(name: &str) -> &'static Flag {
        let found = FLAGS.iter().find(|flag| {
            flag.long_names().any(|long| long == name)
                || flag.short.is_some_and(|letter| name.as_bytes() == [letter])
        });
        found.unwrap_or_else(|| panic!("there is no option {name}"))
    }

    #[track_caller]
    fn check(text: &str, refused: &[&str], taken: &[&str]) {
        let refusals = Refusals::new(text.as_bytes(), false, &mut |_| {});
        for name in refused {
            assert!(refusals.refuses(flag(name), true, true), "{text}: {name} is taken");
        }
        for name in taken {
            assert!(!refusals.refuses(flag(name), true, true), "{text}: {name} is refused");
        }
    }

    #[test]
    fn names_letters_and_wildcards_refuse() {
        check("checksum", &["checksum", "c"], &["delete"]);
        check("c", &["checksum"], &["compress"]);
        check("delete*", &["delete", "delete-excluded", "del"], &["checksum"]);
        check(
            "* !recursive !times",
            &["checksum", "delete"],
            &["recursive", "times", "server", "sender", "dry-run"],
        );
        check("*", &["iconv", "log-file", "insecure-links"], &["from0", "checksum-seed"]);
        check("!copy-devices", &["write-devices"], &["copy-devices"]);
        check("!log-file !insecure-links", &["log-file", "insecure-links"], &[]);
        check(
            "a",
            &["archive", "recursive", "links", "perms", "times", "group", "owner"],
            &["checksum"],
        );
    }

    #[test]
    fn refusals_imply_others() {
        check(
            "delete",
            &["delete-before", "delete-during", "delete-delay", "remove-source-files"],
            &["force"],
        );
        check("z", &["compress", "compress-level", "compress-choice", "compress-threads"], &[]);
        check("inplace", &["append", "append-verify"], &["partial"]);
        check("partial", &["inplace", "P"], &["partial-dir"]);
        check("delete-during", &["delete-during", "del"], &["delete", "delete-after"]);
        check("owner", &["archive"], &["group"]);
    }

    #[test]
    fn what_matches_nothing_is_told() {
        let mut told = Vec::new();
        Refusals::new(b"delete,checksum x*x", true, &mut |line| told.push(line.to_owned()));
        assert_eq!(
            told,
            [
                "No match for refuse-options string \"delete,checksum\"",
                "No match for refuse-options string \"x*x\""
            ]
        );
    }
}
