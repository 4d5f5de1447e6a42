//! `inotifywatch`: counts events.

mod counts;
mod help;
mod options;
mod sorting;

use std::io::Write;
use std::time::{Duration, Instant};

use rustc_hash::FxHashMap;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use signal_hook::consts::{SIGALRM, SIGHUP, SIGINT, SIGTERM, SIGUSR1};
use std::os::fd::AsFd;

use super::called::Called;
use super::diagnostics::Diagnostics;
use super::filter::Filter;
use super::follow::{Asked, Teller, Told};
use super::layout::Event;
use super::progress::Progress;
use super::setup::{Plan, Setup, Wording};
use super::signals::Signals;
use super::source::Source;
use super::table::{Node, Table};
use super::timeout::Timeout;
use super::wait::timespec;
use super::watches::Watches;
use counts::{Counts, Form, Row};
use options::Options;

/// Reads of the queue between two looks at signals and the time: more than a full queue needs.
const MOST_READS: usize = 32;

/// Runs the tool and returns its exit code.
pub fn run(called: Called, words: Vec<Vec<u8>>) -> u8 {
    match Options::parse(called, words) {
        Ok(options) => count(options),
        Err(refusal) => refusal.print(),
    }
}

/// The counts of a run.
struct Tally {
    filter: Filter,
    events: u32,
    /// Events that the kernel was asked for besides, to follow directories.
    extra: u32,
    by_node: FxHashMap<Node, Counts>,
    /// Rows of what was told by name, without a watch.
    by_path: FxHashMap<Box<[u8]>, Counts>,
    /// Rows of what is no longer watched.
    gone: Vec<Row>,
    all: Counts,
    path: Vec<u8>,
}

impl Teller for Tally {
    fn tell(&mut self, watches: &Watches, told: &Told<'_>) {
        let Some(node) = told.node else { return };
        // What nobody asked for counts too (the end of a watch), unless only we asked for it.
        if told.mask & self.events == 0 && told.mask & self.extra != 0 {
            return;
        }
        self.path.clear();
        watches.table().write_path(node, &mut self.path);
        if self.filter.admits(&self.path, told.name) {
            self.by_node.entry(node).or_default().add(told.mask);
            self.all.add(told.mask);
        }
    }

    fn tell_event(&mut self, event: &Event<'_>) {
        let is_ours = event.mask & self.events == 0 && event.mask & self.extra != 0;
        let is_overflow = event.watched.is_empty();
        if is_ours || is_overflow || !self.filter.admits(event.watched, event.file) {
            return;
        }
        let path = [event.watched, event.file].concat();
        self.by_path.entry(path.into()).or_default().add(event.mask);
        self.all.add(event.mask);
    }

    fn leaves(&mut self, table: &Table, node: Node) {
        if let Some(counts) = self.by_node.remove(&node) {
            let mut path = Vec::new();
            table.write_path(node, &mut path);
            self.gone.push(Row { path, counts });
        }
    }

    fn recovered(&mut self, _watches: &Watches) {}
}

impl Tally {
    /// All rows, in the order of their watches.
    fn rows(&self, table: Option<&Table>, form: &Form) -> Vec<Row> {
        let mut rows = Vec::new();
        for (table, node) in table
            .into_iter()
            .flat_map(|table| table.children_first().into_iter().map(move |n| (table, n)))
        {
            let counts = self.by_node.get(&node).cloned().unwrap_or_default();
            if form.zero || !counts.is_zero() {
                let mut path = Vec::new();
                table.write_path(node, &mut path);
                rows.push(Row { path, counts });
            }
        }
        rows.extend(self.gone.iter().cloned());
        let mut named: Vec<Row> = self
            .by_path
            .iter()
            .map(|(path, counts)| Row { path: path.to_vec(), counts: counts.clone() })
            .collect();
        named.sort_by(|a, b| a.path.cmp(&b.path));
        rows.extend(named);
        rows
    }
}

