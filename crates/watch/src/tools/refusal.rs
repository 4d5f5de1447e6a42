//! What is printed instead of a run.

/// Why there is no run.
#[derive(Debug)]
pub enum Refusal {
    /// The help was asked for: on standard output, and yet a failure.
    Help(String),
    /// What is wrong: on standard error.
    Line(String),
}

impl Refusal {
    /// A line, or several, for standard error.
    pub fn line(text: impl Into<String>) -> Self {
        Self::Line(text.into())
    }

    /// For a list of events with an unknown name in it.
    pub fn invalid_event(list: &[u8]) -> Self {
        Self::line(format!(
            "'{}' is not a valid event!  Run with the '--help' option to see a list of events.",
            String::from_utf8_lossy(list)
        ))
    }

    /// Prints it; the exit code is 1 in any case.
    pub fn print(&self) -> u8 {
        match self {
            Self::Help(text) => print!("{text}"),
            Self::Line(text) => eprintln!("{text}"),
        }
        1
    }
}
