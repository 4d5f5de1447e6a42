//! The command line of `inotifywait`: checked, complete.

use std::time::Duration;

use super::super::called::Backend;
use super::super::clock::Clock;
use super::super::filter::{Filter, Kind};
use super::super::getopt::{Found, Spec, Words};
use super::super::layout::{Format, Layout};
use super::super::list::Targets;
use super::super::names;
use super::super::{Called, Refusal, Timeout, duration, parse_timeout};
use super::{daemon, help};

/// What the letters and words mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flag {
    Help,
    Event,
    Monitor,
    Quiet,
    Timeout,
    Filename,
    Recursive,
    Inotify,
    Fanotify,
    Filesystem,
    Csv,
    Daemon,
    Syslog,
    NoDereference,
    Format,
    NoNewline,
    Timefmt,
    FromFile,
    Outfile,
    Exclude,
    ExcludeI,
    Include,
    IncludeI,
    Json,
    Null,
    Settle,
    RescanOnOverflow,
    StatsJson,
    StrictCompat,
}

const fn spec(short: u8, long: &'static str, takes: bool, meaning: Flag) -> Spec<Flag> {
    let short = if short == 0 { None } else { Some(short) };
    Spec { short, long, takes, own: false, meaning }
}

const fn own(long: &'static str, takes: bool, meaning: Flag) -> Spec<Flag> {
    Spec { short: None, long, takes, own: true, meaning }
}

/// In the order in which the original lists what an ambiguous abbreviation may mean.
pub const SPECS: &[Spec<Flag>] = &[
    spec(b'h', "help", false, Flag::Help),
    spec(b'e', "event", true, Flag::Event),
    spec(b'm', "monitor", false, Flag::Monitor),
    spec(b'q', "quiet", false, Flag::Quiet),
    spec(b't', "timeout", true, Flag::Timeout),
    spec(b'f', "filename", false, Flag::Filename),
    spec(b'r', "recursive", false, Flag::Recursive),
    spec(b'I', "inotify", false, Flag::Inotify),
    spec(b'F', "fanotify", false, Flag::Fanotify),
    spec(b'S', "filesystem", false, Flag::Filesystem),
    spec(b'c', "csv", false, Flag::Csv),
    spec(b'd', "daemon", false, Flag::Daemon),
    spec(b's', "syslog", false, Flag::Syslog),
    spec(b'P', "no-dereference", false, Flag::NoDereference),
    spec(0, "format", true, Flag::Format),
    spec(0, "no-newline", false, Flag::NoNewline),
    spec(0, "timefmt", true, Flag::Timefmt),
    spec(0, "fromfile", true, Flag::FromFile),
    spec(b'o', "outfile", true, Flag::Outfile),
    spec(0, "exclude", true, Flag::Exclude),
    spec(0, "excludei", true, Flag::ExcludeI),
    spec(0, "include", true, Flag::Include),
    spec(0, "includei", true, Flag::IncludeI),
    own("json", false, Flag::Json),
    own("null", false, Flag::Null),
    own("settle", true, Flag::Settle),
    own("rescan-on-overflow", false, Flag::RescanOnOverflow),
    own("stats-json", false, Flag::StatsJson),
    own("strict-compat", false, Flag::StrictCompat),
];

/// What a run does.
pub struct Options {
    /// Which events are told.
    pub events: u32,
    /// Whether it goes on after the first event.
    pub monitor: bool,
    /// Whether it goes on in the background.
    pub daemon: bool,
    /// Whether diagnostics go to the system's log.
    pub syslog: bool,
    /// Whether all below a directory is watched.
    pub recursive: bool,
    /// Whether symbolic links on the command line are watched themselves.
    pub no_dereference: bool,
    /// 0: everything is said; 1: no progress; more: nothing but failures.
    pub quiet: u32,
    /// The longest silence.
    pub timeout: Timeout,
    /// How an event is printed.
    pub layout: Layout,
    /// What follows it.
    pub terminator: &'static [u8],
    /// Where events are appended to instead of standard output.
    pub outfile: Option<Vec<u8>>,
    /// Which paths are told about.
    pub filter: Filter,
    /// What is watched.
    pub targets: Targets,
    /// How events are learned.
    pub called: Called,
    /// The quiet time after which the events of a path are told as one.
    pub settle: Option<Duration>,
    /// Whether what changed while events were lost is told.
    pub rescan_on_overflow: bool,
    /// Whether counters are printed at the end.
    pub stats_json: bool,
    /// Whether only what the original tells is told.
    pub strict_compat: bool,
}

