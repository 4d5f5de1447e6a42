//! `inotifywait`: prints events.

mod coalesce;
mod daemon;
mod help;
mod options;
mod printer;

use std::ffi::OsStr;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1};

pub use options::Patterns;

use super::called::Called;
use super::diagnostics::Diagnostics;
use super::follow::Asked;
use super::out::Out;
use super::progress::Progress;
use super::setup::{Plan, Setup, Wording};
use super::signals::Signals;
use super::snapshot::Snapshot;
use super::source::Source;
use super::timeout::Timeout;
use coalesce::Coalescer;
use options::Options;
use printer::Printer;

/// Exit code when nothing happened for as long as `-t` says.
const TIMED_OUT: u8 = 2;

/// Runs the tool and returns its exit code.
pub fn run(called: Called, words: Vec<Vec<u8>>) -> u8 {
    let mut options = match Options::parse(called, words) {
        Ok(options) => options,
        Err(refusal) => return refusal.print(),
    };
    if daemon::is_background() && options.daemon {
        match daemon::enter() {
            Ok(targets) => options.targets = targets,
            Err(_) => return 1,
        }
        return watch(options, Out::stdout());
    }
    let out = match &options.outfile {
        None => Out::stdout(),
        Some(name) => match open_outfile(name, options.daemon) {
            Ok(file) if options.daemon => {
                return match daemon::start(&options.targets, file) {
                    Ok(()) => 0,
                    Err(error) => {
                        eprintln!("Couldn't go into the background: {error}");
                        1
                    }
                };
            }
            Ok(file) => Ok(Out::file(file)),
            Err(line) => {
                Diagnostics::Stderr.say_bytes(&line);
                return 1;
            }
        },
    };
    watch(options, out)
}

fn open_outfile(name: &[u8], must_exist: bool) -> Result<File, Vec<u8>> {
    let path = Path::new(OsStr::from_bytes(name));
    if must_exist && let Err(error) = std::fs::metadata(path) {
        let reason = super::reason_of(&error);
        return Err([reason.as_bytes(), b": ", name].concat());
    }
    OpenOptions::new().append(true).create(true).mode(0o600).open(path).map_err(|error| {
        let why = format!("\nThe reason: {}.", super::reason_of(&error));
        [b"Failed to open output file ", name, why.as_bytes()].concat()
    })
}

fn watch(options: Options, out: io::Result<Out>) -> u8 {
    let diagnostics = if options.syslog { Diagnostics::Syslog } else { Diagnostics::Stderr };
    let out = match out {
        Ok(out) => out,
        Err(error) => {
            diagnostics.say(&format!("Couldn't write events: {error}"));
            return 1;
        }
    };
    let follows = options.recursive && (options.monitor || !options.strict_compat);
    let asked = Asked {
        mask: options.events,
        tells_found: follows && !options.strict_compat,
        follows,
        extends: follows || options.called.is_filesystem(),
    };
    let plan = Plan {
        called: &options.called,
        targets: &options.targets,
        asked,
        recursive: options.recursive,
        no_dereference: options.no_dereference,
    };
    let silent_progress = options.quiet > 0 || options.syslog;
    let progress = if silent_progress { Progress::silent() } else { Progress::on_terminal() };
    let Some(mut setup) = Setup::begin(&plan, progress, &diagnostics) else { return 1 };
    if options.quiet == 0 {
        diagnostics.say(if options.called.is_filesystem() {
            "Setting up filesystem watches."
        } else if options.recursive {
            "Setting up watches.  Beware: since -r was given, this may take a while!"
        } else {
            "Setting up watches."
        });
    }
    for argument in &options.targets.watch {
        if setup.watch(argument, Wording::CouldNot, &diagnostics).is_err() {
            return 1;
        }
    }
    let source = setup.complete(&plan, &diagnostics, options.quiet > 1);
    // Before the line that says that everything from now on is told.
    let snapshot = source.watches().filter(|_| options.rescan_on_overflow).map(Snapshot::of);
    let mut signals = Signals::default();
    if options.stats_json {
        match Signals::catch(&[SIGINT, SIGTERM, SIGHUP, SIGUSR1]) {
            Ok(caught) => signals = caught,
            Err(error) => diagnostics.say(&format!("Couldn't catch signals: {error}")),
        }
    }
    if options.quiet == 0 {
        diagnostics.say("Watches established.");
    }
    if options.timeout == Timeout::Negative {
        diagnostics.say("Negative timeout specified - abort!");
        return 1;
    }
    let printer = Printer {
        out,
        layout: options.layout,
        filter: options.filter,
        terminator: options.terminator,
        events: options.events,
        extra: asked.extra(),
        monitor: options.monitor,
        silent: options.quiet > 1,
        coalescer: options.settle.map(Coalescer::new),
        snapshot,
        outcome: None,
        lines: 0,
        path: Vec::new(),
        path_of: None,
    };
    let mut run = Run { source, printer, signals, diagnostics, stats: options.stats_json };
    match run.until_the_end(options.timeout) {
        Ok(code) => code,
        // Nobody reads any more: end as others do when the pipe is closed.
        Err(Errno::PIPE) => {
            let _ = signal_hook::low_level::emulate_default_handler(signal_hook::consts::SIGPIPE);
            1
        }
        Err(error) => {
            run.diagnostics.say(&format!("Couldn't go on: {}", super::reason(error)));
            1
        }
    }
}

