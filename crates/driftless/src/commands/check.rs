//! `driftless check`

use std::ffi::OsString;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use driftless_daemon::conf::lint::Severity;
use driftless_live::check;
use driftless_live::config::MirrorConfig;
use driftless_watch::survey::{KernelLimit, Survey, fanotify_possible, kernel_limits};
use serde::Serialize;

use super::live::circumstances;
use crate::config;
use crate::destination::parse_source;
use crate::options::{Circumstances, Draft};
use crate::output;

/// Where settings live that outlast the machine's next start.
const SYSCTL_FILE: &str = "/etc/sysctl.d/60-driftless.conf";

/// Say what mirrors need of the kernel and whether it is there
///
/// Counts the directories of each source, says how changes would be noticed and why, and compares the
/// kernel's limits with what that takes; with -c it also reads FILE and logs in at every target, without
/// transferring anything. Exits with 0 when all is sufficient, and with 1 otherwise.
///
/// With --rsyncd it reads an rsyncd.conf and names what is wrong or risky: line, parameter, and what to
/// write. Exits with 1 when something is wrong.
#[derive(Debug, Args)]
#[command(
    override_usage = "driftless check [OPTIONS] [SRC]\n       driftless check [OPTIONS] -c FILE\n       driftless check --rsyncd FILE"
)]
pub struct Check {
    /// The directory that is to be mirrored
    #[arg(value_name = "SRC", conflicts_with = "config")]
    source: Option<OsString>,
    /// Read mirrors from a TOML file
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Look at the configuration of an rsync daemon
    #[arg(long, value_name = "FILE", conflicts_with_all = ["source", "config"])]
    rsyncd: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// All that was found out.
#[derive(Debug, Serialize)]
struct Report {
    /// Whether mirrors can run as they are meant to.
    sufficient: bool,
    /// Why fanotify cannot be used here.
    #[serde(skip_serializing_if = "Option::is_none")]
    fanotify: Option<String>,
    mirrors: Vec<Mirror>,
    limits: Vec<Limit>,
}

#[derive(Debug, Serialize)]
struct Mirror {
    name: String,
    source: String,
    /// Why it cannot be watched at all.
    error: Option<String>,
    /// `fanotify`, `inotify` or `poll`.
    backend: Option<&'static str>,
    /// Why not a better one.
    reason: Option<String>,
    directories: usize,
    targets: Vec<Target>,
}

#[derive(Debug, Serialize)]
struct Target {
    url: String,
    /// Why it does not answer.
    error: Option<String>,
}

#[derive(Debug, Serialize)]
struct Limit {
    sysctl: &'static str,
    present: u64,
    in_use: u64,
    wanted: u64,
    enough: bool,
    /// Changes it until the next start.
    #[serde(skip_serializing_if = "Option::is_none")]
    command: Option<String>,
    /// Changes it for good.
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<String>,
}

impl Check {
    /// Finds out and prints it.
    pub fn run(&self) -> anyhow::Result<ExitCode> {
        if let Some(file) = &self.rsyncd {
            return lint(file);
        }
        let report = report(&self.mirrors(&circumstances()?)?);
        let text = match self.json {
            true => serde_json::to_string_pretty(&report)? + "\n",
            false => text(&report),
        };
        output::print(&text)?;
        Ok(if report.sufficient { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }

    fn mirrors(&self, run_by: &Circumstances) -> anyhow::Result<Vec<MirrorConfig>> {
        if let Some(file) = &self.config {
            return Ok(config::read(file, run_by)?.mirrors);
        }
        let Some(source) = &self.source else { return Ok(Vec::new()) };
        let source = parse_source(source, run_by).map_err(anyhow::Error::msg)?;
        Ok(vec![Draft::new(run_by.clone()).without_targets(source)])
    }
}

fn lint(file: &Path) -> anyhow::Result<ExitCode> {
    let findings = driftless_daemon::conf::lint::lint(file);
    let mut text: String = findings.iter().map(|finding| format!("{finding}\n")).collect();
    let wrong = findings.iter().filter(|one| one.severity == Severity::Wrong).count();
    put(
        &mut text,
        &match findings.len() {
            0 => "nothing is wrong".to_owned(),
            count => format!("{wrong} wrong, {} risky", count - wrong),
        },
    );
    output::print(&text)?;
    Ok(if wrong == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn report(configs: &[MirrorConfig]) -> Report {
    let mut surveys = Vec::new();
    let mirrors: Vec<Mirror> = configs
        .iter()
        .map(|config| {
            let survey = check::source(config);
            surveys.extend(survey.clone());
            mirror(config, survey)
        })
        .collect();
    let limits: Vec<Limit> = kernel_limits(&surveys).iter().map(limit).collect();
    let fanotify = if configs.is_empty() { fanotify_possible().err() } else { None };
    let runs = |mirror: &Mirror| {
        mirror.error.is_none() && mirror.targets.iter().all(|target| target.error.is_none())
    };
    let sufficient = mirrors.iter().all(runs) && limits.iter().all(|limit| limit.enough);
    Report { sufficient, fanotify, mirrors, limits }
}

fn mirror(config: &MirrorConfig, survey: Result<Survey, String>) -> Mirror {
    let targets = config.targets.iter().map(|target| Target {
        url: target.destination.to_string(),
        error: check::target(config, target).err(),
    });
    let found = survey.as_ref().ok();
    Mirror {
        name: config.name.clone(),
        source: config.source.display().to_string(),
        backend: found.map(|survey| survey.backend.as_str()),
        reason: found.and_then(|survey| survey.refused.clone()),
        directories: found.map_or(0, |survey| survey.directories),
        targets: targets.collect(),
        error: survey.err(),
    }
}

fn limit(limit: &KernelLimit) -> Limit {
    let &KernelLimit { sysctl, present, in_use, wanted, sufficient } = limit;
    let enough = limit.is_enough();
    Limit {
        sysctl,
        present,
        in_use,
        wanted,
        enough,
        command: (!enough).then(|| format!("sysctl -w {sysctl}={sufficient}")),
        line: (!enough).then(|| format!("{sysctl} = {sufficient}")),
    }
}

fn text(report: &Report) -> String {
    let mut out = String::new();
    for mirror in &report.mirrors {
        write_mirror(&mut out, mirror);
    }
    if let Some(why) = &report.fanotify {
        put(&mut out, &format!("fanotify cannot be used: {why}"));
    }
    for limit in &report.limits {
        write_limit(&mut out, limit);
    }
    put(&mut out, if report.sufficient { "all is sufficient" } else { "something is missing" });
    out
}

fn write_mirror(out: &mut String, mirror: &Mirror) {
    let Mirror { name, source, directories, .. } = mirror;
    match (&mirror.error, mirror.backend) {
        (Some(error), _) => put(out, &format!("{name}  {source}\n  ! {error}")),
        (None, backend) => {
            let backend = backend.unwrap_or_default();
            put(out, &format!("{name}  {source}  {directories} directories, by {backend}"));
        }
    }
    if let Some(reason) = &mirror.reason {
        put(out, &format!("  not by fanotify: {reason}"));
    }
    for target in &mirror.targets {
        match &target.error {
            None => put(out, &format!("  {} answers", target.url)),
            Some(error) => put(out, &format!("  ! {}: {error}", target.url)),
        }
    }
}

fn write_limit(out: &mut String, limit: &Limit) {
    let Limit { sysctl, present, in_use, wanted, .. } = limit;
    let mark = if limit.enough { "" } else { "! " };
    put(out, &format!("{mark}{sysctl} is {present}: {wanted} needed, {in_use} in use"));
    if let (Some(command), Some(line)) = (&limit.command, &limit.line) {
        put(out, &format!("    until the next start: {command}"));
        put(out, &format!("    for good, in {SYSCTL_FILE}: {line}"));
    }
}

/// Adds a line; control characters in names and texts do not reach the terminal.
fn put(out: &mut String, line: &str) {
    for part in line.split('\n') {
        let shown = part.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c });
        writeln!(out, "{}", shown.collect::<String>()).expect("writing to memory cannot fail");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_comes_with_the_command_that_changes_it() {
        let few = KernelLimit {
            sysctl: "fs.inotify.max_user_watches",
            present: 8192,
            in_use: 100,
            wanted: 100_001,
            sufficient: 131_072,
        };
        let mut report = Report {
            sufficient: false,
            fanotify: None,
            mirrors: vec![Mirror {
                name: "www".to_owned(),
                source: "/web\x1b".to_owned(),
                error: None,
                backend: Some("inotify"),
                reason: Some("it needs CAP_SYS_ADMIN".to_owned()),
                directories: 100_000,
                targets: vec![
                    Target { url: "rsync://a/m".to_owned(), error: None },
                    Target { url: "rsync://b/m".to_owned(), error: Some("no route".to_owned()) },
                ],
            }],
            limits: vec![limit(&few)],
        };
        let expected = "\
www  /web\u{fffd}  100000 directories, by inotify
  not by fanotify: it needs CAP_SYS_ADMIN
  rsync://a/m answers
  ! rsync://b/m: no route
! fs.inotify.max_user_watches is 8192: 100001 needed, 100 in use
    until the next start: sysctl -w fs.inotify.max_user_watches=131072
    for good, in /etc/sysctl.d/60-driftless.conf: fs.inotify.max_user_watches = 131072
something is missing
";
        assert_eq!(text(&report), expected);
        report.limits = vec![limit(&KernelLimit { present: 200_000, ..few })];
        assert!(report.limits[0].enough && report.limits[0].command.is_none());
    }
}
