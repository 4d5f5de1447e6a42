//! `driftless status`

use std::fmt::Write;
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use clap::Args;
use driftless_control::Client;
use driftless_control::report;
use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::control_socket::ControlOption;
use crate::output;

/// Between two drawings of `--watch`.
const REDRAW: Duration = Duration::from_secs(1);
/// Puts the cursor into the corner of an empty screen.
const CLEAR: &str = "\x1b[H\x1b[2J";

/// Show each mirror's state, lag, queue and last error
#[derive(Debug, Args)]
pub struct Status {
    /// Print JSON
    #[arg(long, conflicts_with = "watch")]
    json: bool,
    /// Redraw each second
    #[arg(long)]
    watch: bool,
    #[command(flatten)]
    control: ControlOption,
}

impl Status {
    /// Prints the state once, or again and again.
    pub fn run(&self) -> anyhow::Result<ExitCode> {
        let client = self.control.client()?;
        if self.watch {
            return watch(&client);
        }
        let status = client.status()?;
        let text =
            if self.json { serde_json::to_string_pretty(&status)? + "\n" } else { table(&status) };
        output::print(&text)?;
        Ok(ExitCode::SUCCESS)
    }
}

/// Ends with the terminal or with Ctrl-C; a driftless that is restarted shows up again.
fn watch(client: &Client) -> anyhow::Result<ExitCode> {
    loop {
        let text = match client.status() {
            Ok(status) => table(&status),
            Err(error) => format!("{:#}\n", anyhow::Error::new(error)),
        };
        output::print(&format!("{CLEAR}{text}"))?;
        thread::sleep(REDRAW);
    }
}

fn table(status: &report::Status) -> String {
    let mut text = String::new();
    for mirror in &status.mirrors {
        if !text.is_empty() {
            text.push('\n');
        }
        write_mirror(&mut text, mirror);
    }
    if text.is_empty() {
        text.push_str("no mirror runs\n");
    }
    text
}

fn write_mirror(text: &mut String, mirror: &report::Mirror) {
    let watch = &mirror.watch;
    let watched = match &*watch.backend {
        "fanotify" => "watched as a whole".to_owned(),
        "poll" => "compared at intervals".to_owned(),
        _ => format!("{} directories watched", watch.directories),
    };
    line(text, &format!("{}  {}  {}, {watched}", mirror.name, mirror.source, mirror.state));
    let polled = (watch.polled > 0)
        .then(|| format!("{} directories are compared from time to time", watch.polled));
    for note in [&mirror.error, &watch.warning, &polled].into_iter().flatten() {
        line(text, &format!("  ! {note}"));
    }
    for (what, due) in [("full pass", mirror.next_pass), ("verify", mirror.next_verify)] {
        if let Some(due) = due.and_then(|due| Timestamp::from_second(due as i64).ok()) {
            let due = due.to_zoned(TimeZone::system());
            line(text, &format!("  next {what} {}", due.strftime("%Y-%m-%d %H:%M %Z")));
        }
    }
    let mut rows = vec![["TARGET", "STATE", "LAG", "DIRTY", "SENT", "BATCHES"].map(str::to_owned)];
    rows.extend(mirror.targets.iter().map(|target| {
        [
            target.url.clone(),
            target.state.clone(),
            lag(target.lag_seconds),
            target.dirty_paths.to_string(),
            bytes(target.bytes_sent),
            target.batches.to_string(),
        ]
    }));
    let mut widths = [0; 6];
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let (head, targets) = rows.split_first().expect("the head was put there above");
    line(text, &aligned(head, &widths));
    for (row, target) in targets.iter().zip(&mirror.targets) {
        line(text, &aligned(row, &widths));
        write_trouble(text, target);
    }
}

fn write_trouble(text: &mut String, target: &report::Target) {
    if let Some(error) = &target.last_error {
        let next = target.next_retry.map(|wait| format!("; next attempt in {}", lag(wait)));
        line(text, &format!("    ! {error}{}", next.unwrap_or_default()));
    }
    for refusal in &target.refusals {
        line(text, &format!("    ! {refusal}"));
    }
    if let Some(verify) = &target.last_verify {
        if let Some(first) = verify.differences.first() {
            let count = verify.differing;
            line(
                text,
                &format!("    ! differences in the last verify: {count}, first {}", first.path),
            );
        }
        if let Some(why) = &verify.error {
            line(text, &format!("    ! the last verify is incomplete: {why}"));
        }
    }
}

