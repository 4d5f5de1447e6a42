//! How many sessions there may be, from one address and in all, and which one gives way.
//!
//! Pure. A session whose client has not said yet what it wants costs a process and does nothing:
//! where there are too many, the oldest of those gives way, at the address that has most, so that
//! clients that stall do not keep others out. One that transfers something never does; then the new
//! one is refused. The last quarter of all is for addresses with few sessions: whoever fills the
//! rest keeps out nobody who comes for the first time.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Instant;

/// With fewer sessions than these an address may use the last quarter.
const FEW: usize = 8;

/// Most sessions at the same time; 0 for any number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Limits {
    /// From one address.
    pub(crate) per_address: usize,
    /// In all.
    pub(crate) in_all: usize,
}

/// A session that runs.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Member {
    pub(crate) pid: i32,
    pub(crate) addr: Option<IpAddr>,
    pub(crate) since: Instant,
    /// The client has said what it wants.
    pub(crate) is_busy: bool,
}

/// What becomes of a new session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Admitted,
    /// In place of the one with this process.
    Instead(i32),
    /// With the limit that is reached.
    Refused(usize),
}

impl Limits {
    /// Whether a client from this address may have a session.
    pub(crate) fn judge(
        self,
        addr: Option<IpAddr>,
        members: impl Iterator<Item = Member> + Clone,
    ) -> Verdict {
        let neighbours = members.clone().filter(|member| member.addr == addr);
        let own_count = neighbours.clone().count();
        if addr.is_some() && is_reached(self.per_address, own_count) {
            return instead_of_one(neighbours, self.per_address);
        }
        let room = if own_count < FEW { self.in_all } else { self.in_all - self.in_all / 4 };
        if is_reached(room, members.clone().count()) {
            return instead_of_one(members, self.in_all);
        }
        Verdict::Admitted
    }
}

fn is_reached(limit: usize, count: usize) -> bool {
    limit > 0 && count >= limit
}

fn instead_of_one(members: impl Iterator<Item = Member> + Clone, limit: usize) -> Verdict {
    let mut counts: HashMap<Option<IpAddr>, usize> = HashMap::new();
    members.clone().for_each(|member| *counts.entry(member.addr).or_default() += 1);
    let idle = members.filter(|member| !member.is_busy);
    match idle.min_by_key(|member| (Reverse(counts[&member.addr]), member.since)) {
        Some(oldest) => Verdict::Instead(oldest.pid),
        None => Verdict::Refused(limit),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const LIMITS: Limits = Limits { per_address: 2, in_all: 3 };

    /// Sessions by the last part of their address, the oldest first; busy ones are negative.
    fn crowd(addrs: &[i32]) -> Vec<Member> {
        let start = Instant::now();
        let member = |(at, addr): (usize, &i32)| Member {
            pid: 100 + at as i32,
            addr: Some(host(addr.unsigned_abs() as u8)),
            since: start + Duration::from_secs(at as u64),
            is_busy: *addr < 0,
        };
        addrs.iter().enumerate().map(member).collect()
    }

    fn host(last: u8) -> IpAddr {
        IpAddr::from([10, 0, 0, last])
    }

    #[test]
    fn the_oldest_that_does_nothing_gives_way() {
        for (present, from, verdict) in [
            (&[][..], 1, Verdict::Admitted),
            (&[1, 2], 1, Verdict::Admitted),
            (&[2, 1, 1], 1, Verdict::Instead(101)),
            (&[-1, 1], 1, Verdict::Instead(101)),
            (&[-1, -1], 1, Verdict::Refused(2)),
            (&[-1, -1], 2, Verdict::Admitted),
            (&[-1, 2, 3], 4, Verdict::Instead(101)),
            (&[-1, -2, -3], 4, Verdict::Refused(3)),
            (&[3, 2, 2], 4, Verdict::Instead(101)),
        ] {
            let members = crowd(present);
            let found = LIMITS.judge(Some(host(from)), members.iter().copied());
            assert_eq!(found, verdict, "{from} among {present:?}");
        }
    }

    #[test]
    fn who_fills_all_leaves_room_for_others() {
        let limits = Limits { per_address: 0, in_all: 40 };
        let members = crowd(&[-1; 30]);
        assert_eq!(limits.judge(Some(host(1)), members.iter().copied()), Verdict::Refused(40));
        assert_eq!(limits.judge(Some(host(2)), members.iter().copied()), Verdict::Admitted);
        let members = crowd(&[&[-1; 30][..], &[-2; 7], &[-3; 3]].concat());
        assert_eq!(limits.judge(Some(host(4)), members.iter().copied()), Verdict::Refused(40));
    }

    #[test]
    fn without_limits_everybody_is_admitted() {
        let none = Limits { per_address: 0, in_all: 0 };
        let members = crowd(&[-1, -1, -1, -1]);
        assert_eq!(none.judge(Some(host(1)), members.iter().copied()), Verdict::Admitted);
    }
}
