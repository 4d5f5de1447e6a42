//! What single options do, where it takes more than a line.

use std::time::Duration;

use driftless_transfer::chmod::Chmod;
use driftless_transfer::options::{AlternateKind, Alternates, StderrMode};
use driftless_tree::path::printable;

use super::Usage;
use super::typed::{Buffering, LevelHelp, MapBy, Typed};
use super::values::{LevelWord, SizeRule, level_words};
use driftless_filter::Given;

/// `--block-size` from protocol 30 on.
pub const BLOCK_SIZE: SizeRule = SizeRule {
    option: "block-size",
    default_unit: 1.0,
    min: None,
    max: Some((1 << 17, "128.00K")),
};
/// `--block-size` before.
pub const BLOCK_SIZE_OLD: SizeRule = SizeRule {
    option: "block-size",
    default_unit: 1.0,
    min: None,
    max: Some((1 << 29, "512.00M")),
};
/// `--bwlimit`
pub const BWLIMIT: SizeRule =
    SizeRule { option: "bwlimit", default_unit: 1024.0, min: Some((512, "512")), max: None };
const MAX_ALLOC: SizeRule =
    SizeRule { option: "max-alloc", default_unit: 1.0, min: Some((1 << 20, "1.00M")), max: None };

/// Most alternate directories.
const MAX_ALTERNATES: usize = 20;

/// Counts up, or back to nothing.
pub fn count(field: &mut u8, on: bool) {
    *field = if on { field.saturating_add(1) } else { 0 };
}

/// `--info`, `--debug`
pub fn levels(
    text: &[u8],
    words: &[&str],
    option: &str,
    help: LevelHelp,
    into: &mut Vec<LevelWord>,
    asked: &mut Option<LevelHelp>,
) -> Result<(), Usage> {
    let found = level_words(text, words, option)?;
    if found.contains(&LevelWord::Help) {
        *asked = Some(help);
    }
    into.extend(found);
    Ok(())
}

/// `--stderr`
pub fn stderr_mode(typed: &mut Typed, text: &[u8]) -> Result<(), Usage> {
    let modes =
        [("errors", StderrMode::Errors), ("all", StderrMode::All), ("client", StderrMode::Client)];
    let found =
        modes.iter().find(|(name, _)| !text.is_empty() && name.as_bytes().starts_with(text));
    let Some((_, mode)) = found else {
        let shown = printable(text);
        return Err(Usage::syntax(format!(
            "--stderr mode \"{shown}\" is not one of errors, all, or client"
        )));
    };
    typed.options.talk.stderr = *mode;
    Ok(())
}

/// `--outbuf`
pub fn outbuf(typed: &mut Typed, text: &[u8]) -> Result<(), Usage> {
    typed.output.buffer = Some(match text.first().map(u8::to_ascii_uppercase) {
        Some(b'N' | b'U') => Buffering::None,
        Some(b'L') => Buffering::Line,
        Some(b'B' | b'F') => Buffering::Block,
        _ => return Err(Usage::syntax("Invalid --outbuf setting -- specify N, L, or B.".into())),
    });
    Ok(())
}

/// `-F`
pub fn per_dir_filter(typed: &mut Typed, _: bool) {
    typed.per_dir_filters = typed.per_dir_filters.saturating_add(1);
    typed.rules.push(Given::PerDirFilter(1));
}

/// `--chmod`
pub fn add_chmod(typed: &mut Typed, text: &[u8]) -> Result<(), Usage> {
    let bad = || Usage::syntax(format!("Invalid argument passed to --chmod ({})", printable(text)));
    let word = std::str::from_utf8(text).map_err(|_| bad())?;
    let more = Chmod::parse(word, typed.umask).map_err(|_| bad())?;
    match &mut typed.options.chmod {
        Some(chmod) => chmod.extend(more),
        none => *none = Some(more),
    }
    Ok(())
}

/// `--max-size`, `--min-size`
pub fn size(option: &'static str, text: &[u8], field: &mut Option<u64>) -> Result<(), Usage> {
    *field = Some(SizeRule::bytes(option).parse(text)?);
    Ok(())
}

