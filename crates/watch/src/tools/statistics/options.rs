//! The command line of `inotifywatch`: checked, complete.

use super::help;
use super::sorting::Sorting;
use crate::tools::filter::Filter;
use crate::tools::getopt::{Found, Spec, Words};
use crate::tools::list::Targets;
use crate::tools::wait::Patterns;
use crate::tools::{Called, Refusal, Timeout, names, parse_timeout};

/// What the letters and words mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flag {
    Help,
    Event,
    Verbose,
    Timeout,
    Recursive,
    Inotify,
    Fanotify,
    Filesystem,
    NoDereference,
    Ascending,
    Descending,
    Zero,
    FromFile,
    Exclude,
    ExcludeI,
    Include,
    IncludeI,
    StatsJson,
    StrictCompat,
}

const fn spec(short: u8, long: &'static str, takes: bool, meaning: Flag) -> Spec<Flag> {
    let short = if short == 0 { None } else { Some(short) };
    Spec { short, long, takes, own: false, meaning }
}

const fn own(long: &'static str, meaning: Flag) -> Spec<Flag> {
    Spec { short: None, long, takes: false, own: true, meaning }
}

/// In the order in which the original lists what an ambiguous abbreviation may mean.
pub const SPECS: &[Spec<Flag>] = &[
    spec(b'h', "help", false, Flag::Help),
    spec(b'e', "event", true, Flag::Event),
    spec(b'v', "verbose", false, Flag::Verbose),
    spec(b't', "timeout", true, Flag::Timeout),
    spec(b'r', "recursive", false, Flag::Recursive),
    spec(b'I', "inotify", false, Flag::Inotify),
    spec(b'F', "fanotify", false, Flag::Fanotify),
    spec(b'S', "filesystem", false, Flag::Filesystem),
    spec(b'P', "no-dereference", false, Flag::NoDereference),
    spec(b'a', "ascending", true, Flag::Ascending),
    spec(b'd', "descending", true, Flag::Descending),
    spec(b'z', "zero", false, Flag::Zero),
    spec(0, "fromfile", true, Flag::FromFile),
    spec(0, "exclude", true, Flag::Exclude),
    spec(0, "excludei", true, Flag::ExcludeI),
    spec(0, "include", true, Flag::Include),
    spec(0, "includei", true, Flag::IncludeI),
    own("stats-json", Flag::StatsJson),
    own("strict-compat", Flag::StrictCompat),
];

/// What a run does.
pub struct Options {
    /// Which events are counted.
    pub events: u32,
    /// How much is said.
    pub verbose: u32,
    /// How long it runs.
    pub timeout: Timeout,
    /// Whether all below a directory is watched.
    pub recursive: bool,
    /// Whether symbolic links on the command line are watched themselves.
    pub no_dereference: bool,
    /// The order of the rows.
    pub sorting: Sorting,
    /// Whether zeros are printed.
    pub zero: bool,
    /// Which paths are counted.
    pub filter: Filter,
    /// What is watched.
    pub targets: Targets,
    /// How events are learned.
    pub called: Called,
    /// Whether the table is JSON.
    pub stats_json: bool,
    /// Whether only what the original counts is counted.
    pub strict_compat: bool,
}

impl Options {
    /// Reads the words after the program's name.
    ///
    /// # Errors
    /// What is printed instead of a run.
    pub fn parse(called: Called, words: Vec<Vec<u8>>) -> Result<Self, Refusal> {
        let program = called.program().to_vec();
        let mut options = Options {
            events: 0,
            verbose: 0,
            timeout: Timeout::Never,
            recursive: false,
            no_dereference: false,
            sorting: Sorting::default(),
            zero: false,
            filter: Filter::default(),
            targets: Targets::default(),
            called,
            stats_json: false,
            strict_compat: false,
        };
        let mut patterns = Patterns::default();
        let mut fromfile = None;
        let mut operands = Vec::new();
        let mut ascended = false;
        for found in Words::new(SPECS, &program, words) {
            let (flag, value) = match found {
                Found::Wrong(text) => return Err(Refusal::line(text)),
                Found::Operand(word) => {
                    operands.push(word);
                    continue;
                }
                Found::Option(flag, value) => (flag, value),
            };
            match flag {
                Flag::Help => return Err(Refusal::Help(help::text(&options.called))),
                Flag::Event => match names::mask_of_list(&value) {
                    Some(mask) => options.events |= mask,
                    None => return Err(Refusal::invalid_event(&value)),
                },
                Flag::Verbose => options.verbose += 1,
                Flag::Timeout => options.timeout = parse_timeout(&value)?,
                Flag::Recursive => options.recursive = true,
                Flag::Inotify => options.called.choose_inotify(),
                Flag::Fanotify => options.called.choose_fanotify(),
                Flag::Filesystem => options.called.choose_filesystem(),
                Flag::NoDereference => options.no_dereference = true,
                Flag::Ascending => {
                    if std::mem::replace(&mut ascended, true) {
                        return Err(Refusal::line("Please specify -a or -d once only!"));
                    }
                    options.sorting = Sorting::ascending(&value)?;
                }
                Flag::Descending => {
                    if ascended {
                        return Err(Refusal::line("Please specify -a or -d once only!"));
                    }
                    options.sorting = Sorting::descending(&value)?;
                }
                Flag::Zero => options.zero = true,
                Flag::FromFile => {
                    if fromfile.replace(value).is_some() {
                        return Err(Refusal::line("Multiple --fromfile options given."));
                    }
                }
                Flag::Exclude => patterns.exclude = Some(value),
                Flag::ExcludeI => patterns.exclude_i = Some(value),
                Flag::Include => patterns.include = Some(value),
                Flag::IncludeI => patterns.include_i = Some(value),
                Flag::StatsJson => options.stats_json = true,
                Flag::StrictCompat => options.strict_compat = true,
            }
        }
        options.called.check()?;
        options.filter = patterns.compile()?;
        if options.events == 0 {
            options.events = names::ALL;
        }
        options.sorting.check(options.events)?;
        options.targets = Targets::collect(fromfile.as_deref(), &operands)?;
        Ok(options)
    }
}
