//! `driftless verify`

use std::fmt::Write;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use driftless_control::report::{Verified, VerifiedTarget};
use driftless_control::request::Wait;

use crate::control_socket::ControlOption;
use crate::options::parse_duration;
use crate::output;

/// Paths differ.
const DIFFERENT: u8 = 1;
/// Not everything could be compared.
const NOT_PROVED: u8 = 2;

/// Compare targets with their sources by checksum, changing nothing
///
/// Prints each path that differs, and in what. Exits with 0 when all was compared and is identical,
/// with 1 when paths differ, and with 2 when it could not be found out. Changes made meanwhile wait
/// until a target has been compared. driftless resync repairs what differs, also files of equal size
/// and time.
#[derive(Debug, Args)]
pub struct Verify {
    /// Verify this mirror or target only
    #[arg(value_name = "MIRROR[/TARGET]")]
    mirror: Option<String>,
    /// How long to wait
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = parse_duration)]
    timeout: Duration,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    control: ControlOption,
}

impl Verify {
    /// Waits for the outcome and prints it.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let request = Wait { mirror: self.mirror, timeout: self.timeout.as_secs_f64() };
        let asked = self.control.client().map(|client| client.verify(&request));
        let verified = match asked {
            Ok(Ok(verified)) => verified,
            Ok(Err(error)) => return Ok(not_asked(&error.into())),
            Err(error) => return Ok(not_asked(&error)),
        };
        if self.json {
            output::print(&(serde_json::to_string_pretty(&verified)? + "\n"))?;
        } else {
            output::print(&found(&verified))?;
            for target in &verified.targets {
                if let Some(why) = &target.verify.error {
                    eprintln!("driftless: mirror {}: {}: {why}", target.mirror, target.url);
                }
            }
        }
        Ok(ExitCode::from(code(&verified)))
    }
}

/// An error is no difference.
fn not_asked(error: &anyhow::Error) -> ExitCode {
    eprintln!("driftless: {error:#}");
    ExitCode::from(NOT_PROVED)
}

fn code(verified: &Verified) -> u8 {
    let any = |is: fn(&VerifiedTarget) -> bool| verified.targets.iter().any(is);
    if any(|target| target.verify.differing > 0) {
        DIFFERENT
    } else if any(|target| target.verify.error.is_some()) {
        NOT_PROVED
    } else {
        0
    }
}

fn found(verified: &Verified) -> String {
    let mut text = String::new();
    let mut line = |content: std::fmt::Arguments<'_>| {
        writeln!(text, "{content}").expect("a String takes everything");
    };
    for VerifiedTarget { mirror, url, verify } in &verified.targets {
        for found in &verify.differences {
            line(format_args!("{url}: {}: {}", found.path, found.aspects.join(", ")));
        }
        let unnamed = verify.differing.saturating_sub(verify.differences.len() as u64);
        if unnamed > 0 {
            line(format_args!("{url}: and {unnamed} more"));
        }
        let compared = verify.compared;
        match (verify.differing, &verify.error) {
            (0, None) => line(format_args!("{url}: identical, names compared: {compared}")),
            (0, Some(_)) => {}
            (differing, _) => line(format_args!(
                "{url}: differences: {differing}, names compared: {compared}; to repair: driftless \
                 resync {mirror}"
            )),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use driftless_control::report;

    use super::*;

    fn target(differing: &[&str], error: Option<&str>) -> VerifiedTarget {
        let differences = differing.iter().map(|path| report::Difference {
            path: (*path).to_owned(),
            aspects: vec!["content".to_owned(), "mode".to_owned()],
        });
        VerifiedTarget {
            mirror: "www".to_owned(),
            url: "/copy".to_owned(),
            verify: report::Verify {
                began: 0.0,
                seconds: 1.0,
                compared: 9,
                differing: differing.len() as u64,
                differences: differences.collect(),
                error: error.map(str::to_owned),
            },
        }
    }

    #[track_caller]
    fn check(targets: Vec<VerifiedTarget>, expected_code: u8, expected: &str) {
        let verified = Verified { targets };
        assert_eq!((code(&verified), &*found(&verified)), (expected_code, expected));
    }

    #[test]
    fn codes_tell_identical_different_and_unknown_apart() {
        let same = "/copy: identical, names compared: 9\n";
        check(vec![target(&[], None)], 0, same);
        check(vec![target(&[], None), target(&[], Some("why"))], 2, same);
        check(
            vec![target(&["a", "b"], Some("why")), target(&[], None)],
            1,
            &format!(
                "/copy: a: content, mode\n/copy: b: content, mode\n\
                 /copy: differences: 2, names compared: 9; to repair: driftless resync www\n{same}"
            ),
        );
    }

    #[test]
    fn names_that_were_not_kept_are_counted() {
        let mut many = target(&["a"], None);
        many.verify.differing = 5;
        let text = found(&Verified { targets: vec![many] });
        assert!(text.contains("/copy: and 4 more\n"), "{text}");
    }
}
