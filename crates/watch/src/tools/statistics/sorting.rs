//! The order of the table's rows.

use crate::tools::{Refusal, names};

/// What rows are sorted by. Rows that are equal stay in the order of their watches.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sorting {
    /// The event's bits; nothing for the total.
    event: Option<u32>,
    ascending: bool,
}

impl Sorting {
    /// `-a`
    pub fn ascending(key: &[u8]) -> Result<Self, Refusal> {
        for group in ["move", "close"] {
            if key.eq_ignore_ascii_case(group.as_bytes()) {
                return Err(Refusal::line(format!(
                    "Cannot sort by `{group}' event; please use `{group}{}.",
                    if group == "move" {
                        "d_from' or `moved_to'"
                    } else {
                        "_write' or `close_nowrite'"
                    }
                )));
            }
        }
        Ok(Self { event: event_of(key)?, ascending: true })
    }

    /// `-d`
    ///
    /// The original (3.22.6) takes `-d access` for `-d total`, and so do its users' scripts.
    pub fn descending(key: &[u8]) -> Result<Self, Refusal> {
        let event = event_of(key)?;
        Ok(Self { event: event.filter(|event| *event != names::ACCESS), ascending: false })
    }

    /// Checks that what it sorts by is counted.
    pub fn check(&self, events: u32) -> Result<(), Refusal> {
        if self.event.is_some_and(|event| event & events == 0) {
            return Err(Refusal::line("Can't sort by an event which isn't being watched for!"));
        }
        Ok(())
    }

    /// Sorts rows by the count that `count` gives for an event's bits, or for the total.
    pub fn sort<T>(&self, rows: &mut [T], count: impl Fn(&T, Option<u32>) -> u64) {
        let key = |row: &T| count(row, self.event);
        if self.ascending {
            rows.sort_by_key(key);
        } else {
            rows.sort_by_key(|row| std::cmp::Reverse(key(row)));
        }
    }
}

fn event_of(key: &[u8]) -> Result<Option<u32>, Refusal> {
    if key.eq_ignore_ascii_case(b"total") {
        return Ok(None);
    }
    match names::mask_of(key) {
        Some(event) => Ok(Some(event)),
        None => Err(Refusal::line(format!(
            "'{}' is not a valid key for sorting!",
            String::from_utf8_lossy(key)
        ))),
    }
}
