//! Names of addresses: what is known, what is being found out, and who waits for it.
//!
//! The resolver blocks, so each lookup is a process of the listener's. Pure: this says when one is
//! to be made, and which connections go on at its end.
//!
//! Invariants
//! * An address has one lookup at a time, and all have at most [`MOST_LOOKUPS`].
//! * Each connection that waits is handed back once: with the name, or when its lookup ended
//!   without one.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// How long a name is remembered.
const MAX_AGE: Duration = Duration::from_secs(60);

/// Names that are remembered, at most.
const MOST_KNOWN: usize = 10_000;

/// Lookups under way at the same time; the others queue.
const MOST_LOOKUPS: usize = 16;

/// The names, by address; connections are numbers here.
#[derive(Debug, Default)]
pub(crate) struct Names {
    known: HashMap<IpAddr, (String, Instant)>,
    wanted: HashMap<IpAddr, Vec<u64>>,
    /// Of those wanted, the ones without a process; first come, first served.
    queue: VecDeque<IpAddr>,
    lookups: HashMap<i32, IpAddr>,
}

impl Names {
    /// The name, where it is known.
    pub(crate) fn get(&self, addr: IpAddr) -> Option<&str> {
        let (name, since) = self.known.get(&addr)?;
        (since.elapsed() < MAX_AGE).then_some(name.as_str())
    }

    /// A connection waits for the name.
    pub(crate) fn want(&mut self, addr: IpAddr, connection: u64) {
        let waiters = self.wanted.entry(addr).or_insert_with(|| {
            self.queue.push_back(addr);
            Vec::new()
        });
        waiters.push(connection);
    }

    /// The next address that is to be looked up now; those that nobody waits for any more are
    /// forgotten.
    pub(crate) fn next(&mut self, waits: impl Fn(u64) -> bool) -> Option<IpAddr> {
        while self.lookups.len() < MOST_LOOKUPS {
            let addr = self.queue.pop_front()?;
            if self.wanted.get(&addr).is_some_and(|all| all.iter().any(|one| waits(*one))) {
                return Some(addr);
            }
            self.wanted.remove(&addr);
        }
        None
    }

    /// A process looks the address up.
    pub(crate) fn started(&mut self, pid: i32, addr: IpAddr) {
        self.lookups.insert(pid, addr);
    }

    /// The name was found: remembers it; returns who waited.
    pub(crate) fn found(&mut self, addr: IpAddr, name: String) -> Vec<u64> {
        if self.known.len() >= MOST_KNOWN {
            self.known.clear();
        }
        self.known.insert(addr, (name, Instant::now()));
        self.give_up(addr)
    }

    /// A process ended; returns what it had not answered, and who waited.
    pub(crate) fn ended(&mut self, pid: i32) -> Option<(IpAddr, Vec<u64>)> {
        let addr = self.lookups.remove(&pid)?;
        Some((addr, self.give_up(addr)))
    }

    /// Nothing more comes about the address; returns who waited.
    pub(crate) fn give_up(&mut self, addr: IpAddr) -> Vec<u64> {
        self.lookups.retain(|_, one| *one != addr);
        self.queue.retain(|one| *one != addr);
        self.wanted.remove(&addr).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addr(number: usize) -> IpAddr {
        IpAddr::from((number as u128).to_be_bytes())
    }

    fn start(names: &mut Names, pid: i32) -> Option<IpAddr> {
        let addr = names.next(|_| true)?;
        names.started(pid, addr);
        Some(addr)
    }

    #[test]
    fn connections_of_an_address_share_its_lookup() {
        let mut names = Names::default();
        names.want(addr(1), 10);
        assert_eq!(start(&mut names, 100), Some(addr(1)));
        names.want(addr(1), 11);
        assert_eq!(start(&mut names, 101), None);
        assert_eq!(names.found(addr(1), "one".to_owned()), [10, 11]);
        assert_eq!(names.get(addr(1)), Some("one"));
        assert_eq!(names.ended(100), None);
    }

    #[test]
    fn a_lookup_that_ends_without_an_answer_lets_its_connections_go_on() {
        let mut names = Names::default();
        names.want(addr(1), 10);
        assert_eq!(start(&mut names, 100), Some(addr(1)));
        assert_eq!(names.ended(99), None);
        assert_eq!(names.ended(100), Some((addr(1), vec![10])));
        assert_eq!(names.get(addr(1)), None);
        names.want(addr(1), 11);
        assert_eq!(start(&mut names, 101), Some(addr(1)));
    }

    #[test]
    fn lookups_are_bounded_and_the_others_come_in_turn() {
        let mut names = Names::default();
        for number in 0..MOST_LOOKUPS + 3 {
            names.want(addr(number), number as u64);
        }
        for number in 0..MOST_LOOKUPS {
            assert_eq!(start(&mut names, number as i32), Some(addr(number)));
        }
        assert_eq!(start(&mut names, 1000), None);
        names.found(addr(3), "three".to_owned());
        // Who waited for the next one has gone.
        let gone = MOST_LOOKUPS as u64;
        assert_eq!(names.next(|one| one != gone), Some(addr(MOST_LOOKUPS + 1)));
        assert_eq!(names.next(|_| true), Some(addr(MOST_LOOKUPS + 2)));
        assert_eq!(names.next(|_| true), None);
    }
}
