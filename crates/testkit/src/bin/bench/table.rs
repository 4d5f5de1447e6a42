//! Figures, their medians, and the table that is printed.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use crate::programs::Program;

/// A line of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Row {
    LatencyMedian,
    LatencyWorst,
    Burst,
    RenameTime,
    RenameBytes,
    EditTime,
    EditBytes,
    EditReads,
    Delete,
    Rewrite,
    ChangesCpu,
    IdleMemory,
    IdleCpu,
    FirstPassTime,
    FirstPassCpu,
    WatchStart,
    MarkStart,
    LiveWatchStart,
    LiveMarkStart,
    WatchMemory,
    MarkMemory,
    LiveWatchMemory,
    LiveMarkMemory,
    WatchIdle,
    WatchDrain,
    MarkDrain,
    WatchRate,
    WatchCpu,
}

/// What driftless has to reach in a row.
enum Goal {
    /// At most this many of the row's unit.
    AtMost(f64),
    /// At most this share of what stock rsync needs.
    OfRsync(f64),
    /// At most this share of what inotifywait needs.
    OfInotifyWait(f64),
    /// At least this many times what inotifywait does.
    TimesInotifyWait(f64),
}

impl Row {
    fn title(self) -> &'static str {
        match self {
            Self::LatencyMedian => "one small file changed, p50, ms",
            Self::LatencyWorst => "one small file changed, p99, ms",
            Self::Burst => "10,000 new small files, after the last write, s",
            Self::RenameTime => "rename 1,000 files, 100 MB, s",
            Self::RenameBytes => "rename 1,000 files, 100 MB, MB sent",
            Self::EditTime => "200 MB file, 4 KB edited, s",
            Self::EditBytes => "200 MB file, 4 KB edited, MB sent",
            Self::EditReads => "200 MB file, 4 KB edited, times read",
            Self::Delete => "delete a tree of 1,000 files, s",
            Self::Rewrite => "same size within one second, lost of 10",
            Self::ChangesCpu => "50 single changes, CPU, s",
            Self::IdleMemory => "idle, 100,000 files, memory, MB",
            Self::IdleCpu => "idle, 100,000 files, CPU, %",
            Self::FirstPassTime => "first pass of 100,000 files, s",
            Self::FirstPassCpu => "first pass of 100,000 files, client CPU, s",
            Self::WatchStart => "100,000 directories, inotify, until they are watched, s",
            Self::MarkStart => "100,000 directories, fanotify, until they are watched, s",
            Self::LiveWatchStart => "the same, live --backend inotify, s",
            Self::LiveMarkStart => "the same, live --backend fanotify, s",
            Self::WatchMemory => "100,000 directories, inotify, memory in all, MB",
            Self::MarkMemory => "100,000 directories, fanotify, memory in all, MB",
            Self::LiveWatchMemory => "the same, live, inotify more than fanotify, MB",
            Self::LiveMarkMemory => "the same, live --backend fanotify, in all, MB",
            Self::WatchIdle => "100,000 directories, both back-ends, idle for 5 s, CPU, s",
            Self::WatchDrain => "inotify, a full queue printed, µs an event",
            Self::MarkDrain => "fanotify, as many changes printed, µs an event of inotify",
            Self::WatchRate => "create, write, close without loss, 1/64 of a core, files/s",
            Self::WatchCpu => "the same, CPU of the reader, µs an event",
        }
    }

    fn goal(self) -> Goal {
        match self {
            Self::LatencyMedian => Goal::AtMost(10.0),
            Self::LatencyWorst => Goal::AtMost(30.0),
            Self::Burst => Goal::AtMost(2.0),
            Self::RenameTime => Goal::AtMost(0.5),
            Self::RenameBytes => Goal::AtMost(1.0),
            Self::EditTime => Goal::AtMost(0.9),
            Self::EditBytes => Goal::AtMost(0.55),
            Self::EditReads => Goal::AtMost(1.05),
            Self::Delete => Goal::AtMost(0.4),
            Self::Rewrite | Self::IdleCpu | Self::WatchIdle => Goal::AtMost(0.0),
            Self::ChangesCpu => Goal::AtMost(0.2),
            Self::IdleMemory => Goal::AtMost(40.0),
            Self::FirstPassTime => Goal::OfRsync(0.9),
            Self::FirstPassCpu => Goal::OfRsync(0.8),
            Self::WatchStart | Self::LiveWatchStart => Goal::OfInotifyWait(0.5),
            Self::MarkStart | Self::LiveMarkStart => Goal::OfInotifyWait(0.02),
            Self::WatchMemory | Self::LiveWatchMemory => Goal::OfInotifyWait(0.6),
            Self::MarkMemory | Self::LiveMarkMemory => Goal::AtMost(15.0),
            Self::WatchDrain | Self::MarkDrain | Self::WatchCpu => Goal::OfInotifyWait(1.0 / 3.0),
            Self::WatchRate => Goal::TimesInotifyWait(3.0),
        }
    }
}

