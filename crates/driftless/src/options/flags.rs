//! The table's options as flags of `driftless live`.
//!
//! Every occurrence keeps its place among all others, because rules take effect in the order in
//! which they are typed, across `--include`, `--exclude` and `--filter`.

use std::ffi::OsString;

use clap::{Arg, ArgAction, ArgMatches, Command, FromArgMatches};

use super::draft::Draft;
use super::table::{Effect, Form, OPTIONS, OptionRow};

/// Options as they were typed.
#[derive(Debug, Default)]
pub struct MirrorFlags {
    typed: Vec<Occurrence>,
}

#[derive(Debug)]
struct Occurrence {
    place: usize,
    row: &'static OptionRow,
    what: What,
}

#[derive(Debug)]
enum What {
    On,
    Off,
    Value(OsString),
}

/// Why the options describe no mirror.
#[derive(Debug, thiserror::Error)]
pub enum FlagError {
    /// rsync has it, mirrors do not.
    #[error("{0} is not supported by driftless live yet")]
    NotYet(String),
    /// Its value is wrong.
    #[error("{flag}: {why}")]
    Value {
        /// As it is typed.
        flag: String,
        /// What is wrong.
        why: String,
    },
}

impl MirrorFlags {
    /// Returns the first option that was typed, if any was.
    pub fn first(&self) -> Option<String> {
        self.typed.first().map(Occurrence::flag)
    }

    /// Applies the options to `draft`, in the order in which they were typed.
    ///
    /// # Errors
    /// The first that does not work.
    pub fn apply(&self, draft: &mut Draft) -> Result<(), FlagError> {
        self.typed.iter().try_for_each(|one| one.apply(draft))
    }
}

impl Occurrence {
    fn flag(&self) -> String {
        match self.what {
            What::Off => format!("--no-{}", self.row.name),
            What::On | What::Value(_) => self.row.flag(),
        }
    }

    fn apply(&self, draft: &mut Draft) -> Result<(), FlagError> {
        match (self.row.effect, &self.what) {
            (Effect::Switch(set), what) => {
                set(draft, matches!(what, What::On));
                Ok(())
            }
            (Effect::Take(take), What::Value(value)) => {
                take(draft, value).map_err(|why| FlagError::Value { flag: self.flag(), why })
            }
            (Effect::Take(_), What::On | What::Off) => {
                unreachable!("an option that takes a value is declared to clap with one")
            }
            (Effect::NotYet, _) => Err(FlagError::NotYet(self.flag())),
        }
    }
}

