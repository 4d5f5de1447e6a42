//! The watcher's thread with fanotify: read, take, deliver. There is nothing to walk.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use driftless_fs::fanotify::{Group, Queue};
use driftless_fs::handle::Handle;
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;

use super::dirs::Place;
use super::marking::{Refusal, mark, mark_mount, prefix, unlisted};
use super::mounts::{Mount, MountTable, below};
use super::reader::Reader;
use super::view::{Found, View};
use super::window::Window;
use crate::hint::{Hint, Sink};
use crate::options::{Backend, WatchOptions, WatchStats};
use crate::recovery::Recovery;
use crate::root::Root;
use crate::shared::{Request, Shared};

/// Kernel memory that events may wait in, about, in bytes of records; more than this is dropped and
/// counts as an overflow.
const MAX_BACKLOG_LEN: u64 = 128 << 20;
/// After so many reads in a row, soon after each other, the file system is busy, in the tree or
/// elsewhere; events are then left to gather for a moment, so that they do not wake this thread, and
/// slow their makers, one by one.
const READS_IN_A_ROW: u32 = 16;
const GATHER: Timespec = Timespec { tv_sec: 0, tv_nsec: 1_000_000 };
/// A sleep of this length ends such a row.
const QUIET: Duration = Duration::from_millis(10);
/// The length of the queue is asked for after so many full reads: the kernel has to count.
const READS_BETWEEN_CHECKS: u32 = 64;

/// What the consumer gave.
pub(crate) struct Consumer {
    pub options: WatchOptions,
    pub sink: Arc<dyn Sink>,
    pub shared: Arc<Shared>,
}

/// How it ended.
pub(crate) enum End {
    /// For this reason; nothing more is told.
    Ended(String),
    /// A part of the tree cannot be watched so: somebody else has to go on.
    Refused(Box<(Root, Consumer)>, Refusal),
}

pub(crate) struct Engine {
    reader: Reader,
    mounts: MountTable,
    reads_in_a_row: u32,
    state: State,
}

/// All but the queue.
pub(super) struct State {
    pub root: Root,
    pub consumer: Consumer,
    /// The first is the one that the root is in.
    pub views: Vec<View>,
    mounted: Vec<Mount>,
    pub window: Window,
    pub recovery: Recovery,
    /// A directory was renamed, and what is mounted below it with it.
    pub moved_any: bool,
    pub hints: Vec<Hint>,
    pub events: u64,
    overflows: u64,
    refused: Option<Refusal>,
}

impl Engine {
    /// Marks the file systems of the tree.
    pub fn start(root: &Root, options: &WatchOptions) -> Result<Marked, Refusal> {
        let queue = if options.limited_queue { Queue::Limited } else { Queue::Unlimited };
        let group = Group::new(queue, true).or_else(|error| match Errno::from_io_error(&error) {
            // In a user namespace of its own it may watch what it has mounted there.
            Some(Errno::PERM) => Group::new(Queue::Limited, true),
            _ => Err(error),
        });
        let group = group.map_err(|error| {
            let advice = match Errno::from_io_error(&error) {
                Some(Errno::PERM) => ", it needs CAP_SYS_ADMIN",
                Some(Errno::INVAL) => ", it needs Linux 5.17",
                Some(Errno::MFILE) => ", fs.fanotify.max_user_groups is reached",
                _ => "",
            };
            Refusal(format!("cannot make a fanotify group{advice}: {error}"))
        })?;
        let reader = Reader::of(group);
        let trouble = |error: io::Error| Refusal(format!("cannot read the mounts: {error}"));
        let mut mounts = MountTable::open().map_err(trouble)?;
        let view = mark(&reader, &root.path, None)?;
        let table = mounts.read().map_err(trouble)?;
        if !table.iter().any(|mount| mount.id == view.mount_id) {
            return Err(unlisted(&root.path));
        }
        let mut views = vec![view];
        let mounted = below(&table, &root.path);
        for mount in &mounted {
            views.extend(mark_mount(&reader, &root.path, mount, &*options.skip)?);
        }
        Ok(Marked { reader, mounts, views, mounted })
    }