/// Names to the left, numbers to the right.
fn aligned(row: &[String; 6], widths: &[usize; 6]) -> String {
    let mut text = String::from(" ");
    for (column, (cell, width)) in row.iter().zip(widths).enumerate() {
        let cell =
            if column < 2 { format!(" {cell:<width$}") } else { format!("  {cell:>width$}") };
        text.push_str(&cell);
        if column == 0 {
            text.push(' ');
        }
    }
    text
}

/// What peers say must not drive the terminal.
fn line(text: &mut String, content: &str) {
    for c in content.trim_end().chars() {
        if c.is_control() {
            write!(text, "{}", c.escape_default()).expect("a String takes everything");
        } else {
            text.push(c);
        }
    }
    text.push('\n');
}

fn lag(seconds: f64) -> String {
    match seconds {
        s if s < 0.001 => "0".to_owned(),
        s if s < 1.0 => format!("{:.0} ms", s * 1000.0),
        s if s < 60.0 => format!("{s:.1} s"),
        s if s < 3600.0 => format!("{:.0} min", s / 60.0),
        s => format!("{:.1} h", s / 3600.0),
    }
}

fn bytes(count: u64) -> String {
    let mut value = count as f64;
    let mut units = ["B", "KiB", "MiB", "GiB", "TiB"].into_iter();
    let mut unit = units.next().unwrap_or_default();
    for larger in units {
        if value < 1024.0 {
            break;
        }
        value /= 1024.0;
        unit = larger;
    }
    if unit == "B" { format!("{count} B") } else { format!("{value:.1} {unit}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(url: &str, state: &str) -> report::Target {
        report::Target {
            url: url.to_owned(),
            state: state.to_owned(),
            lag_seconds: 0.0,
            dirty_paths: 0,
            bytes_sent: 1536,
            bytes_received: 0,
            batches: 14,
            passes: 1,
            files_sent: 3,
            last_error: None,
            next_retry: None,
            refusals: Vec::new(),
            last_pass: None,
            last_verify: None,
        }
    }

    #[test]
    fn the_table_shows_each_target_and_what_is_wrong() {
        let status = report::Status {
            version: "0.1.0".to_owned(),
            mirrors: vec![report::Mirror {
                name: "wwwroot".to_owned(),
                source: "/web/wwwroot".to_owned(),
                state: "running".to_owned(),
                error: None,
                watch: report::Watch {
                    backend: "inotify".to_owned(),
                    directories: 300,
                    polled: 2,
                    events: 9,
                    overflows: 0,
                    warning: Some("raise fs.inotify.max_user_watches".to_owned()),
                },
                next_pass: None,
                next_verify: None,
                targets: vec![
                    target("rsync://web1/web1", "live"),
                    report::Target {
                        lag_seconds: 12.34,
                        dirty_paths: 7,
                        last_error: Some("connection\x1b refused".to_owned()),
                        next_retry: Some(3.0),
                        last_verify: Some(report::Verify {
                            began: 0.0,
                            seconds: 1.0,
                            compared: 9,
                            differing: 2,
                            differences: vec![report::Difference {
                                path: "d/page".to_owned(),
                                aspects: vec!["content".to_owned()],
                            }],
                            error: Some("not compared: x".to_owned()),
                        }),
                        ..target("rsync://web2/web2", "backing-off")
                    },
                ],
            }],
        };
        let expected = "\
wwwroot  /web/wwwroot  running, 300 directories watched
  ! raise fs.inotify.max_user_watches
  ! 2 directories are compared from time to time
  TARGET             STATE           LAG  DIRTY     SENT  BATCHES
  rsync://web1/web1  live              0      0  1.5 KiB       14
  rsync://web2/web2  backing-off  12.3 s      7  1.5 KiB       14
    ! connection\\u{1b} refused; next attempt in 3.0 s
    ! differences in the last verify: 2, first d/page
    ! the last verify is incomplete: not compared: x
";
        assert_eq!(table(&status), expected);
    }

    #[test]
    fn quantities_have_units_that_fit() {
        assert_eq!(bytes(0), "0 B");
        assert_eq!(bytes(1023), "1023 B");
        assert_eq!(bytes(301 << 20), "301.0 MiB");
        assert_eq!(bytes(u64::MAX), "16777216.0 TiB");
        assert_eq!(lag(0.0), "0");
        assert_eq!(lag(0.0123), "12 ms");
        assert_eq!(lag(90.0), "2 min");
        assert_eq!(lag(5400.0), "1.5 h");
    }
}