impl clap::Args for MirrorFlags {
    fn augment_args(command: Command) -> Command {
        command.args(OPTIONS.iter().flat_map(|row| [Some(positive(row)), negative(row)]).flatten())
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for MirrorFlags {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut flags = Self::default();
        flags.update_from_arg_matches(matches)?;
        Ok(flags)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        for row in OPTIONS {
            for (place, value) in occurrences(matches, row.name) {
                let what = match row.form.value_name() {
                    Some(_) => What::Value(value),
                    None => What::On,
                };
                self.typed.push(Occurrence { place, row, what });
            }
            if row.form.negatable() {
                for (place, _) in occurrences(matches, &negative_id(row)) {
                    self.typed.push(Occurrence { place, row, what: What::Off });
                }
            }
        }
        self.typed.sort_by_key(|one| one.place);
        Ok(())
    }
}

/// Places and values of one argument's occurrences.
fn occurrences(matches: &ArgMatches, id: &str) -> Vec<(usize, OsString)> {
    let values = matches.get_many::<OsString>(id).into_iter().flatten().cloned();
    matches.indices_of(id).into_iter().flatten().zip(values).collect()
}

fn negative_id(row: &OptionRow) -> String {
    format!("no-{}", row.name)
}

/// clap does not keep the places of switches, so they are lists of values that are never typed.
fn counted(arg: Arg, value: Option<&'static str>) -> Arg {
    let arg = arg.action(ArgAction::Append).value_parser(clap::value_parser!(OsString));
    match value {
        Some(name) => arg.num_args(1).value_name(name).allow_hyphen_values(true),
        None => arg.num_args(0).default_missing_value("on"),
    }
}

fn positive(row: &'static OptionRow) -> Arg {
    let mut arg = counted(Arg::new(row.name), row.form.value_name())
        .help(row.help)
        .help_heading("Mirror options, as in rsync and in FILE")
        .hide(!row.supported());
    if row.form == Form::Letter {
        arg = arg.short(row.name.chars().next());
    } else {
        arg = arg.long(row.name).aliases(row.aliases.iter().copied());
    }
    match row.short {
        Some(letter) => arg.short(letter),
        None => arg,
    }
}

/// Hidden, as the help of the option itself says that it can be negated.
fn negative(row: &'static OptionRow) -> Option<Arg> {
    row.form.negatable().then(|| {
        let id = negative_id(row);
        let arg = counted(Arg::new(id.clone()), None).long(id).hide(true);
        match row.short {
            Some(letter) => arg.alias(format!("no-{letter}")),
            None => arg,
        }
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use clap::Args;
    use driftless_filter::Given;
    use driftless_live::config::{Destination, MaxDelete, MirrorConfig};
    use driftless_transfer::connect::url::DaemonUrl;
    use driftless_transfer::options::{ChecksumKind, CompressChoice};

    use super::super::draft::{Circumstances, TargetDraft};
    use super::*;

    fn apply(words: &[&str]) -> Result<Draft, String> {
        let command = MirrorFlags::augment_args(Command::new("live").no_binary_name(true));
        let matches = command.try_get_matches_from(words).map_err(|error| error.to_string())?;
        let flags = MirrorFlags::from_arg_matches(&matches).map_err(|error| error.to_string())?;
        let at =
            Circumstances { base: "/base".into(), umask: 0o022, password: None, shell: Vec::new() };
        let mut draft = Draft::new(at);
        flags.apply(&mut draft).map_err(|error| error.to_string())?;
        Ok(draft)
    }

    #[track_caller]
    fn rules(words: &[&str], expected: &[Given]) {
        assert_eq!(apply(words).unwrap().rules, expected, "{words:?}");
    }

    #[track_caller]
    fn refused(words: &[&str], expected: &str) {
        assert_eq!(apply(words).err().as_deref(), Some(expected), "{words:?}");
    }

    fn include(pattern: &str) -> Given {
        Given::Include(pattern.into())
    }

    fn exclude(pattern: &str) -> Given {
        Given::Exclude(pattern.into())
    }

    #[test]
    fn rules_keep_their_order_across_different_options() {
        rules(
            &["--exclude", "a", "--include=b", "-f", "- c", "--exclude=d", "--include", "e"],
            &[
                exclude("a"),
                include("b"),
                Given::Filter(b"- c".to_vec()),
                exclude("d"),
                include("e"),
            ],
        );
        rules(
            &["--include", "a", "--exclude-from=r", "--exclude", "b", "-C", "--include-from", "/s"],
            &[
                include("a"),
                Given::ExcludeFrom(b"/base/r".to_vec()),
                exclude("b"),
                Given::CvsExclude,
                Given::IncludeFrom(b"/s".to_vec()),
            ],
        );
        rules(
            &["-FF", "--exclude=x"],
            &[Given::PerDirFilter(1), Given::PerDirFilter(1), exclude("x")],
        );
    }

    #[test]
    fn patterns_may_look_like_options() {
        rules(&["--exclude", "-x", "--exclude=--delete"], &[exclude("-x"), exclude("--delete")]);
    }

    #[test]
    fn patterns_are_bytes() {
        use std::os::unix::ffi::OsStringExt;
        let command = MirrorFlags::augment_args(Command::new("live").no_binary_name(true));
        let words = ["--exclude".into(), OsString::from_vec(b"\xff\xfe*".to_vec())];
        let matches = command.try_get_matches_from(words).unwrap();
        let mut draft = apply(&[]).unwrap();
        MirrorFlags::from_arg_matches(&matches).unwrap().apply(&mut draft).unwrap();
        assert_eq!(draft.rules, [Given::Exclude(b"\xff\xfe*".to_vec())]);
    }

    #[test]
    fn the_last_word_on_a_switch_counts() {
        assert!(apply(&[]).unwrap().delete);
        assert!(!apply(&["--delete", "--no-delete"]).unwrap().delete);
        assert!(apply(&["--no-delete", "--delete"]).unwrap().delete);
        let options = apply(&["-a", "--no-o", "--no-group"]).unwrap().options;
        assert!(options.perms && !options.owner && !options.group);
        assert!(apply(&["--no-owner", "-a"]).unwrap().options.owner);
        assert_eq!(apply(&["-W", "--no-W"]).unwrap().options.whole_file, Some(false));
    }

    #[test]
    fn a_cluster_that_sysadmins_type_is_understood() {
        let options = apply(&["-zrtopg", "-H", "-lD"]).unwrap().options;
        assert_eq!(options.compress, CompressChoice::Negotiate);
        assert!(options.hard_links && options.devices && options.links);
    }

    #[test]
    fn values_mean_what_rsync_means() {
        let draft = apply(&[
            "--max-delete=20%",
            "--settle",
            "500ms",
            "--timeout=60",
            "--contimeout=0",
            "--bwlimit=1m",
            "--cc=md5",
            "--zc",
            "lz4",
            "-z",
            "--protocol=31",
            "--chmod=Du+w",
            "--chmod",
            "F-w",
            "--checksum-seed=7",
            "--address=127.0.0.1",
            "--password-file",
            "p",
        ])
        .unwrap();
        assert_eq!(draft.max_delete, MaxDelete::Share(20));
        assert_eq!(draft.settle, Duration::from_millis(500));
        assert_eq!(draft.password_file, Some("/base/p".into()));
        let options = draft.options;
        assert_eq!(options.timeout, Some(Duration::from_secs(60)));
        assert_eq!(options.connect_timeout, None);
        assert_eq!(options.bwlimit, Some(1 << 20));
        assert_eq!(options.checksum_choice, Some(ChecksumKind::Md5));
        assert_eq!(options.compress, CompressChoice::Lz4);
        assert_eq!((options.protocol, options.checksum_seed), (31, Some(7)));
        assert!(options.chmod.is_some() && options.bind_address.is_some());
        assert_eq!(apply(&["--max-delete=none"]).unwrap().max_delete, MaxDelete::Unlimited);
        assert_eq!(apply(&["--max-delete=7"]).unwrap().max_delete, MaxDelete::Count(7));
        assert_eq!(apply(&["--zl=3"]).unwrap().options.compress, CompressChoice::Negotiate);
    }

    #[test]
    fn wrong_values_are_named_with_their_option() {
        refused(&["--protocol=29"], "--protocol: 29 is none of 30, 31, 32");
        refused(
            &["--cc=foo"],
            "--checksum-choice: 'foo' is none of auto, xxh128, xxh3, xxh64, md5, md4, sha1",
        );
        refused(
            &["--bwlimit=100b"],
            "--bwlimit: 100b is too small (min: 512 bytes, or 0 for unlimited)",
        );
        refused(&["-B", "1m"], "--block-size: 1m is too large (max: 128K)");
        refused(&["--chmod=zz"], "--chmod: 'zz' is no change of a mode like Du+rwx,F644 or go-w");
        refused(
            &["--poll-interval=10ms"],
            "--poll-interval: less than 1s would keep the disk busy",
        );
        refused(&["--address=here"], "--address: 'here': invalid IP address syntax");
    }

    #[test]
    fn each_option_without_support_is_refused_by_its_name() {
        for row in OPTIONS.iter().filter(|row| !row.supported()) {
            let word = row.flag();
            let words: Vec<&str> = match row.form.value_name() {
                Some(_) => vec![&word, "1"],
                None => vec![&word],
            };
            refused(&words, &format!("{word} is not supported by driftless live yet"));
        }
        refused(&["-aU"], "--atimes is not supported by driftless live yet");
        refused(&["--no-atimes"], "--no-atimes is not supported by driftless live yet");
    }

    /// A value that is not the default.
    fn sample(row: &OptionRow) -> &'static str {
        match row.name {
            "max-delete" => "7",
            "checksum-choice" => "md5",
            "compress-choice" => "zstd",
            "protocol" => "31",
            "address" => "127.0.0.1",
            "chmod" => "go-w",
            "settle" | "poll-interval" | "timeout" | "contimeout" => "77s",
            "backend" => "poll",
            "bwlimit" | "block-size" => "2K",
            "schedule" | "verify" => "30 3 * * *",
            _ => "5",
        }
    }

    fn config(words: &[&str]) -> MirrorConfig {
        let url = DaemonUrl::parse("h::m").unwrap();
        let target = TargetDraft { destination: Destination::Daemon(url), password_file: None };
        apply(words).unwrap().finish("/web".into(), vec![target]).unwrap()
    }

    #[test]
    fn each_option_with_support_changes_the_mirror() {
        // A mirror is recursive whatever is said.
        for row in OPTIONS.iter().filter(|row| row.supported() && row.name != "recursive") {
            let (flag, negation) = (row.flag(), format!("--no-{}", row.name));
            let words: Vec<Vec<&str>> = match row.form {
                Form::Value(_) | Form::List(_) => vec![vec![&flag, sample(row)]],
                Form::On => vec![vec![&flag]],
                // Default on or default off: one of the two changes something.
                Form::Switch => vec![vec![&flag], vec![&negation]],
                Form::Letter => vec![vec![&flag], vec!["--no-devices", &flag, "--no-specials"]],
            };
            assert!(words.iter().any(|words| config(words) != config(&[])), "{flag}");
        }
    }

    #[test]
    fn names_are_unique() {
        let mut seen = std::collections::HashSet::new();
        for row in OPTIONS {
            let letters = row.short.map(String::from);
            let names = row.aliases.iter().map(|alias| (*alias).to_owned());
            for name in names.chain([row.name.to_owned()]).chain(letters) {
                assert!(seen.insert(name.clone()), "{name} is there twice");
            }
        }
    }
}