    /// Runs until it is told to stop or the root is lost.
    pub fn run(mut self) -> End {
        let mut begun = 0;
        let mut hastened = 0;
        loop {
            let asked = match self.state.consumer.shared.request() {
                Request::Stop => return End::Ended("it was stopped".into()),
                Request::Barrier(asked) => asked,
            };
            if asked > begun {
                begun = asked;
                if self.mounts_changed() {
                    self.look_at_mounts();
                }
                self.state.check_root();
            }
            let mut busy = self.read();
            if !busy {
                self.state.consumer.sink.caught_up();
                self.state.window.close();
                let hasten = asked > hastened && self.state.consumer.shared.is_awaited(asked);
                busy = self.state.recover(hasten);
                if busy {
                    hastened = asked;
                }
            }
            self.state.deliver();
            self.state.consumer.shared.publish(self.state.stats());
            if let Some(reason) = self.state.root.lost.take() {
                self.state.hints.push(Hint::RootLost(reason.clone()));
                self.state.deliver();
                return End::Ended(format!("{} is lost: {reason}", self.state.root.path.display()));
            }
            if let Some(refusal) = self.state.refused.take() {
                let State { root, consumer, .. } = self.state;
                return End::Refused(Box::new((root, consumer)), refusal);
            }
            if !busy {
                if !self.state.recovery.is_open() {
                    self.state.consumer.shared.complete(asked);
                }
                if let Err(error) = self.wait() {
                    return End::Ended(format!("cannot wait for the kernel's queue: {error}"));
                }
            }
        }
    }

    /// Takes what is queued, a bounded part at once; returns whether there was anything.
    fn read(&mut self) -> bool {
        let mut any = false;
        for reads in 0..=READS_BETWEEN_CHECKS {
            let state = &mut self.state;
            match self.reader.read(|event| state.take(&event)) {
                Ok(true) => any = true,
                Ok(false) => break,
                Err(error) => {
                    state.root.lost = Some(format!("cannot read the kernel's queue: {error}"));
                    break;
                }
            }
            // What was understood is told at once.
            state.deliver();
            if reads == READS_BETWEEN_CHECKS {
                self.bound_backlog();
            }
        }
        self.state.rest();
        if std::mem::take(&mut self.state.moved_any) && !self.state.mounted.is_empty() {
            // The table of mounts does not tell when its paths change.
            self.look_at_mounts();
        }
        self.reads_in_a_row = self.reads_in_a_row.saturating_add(u32::from(any));
        any
    }

    /// Drops what waits when it has become too much.
    fn bound_backlog(&mut self) {
        if self.reader.backlog_len().is_ok_and(|len| len > MAX_BACKLOG_LEN) {
            self.state.overflowed();
            while self.reader.read(|_| ()).is_ok_and(|any| any) {}
        }
    }

    /// Sleeps until there are events, requests, new mounts, or a recovery is due.
    fn wait(&mut self) -> Result<(), Errno> {
        let now = Instant::now();
        let timeout = self.state.recovery.due(now).map(|at| {
            let pause = at.saturating_duration_since(now);
            Timespec { tv_sec: pause.as_secs() as i64, tv_nsec: i64::from(pause.subsec_nanos()) }
        });
        let shared = Arc::clone(&self.state.consumer.shared);
        let wake_up = shared.wake_up();
        let mut fds = [
            PollFd::new(&self.reader, PollFlags::IN),
            PollFd::new(&wake_up, PollFlags::IN),
            PollFd::new(&self.mounts, PollFlags::PRI),
        ];
        match rustix::event::poll(&mut fds, timeout.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error),
        }
        let mounts_changed = !fds[2].revents().is_empty();
        if now.elapsed() > QUIET {
            self.reads_in_a_row = 0;
        } else if self.reads_in_a_row >= READS_IN_A_ROW {
            let mut fds = [PollFd::new(&wake_up, PollFlags::IN)];
            match rustix::event::poll(&mut fds, Some(&GATHER)) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => return Err(error),
            }
        }
        shared.wakened();
        if mounts_changed {
            self.look_at_mounts();
            self.state.check_root();
        }
        Ok(())
    }

    /// Whether something was mounted or unmounted anywhere since this was last asked.
    fn mounts_changed(&self) -> bool {
        let mut fds = [PollFd::new(&self.mounts, PollFlags::PRI)];
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        rustix::event::poll(&mut fds, Some(&now)).is_ok_and(|changed| changed > 0)
    }

    /// Makes the views agree with what is mounted in the tree.
    fn look_at_mounts(&mut self) {
        let state = &mut self.state;
        let now = match self.mounts.read() {
            Ok(all) if !all.iter().any(|mount| mount.id == state.views[0].mount_id) => {
                state.root.lost = Some("it was unmounted".into());
                return;
            }
            Ok(all) => below(&all, &state.root.path),
            Err(error) => {
                state.refused = Some(Refusal(format!("cannot read the mounts: {error}")));
                return;
            }
        };
        let before = std::mem::replace(&mut state.mounted, now.clone());
        for gone in before.iter().filter(|mount| !now.contains(mount)) {
            state.views.retain(|view| view.path != gone.at);
            state.changed_whole(&gone.at);
        }
        for new in now.iter().filter(|mount| !before.contains(mount)) {
            let skip = &*state.consumer.options.skip;
            match mark_mount(&self.reader, &state.root.path, new, skip) {
                Ok(view) => state.views.extend(view),
                Err(refusal) => {
                    state.refused = Some(refusal);
                    return;
                }
            }
            state.changed_whole(&new.at);
        }
    }
}

