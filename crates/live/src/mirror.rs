//! One mirror: a watched source and a lane for each target.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use driftless_fs::{FsError, Root};
use driftless_transfer::source::SourceCache;
use driftless_tree::Timestamp;
use driftless_watch::{WatchError, WatchOptions, Watcher};

use crate::config::{Destination, MirrorConfig};
use crate::engine::dirty::Cause;
use crate::lane::local::LocalTarget;
use crate::lane::rsync::RsyncTarget;
use crate::lane::{Lane, PausedBy, Target, View, run, wall_clock};
use crate::links::Links;
use crate::marks::{Marker, sweep};
use crate::rules::SourceRules;
use crate::status::{MirrorState, MirrorStatus, WatchStatus};

/// How often the source's identity is checked while nothing says that it changed: the watcher tells
/// of a loss at once, in all cases that the kernel tells it.
const ROOT_CHECK: Duration = Duration::from_secs(10);

/// How often a lost source is looked for.
const RETURN_CHECK: Duration = Duration::from_secs(1);

/// Least time between two sweeps that nobody waits for.
const SWEEP_INTERVAL: Duration = Duration::from_secs(30);

/// Why a mirror cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The source is not there or cannot be opened.
    #[error("mirror {name}: cannot open the source")]
    Source {
        /// The mirror.
        name: String,
        /// Why.
        source: FsError,
    },
    /// A filter rule is wrong.
    #[error("mirror {name}: {source}")]
    Rules {
        /// The mirror.
        name: String,
        /// Which rule, and what is wrong with it.
        source: driftless_filter::RuleError,
    },
    /// A thread cannot be started.
    #[error("mirror {name}: cannot start a thread")]
    Thread {
        /// The mirror.
        name: String,
        /// Why.
        source: std::io::Error,
    },
}

/// No target of the mirror has this name.
#[derive(Debug, thiserror::Error)]
#[error("mirror {mirror} has no target {target}; it has {known}")]
pub struct NoSuchTarget {
    mirror: String,
    target: String,
    known: String,
}