/// What was typed.
#[derive(Default)]
struct Typed {
    events: u32,
    monitor: bool,
    daemon: bool,
    syslog: bool,
    recursive: bool,
    no_dereference: bool,
    quiet: u32,
    timeout: Timeout,
    csv: bool,
    json: bool,
    null: bool,
    no_newline: bool,
    format: Option<Vec<u8>>,
    timefmt: Option<Vec<u8>>,
    outfile: Option<Vec<u8>>,
    fromfile: Option<Vec<u8>>,
    patterns: Patterns,
    settle: Option<Duration>,
    rescan_on_overflow: bool,
    stats_json: bool,
    strict_compat: bool,
    operands: Vec<Vec<u8>>,
}

/// The expressions that were typed: the last one of each option counts.
#[derive(Default)]
pub struct Patterns {
    pub exclude: Option<Vec<u8>>,
    pub exclude_i: Option<Vec<u8>>,
    pub include: Option<Vec<u8>>,
    pub include_i: Option<Vec<u8>>,
}

impl Patterns {
    /// Checks that they go together, and compiles the one that counts.
    pub fn compile(self) -> Result<Filter, Refusal> {
        let kinds = [
            (Kind::Exclude, self.exclude, false),
            (Kind::Exclude, self.exclude_i, true),
            (Kind::Include, self.include, false),
            (Kind::Include, self.include_i, true),
        ];
        let given = |at: usize| kinds[at].1.is_some();
        if given(0) && given(1) {
            return Err(Refusal::line("--exclude and --excludei cannot both be specified."));
        }
        if given(2) && given(3) {
            return Err(Refusal::line("--include and --includei cannot both be specified."));
        }
        if (given(0) || given(1)) && (given(2) || given(3)) {
            return Err(Refusal::line("include and exclude regexp cannot both be specified."));
        }
        let pattern = kinds.into_iter().find_map(|(kind, text, case)| Some((kind, text?, case)));
        match pattern {
            Some((kind, text, ignore_case)) => {
                Filter::new(kind, &text, ignore_case).map_err(Refusal::line)
            }
            None => Ok(Filter::default()),
        }
    }
}

impl Options {
    /// Reads the words after the program's name.
    ///
    /// # Errors
    /// What is printed instead of a run.
    pub fn parse(mut called: Called, words: Vec<Vec<u8>>) -> Result<Self, Refusal> {
        let mut typed = Typed::default();
        for found in Words::new(SPECS, called.program(), words) {
            match found {
                Found::Wrong(text) => return Err(Refusal::line(text)),
                Found::Operand(word) => typed.operands.push(word),
                Found::Option(flag, value) => typed.take(flag, value, &mut called)?,
            }
        }
        called.check()?;
        typed.check(called)
    }
}

impl Typed {
    fn take(&mut self, flag: Flag, value: Vec<u8>, called: &mut Called) -> Result<(), Refusal> {
        match flag {
            Flag::Help => return Err(Refusal::Help(help::text(called))),
            Flag::Event => match names::mask_of_list(&value) {
                Some(mask) => self.events |= mask,
                None => return Err(Refusal::invalid_event(&value)),
            },
            Flag::Monitor => self.monitor = true,
            Flag::Quiet => self.quiet += 1,
            Flag::Timeout => self.timeout = parse_timeout(&value)?,
            Flag::Filename => {
                return Err(Refusal::line(
                    "The '--filename' option no longer exists.  The option it enabled in earlier\n\
                     versions of inotifywait is now turned on by default.",
                ));
            }
            Flag::Recursive => self.recursive = true,
            Flag::Inotify => called.choose_inotify(),
            Flag::Fanotify => called.choose_fanotify(),
            Flag::Filesystem => called.choose_filesystem(),
            Flag::Csv => self.csv = true,
            Flag::Daemon => self.daemon = true,
            Flag::Syslog => self.syslog = true,
            Flag::NoDereference => self.no_dereference = true,
            Flag::Format => self.format = Some(value),
            Flag::NoNewline => self.no_newline = true,
            Flag::Timefmt => self.timefmt = Some(value),
            Flag::FromFile => once(&mut self.fromfile, value, "--fromfile")?,
            Flag::Outfile => once(&mut self.outfile, value, "--outfile")?,
            Flag::Exclude => last(&mut self.patterns.exclude, value, Some("--exclude")),
            Flag::ExcludeI => last(&mut self.patterns.exclude_i, value, Some("--excludei")),
            Flag::Include => last(&mut self.patterns.include, value, None),
            Flag::IncludeI => last(&mut self.patterns.include_i, value, None),
            Flag::Json => self.json = true,
            Flag::Null => self.null = true,
            Flag::Settle => self.settle = Some(duration("--settle", &value)?),
            Flag::RescanOnOverflow => self.rescan_on_overflow = true,
            Flag::StatsJson => self.stats_json = true,
            Flag::StrictCompat => self.strict_compat = true,
        }
        Ok(())
    }