/// A tree whose file systems are marked: its events wait from now on.
pub(crate) struct Marked {
    reader: Reader,
    mounts: MountTable,
    views: Vec<View>,
    mounted: Vec<Mount>,
}

impl Marked {
    /// The engine that takes the events.
    pub fn into_engine(self, root: Root, consumer: Consumer) -> Engine {
        let Self { reader, mounts, views, mounted } = self;
        let state = State {
            root,
            consumer,
            views,
            mounted,
            window: Window::default(),
            recovery: Recovery::new(),
            moved_any: false,
            hints: Vec::new(),
            events: 0,
            overflows: 0,
            refused: None,
        };
        Engine { reader, mounts, reads_in_a_row: 0, state }
    }
}

impl State {
    fn deliver(&mut self) {
        if self.hints.is_empty() {
            return;
        }
        self.consumer.sink.deliver(&mut self.hints);
        self.hints.clear();
    }

    fn stats(&self) -> WatchStats {
        WatchStats {
            backend: Backend::Fanotify,
            directories: self.views.iter().map(|view| view.dirs.count()).sum(),
            events: self.events,
            overflows: self.overflows,
            recovering: self.recovery.is_open(),
            ..WatchStats::default()
        }
    }

    pub fn overflowed(&mut self) {
        self.overflows += 1;
        self.lose("the kernel's event queue overflowed");
    }

    /// Something was missed: the whole tree is to be looked at.
    pub fn lose(&mut self, why: &str) {
        if !self.recovery.is_open() {
            tracing::warn!(
                root = %self.root.path.display(),
                overflows = self.overflows,
                "{why}: the whole tree is looked at"
            );
        }
        self.recovery.need();
        self.moved_any = true;
        for view in &mut self.views {
            view.dirs.forget_all();
        }
    }

    /// Has the whole tree looked at when that is due.
    fn recover(&mut self, hasten: bool) -> bool {
        let now = Instant::now();
        if !self.recovery.due(now).is_some_and(|due| hasten || due <= now) {
            return false;
        }
        self.recovery.start(now);
        self.hints.push(Hint::Subtree { path: None });
        self.recovery.finish(now);
        true
    }

    /// Notes whether the root's path still leads to it.
    pub fn check_root(&mut self) {
        if self.root.lost.is_none() {
            self.root.lost = self.root.whereabouts();
        }
    }

    /// Lets file systems go that were held for a read.
    fn rest(&mut self) {
        for view in &mut self.views {
            view.rest();
        }
    }

    /// What is at this place of the tree is another thing altogether.
    fn changed_whole(&mut self, at: &Path) {
        if let Ok(path) = prefix(&self.root.path, at) {
            self.hints.push(Hint::Subtree { path: Some(path) });
        }
    }

    /// Where a directory is, seen through the view of this index; `None` when it is nowhere.
    pub fn find(&mut self, view: usize, dir: Handle<'_>) -> Option<Place> {
        let window = &mut self.window;
        let mut fetched = |dir: Handle<'_>| {
            window.note(dir);
        };
        match self.views[view].find(dir, &*self.consumer.options.skip, &mut fetched) {
            Found::At(place) => Some(place),
            Found::Gone => None,
            Found::Trouble(error) => {
                // A mount that is going away, or the root, answers so too.
                self.check_root();
                self.lose(&format!("a directory that changed cannot be found: {error}"));
                None
            }
        }
    }
}
