//! The summary of `-v` and the figures of `--stats`.

use std::time::Duration;

use driftless_transfer::report::{KindCounts, Statistics};

use super::number::{decimal, whole};

/// What stands behind the speedup of a run that changed nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unreal {
    /// It did.
    No,
    /// `-n`
    DryRun,
    /// `--only-write-batch`
    BatchOnly,
}

/// The lines of `--stats`, without the summary.
pub fn figures(stats: &Statistics, human: u8) -> Vec<String> {
    let bytes = |value: u64| format!("{} bytes", whole(value, human));
    let mut lines = vec![format!("Number of files: {}", counts(&stats.listed, human))];
    if let Some(created) = &stats.created {
        lines.push(format!("Number of created files: {}", counts(created, human)));
    }
    if let Some(deleted) = &stats.deleted {
        lines.push(format!("Number of deleted files: {}", counts(deleted, human)));
    }
    let transferred = whole(stats.transferred_count, human.min(1));
    lines.push(format!("Number of regular files transferred: {transferred}"));
    lines.push(format!("Total file size: {}", bytes(stats.total_size)));
    lines.push(format!("Total transferred file size: {}", bytes(stats.transferred_size)));
    lines.push(format!("Literal data: {}", bytes(stats.literal_bytes)));
    lines.push(format!("Matched data: {}", bytes(stats.matched_bytes)));
    lines.push(format!("File list size: {}", whole(stats.list_bytes, human)));
    if !stats.list_build.is_zero() {
        let secs = |time: Duration| format!("{:.3} seconds", time.as_secs_f64());
        lines.push(format!("File list generation time: {}", secs(stats.list_build)));
        lines.push(format!("File list transfer time: {}", secs(stats.list_transfer)));
    }
    lines.push(format!("Total bytes sent: {}", whole(stats.bytes_sent, human)));
    lines.push(format!("Total bytes received: {}", whole(stats.bytes_received, human)));
    lines
}

/// The two lines that end a run with `-v` or `--stats`. `elapsed` is that of the whole run, in
/// whole seconds.
pub fn summary(stats: &Statistics, elapsed_secs: u64, unreal: Unreal, human: u8) -> [String; 2] {
    let (sent, received) = (stats.bytes_sent, stats.bytes_received);
    let moved = sent.saturating_add(received) as f64;
    let rate = moved / (0.5 + elapsed_secs as f64);
    let speedup = if moved > 0.0 { stats.total_size as f64 / moved } else { 0.0 };
    let note = match unreal {
        Unreal::No => "",
        Unreal::DryRun => " (DRY RUN)",
        Unreal::BatchOnly => " (BATCH ONLY)",
    };
    let count = |value| whole(value, human);
    [
        format!(
            "sent {} bytes  received {} bytes  {} bytes/sec",
            count(sent),
            count(received),
            decimal(rate, human)
        ),
        format!(
            "total size is {}  speedup is {}{note}",
            count(stats.total_size),
            decimal(speedup, human.min(1))
        ),
    ]
}

/// What a log file gets where the client prints no summary.
pub fn log_summary(stats: &Statistics) -> String {
    let Statistics { bytes_sent, bytes_received, total_size, .. } = stats;
    format!("sent {bytes_sent} bytes  received {bytes_received} bytes  total size {total_size}")
}

fn counts(counts: &KindCounts, human: u8) -> String {
    let level = human.min(1);
    let kinds = [
        ("reg", counts.files),
        ("dir", counts.dirs),
        ("link", counts.symlinks),
        ("dev", counts.devices),
        ("special", counts.specials),
    ];
    let named: Vec<String> = kinds
        .iter()
        .filter(|(_, count)| *count > 0)
        .map(|(kind, count)| format!("{kind}: {}", whole(*count, level)))
        .collect();
    let total = whole(counts.total(), level);
    if named.is_empty() { total } else { format!("{total} ({})", named.join(", ")) }
}