/// Some target did not get everything in time.
#[derive(Debug, thiserror::Error)]
pub enum NotFlushed {
    /// See there.
    #[error(transparent)]
    NoSuchTarget(#[from] NoSuchTarget),
    /// The source's changes are not known.
    #[error("mirror {mirror}: {why}")]
    Source {
        /// The mirror.
        mirror: String,
        /// Why.
        why: String,
    },
    /// One line for each target that is behind.
    #[error("{}", .0.join("\n"))]
    Behind(Vec<String>),
}

struct Shared {
    config: MirrorConfig,
    started: Instant,
    lanes: Vec<Arc<Lane>>,
    view: Arc<RwLock<View>>,
    serial: Arc<AtomicU64>,
    source: Mutex<Source>,
    changed: Condvar,
    stop: AtomicBool,
    /// See [`Marker::unseen`].
    unseen: Arc<AtomicBool>,
    last_sweep: Mutex<Sweep>,
}

/// The last search for files that changed without an event of their own.
struct Sweep {
    /// What changed earlier is known.
    from: Timestamp,
    ended: Instant,
    took: Duration,
}

struct Source {
    state: MirrorState,
    error: Option<String>,
    watcher: Option<Arc<Watcher>>,
    /// What a watcher that has ended counted.
    lost: Option<String>,
}

/// A running mirror. Dropping it without [`Mirror::stop`] leaves its threads running.
pub struct Mirror {
    shared: Arc<Shared>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl Mirror {
    /// Opens the source and starts: watches first, then a full pass to each target, then live.
    ///
    /// # Errors
    /// What the configuration names but is not there or is wrong.
    pub fn start(config: MirrorConfig) -> Result<Self, StartError> {
        let name = || config.name.clone();
        let root = Root::open(&config.source)
            .map_err(|source| StartError::Source { name: name(), source })?;
        let rules = SourceRules::parse(&config.rules, &root)
            .map_err(|source| StartError::Rules { name: name(), source })?;
        let started = Instant::now();
        let lanes: Vec<Arc<Lane>> = config
            .targets
            .iter()
            .map(|target| Arc::new(Lane::new(target.destination.to_string(), started)))
            .collect();
        let view = View {
            root,
            rules,
            links: Arc::new(Links::default()),
            cache: Arc::new(SourceCache::default()),
        };
        let shared = Arc::new(Shared {
            config,
            started,
            lanes,
            view: Arc::new(RwLock::new(view)),
            serial: Arc::new(AtomicU64::new(0)),
            source: Mutex::new(Source {
                state: MirrorState::Starting,
                error: None,
                watcher: None,
                lost: None,
            }),
            changed: Condvar::new(),
            stop: AtomicBool::new(false),
            unseen: Arc::new(AtomicBool::new(false)),
            last_sweep: Mutex::new(Sweep {
                from: wall_clock(),
                ended: started,
                took: Duration::ZERO,
            }),
        });
        let mut threads = Vec::new();
        let mut spawn = |role: String, work: Box<dyn FnOnce() + Send>| {
            let thread = std::thread::Builder::new().name(role).spawn(work);
            thread
                .map(|thread| threads.push(thread))
                .map_err(|source| StartError::Thread { name: shared.config.name.clone(), source })
        };
        for (at, lane) in shared.lanes.iter().enumerate() {
            let (shared, lane) = (Arc::clone(&shared), Arc::clone(lane));
            let work = move || {
                let mut target = shared.target(at);
                run(&lane, &shared.config, &shared.view, &shared.serial, &mut *target);
            };
            spawn(format!("lane-{at}"), Box::new(work))?;
        }
        let keeper = Arc::clone(&shared);
        spawn("source".into(), Box::new(move || keeper.keep_source()))?;
        Ok(Self { shared, threads: Mutex::new(threads) })
    }

    /// What it was started with.
    pub fn config(&self) -> &MirrorConfig {
        &self.shared.config
    }

    /// How it is doing.
    pub fn status(&self) -> MirrorStatus {
        let shared = &self.shared;
        let source = shared.source();
        MirrorStatus {
            name: shared.config.name.clone(),
            source: shared.config.source.display().to_string(),
            state: source.state,
            error: source.error.clone(),
            watch: source.watcher.as_ref().map(|w| watch_status(w)).unwrap_or_default(),
            targets: shared.lanes.iter().map(|lane| lane.status()).collect(),
        }
    }

    /// Returns when the targets have everything that had changed at the time of the call.
    ///
    /// # Errors
    /// Who is behind, and why, when `timeout` has passed.
    pub fn flush(&self, target: Option<&str>, timeout: Duration) -> Result<(), NotFlushed> {
        let deadline = Instant::now() + timeout;
        let lanes = self.lanes(target)?;
        let watcher = self.shared.wait_for_watcher(deadline)?;
        watcher.barrier().map_err(|error| NotFlushed::Source {
            mirror: self.shared.config.name.clone(),
            why: error.to_string(),
        })?;
        if self.shared.unseen.swap(false, Ordering::Relaxed) {
            self.shared.sweep();
        }
        let serial = self.shared.serial.load(Ordering::Relaxed);
        let behind: Vec<String> = lanes
            .iter()
            .filter(|lane| !lane.wait_applied(serial, deadline))
            .map(|lane| {
                let status = lane.status();
                let why = status.last_error.unwrap_or_else(|| "still at work".into());
                format!(
                    "{} is {}, {} paths behind: {why}",
                    lane.url,
                    status.state.as_str(),
                    status.dirty_paths
                )
            })
            .collect();
        if behind.is_empty() { Ok(()) } else { Err(NotFlushed::Behind(behind)) }
    }

    /// Stops sending until [`Mirror::resume`]; changes go on being noted.
    ///
    /// # Errors
    /// When there is no such target.
    pub fn pause(&self, target: Option<&str>) -> Result<(), NoSuchTarget> {
        for lane in self.lanes(target)? {
            lane.change(|inner| inner.paused = Some(PausedBy::Operator));
        }
        Ok(())
    }

    /// Goes on after a pause. With `accept_deletes`, what the deletion guard stopped may happen once.
    ///
    /// # Errors
    /// When there is no such target.
    pub fn resume(&self, target: Option<&str>, accept_deletes: bool) -> Result<(), NoSuchTarget> {
        for lane in self.lanes(target)? {
            lane.change(|inner| {
                inner.paused = None;
                inner.backoff_until = None;
                inner.accept_deletes |= accept_deletes;
            });
        }
        Ok(())
    }

    /// Asks for a full pass.
    ///
    /// # Errors
    /// When there is no such target.
    pub fn resync(&self, target: Option<&str>) -> Result<(), NoSuchTarget> {
        let serial = self.shared.serial.fetch_add(1, Ordering::Relaxed) + 1;
        let cause = Cause { now: self.shared.started.elapsed(), serial };
        for lane in self.lanes(target)? {
            lane.change(|inner| {
                inner.dirty.mark_pass(cause);
                inner.afresh = true;
                inner.backoff_until = None;
            });
        }
        Ok(())
    }

    /// Abandons what is in flight and ends all threads, and with them every flush that waits.
    pub fn stop(&self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        self.shared.changed.notify_all();
        for lane in &self.shared.lanes {
            lane.change(|inner| inner.stop = true);
        }
        let mut threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner);
        for thread in threads.drain(..) {
            if thread.join().is_err() {
                tracing::error!(mirror = %self.shared.config.name, "a thread had panicked");
            }
        }
    }