/// A run that is set up.
struct Run {
    source: Source,
    printer: Printer,
    signals: Signals,
    diagnostics: Diagnostics,
    stats: bool,
}

impl Run {
    fn until_the_end(&mut self, timeout: Timeout) -> Result<u8, Errno> {
        let silence = match timeout {
            Timeout::After(silence) => Some(silence),
            Timeout::Never | Timeout::Negative => None,
        };
        let mut quiet_since = Instant::now();
        loop {
            let end = silence.and_then(|silence| quiet_since.checked_add(silence));
            let held = self.printer.coalescer.as_ref().and_then(Coalescer::deadline);
            let wake = [end, held, self.source.deadline()].into_iter().flatten().min();
            self.wait(wake)?;
            if let Some(signal) = self.signals.take() {
                self.on_signal(signal)?;
            }
            let count = if self.printer.out.is_full() {
                0
            } else {
                self.source.read(&mut self.printer, |printer| printer.outcome.is_some())?
            };
            if let Some(code) = self.printer.outcome {
                return self.finish(code);
            }
            if count == 0 {
                self.source.settle(&mut self.printer);
            } else {
                quiet_since = Instant::now();
            }
            self.printer.print_ripe();
            self.printer.out.offer()?;
            if count == 0 && end.is_some_and(|end| Instant::now() >= end) {
                return self.finish(TIMED_OUT);
            }
        }
    }

    fn wait(&self, wake: Option<Instant>) -> Result<(), Errno> {
        let mut fds: Vec<PollFd<'_>> = Vec::with_capacity(8);
        // With too much unwritten the kernel's queue has to hold what comes.
        if !self.printer.out.is_full() {
            fds.push(PollFd::from_borrowed_fd(self.source.as_fd(), PollFlags::IN));
        }
        if self.printer.out.is_waiting() {
            fds.push(PollFd::from_borrowed_fd(self.printer.out.as_fd(), PollFlags::OUT));
        }
        fds.extend(
            self.signals.descriptors().map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)),
        );
        let wait = wake.map(|wake| wake.saturating_duration_since(Instant::now()));
        match poll(&mut fds, wait.map(timespec).as_ref()) {
            Ok(_) | Err(Errno::INTR) => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn finish(&mut self, code: u8) -> Result<u8, Errno> {
        self.printer.print_rest();
        self.printer.out.flush()?;
        self.say_counters();
        Ok(code)
    }

    fn on_signal(&mut self, signal: i32) -> Result<(), Errno> {
        if signal == SIGUSR1 {
            self.say_counters();
            return Ok(());
        }
        self.finish(0)?;
        // The exit status is what it would be without our handler.
        let _ = signal_hook::low_level::emulate_default_handler(signal);
        Ok(())
    }

    fn say_counters(&self) {
        if self.stats {
            let counters = self.source.counters();
            self.diagnostics.say(&format!(
                "{{\"events\":{},\"lines\":{},\"found\":{},\"overflows\":{},\"watches\":{}}}",
                counters.events,
                self.printer.lines,
                counters.found,
                counters.overflows,
                self.source.len()
            ));
        }
    }
}

/// A duration for the kernel, rounded up so that the time has come when it returns.
pub fn timespec(duration: Duration) -> Timespec {
    Timespec {
        tv_sec: i64::try_from(duration.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: i64::from(duration.subsec_nanos()),
    }
}
