//! The log, on standard error.

use std::io::IsTerminal;

use clap::{Args, ValueEnum};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// How lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// Text for people.
    Human,
    /// One JSON object a line.
    Json,
}

/// Options of the log.
#[derive(Debug, Args)]
pub struct LogOptions {
    /// Log more; twice: everything
    #[arg(short, long, action = clap::ArgAction::Count, conflicts_with = "quiet")]
    verbose: u8,
    /// Log warnings and errors only
    #[arg(short, long)]
    quiet: bool,
    /// How log lines look
    #[arg(long, value_name = "FORMAT", default_value = "human")]
    log_format: LogFormat,
    /// Short for --log-format=json
    #[arg(long)]
    json_log: bool,
}

impl LogOptions {
    /// Sends the process's log to standard error.
    pub fn start(&self) {
        let level = match (self.quiet, self.verbose) {
            (true, _) => LevelFilter::WARN,
            (false, 0) => LevelFilter::INFO,
            (false, 1) => LevelFilter::DEBUG,
            (false, _) => LevelFilter::TRACE,
        };
        // Libraries say what concerns an operator through our own lines.
        let filter = Targets::new().with_default(LevelFilter::WARN).with_target("driftless", level);
        // What tracing calls a target is a module of ours; to an operator it is a mirror's.
        let lines =
            tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_target(false);
        let log = tracing_subscriber::registry().with(filter);
        if self.json_log || self.log_format == LogFormat::Json {
            // A bug shows as a line like all others to whoever parses them.
            std::panic::set_hook(Box::new(|panic| tracing::error!("{panic}")));
            log.with(lines.json().flatten_event(true).with_span_list(false)).init();
        } else {
            let colours = std::io::stderr().is_terminal();
            log.with(lines.compact().with_ansi(colours)).init();
        }
    }
}