    fn lanes(&self, target: Option<&str>) -> Result<Vec<&Arc<Lane>>, NoSuchTarget> {
        let all = self.shared.lanes.iter();
        let Some(wanted) = target else { return Ok(all.collect()) };
        // By its whole name, or by what it ends in, which for daemons is the module.
        let matches =
            |lane: &&Arc<Lane>| lane.url == wanted || lane.url.ends_with(&format!("/{wanted}"));
        let found: Vec<_> = all.filter(matches).collect();
        if found.is_empty() {
            let known: Vec<&str> = self.shared.lanes.iter().map(|lane| &*lane.url).collect();
            return Err(NoSuchTarget {
                mirror: self.shared.config.name.clone(),
                target: wanted.into(),
                known: known.join(", "),
            });
        }
        Ok(found)
    }
}

fn watch_status(watcher: &Watcher) -> WatchStatus {
    let stats = watcher.stats();
    WatchStatus {
        directories: stats.directories,
        polled: stats.polled,
        events: stats.events,
        overflows: stats.overflows,
        warning: stats.limit.map(|limit| {
            format!(
                "{} of {} directories cannot be watched, since {} is {}; they are compared from \
                 time to time, nothing is lost; run: sysctl {}={}",
                limit.unwatched,
                stats.directories,
                limit.sysctl,
                limit.present,
                limit.sysctl,
                limit.sufficient
            )
        }),
    }
}

impl Shared {
    fn source(&self) -> MutexGuard<'_, Source> {
        self.source.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn target(&self, at: usize) -> Box<dyn Target> {
        let target = &self.config.targets[at];
        match &target.destination {
            Destination::Daemon(url) => Box::new(RsyncTarget::new(
                url.clone(),
                target.password.clone(),
                self.config.options.clone(),
                self.config.delete,
            )),
            Destination::Local(path) => Box::new(LocalTarget::new(
                path.clone(),
                self.config.options.clone(),
                self.config.delete,
            )),
        }
    }

