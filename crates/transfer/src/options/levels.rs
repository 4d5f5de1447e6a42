//! How much a transfer says: the words of `--info` and `--debug` and their levels.

macro_rules! levels {
    ($(#[$doc:meta])* $name:ident { $($field:ident $word:literal $most:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
        pub struct $name {
            $(#[doc = concat!("`", $word, "`, 0..=", $most, " have a meaning.")] pub $field: u8,)+
        }

        impl $name {
            /// The words, in the order in which they are listed and sent.
            pub const WORDS: &'static [&'static str] = &[$($word),+];
            /// The highest level of each word that has a meaning.
            pub const HIGHEST: &'static [u8] = &[$($most),+];

            /// Returns all levels, in the order of the words.
            pub fn all(&self) -> Vec<u8> {
                vec![$(self.$field),+]
            }

            /// Returns the level of a word, in any case; `None` when it is no word.
            pub fn by_word(&mut self, word: &[u8]) -> Option<&mut u8> {
                $(if word.eq_ignore_ascii_case($word.as_bytes()) {
                    return Some(&mut self.$field);
                })+
                None
            }
        }
    };
}

levels! {
    /// `--info`
    InfoLevels {
        backup "BACKUP" 1, copy "COPY" 1, del "DEL" 1, flist "FLIST" 2, misc "MISC" 2,
        mount "MOUNT" 1, name "NAME" 2, nonreg "NONREG" 1, progress "PROGRESS" 2,
        remove "REMOVE" 1, skip "SKIP" 2, stats "STATS" 3, symsafe "SYMSAFE" 1,
    }
}

levels! {
    /// `--debug`
    DebugLevels {
        acl "ACL" 1, backup "BACKUP" 2, bind "BIND" 1, chdir "CHDIR" 1, connect "CONNECT" 2,
        cmd "CMD" 2, del "DEL" 3, deltasum "DELTASUM" 4, dup "DUP" 1, exit "EXIT" 3,
        filter "FILTER" 3, flist "FLIST" 4, fuzzy "FUZZY" 2, genr "GENR" 1, hash "HASH" 1,
        hlink "HLINK" 3, iconv "ICONV" 2, io "IO" 4, nstr "NSTR" 1, own "OWN" 2,
        proto "PROTO" 1, recv "RECV" 1, send "SEND" 1, time "TIME" 2,
    }
}

impl InfoLevels {
    /// What so many `-v` say.
    pub fn of_verbosity(verbosity: u8) -> Self {
        let mut levels = Self { nonreg: 1, ..Self::default() };
        if verbosity >= 1 {
            let Self { copy, del, flist, misc, name, stats, symsafe, .. } = &mut levels;
            for level in [copy, del, flist, misc, name, stats, symsafe] {
                *level = 1;
            }
        }
        if verbosity >= 2 {
            let Self { backup, misc, mount, name, remove, skip, .. } = &mut levels;
            (*misc, *name) = (2, 2);
            for level in [backup, mount, remove, skip] {
                *level = 1;
            }
        }
        levels
    }
}

impl DebugLevels {
    /// What so many `-v` say.
    pub fn of_verbosity(verbosity: u8) -> Self {
        let mut levels = Self::default();
        let steps: [&[(&[u8], u8)]; 4] = [
            &[
                (b"BIND", 1),
                (b"CMD", 1),
                (b"CONNECT", 1),
                (b"DEL", 1),
                (b"DELTASUM", 1),
                (b"DUP", 1),
                (b"FILTER", 1),
                (b"FLIST", 1),
                (b"ICONV", 1),
            ],
            &[
                (b"ACL", 1),
                (b"BACKUP", 1),
                (b"CONNECT", 2),
                (b"DELTASUM", 2),
                (b"DEL", 2),
                (b"EXIT", 1),
                (b"FILTER", 2),
                (b"FLIST", 2),
                (b"FUZZY", 1),
                (b"GENR", 1),
                (b"OWN", 1),
                (b"RECV", 1),
                (b"SEND", 1),
                (b"TIME", 1),
            ],
            &[
                (b"CMD", 2),
                (b"DELTASUM", 3),
                (b"DEL", 3),
                (b"EXIT", 2),
                (b"FLIST", 3),
                (b"ICONV", 2),
                (b"OWN", 2),
                (b"PROTO", 1),
                (b"TIME", 2),
            ],
            &[
                (b"CHDIR", 1),
                (b"DELTASUM", 4),
                (b"FLIST", 4),
                (b"FUZZY", 2),
                (b"HASH", 1),
                (b"HLINK", 1),
            ],
        ];
        for step in steps.iter().take(usize::from(verbosity.saturating_sub(1))) {
            for (word, level) in *step {
                *levels.by_word(word).expect("a word of the table above") = *level;
            }
        }
        levels
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_v_adds_its_words() {
        let quiet = InfoLevels::of_verbosity(0);
        assert_eq!(quiet, InfoLevels { nonreg: 1, ..InfoLevels::default() });
        let one = InfoLevels::of_verbosity(1);
        assert_eq!((one.name, one.stats, one.skip), (1, 1, 0));
        let two = InfoLevels::of_verbosity(2);
        assert_eq!((two.name, two.misc, two.skip, two.flist), (2, 2, 1, 1));
        assert_eq!(DebugLevels::of_verbosity(1), DebugLevels::default());
        let five = DebugLevels::of_verbosity(5);
        assert_eq!((five.del, five.deltasum, five.hlink, five.io), (3, 4, 1, 0));
        assert_eq!(DebugLevels::of_verbosity(9), five);
    }

    #[test]
    fn words_are_found_in_any_case() {
        let mut levels = InfoLevels::default();
        *levels.by_word(b"Progress").unwrap() = 2;
        assert_eq!(levels.progress, 2);
        assert_eq!(levels.by_word(b"prog"), None);
        assert_eq!(levels.all().len(), InfoLevels::WORDS.len());
    }
}
