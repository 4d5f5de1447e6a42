//! Partial sessions.
