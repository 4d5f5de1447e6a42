//! Batch files: what `--write-batch` leaves beside a transfer, and what `--read-batch` does with it.

use std::borrow::Cow;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileTypeExt;
use std::sync::Arc;

use driftless_filter::{Given, ParseOptions, Rules};
use driftless_transfer::options::{ChecksumKind, CompressChoice, TransferOptions};
use driftless_transfer::replay::{Recording, open_file};
use driftless_transfer::report::Role;
use driftless_transfer::{PushError, Request, record};
use driftless_tree::path::printable;

use super::route::Route;
use super::rules::Files;
use super::{Client, Ended, Failed, failure, path};
use crate::flags::{Flag, Take, by_letter, by_long_name};
use crate::hostspec::{Place, parse};
use crate::output::printer::Printer;
use driftless_transfer::operator::Links;

/// Who complains, whatever the transfer's direction.
const ROLE: Role = Role::ReceivingSide;

/// An open batch file.
pub(super) type Recorder = Arc<File>;

impl Client<'_> {
    /// Opens the batch file of this transfer and writes its script.
    pub(super) fn record(&self, route: &Route) -> Result<Option<Recorder>, Failed> {
        let batch = &self.invocation.batch;
        let options = &self.invocation.options;
        let Some(name) = batch.write.as_ref().or(batch.only_write.as_ref()) else {
            return Ok(None);
        };
        if options.dry_run {
            return Ok(None);
        }
        check_choices(options)?;
        let destination = match route {
            Route::Local { sources, destination } => {
                destination.as_ref().or(sources.last()).map_or(&b""[..], Vec::as_slice)
            }
            Route::Push { far, .. } => far.paths.last().map_or(&b""[..], Vec::as_slice),
            Route::Pull { destination, far } => {
                destination.as_ref().or(far.paths.last()).map_or(&b""[..], Vec::as_slice)
            }
        };
        let script = self.script(destination)?;
        let script_name = [&name[..], b".sh"].concat();
        self.create(&script_name, 0o700)
            .and_then(|mut file| file.write_all(&script))
            .map_err(|error| cannot_open(&script_name, &error, 3))?;
        let file = self.create(name, 0o600).map_err(|error| cannot_open(name, &error, 11))?;
        Ok(Some(Arc::new(file)))
    }

    /// The options of a session that may be recorded.
    pub(super) fn recording(
        &self,
        recorder: Option<Recorder>,
    ) -> (Cow<'_, TransferOptions>, Option<Recorder>) {
        let mut options = Cow::Borrowed(&self.invocation.options);
        if recorder.is_some() {
            record::prepare(options.to_mut());
        }
        (options, recorder)
    }

    fn create(&self, name: &[u8], mode: u32) -> io::Result<File> {
        use std::os::unix::fs::OpenOptionsExt;
        if name.is_empty() {
            return Err(no_name());
        }
        match self.invocation.options.link.insecure {
            false => record::create_file(&path(name), mode),
            true => {
                File::options().write(true).create(true).truncate(true).mode(mode).open(path(name))
            }
        }
    }

    /// A command that applies the batch file to a destination: its argument, else that of this
    /// transfer.
    fn script(&self, destination: &[u8]) -> Result<Vec<u8>, Failed> {
        let rules = self.script_rules()?;
        let mut words: Vec<Vec<u8>> = self.around.program.iter().map(|w| quoted(w)).collect();
        if !rules.is_empty() {
            words.push(b"--filter='._-'".to_vec());
        }
        words.extend(script_words(&self.invocation.words));
        words.push([b"${1:-", &quoted(destination)[..], b"}"].concat());
        let mut text = words.join(&b' ');
        if !rules.is_empty() {
            text.extend_from_slice(b" <<'#E#'\n");
            for rule in rules {
                text.extend_from_slice(&rule);
                text.push(b'\n');
            }
            text.extend_from_slice(b"#E#");
        }
        text.push(b'\n');
        Ok(text)
    }

    /// The rules as a filter file has them; what `-C` adds is left to that option.
    fn script_rules(&self) -> Result<Vec<Vec<u8>>, Failed> {
        let options = &self.invocation.options;
        let parse = ParseOptions {
            delete_excluded: options.delete.excluded,
            from0: options.selection.from0,
            protocol: options.protocol,
            root: b"/".to_vec(),
            home_cvsignore: None,
            cvsignore: None,
        };
        let of_rules = |rule: &&Given| !matches!(rule, Given::CvsExclude);
        let given: Vec<Given> = self.invocation.rules.iter().filter(of_rules).cloned().collect();
        let links = Links::of(options.link.insecure);
        Rules::parse(&given, &parse, &mut Files { links, waits: true })
            .and_then(|rules| rules.script_texts(options.protocol))
            .map_err(|error| Failed::new(error.to_string(), 1, Role::Client))
    }

    /// Applies a batch file.
    pub(super) fn play(&self, printer: &mut Printer) -> Ended {
        let Some(name) = &self.invocation.batch.read else {
            return Ok((None, ROLE));
        };
        let destination = match self.invocation.arguments.last().map(|last| parse(last)) {
            Some(Place::Local(destination)) => Some(destination),
            _ => {
                let text = "remote destination is not allowed with --read-batch";
                return Err(Failed::usage(text, ROLE));
            }
        };
        super::rules::check(&self.invocation.rules, &self.invocation.options)
            .map_err(|(text, code)| Failed::new(text, code, Role::Client))?;
        let failed = |error: PushError| self.failed(&error, ROLE, 0);
        let mut options = self.invocation.options.clone();
        let recording = Recording::open(self.batch_to_read(name)?, &options, printer);
        let recording = recording.map_err(failed)?;
        let matched = recording.match_options(&mut options).map_err(failed)?;
        if options.talk.info.misc > 0 {
            for change in matched {
                let (what, option) =
                    (if change.set { "Setting" } else { "Clearing" }, change.option);
                let line = format!("{what} the {option} option to match the batchfile.");
                printer.info(line.as_bytes());
            }
        }
        let request =
            Request { destination, rules: self.invocation.rules.clone(), ..Request::default() };
        match recording.play(&options, &request, printer) {
            Ok(ending) => Ok((Some(ending), Role::Generator)),
            Err(failure) => {
                let received = failure.ending.statistics.bytes_received;
                Err(self.failed(&failure.error, ROLE, received))
            }
        }
    }

    fn batch_to_read(&self, name: &[u8]) -> Result<OwnedFd, Failed> {
        if name == b"-" {
            use std::os::fd::AsFd;
            let input = io::stdin().as_fd().try_clone_to_owned();
            return input.map_err(|error| cannot_open(name, &error, 11));
        }
        let opened = match (name, self.invocation.options.link.insecure) {
            (b"", _) => Err(no_name()),
            (_, false) => open_file(&path(name)),
            (_, true) => File::open(path(name)),
        };
        let file = opened.map_err(|error| cannot_open(name, &error, 11))?;
        let kind = file.metadata().map_err(|error| cannot_open(name, &error, 11))?.file_type();
        if !kind.is_file() && !kind.is_fifo() {
            let full = full_path(name);
            let text = format!("Batch file \"{full}\" is neither a regular file nor a FIFO");
            return Err(Failed::new(text, 11, ROLE));
        }
        Ok(file.into())
    }
}

