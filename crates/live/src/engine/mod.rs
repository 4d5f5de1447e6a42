//! The pure core of a mirror: what differs, what each target holds, when to try again.
//!
//! Nothing here reads a disk, a clock or a socket: marks, acknowledgements and the time come in as
//! values, batches and deadlines go out. Times are durations since the mirror started.

pub mod backoff;
pub mod dirty;
pub mod nameset;
pub mod peak;
pub mod presence;
pub mod renames;