/// One measured value, in the unit of its row.
#[derive(Clone, Copy, Debug)]
pub struct Figure {
    row: Row,
    value: f64,
}

impl Figure {
    /// A value that is in the row's unit already.
    pub fn new(row: Row, value: f64) -> Self {
        Self { row, value }
    }

    /// A time in milliseconds.
    pub fn millis(row: Row, time: Duration) -> Self {
        Self::new(row, time.as_secs_f64() * 1e3)
    }

    /// A time in seconds.
    pub fn seconds(row: Row, time: Duration) -> Self {
        Self::new(row, time.as_secs_f64())
    }

    /// A number of bytes, in millions.
    pub fn megabytes(row: Row, bytes: u64) -> Self {
        Self::new(row, bytes as f64 / 1e6)
    }
}

/// What one run of a scenario gave.
#[derive(Debug)]
pub struct Outcome {
    /// The values; none when the scenario did not get to its end.
    pub figures: Vec<Figure>,
    /// Why the trees are not identical, when they are not.
    pub lost: Option<String>,
}

impl Outcome {
    /// A run that did not get to its end.
    pub fn lost(why: &str) -> Self {
        Self { figures: Vec::new(), lost: Some(why.to_owned()) }
    }

    /// A run in which the change of `row` took longer than [`Program::patience`].
    pub fn late(row: Row) -> Self {
        Self { figures: vec![Figure::new(row, f64::INFINITY)], lost: None }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for figure in &self.figures {
            write!(out, "{}: {}; ", figure.row.title(), shown(figure.value))?;
        }
        match &self.lost {
            Some(why) => write!(out, "LOST ({why})"),
            None => Ok(()),
        }
    }
}

/// All figures of a bench, printed as a table of medians.
#[derive(Debug, Default)]
pub struct Table {
    values: BTreeMap<Row, BTreeMap<Program, Vec<f64>>>,
    lost: Vec<(Program, String)>,
}

impl Table {
    /// Takes the outcome of one run.
    pub fn add(&mut self, program: Program, outcome: Outcome) {
        for figure in outcome.figures {
            let row = self.values.entry(figure.row).or_default();
            row.entry(program).or_default().push(figure.value);
        }
        self.lost.extend(outcome.lost.map(|why| (program, why)));
    }
}

impl fmt::Display for Table {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            out,
            "| scenario | shell loop | lsyncd, delay 1 | lsyncd, delay 0 | rsync | inotifywait | driftless | to the best other | must reach |"
        )?;
        writeln!(out, "|---|---|---|---|---|---|---|---|---|")?;
        for (row, programs) in &self.values {
            write!(out, "| {} |", row.title())?;
            let median_of = |program: &Program| programs.get(program).map(|all| median(all));
            for program in Program::ALL {
                let cell = match median_of(program) {
                    Some(value) if value.is_infinite() => {
                        format!("not within {} s", program.patience().as_secs())
                    }
                    value => value.map(shown).unwrap_or_default(),
                };
                write!(out, " {cell} |")?;
            }
            let own = median_of(&Program::Driftless);
            let best = Program::ALL
                .iter()
                .filter(|program| **program != Program::Driftless)
                .filter_map(median_of)
                .min_by(f64::total_cmp);
            let ratio = own.zip(best.filter(|best| *best > 0.0)).map(|(own, best)| own / best);
            write!(out, " {} |", ratio.map(shown).unwrap_or_default())?;
            let limit = match row.goal() {
                Goal::AtMost(limit) => Some(limit),
                Goal::OfRsync(share) => median_of(&Program::Rsync).map(|rsync| rsync * share),
                Goal::OfInotifyWait(factor) | Goal::TimesInotifyWait(factor) => {
                    median_of(&Program::InotifyWait).map(|theirs| theirs * factor)
                }
            };
            let is_reached = |own: f64, limit: f64| match row.goal() {
                Goal::TimesInotifyWait(_) => own >= limit,
                _ => own <= limit,
            };
            let verdict = match own.zip(limit) {
                Some((own, limit)) if is_reached(own, limit) => "reached",
                Some(_) => "NOT reached",
                None => "",
            };
            writeln!(out, " {} {verdict} |", limit.map(shown).unwrap_or_default())?;
        }
        for (program, why) in &self.lost {
            writeln!(out, "LOST by {}: {why}", program.name())?;
        }
        Ok(())
    }
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[sorted.len() / 2]
}

fn shown(value: f64) -> String {
    match value {
        v if v >= 100.0 => format!("{v:.0}"),
        v if v >= 10.0 => format!("{v:.1}"),
        v if v >= 0.1 || v == 0.0 => format!("{v:.2}"),
        v => format!("{v:.4}"),
    }
}