fn no_name() -> io::Error {
    rustix::io::Errno::INVAL.into()
}

/// A choice that the file could not be read with.
fn check_choices(options: &TransferOptions) -> Result<(), Failed> {
    let list = options.update.list_checksum_choice;
    let chosen = [options.checksum_choice, list].into_iter().flatten();
    let other = |kind: &ChecksumKind| {
        *kind != ChecksumKind::Md5 && (options.protocol >= 30 || *kind != ChecksumKind::Md4)
    };
    let refused = match chosen.into_iter().find(other) {
        Some(kind) => Some(("checksum", kind.name())),
        None => match options.compress {
            CompressChoice::Off | CompressChoice::Negotiate | CompressChoice::Zlib => None,
            CompressChoice::Zstd => Some(("compress", "zstd")),
            CompressChoice::Lz4 => Some(("compress", "lz4")),
            CompressChoice::Zlibx => Some(("compress", "zlibx")),
        },
    };
    match refused {
        None => Ok(()),
        Some((what, name)) => {
            let text =
                format!("Your --{what}-choice value ({name}) cannot be used in a batch file.");
            Err(Failed::new(text, 4, ROLE))
        }
    }
}

fn full_path(name: &[u8]) -> String {
    let here = std::env::current_dir().unwrap_or_default();
    printable(std::os::unix::ffi::OsStrExt::as_bytes(here.join(path(name)).as_os_str()))
}