    fn wait_for_watcher(&self, deadline: Instant) -> Result<Arc<Watcher>, NotFlushed> {
        let mut source = self.source();
        loop {
            if let Some(watcher) = &source.watcher {
                return Ok(Arc::clone(watcher));
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() || self.stop.load(Ordering::Relaxed) {
                let why = source.error.clone();
                return Err(NotFlushed::Source {
                    mirror: self.config.name.clone(),
                    why: why.unwrap_or_else(|| "watches are still being set up".into()),
                });
            }
            source =
                self.changed.wait_timeout(source, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Watches the source for as long as the mirror runs, over losses and returns.
    fn keep_source(self: &Arc<Self>) {
        while !self.stop.load(Ordering::Relaxed) {
            match self.watch() {
                Ok(watcher) => self.stay_with(watcher),
                Err(why) => {
                    self.lose(why);
                    self.wait(RETURN_CHECK);
                }
            }
        }
    }

    /// Sets up watches on the source that is at the configured path now, if it is the right one.
    fn watch(self: &Arc<Self>) -> Result<Arc<Watcher>, String> {
        let view = self.view.read().unwrap_or_else(PoisonError::into_inner).clone();
        view.root.check().map_err(|lost| self.lost_text(&lost.to_string()))?;
        let rules = view.rules.clone();
        let options = WatchOptions {
            poll_interval: self.config.poll_interval,
            skip: Box::new(move |dir| !rules.includes(dir, true)),
            ..WatchOptions::default()
        };
        let shared = Arc::downgrade(self);
        let marker = Marker {
            lost: Box::new(move |why| {
                if let Some(shared) = shared.upgrade() {
                    shared.source().lost = Some(why);
                    shared.changed.notify_all();
                }
            }),
            lanes: self.lanes.clone(),
            view: Arc::clone(&self.view),
            serial: Arc::clone(&self.serial),
            started: self.started,
            unseen: Arc::clone(&self.unseen),
        };
        let watcher = Watcher::start(&self.config.source, options, Arc::new(marker))
            .map_err(|error: WatchError| chain(&error))?;
        let watcher = Arc::new(watcher);
        // What changed before the watches were there is found by the pass that follows.
        let serial = self.serial.fetch_add(1, Ordering::Relaxed) + 1;
        let cause = Cause { now: self.started.elapsed(), serial };
        {
            let mut source = self.source();
            source.state = MirrorState::Running;
            source.error = None;
            source.lost = None;
            source.watcher = Some(Arc::clone(&watcher));
        }
        self.changed.notify_all();
        let stats = watcher.stats();
        tracing::info!(
            mirror = %self.config.name, directories = stats.directories, "watching the source"
        );
        for lane in &self.lanes {
            lane.change(|inner| {
                inner.waiting_for_watches = false;
                inner.source_lost = None;
                inner.dirty.mark_pass(cause);
            });
        }
        Ok(watcher)
    }

    /// Returns when the source is lost or the mirror stops.
    fn stay_with(&self, watcher: Arc<Watcher>) {
        while !self.stop.load(Ordering::Relaxed) {
            let told = self.source().lost.take();
            let root = self.view.read().unwrap_or_else(PoisonError::into_inner).root.clone();
            let lost = told.or_else(|| root.check().err().map(|lost| lost.to_string()));
            if let Some(why) = lost {
                let text = self.lost_text(&why);
                self.lose(text);
                break;
            }
            if self.sweep_due() && self.unseen.swap(false, Ordering::Relaxed) {
                self.sweep();
            }
            self.wait(ROOT_CHECK);
        }
        self.source().watcher = None;
        if let Ok(watcher) = Arc::try_unwrap(watcher) {
            watcher.stop();
        }
    }

    fn last_sweep(&self) -> MutexGuard<'_, Sweep> {
        self.last_sweep.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether another sweep costs less than a hundredth of the time.
    fn sweep_due(&self) -> bool {
        let last = self.last_sweep();
        last.ended.elapsed() >= SWEEP_INTERVAL.max(last.took * 100)
    }

    /// Marks what changed without an event of its own.
    fn sweep(&self) {
        let mut last = self.last_sweep();
        let (from, began) = (wall_clock(), Instant::now());
        let view = self.view.read().unwrap_or_else(PoisonError::into_inner).clone();
        let serial = self.serial.fetch_add(1, Ordering::Relaxed) + 1;
        let cause = Cause { now: self.started.elapsed(), serial };
        sweep(&view, last.from, &self.lanes, cause);
        *last = Sweep { from, ended: Instant::now(), took: began.elapsed() };
    }

    fn lost_text(&self, why: &str) -> String {
        format!(
            "the source {} is not what it was: {why}; nothing is sent or deleted until it is back \
             (or restart driftless to mirror what is there now)",
            self.config.source.display()
        )
    }

    fn lose(&self, why: String) {
        for lane in &self.lanes {
            lane.change(|inner| inner.source_lost = Some(why.clone()));
        }
        let mut source = self.source();
        if source.error.as_ref() != Some(&why) {
            tracing::error!(mirror = %self.config.name, "{why}");
        }
        source.state = MirrorState::SourceLost;
        source.error = Some(why);
    }

    fn wait(&self, time: Duration) {
        let source = self.source();
        if source.lost.is_none() && !self.stop.load(Ordering::Relaxed) {
            drop(self.changed.wait_timeout(source, time).unwrap_or_else(PoisonError::into_inner));
        }
    }
}

/// An error with its causes, in one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
