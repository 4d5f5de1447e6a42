//! When a line of progress is written, and over what time its rate is measured.

use std::time::Instant;

use driftless_transfer::report::Progress;

use super::progress::{Moment, finished, running};

/// How long a line stays before it is written again.
const REFRESH_MS: u128 = 1000;
/// Moments that a rate is measured over.
const HISTORY: usize = 5;

/// The state behind the lines of one session.
#[derive(Debug)]
pub struct Meter {
    /// All files together (`--info=progress2`), else one by one.
    whole: bool,
    /// Content comes in: a file's first line says that nothing has come yet.
    reads: bool,
    /// Level of `-h`.
    human: u8,
    started: Instant,
    file_started: Option<Instant>,
    shown: Option<Instant>,
    history: Vec<Moment>,
}

impl Meter {
    /// A meter that starts now.
    pub fn new(whole: bool, reads: bool, human: u8) -> Self {
        Self {
            whole,
            reads,
            human,
            started: Instant::now(),
            file_started: None,
            shown: None,
            history: Vec::new(),
        }
    }

    /// Another file comes.
    pub fn next_file(&mut self) {
        if !self.whole {
            (self.file_started, self.shown) = (None, None);
            self.history.clear();
        }
    }

    /// Returns what is to be written now: lines, and whether each ends there.
    pub fn lines(&mut self, progress: &Progress<'_>) -> Vec<(String, bool)> {
        let mut lines = Vec::new();
        let now = Instant::now();
        let since = if self.whole { self.started } else { *self.file_started.get_or_insert(now) };
        let (done, total) = self.figures(progress);
        let moment = Moment { at: now.duration_since(since), done };
        let fresh = self.shown.is_none_or(|at| now.duration_since(at).as_millis() >= REFRESH_MS);
        let is_first = self.shown.is_none() && progress.len > 0;
        if if progress.finished { is_first } else { fresh } {
            self.shown = Some(now);
            let before = self.history.first().copied().unwrap_or(moment);
            let untouched = progress.finished && self.reads;
            let shown = if untouched { Moment { done: 0, ..moment } } else { moment };
            lines.push((running(shown, before, total, self.human), false));
            if self.history.len() == HISTORY {
                self.history.remove(0);
            }
            self.history.push(moment);
        }
        if progress.finished {
            lines.push((finished(moment, total, &progress.overall, self.human), !self.whole));
            self.next_file();
        }
        lines
    }

    /// Bytes done, and all there are.
    fn figures(&self, progress: &Progress<'_>) -> (u64, u64) {
        let overall = &progress.overall;
        if !self.whole {
            return (progress.offset, progress.len);
        }
        // A sender counts a file when it is done.
        let current = if self.reads || progress.finished { 0 } else { progress.offset };
        (overall.done_bytes.saturating_add(current), overall.total_bytes)
    }
}
