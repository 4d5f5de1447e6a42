//! `--settle`: the events of a path are told as one, when it has been quiet for a while.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use rustc_hash::FxHashMap;

/// What is held back for one path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// The watched name.
    pub watched: Box<[u8]>,
    /// The name in it.
    pub file: Box<[u8]>,
    /// All bits so far.
    pub mask: u32,
    /// The last cookie that was not 0.
    pub cookie: u32,
    /// Whether all of it was found on the disk.
    pub found: bool,
}

/// The watched name and the name in it.
type Name = (Box<[u8]>, Box<[u8]>);

/// Paths that are not quiet yet.
#[derive(Debug)]
pub struct Coalescer {
    quiet: Duration,
    held: FxHashMap<Name, (Held, Instant)>,
    /// In the order of their time; a path that had events since then is put at the end again.
    order: VecDeque<(Instant, Name)>,
}

impl Coalescer {
    /// Holds paths back until they were quiet for so long.
    pub fn new(quiet: Duration) -> Self {
        Self { quiet, held: FxHashMap::default(), order: VecDeque::new() }
    }

    /// Adds an event.
    pub fn add(&mut self, event: Held, now: Instant) {
        let key = (event.watched.clone(), event.file.clone());
        match self.held.get_mut(&key) {
            Some((held, last)) => {
                held.mask |= event.mask;
                held.found &= event.found;
                if event.cookie != 0 {
                    held.cookie = event.cookie;
                }
                *last = now;
            }
            None => {
                self.order.push_back((now + self.quiet, key.clone()));
                self.held.insert(key, (event, now));
            }
        }
    }

    /// When the next path may be ripe.
    pub fn deadline(&self) -> Option<Instant> {
        self.order.front().map(|(time, _)| *time)
    }

    /// Takes a path that has been quiet for long enough.
    pub fn ripe(&mut self, now: Instant) -> Option<Held> {
        while self.order.front().is_some_and(|(time, _)| *time <= now) {
            let (_, key) = self.order.pop_front().expect("there is a first one");
            let (_, last) = self.held.get(&key)?;
            let due = *last + self.quiet;
            if due <= now {
                return self.held.remove(&key).map(|(held, _)| held);
            }
            self.order.push_back((due, key));
        }
        None
    }

    /// Takes a path, ripe or not: nothing more will come.
    pub fn rest(&mut self) -> Option<Held> {
        let (_, key) = self.order.pop_front()?;
        self.held.remove(&key).map(|(held, _)| held)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(file: &str, mask: u32) -> Held {
        Held {
            watched: Box::from(&b"d/"[..]),
            file: file.as_bytes().into(),
            mask,
            cookie: 0,
            found: false,
        }
    }

    #[test]
    fn events_of_a_path_are_one_after_the_quiet_time() {
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        let mut held = Coalescer::new(Duration::from_millis(100));
        held.add(event("a", 1), at(0));
        held.add(event("b", 4), at(10));
        held.add(event("a", 2), at(50));
        assert_eq!(held.ripe(at(99)), None);
        assert_eq!(held.ripe(at(110)), Some(event("b", 4)));
        assert_eq!(held.ripe(at(110)), None);
        assert_eq!(held.ripe(at(150)), Some(event("a", 3)));
        assert_eq!((held.deadline(), held.rest()), (None, None));
    }
}
