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

use super::called::{Backend, Called};
use super::diagnostics::Diagnostics;
use super::filter::Filter;
use super::follow::{Asked, Follower, Teller, Told};
use super::names;
use super::progress::Progress;
use super::setup::{self, Wording};
use super::signals::Signals;
use super::table::{Node, Table};
use super::timeout::Timeout;
use super::wait::timespec;
use super::watches::{Manner, Watches};
use counts::{Counts, Form, Row};
use options::Options;

/// What the kernel is asked for besides, to follow directories.
const FOLLOWING: u32 = names::CREATE | names::MOVE;

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
    fn rows(&self, table: &Table, form: &Form) -> Vec<Row> {
        let mut rows = Vec::new();
        for node in table.children_first() {
            let counts = self.by_node.get(&node).cloned().unwrap_or_default();
            if form.zero || !counts.is_zero() {
                let mut path = Vec::new();
                table.write_path(node, &mut path);
                rows.push(Row { path, counts });
            }
        }
        rows.extend(self.gone.iter().cloned());
        rows
    }
}

fn count(options: Options) -> u8 {
    let diagnostics = Diagnostics::Stderr;
    if options.called.backend() == Backend::Fanotify {
        diagnostics.say("fanotify is not supported by this build; use -I or inotifywatch.");
        return 1;
    }
    // From the start: a signal that comes early must find us.
    let signals = match Signals::catch(&[SIGINT, SIGTERM, SIGHUP, SIGALRM, SIGUSR1]) {
        Ok(signals) => signals,
        Err(error) => {
            diagnostics.say(&format!("Couldn't catch signals: {error}"));
            return 1;
        }
    };
    let follows = options.recursive;
    let extends = follows && !options.strict_compat;
    let manner = Manner {
        mask: options.events | if extends { FOLLOWING } else { 0 },
        recursive: options.recursive,
        no_dereference: options.no_dereference,
    };
    let targets = &options.targets;
    let Some(mut watches) =
        setup::instance(manner, targets, Progress::on_terminal(), &diagnostics)
    else {
        return 1;
    };
    diagnostics.say("Establishing watches...");
    let tells_each = options.verbose > 0 && options.recursive;
    for argument in &targets.watch {
        if tells_each {
            diagnostics.say_bytes(&[b"Setting up watch(es) on ", &argument[..]].concat());
        }
        if setup::watch(&mut watches, argument, Wording::Failed, &diagnostics).is_err() {
            return 1;
        }
        if tells_each {
            diagnostics.say_bytes(&[b"OK, ", &argument[..], b" is now being watched."].concat());
        }
    }
    watches.complete();
    if options.verbose > 0 {
        diagnostics.say(&format!("Total of {} watches.", watches.table().len()));
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
    let asked = Asked { mask: options.events, tells_found: extends, follows };
    let follower = Follower::new(watches, asked, diagnostics.clone(), false);
    let tally = Tally {
        filter: options.filter,
        events: options.events,
        extra: if extends { FOLLOWING } else { 0 },
        by_node: FxHashMap::default(),
        gone: Vec::new(),
        all: Counts::default(),
        path: Vec::new(),
    };
    let form = Form { events: options.events, zero: options.zero, sorting: options.sorting };
    let mut run = Run { follower, tally, signals, form, json: options.stats_json };
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
    follower: Follower,
    tally: Tally,
    signals: Signals,
    form: Form,
    json: bool,
}

impl Run {
    fn until_the_end(&mut self, time: Option<Duration>) -> Result<(), Errno> {
        let end = time.and_then(|time| Instant::now().checked_add(time));
        loop {
            let wake = [end, self.follower.deadline()].into_iter().flatten().min();
            self.wait(wake)?;
            let signal = self.signals.take();
            let over = end.is_some_and(|end| Instant::now() >= end);
            // What was queued before a signal is counted before it is answered; what keeps coming
            // must not keep it from being answered.
            let mut reads = 0;
            while self.follower.read(&mut self.tally, |_| false)? > 0 && reads < MOST_READS {
                reads += 1;
            }
            if reads == 0 {
                self.follower.settle_pairs(&mut self.tally);
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
        let mut fds = vec![PollFd::from_borrowed_fd(self.follower.as_fd(), PollFlags::IN)];
        fds.extend(self.signals.descriptors().map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)));
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
        let rows = self.tally.rows(self.follower.watches().table(), &self.form);
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
