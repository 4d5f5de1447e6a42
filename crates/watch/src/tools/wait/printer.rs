//! What is told, as lines.

use std::time::Instant;

use super::coalesce::{Coalescer, Held};
use crate::tools::filter::Filter;
use crate::tools::follow::{Teller, Told};
use crate::tools::layout::{Event, Layout};
use crate::tools::names;
use crate::tools::out::Out;
use crate::tools::snapshot::Snapshot;
use crate::tools::table::{Node, Table};
use crate::tools::watches::Watches;

/// What decides about lines.
pub struct Printer {
    pub out: Out,
    pub layout: Layout,
    pub filter: Filter,
    pub terminator: &'static [u8],
    /// The events that were asked for.
    pub events: u32,
    /// Events that the kernel was asked for besides, to follow directories.
    pub extra: u32,
    pub monitor: bool,
    pub silent: bool,
    pub coalescer: Option<Coalescer>,
    pub snapshot: Option<Snapshot>,
    /// The exit code, once an event has decided it.
    pub outcome: Option<u8>,
    /// The number of lines.
    pub lines: u64,
    /// The watched name of the last event, and which one it was.
    pub path: Vec<u8>,
    pub path_of: Option<(Node, u64)>,
}

impl Printer {
    /// An event with its watched name.
    pub fn take(&mut self, event: &Event<'_>) {
        if self.outcome.is_some() || !self.filter.admits(event.watched, event.file) {
            return;
        }
        if event.mask & self.events == 0 {
            if !self.monitor && event.mask & self.extra == 0 {
                self.outcome = Some(1);
            }
            return;
        }
        if !self.monitor {
            self.outcome = Some(0);
        }
        match &mut self.coalescer {
            Some(coalescer) => coalescer.add(
                Held {
                    watched: event.watched.into(),
                    file: event.file.into(),
                    mask: event.mask,
                    cookie: event.cookie,
                    found: event.found,
                },
                Instant::now(),
            ),
            None => self.print(event),
        }
    }

    /// Prints what has been quiet for long enough.
    pub fn print_ripe(&mut self) {
        let now = Instant::now();
        while let Some(held) = self.coalescer.as_mut().and_then(|held| held.ripe(now)) {
            self.print_held(&held);
        }
    }

    /// Prints everything that was held back.
    pub fn print_rest(&mut self) {
        while let Some(held) = self.coalescer.as_mut().and_then(Coalescer::rest) {
            self.print_held(&held);
        }
    }

    fn print_held(&mut self, held: &Held) {
        self.print(&Event {
            watched: &held.watched,
            file: &held.file,
            mask: held.mask,
            cookie: held.cookie,
            found: held.found,
        });
    }

    fn print(&mut self, event: &Event<'_>) {
        if self.silent {
            return;
        }
        let buffer = self.out.buffer();
        if self.layout.write(event, buffer) {
            buffer.extend_from_slice(self.terminator);
            self.lines += 1;
        }
    }

    fn tell_node(&mut self, watches: &Watches, told: &Told<'_>) {
        let table = watches.table();
        let place = told.node.map(|node| (node, table.version()));
        if place.is_none() || place != self.path_of {
            self.path.clear();
            if let Some(node) = told.node {
                table.write_path(node, &mut self.path);
            }
            self.path_of = place;
        }
        let path = std::mem::take(&mut self.path);
        self.take(&Event {
            watched: &path,
            file: told.name,
            mask: told.mask,
            cookie: told.cookie,
            found: told.found,
        });
        self.path = path;
    }
}

impl Teller for Printer {
    fn tell(&mut self, watches: &Watches, told: &Told<'_>) {
        if let (Some(snapshot), Some(node)) = (&mut self.snapshot, told.node) {
            snapshot.note(watches, node, told.name);
        }
        self.tell_node(watches, told);
    }

    fn tell_event(&mut self, event: &Event<'_>) {
        self.take(event);
    }

    fn leaves(&mut self, _table: &Table, node: Node) {
        if let Some(snapshot) = &mut self.snapshot {
            snapshot.forget(node);
        }
    }

    fn recovered(&mut self, watches: &Watches) {
        let Some(snapshot) = &mut self.snapshot else { return };
        for change in snapshot.compare(watches) {
            let asked = self.events & names::ALL;
            for bits in change.masks.into_iter().filter(|bits| bits & asked != 0) {
                let (node, name) = (Some(change.node), &*change.name);
                let told = Told { node, name, mask: bits, cookie: 0, found: true };
                self.tell_node(watches, &told);
            }
        }
    }
}
