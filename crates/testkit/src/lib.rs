//! Scenarios, real peers, random trees and an independent tree comparer, for tests.
//!
//! Everything here stands outside the programs under test: it shares no code with the crates that
//! read disks, match filters or transfer files, so that an error there cannot hide itself.
//! Wrong set-up and missing programs panic with what is missing: a test must not pass without them.

pub mod arb;
pub mod compare;
pub mod disk;
pub mod kernel;
pub mod live;
pub mod netfault;
pub mod output;
pub mod peer;
pub mod plant;
pub mod scenario;
pub mod sshd;
pub mod stock;
pub mod wait;

/// The password that every module and password file of the kit uses.
pub const PASSWORD: &str = "quarter-past-nine";
