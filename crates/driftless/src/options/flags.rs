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