fn count(options: Options) -> u8 {
    let diagnostics = Diagnostics::Stderr;
    // From the start: a signal that comes early must find us.
    let signals = match Signals::catch(&[SIGINT, SIGTERM, SIGHUP, SIGALRM, SIGUSR1]) {
        Ok(signals) => signals,
        Err(error) => {
            diagnostics.say(&format!("Couldn't catch signals: {error}"));
            return 1;
        }
    };
    let beyond = options.recursive && !options.strict_compat;
    let asked = Asked {
        mask: options.events,
        tells_found: beyond,
        follows: options.recursive,
        extends: beyond || options.called.is_filesystem(),
    };
    let plan = Plan {
        called: &options.called,
        targets: &options.targets,
        asked,
        recursive: options.recursive,
        no_dereference: options.no_dereference,
    };
    let progress = Progress::on_terminal();
    let Some(mut setup) = Setup::begin(&plan, progress, &diagnostics) else { return 1 };
    diagnostics.say("Establishing watches...");
    let tells_each = options.verbose > 0 && options.recursive;
    for argument in &options.targets.watch {
        if options.called.is_filesystem() {
            diagnostics.say_bytes(&[b"Setting up filesystem watch on ", &argument[..]].concat());
        } else if tells_each {
            diagnostics.say_bytes(&[b"Setting up watch(es) on ", &argument[..]].concat());
        }
        if setup.watch(argument, Wording::Failed, &diagnostics).is_err() {
            return 1;
        }
        if tells_each {
            diagnostics.say_bytes(&[b"OK, ", &argument[..], b" is now being watched."].concat());
        }
    }
    let source = setup.complete(&plan, &diagnostics, false);
    if options.verbose > 0 {
        diagnostics.say(&format!("Total of {} watches.", source.len()));
    }
    diagnostics.say("Finished establishing watches, now collecting statistics.");
    let silence = match options.timeout {
        Timeout::Negative => {
            diagnostics.say("Negative timeout specified - abort!");
            return 1;
        }
        Timeout::After(time) => {
            if options.verbose > 0 {
                let seconds = time.as_secs();
                diagnostics.say(&format!("Will listen for events for {seconds} seconds."));
            }
            Some(time)
        }
        Timeout::Never => None,
    };
    let tally = Tally {
        filter: options.filter,
        events: options.events,
        extra: asked.extra(),
        by_node: FxHashMap::default(),
        by_path: FxHashMap::default(),
        gone: Vec::new(),
        all: Counts::default(),
        path: Vec::new(),
    };
    let form = Form { events: options.events, zero: options.zero, sorting: options.sorting };
    let mut run = Run { source, tally, signals, form, json: options.stats_json };
    match run.until_the_end(silence) {
        Ok(()) => 0,
        Err(error) => {
            diagnostics.say(&format!("Couldn't go on: {}", super::reason(error)));
            1
        }
    }
}

/// A run that is set up.
struct Run {
    source: Source,
    tally: Tally,
    signals: Signals,
    form: Form,
    json: bool,
}

impl Run {
    fn until_the_end(&mut self, time: Option<Duration>) -> Result<(), Errno> {
        let end = time.and_then(|time| Instant::now().checked_add(time));
        loop {
            let wake = [end, self.source.deadline()].into_iter().flatten().min();
            self.wait(wake)?;
            let signal = self.signals.take();
            let over = end.is_some_and(|end| Instant::now() >= end);
            // What was queued before a signal is counted before it is answered; what keeps coming
            // must not keep it from being answered.
            let mut reads = 0;
            while self.source.read(&mut self.tally, |_| false)? > 0 && reads < MOST_READS {
                reads += 1;
            }
            if reads == 0 {
                self.source.settle(&mut self.tally);
            }
            match signal {
                Some(SIGUSR1) => self.print_interim()?,
                Some(_) => return self.print(),
                None if over => return self.print(),
                None => {}
            }
        }
    }

    fn wait(&self, wake: Option<Instant>) -> Result<(), Errno> {
        let mut fds = vec![PollFd::from_borrowed_fd(self.source.as_fd(), PollFlags::IN)];
        fds.extend(
            self.signals.descriptors().map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)),
        );
        let wait = wake.map(|wake| wake.saturating_duration_since(Instant::now()));
        match poll(&mut fds, wait.map(timespec).as_ref()) {
            Ok(_) | Err(Errno::INTR) => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn print_interim(&self) -> Result<(), Errno> {
        self.print()?;
        self.write(b"\n")
    }

    fn print(&self) -> Result<(), Errno> {
        if self.tally.all.is_zero() && !self.json {
            Diagnostics::Stderr.say("No events occurred.");
            return Ok(());
        }
        let rows = self.tally.rows(self.source.watches().map(Watches::table), &self.form);
        let write = if self.json { counts::json } else { counts::table };
        self.write(&write(rows, &self.tally.all, &self.form))
    }

    fn write(&self, bytes: &[u8]) -> Result<(), Errno> {
        let mut out = std::io::stdout().lock();
        out.write_all(bytes)
            .and_then(|()| out.flush())
            .map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))
    }
}