/// `--max-alloc`
pub fn max_alloc(typed: &mut Typed, text: &[u8]) -> Result<(), Usage> {
    let most = MAX_ALLOC.parse(text)?;
    if most == 0 {
        // Without a limit a peer decides how much memory is taken.
        return Err(Usage::syntax("max-alloc must be greater than zero".to_owned()));
    }
    typed.options.limit.max_alloc = Some(most);
    Ok(())
}

/// `--usermap`
pub fn user_map(typed: &mut Typed, text: &[u8]) -> Result<(), Usage> {
    claim(&mut typed.user_map_by, MapBy::Map, "user")?;
    typed.options.metadata.user_map = Some(text.to_vec());
    typed.options.owner = true;
    Ok(())
}

/// `--groupmap`
pub fn group_map(typed: &mut Typed, text: &[u8]) -> Result<(), Usage> {
    claim(&mut typed.group_map_by, MapBy::Map, "group")?;
    typed.options.metadata.group_map = Some(text.to_vec());
    typed.options.group = true;
    Ok(())
}

/// `--chown`
pub fn chown(typed: &mut Typed, text: &[u8]) -> Result<(), Usage> {
    let (user, group) = match text.iter().position(|b| *b == b':') {
        Some(at) => (&text[..at], &text[at + 1..]),
        None => (text, &b""[..]),
    };
    let everyone = |name: &[u8]| Some([b"*:", name].concat());
    if !user.is_empty() {
        claim(&mut typed.user_map_by, MapBy::Chown, "user")?;
        typed.options.metadata.user_map = everyone(user);
        typed.options.owner = true;
    }
    if !group.is_empty() {
        claim(&mut typed.group_map_by, MapBy::Chown, "group")?;
        typed.options.metadata.group_map = everyone(group);
        typed.options.group = true;
    }
    Ok(())
}

fn claim(by: &mut Option<MapBy>, now: MapBy, which: &str) -> Result<(), Usage> {
    let text = match (*by, now) {
        (None, _) => {
            *by = Some(now);
            return Ok(());
        }
        (Some(MapBy::Map), MapBy::Map) => format!("You can only specify --{which}map once."),
        (Some(MapBy::Chown), MapBy::Chown) => {
            format!("You can only specify a {which}-affecting --chown once.")
        }
        (Some(MapBy::Chown), MapBy::Map) => format!("--{which}map conflicts with prior --chown."),
        (Some(MapBy::Map), MapBy::Chown) => format!("--chown conflicts with prior --{which}map."),
    };
    Err(Usage::syntax(text))
}

/// A time limit; nothing and less is none.
pub fn positive_secs(secs: i32) -> Option<Duration> {
    u64::try_from(secs).ok().filter(|secs| *secs > 0).map(Duration::from_secs)
}

/// `--compare-dest`, `--copy-dest`, `--link-dest`
pub fn add_alternate(typed: &mut Typed, kind: AlternateKind, dir: &[u8]) -> Result<(), Usage> {
    let alternates = typed
        .options
        .update
        .alternates
        .get_or_insert_with(|| Alternates { kind, dirs: Vec::new() });
    let option = kind.option();
    if alternates.kind != kind {
        return Err(Usage::syntax(format!(
            "ERROR: the {option} option conflicts with the {} option",
            alternates.kind.option()
        )));
    }
    if alternates.dirs.len() == MAX_ALTERNATES {
        return Err(Usage::syntax(format!(
            "ERROR: at most {MAX_ALTERNATES} {option} args may be specified"
        )));
    }
    alternates.dirs.push(dir.to_vec());
    Ok(())
}

/// `-M`
pub fn remote_option(typed: &mut Typed, text: &[u8]) -> Result<(), Usage> {
    if !text.starts_with(b"-") {
        let shown = printable(text);
        return Err(Usage::syntax(format!("Remote option must start with a dash: {shown}")));
    }
    typed.options.remote_options.push(text.to_vec());
    Ok(())
}

/// `--protocol`; its range is checked where sessions begin, as in rsync.
pub fn protocol(typed: &mut Typed, number: i32) -> Result<(), Usage> {
    typed.options.protocol = u8::try_from(number).unwrap_or(0);
    Ok(())
}
