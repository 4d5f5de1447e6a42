//! One pull mirror: a source elsewhere that is copied to directories here at set times.
//!
//! Nothing is watched. A run is one session for each target, one after the other on one thread, so
//! runs never overlap; times that pass during a run are not made up for.

mod run;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use jiff::Timestamp;

use crate::config::PullConfig;
use crate::mirror::{NoSuchTarget, NotFlushed, StartError};
use crate::status::{LaneState, MirrorState, MirrorStatus, PassStatus, TargetStatus, WatchStatus};
use run::Outcome;

/// Longest sleep: a clock that is set shows in time.
const CLOCK_CHECK: Duration = Duration::from_secs(20);

struct Shared {
    config: PullConfig,
    state: Mutex<State>,
    /// Something in `state` changed.
    changed: Condvar,
    stop: AtomicBool,
}

struct State {
    targets: Vec<Target>,
}

/// What is known of one directory.
#[derive(Default)]
struct Target {
    /// Runs asked for, by the schedule or a person, and the number of them that the last run that
    /// ended had seen.
    asked: u64,
    done: u64,
    running: bool,
    paused: Option<String>,
    accept_deletes: bool,
    bytes_sent: u64,
    bytes_received: u64,
    passes: u64,
    files: u64,
    last_pass: Option<PassStatus>,
}

/// A pull mirror that runs. Dropping it without [`Pull::stop`] leaves its thread running.
pub struct Pull {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Pull {
    /// Starts waiting for the first time of the schedule.
    ///
    /// # Errors
    /// The thread cannot be started.
    pub fn start(config: PullConfig) -> Result<Self, StartError> {
        let name = config.name.clone();
        let targets = config.targets.iter().map(|_| Target::default()).collect();
        let shared = Arc::new(Shared {
            config,
            state: Mutex::new(State { targets }),
            changed: Condvar::new(),
            stop: AtomicBool::new(false),
        });
        let keeper = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name("pull".into())
            .spawn(move || keeper.keep())
            .map_err(|source| StartError::Thread { name, source })?;
        Ok(Self { shared, thread: Mutex::new(Some(thread)) })
    }

    /// What it was started with.
    pub fn config(&self) -> &PullConfig {
        &self.shared.config
    }

    /// How it is doing.
    pub fn status(&self) -> MirrorStatus {
        let Shared { config, .. } = &*self.shared;
        let state = self.shared.state();
        let targets = config.targets.iter().zip(&state.targets);
        MirrorStatus {
            name: config.name.clone(),
            source: config.source.to_string(),
            state: MirrorState::Running,
            error: None,
            watch: WatchStatus::default(),
            next_pass: config.schedule.next_after(Timestamp::now()).map(SystemTime::from),
            next_verify: None,
            targets: targets.map(|(path, target)| target.status(path)).collect(),
        }
    }

    /// Runs now and returns when the targets have what the source had at the time of the call.
    ///
    /// # Errors
    /// Who has not, and why, when the run failed or `timeout` has passed.
    pub fn flush(&self, target: Option<&str>, timeout: Duration) -> Result<(), NotFlushed> {
        let deadline = Instant::now() + timeout;
        let chosen = self.ask(target)?;
        let mut state = self.shared.state();
        loop {
            let open = |at: &usize| state.targets[*at].done < state.targets[*at].asked;
            let left = deadline.saturating_duration_since(Instant::now());
            if !chosen.iter().any(open) || left.is_zero() || self.shared.stopping() {
                break;
            }
            let waited = self.shared.changed.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        let behind: Vec<String> = chosen
            .iter()
            .filter_map(|at| {
                let why = state.targets[*at].trouble()?;
                Some(format!("{}: {why}", self.shared.config.targets[*at].display()))
            })
            .collect();
        if behind.is_empty() { Ok(()) } else { Err(NotFlushed::Behind(behind)) }
    }

    /// Leaves out runs until [`Pull::resume`].
    ///
    /// # Errors
    /// When there is no such target.
    pub fn pause(&self, target: Option<&str>) -> Result<(), NoSuchTarget> {
        let chosen = self.choose(target)?;
        let mut state = self.shared.state();
        for at in chosen {
            state.targets[at].paused = Some("paused by a person".to_owned());
        }
        Ok(())
    }

    /// Goes on after a pause. With `accept_deletes`, what the deletion guard stopped may happen once,
    /// in a run that begins now.
    ///
    /// # Errors
    /// When there is no such target.
    pub fn resume(&self, target: Option<&str>, accept_deletes: bool) -> Result<(), NoSuchTarget> {
        let chosen = self.choose(target)?;
        {
            let mut state = self.shared.state();
            for at in chosen {
                let target = &mut state.targets[at];
                target.paused = None;
                target.accept_deletes |= accept_deletes;
            }
        }
        if accept_deletes { self.ask(target).map(drop) } else { Ok(()) }
    }

    /// Asks for a run now.
    ///
    /// # Errors
    /// When there is no such target.
    pub fn resync(&self, target: Option<&str>) -> Result<(), NoSuchTarget> {
        self.ask(target).map(drop)
    }

    /// The directories that `target` means; all when it is `None`.
    ///
    /// # Errors
    /// When there is no such target.
    pub fn targets(&self, target: Option<&str>) -> Result<Vec<String>, NoSuchTarget> {
        let path = |at: usize| self.shared.config.targets[at].display().to_string();
        Ok(self.choose(target)?.into_iter().map(path).collect())
    }

    /// Abandons a run and ends the thread.
    pub fn stop(&self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        self.shared.changed.notify_all();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if thread.is_some_and(|thread| thread.join().is_err()) {
            tracing::error!(mirror = %self.shared.config.name, "a thread had panicked");
        }
    }

    fn ask(&self, target: Option<&str>) -> Result<Vec<usize>, NoSuchTarget> {
        let chosen = self.choose(target)?;
        let mut state = self.shared.state();
        for at in &chosen {
            state.targets[*at].asked += 1;
        }
        self.shared.changed.notify_all();
        Ok(chosen)
    }

    fn choose(&self, target: Option<&str>) -> Result<Vec<usize>, NoSuchTarget> {
        let config = &self.shared.config;
        let names: Vec<String> =
            config.targets.iter().map(|path| path.display().to_string()).collect();
        let is_meant = |name: &str| {
            target.is_none_or(|wanted| name == wanted || name.ends_with(&format!("/{wanted}")))
        };
        let found: Vec<usize> = (0..names.len()).filter(|at| is_meant(&names[*at])).collect();
        match (found.is_empty(), target) {
            (true, Some(target)) => Err(NoSuchTarget::new(&config.name, target, &names)),
            _ => Ok(found),
        }
    }
}

impl Target {
    fn status(&self, path: &Path) -> TargetStatus {
        let state = match (self.running, &self.paused) {
            (true, _) => LaneState::FullPass,
            (false, Some(_)) => LaneState::Paused,
            (false, None) => LaneState::Waiting,
        };
        TargetStatus {
            url: path.display().to_string(),
            state,
            lag: Duration::ZERO,
            dirty_paths: u64::from(self.done < self.asked),
            bytes_sent: self.bytes_sent,
            bytes_received: self.bytes_received,
            batches: 0,
            passes: self.passes,
            files_sent: self.files,
            last_error: self.paused.clone().or_else(|| self.last_pass.as_ref()?.error.clone()),
            next_retry: None,
            refusals: Vec::new(),
            last_pass: self.last_pass.clone(),
            last_verify: None,
        }
    }

