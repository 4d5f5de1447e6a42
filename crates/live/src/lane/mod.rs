//! One lane per target: its own thread, its own pace, its own retries.
//!
//! ```text
//!            ┌──────────── marks, pause, resume, resync, flush ─────────────┐
//!            ▼                                                              │
//! connecting ─► full-pass ─► live ⇄ catching-up      any ─► backing-off ─► any
//!                              ├─⇄ verifying
//!                              └────────── paused (operator, guard, lost source)
//! ```
//! A lane never waits for another: they share the source's root, rules and cache, nothing else.

pub mod local;
pub mod report;
pub mod rsync;
mod state;
pub mod texts;
pub mod verify;
mod work;

pub use state::{Lane, PausedBy};
pub use work::{Target, View, run, wall_clock};
