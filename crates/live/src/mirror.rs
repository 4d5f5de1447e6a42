//! One mirror: a watched source and a lane for each target.

mod schedule;
mod source;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use driftless_fs::{FsError, Root};
use driftless_transfer::source::SourceCache;
use driftless_tree::Timestamp;
use driftless_watch::Watcher;

use crate::config::{Destination, MirrorConfig};
use crate::engine::dirty::Cause;
use crate::lane::local::LocalTarget;
use crate::lane::rsync::RsyncTarget;
use crate::lane::{Lane, PausedBy, Target, View, run, wall_clock};
use crate::links::Links;
use crate::rules::SourceRules;
use crate::status::{MirrorState, MirrorStatus, VerifyStatus};

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
    #[error("mirror {name}: a filter rule cannot be used")]
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

impl NoSuchTarget {
    pub(crate) fn new(mirror: &str, target: &str, known: &[String]) -> Self {
        Self { mirror: mirror.into(), target: target.into(), known: known.join(", ") }
    }
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
    /// See [`crate::marks::Marker::unseen`].
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
                while !lane.stopping() {
                    // A bug met by one batch must not end the mirroring of its target.
                    let served = catch_unwind(AssertUnwindSafe(|| {
                        let mut target = shared.target(at);
                        let Shared { config, view, serial, .. } = &*shared;
                        run(&lane, config, view, serial, &|| shared.news(), &mut *target);
                    }));
                    if served.is_err() {
                        let serial = shared.serial.load(Ordering::Relaxed);
                        lane.recover(Cause { now: shared.started.elapsed(), serial });
                    }
                }
            };
            spawn(format!("lane-{at}"), Box::new(work))?;
        }
        let keeper = Arc::clone(&shared);
        spawn("source".into(), Box::new(move || keeper.keep_source()))?;
        if shared.config.schedule.is_some() {
            let keeper = Arc::clone(&shared);
            spawn("schedule".into(), Box::new(move || keeper.keep_passes()))?;
        }
        if shared.config.verify.is_some() {
            let keeper = Arc::clone(&shared);
            spawn("verify".into(), Box::new(move || keeper.keep_verifies()))?;
        }
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
            watch: source.watcher.as_ref().map(|w| source::watch_status(w)).unwrap_or_default(),
            next_pass: schedule::next_of(shared.config.schedule.as_ref()),
            next_verify: schedule::next_of(shared.config.verify.as_ref()),
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
        let serial = self
            .shared
            .mark_all(&watcher)
            .map_err(|why| NotFlushed::Source { mirror: self.shared.config.name.clone(), why })?;
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

    /// Compares targets with the source by checksum and changes nothing; returns for each how that
    /// ended, or why it did not within `timeout`.
    ///
    /// # Errors
    /// When there is no such target.
    pub fn verify(
        &self,
        target: Option<&str>,
        timeout: Duration,
    ) -> Result<Vec<(String, Arc<VerifyStatus>)>, NoSuchTarget> {
        let deadline = Instant::now() + timeout;
        let serial = self.shared.serial.load(Ordering::Relaxed);
        let lanes = self.lanes(target)?;
        let asked: Vec<_> = lanes.into_iter().map(|lane| (lane, lane.ask_verify(serial))).collect();
        let ended = asked.into_iter().map(|(lane, ticket)| {
            let ended = lane.wait_verified(ticket, deadline);
            let status = ended.unwrap_or_else(|why| Arc::new(VerifyStatus::impossible(why)));
            (lane.url.clone(), status)
        });
        Ok(ended.collect())
    }

    /// Asks for a full pass. The files that the last verify found different are sent again
    /// as well, whatever their size and time.
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
                self.config.settle,
            )),
            Destination::Local(path) => Box::new(LocalTarget::new(
                path.clone(),
                self.config.options.clone(),
                self.config.delete,
            )),
        }
    }

    /// Returns once every change so far has its mark: the number of the last one's cause.
    fn mark_all(&self, watcher: &Watcher) -> Result<u64, String> {
        watcher.barrier().map_err(|error| error.to_string())?;
        // Also waits for a sweep that is under way.
        let last = self.last_sweep();
        if self.unseen.swap(false, Ordering::Relaxed) {
            self.sweep(last);
        }
        Ok(self.serial.load(Ordering::Relaxed))
    }

    /// As [`Shared::mark_all`], with the watcher that is there.
    fn news(&self) -> Result<u64, String> {
        let watcher = self.source().watcher.clone();
        let watcher = watcher.ok_or("the source is not watched")?;
        self.mark_all(&watcher)
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
    text.replace('\n', "; ")
}