fn cannot_open(name: &[u8], error: &io::Error, code: u8) -> Failed {
    let (role, full, why) = (ROLE.name(), full_path(name), failure::system_text(error));
    Failed::new(format!("rsync: [{role}] Batch file \"{full}\" open error: {why}"), code, ROLE)
}

/// Between quotes for a shell.
fn quoted(word: &[u8]) -> Vec<u8> {
    let mut out = b"'".to_vec();
    for byte in word {
        match byte {
            b'\'' => out.extend_from_slice(b"'\\''"),
            byte => out.push(*byte),
        }
    }
    out.push(b'\'');
    out
}

/// Options whose place the script's own rules and the record take.
const LEFT_OUT: [&str; 6] =
    ["filter", "exclude", "exclude-from", "include", "include-from", "files-from"];

/// The options of a command line for the script: without rules and arguments, and reading what was
/// written.
fn script_words(words: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let mut out = Vec::new();
    let mut rest = words.iter();
    while let Some(word) = rest.next() {
        if word == b"--" {
            out.push(quoted(word));
            break;
        }
        let Some((flag, value)) = option_of(word) else { continue };
        let separate = value.is_none() && !matches!(flag.take, Take::Switch(_));
        let behind = if separate { rest.next() } else { None };
        if LEFT_OUT.contains(&flag.long) && (word.starts_with(b"--") || word.starts_with(b"-f")) {
            continue;
        }
        let name = match flag.long {
            "write-batch" | "only-write-batch" => Some(&b"--read-batch"[..]),
            _ => word.iter().position(|b| *b == b'=').map(|at| &word[..at]),
        };
        out.push(match (name.filter(|_| word.starts_with(b"--")), value) {
            (Some(name), Some(value)) => [name, b"=", &quoted(value)].concat(),
            (Some(name), None) => name.to_vec(),
            (None, _) => quoted(word),
        });
        out.extend(behind.map(|value| quoted(value)));
    }
    out
}

/// The last option in a word, and the value that stands in it; `None` where it is an argument.
fn option_of(word: &[u8]) -> Option<(&'static Flag, Option<&[u8]>)> {
    match word {
        [b'-', b'-', long @ ..] => {
            let at = long.iter().position(|b| *b == b'=');
            let name = at.map_or(long, |at| &long[..at]);
            Some((by_long_name(name)?.0, at.map(|at| &long[at + 1..])))
        }
        [b'-', cluster @ ..] if !cluster.is_empty() => {
            let mut flag = None;
            for (at, letter) in cluster.iter().enumerate() {
                let found = by_letter(*letter)?;
                flag = Some(found);
                if !matches!(found.take, Take::Switch(_)) {
                    let value = &cluster[at + 1..];
                    return Some((found, Some(value).filter(|value| !value.is_empty())));
                }
            }
            Some((flag?, None))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(words: &[&str], script: &str) {
        let words: Vec<Vec<u8>> = words.iter().map(|word| word.as_bytes().to_vec()).collect();
        assert_eq!(String::from_utf8(script_words(&words).join(&b' ')).unwrap(), script);
    }

    #[test]
    fn rules_and_arguments_are_left_out() {
        check(&["-a", "--write-batch=B", "-f", "- x", "s/", "d/"], "'-a' --read-batch='B'");
        check(
            &["s", "--only-write-batch", "B", "--exclude", "x", "-v", "d"],
            "--read-batch 'B' '-v'",
        );
        check(&["-af- x", "--write-batch=B", "--files-from=l"], "'-af- x' --read-batch='B'");
        check(&["--write-batch=B", "--", "-s", "d"], "--read-batch='B' '--'");
    }

    #[test]
    fn values_are_between_quotes() {
        check(
            &["--suffix=it's", "-e", "ssh -v", "-T/a b"],
            "--suffix='it'\\''s' '-e' 'ssh -v' '-T/a b'",
        );
    }
}