    /// Why it does not have everything; `None`: it has.
    fn trouble(&self) -> Option<String> {
        if let Some(paused) = &self.paused {
            return Some(paused.clone());
        }
        if self.done < self.asked {
            return Some("still at work".to_owned());
        }
        self.last_pass.as_ref().and_then(|pass| pass.error.clone())
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn stopping(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// Runs when a time comes or somebody asks, until the mirror stops.
    fn keep(&self) {
        let mut asked = Timestamp::now();
        while !self.stopping() {
            let now = Timestamp::now();
            // A clock that was set back must not silence the schedule.
            asked = asked.min(now);
            let due = self.config.schedule.next_after(asked);
            if due.is_some_and(|due| due <= now) {
                for target in &mut self.state().targets {
                    target.asked += 1;
                }
                asked = now;
            }
            let next = (0..self.config.targets.len()).find(|at| self.is_asked(*at));
            match next {
                Some(at) => {
                    self.run(at);
                    // Times that came meanwhile are not made up for.
                    asked = asked.max(Timestamp::now());
                }
                None => {
                    let wait = due.map(|due| Duration::try_from(due - now).unwrap_or_default());
                    let wait = wait.filter(|wait| !wait.is_zero()).unwrap_or(CLOCK_CHECK);
                    self.wait(wait.min(CLOCK_CHECK));
                }
            }
        }
    }

    /// Whether a run is due; one for a paused target is left out.
    fn is_asked(&self, at: usize) -> bool {
        let state = &mut *self.state();
        let target = &mut state.targets[at];
        if target.done == target.asked {
            return false;
        }
        if target.paused.is_some() {
            target.done = target.asked;
            let (mirror, path) = (&self.config.name, self.config.targets[at].display());
            tracing::warn!(%mirror, target = %path, "run left out: the target is paused");
            self.changed.notify_all();
            return false;
        }
        true
    }

    fn wait(&self, time: Duration) {
        let state = self.state();
        let idle = |state: &mut State| {
            !self.stopping() && state.targets.iter().all(|target| target.done == target.asked)
        };
        drop(self.changed.wait_timeout_while(state, time, idle));
    }

    fn run(&self, at: usize) {
        let path = &self.config.targets[at];
        let (mirror, target) = (&self.config.name, path.display());
        let (asked, accept_deletes) = {
            let state = &mut *self.state();
            let target = &mut state.targets[at];
            target.running = true;
            (target.asked, target.accept_deletes)
        };
        tracing::info!(%mirror, %target, source = %self.config.source, "a run begins");
        let (began, clock) = (SystemTime::now(), Instant::now());
        let attempt = || run::run(&self.config, path, accept_deletes, &self.stop);
        let outcome = catch_unwind(AssertUnwindSafe(attempt))
            .unwrap_or_else(|_| Outcome::failed("a bug ended the run; it is in the log".into()));
        let took = clock.elapsed();
        let (files, bytes) = (outcome.files, outcome.bytes_received);
        match &outcome.error {
            None => tracing::info!(%mirror, %target, files, bytes, ?took, "the run ended well"),
            Some(error) => tracing::error!(%mirror, %target, ?took, "the run failed: {error}"),
        }
        let state = &mut *self.state();
        let target = &mut state.targets[at];
        target.running = false;
        target.done = asked;
        target.bytes_sent += outcome.bytes_sent;
        target.bytes_received += outcome.bytes_received;
        target.files += outcome.files;
        target.passes += u64::from(outcome.error.is_none());
        if outcome.guarded {
            target.paused.clone_from(&outcome.error);
        } else {
            target.accept_deletes = false;
        }
        target.last_pass = Some(PassStatus { began, took, files, bytes, error: outcome.error });
        self.changed.notify_all();
    }
}