    fn check(self, called: Called) -> Result<Options, Refusal> {
        let filter = self.patterns.compile()?;
        if self.format.is_some() && self.csv {
            return Err(Refusal::line("-c and --format cannot both be specified."));
        }
        if self.format.is_none() && self.no_newline {
            return Err(Refusal::line("--no-newline cannot be specified without --format."));
        }
        if self.format.is_none() && self.timefmt.is_some() {
            return Err(Refusal::line("--timefmt cannot be specified without --format."));
        }
        let has_time = self.format.as_ref().is_some_and(|f| f.windows(2).any(|pair| pair == b"%T"));
        if has_time && self.timefmt.is_none() {
            let text = "%T is in --format string, but --timefmt was not specified.";
            return Err(Refusal::line(text));
        }
        if self.json && (self.csv || self.format.is_some()) {
            return Err(Refusal::line("--json cannot be specified with -c or --format."));
        }
        if self.null && self.no_newline {
            return Err(Refusal::line("--null and --no-newline cannot both be specified."));
        }
        if self.settle.is_some() && !self.monitor && !self.daemon {
            return Err(Refusal::line("--settle cannot be specified without -m."));
        }
        if self.rescan_on_overflow && called.backend() == Backend::Fanotify {
            return Err(Refusal::line(
                "--rescan-on-overflow cannot be used with fanotify; use -I.",
            ));
        }
        if self.daemon && self.outfile.is_none() {
            return Err(Refusal::line("-o must be specified with -d."));
        }
        let layout = match (self.format, self.csv, self.json) {
            (Some(text), _, _) => match Format::parse(&text) {
                Some(format) => Layout::Format(format, self.timefmt.as_deref().map(Clock::new)),
                None => {
                    return Err(Refusal::line(
                        "Something is wrong with your format string.\n\
                         It is longer than 4096 bytes.",
                    ));
                }
            },
            (None, true, _) => Layout::Csv,
            (None, false, true) => Layout::Json,
            (None, false, false) => Layout::Plain,
        };
        let targets = if self.daemon && daemon::is_background() {
            // They come over standard input, which must not be read as a list here.
            Targets::default()
        } else {
            Targets::collect(self.fromfile.as_deref(), &self.operands)?
        };
        Ok(Options {
            events: if self.events == 0 { names::ALL } else { self.events },
            monitor: self.monitor || self.daemon,
            daemon: self.daemon,
            syslog: self.syslog || self.daemon,
            recursive: self.recursive,
            no_dereference: self.no_dereference,
            quiet: self.quiet,
            timeout: self.timeout,
            layout,
            terminator: match (self.null, self.no_newline) {
                (true, _) => b"\0",
                (false, true) => b"",
                (false, false) => b"\n",
            },
            outfile: self.outfile,
            filter,
            targets,
            called,
            settle: self.settle,
            rescan_on_overflow: self.rescan_on_overflow,
            stats_json: self.stats_json,
            strict_compat: self.strict_compat,
        })
    }
}

fn once(slot: &mut Option<Vec<u8>>, value: Vec<u8>, name: &str) -> Result<(), Refusal> {
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => Err(Refusal::line(format!("Multiple {name} options given."))),
    }
}

fn last(slot: &mut Option<Vec<u8>>, value: Vec<u8>, warned: Option<&str>) {
    if slot.replace(value).is_some()
        && let Some(name) = warned
    {
        eprintln!("{name}: only the last option will be taken into consideration.");
    }
}
