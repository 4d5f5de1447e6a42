//! What the values of options mean.

use std::ffi::OsStr;
use std::fmt::Display;
use std::str::FromStr;
use std::time::Duration;

use driftless_live::config::MaxDelete;
use driftless_live::schedule::Schedule;
use driftless_transfer::chmod::Chmod;
use driftless_transfer::options::{ChecksumKind, CompressChoice};

use super::draft::Draft;
use super::duration::parse_duration;
use super::size::parse_size;

fn text(value: &OsStr) -> Result<&str, String> {
    value.to_str().ok_or_else(|| format!("'{}' is not UTF-8", value.display()))
}

pub(super) fn number<T: FromStr<Err: Display>>(value: &OsStr) -> Result<T, String> {
    let text = text(value)?;
    text.trim().parse().map_err(|error| format!("'{text}': {error}"))
}

pub(super) fn duration(value: &OsStr) -> Result<Duration, String> {
    parse_duration(text(value)?)
}

/// rsync's 0 means no limit.
pub(super) fn nonzero(duration: Duration) -> Option<Duration> {
    (!duration.is_zero()).then_some(duration)
}

pub(super) fn name(draft: &mut Draft, value: &OsStr) -> Result<(), String> {
    let name = text(value)?;
    if name.is_empty() || name.contains('/') || name.contains(char::is_control) {
        return Err(format!(
            "'{}' is no name: it needs characters other than / and control \
                            characters",
            name.escape_debug()
        ));
    }
    draft.name = Some(name.to_owned());
    Ok(())
}

pub(super) fn archive(draft: &mut Draft, on: bool) {
    let options = &mut draft.options;
    options.links = on;
    options.perms = on;
    options.times = on;
    options.owner = on;
    options.group = on;
    options.devices = on;
    options.specials = on;
}

pub(super) fn max_delete(draft: &mut Draft, value: &OsStr) -> Result<(), String> {
    let text = text(value)?;
    let wrong = || format!("'{text}' is neither a number, nor a share like 50%, nor none");
    draft.max_delete = match text.strip_suffix('%') {
        _ if text == "none" => MaxDelete::Unlimited,
        Some(share) => {
            let share = share.parse().ok().filter(|share| *share <= 100).ok_or_else(wrong)?;
            MaxDelete::Share(share)
        }
        None => MaxDelete::Count(text.parse().map_err(|_| wrong())?),
    };
    Ok(())
}

pub(super) fn poll_interval(draft: &mut Draft, value: &OsStr) -> Result<(), String> {
    let interval = duration(value)?;
    if interval < Duration::from_secs(1) {
        return Err("less than 1s would keep the disk busy".to_owned());
    }
    draft.poll_interval = interval;
    Ok(())
}

pub(super) fn schedule(value: &OsStr) -> Result<Schedule, String> {
    Schedule::parse(text(value)?).map_err(|error| error.to_string())
}

pub(super) fn chmod(draft: &mut Draft, value: &OsStr) -> Result<(), String> {
    let changes =
        Chmod::parse(text(value)?, draft.circumstances.umask).map_err(|e| e.to_string())?;
    match &mut draft.options.chmod {
        Some(earlier) => earlier.extend(changes),
        none => *none = Some(changes),
    }
    Ok(())
}

pub(super) fn block_size(draft: &mut Draft, value: &OsStr) -> Result<(), String> {
    /// Protocol 30 and later.
    const MAX: u64 = 128 * 1024;
    let text = text(value)?;
    let size = parse_size(text, 1)?;
    if size > MAX {
        return Err(format!("{text} is too large (max: 128K)"));
    }
    draft.options.block_size = u32::try_from(size).ok().filter(|size| *size > 0);
    Ok(())
}

pub(super) fn bwlimit(draft: &mut Draft, value: &OsStr) -> Result<(), String> {
    let text = text(value)?;
    let rate = parse_size(text, 1024)?;
    if (1..512).contains(&rate) {
        return Err(format!("{text} is too small (min: 512 bytes, or 0 for unlimited)"));
    }
    draft.options.bwlimit = (rate > 0).then_some(rate);
    Ok(())
}

pub(super) fn compress_choice(draft: &mut Draft, value: &OsStr) -> Result<(), String> {
    draft.options.compress = match text(value)? {
        "auto" => CompressChoice::Negotiate,
        "zstd" => CompressChoice::Zstd,
        "lz4" => CompressChoice::Lz4,
        "zlibx" => CompressChoice::Zlibx,
        "zlib" => CompressChoice::Zlib,
        "none" => CompressChoice::Off,
        other => {
            return Err(format!("'{other}' is none of auto, zstd, lz4, zlibx, zlib, none"));
        }
    };
    Ok(())
}

pub(super) fn compress_level(draft: &mut Draft, value: &OsStr) -> Result<(), String> {
    let level = number(value)?;
    draft.options.compress_level = Some(level);
    // 0 is zlib's way to say "off"; it asks for nothing.
    if level != 0 && draft.options.compress == CompressChoice::Off {
        draft.options.compress = CompressChoice::Negotiate;
    }
    Ok(())
}

pub(super) fn checksum_choice(draft: &mut Draft, value: &OsStr) -> Result<(), String> {
    draft.options.checksum_choice = match text(value)? {
        "auto" => None,
        "xxh128" => Some(ChecksumKind::Xxh128),
        "xxh3" => Some(ChecksumKind::Xxh3),
        "xxh64" | "xxhash" => Some(ChecksumKind::Xxh64),
        "md5" => Some(ChecksumKind::Md5),
        "md4" => Some(ChecksumKind::Md4),
        "sha1" => Some(ChecksumKind::Sha1),
        "none" => {
            return Err("a mirror needs checksums: only they keep a file that changes while it \
                        is sent from being published half"
                .to_owned());
        }
        other => {
            return Err(format!("'{other}' is none of auto, xxh128, xxh3, xxh64, md5, md4, sha1"));
        }
    };
    Ok(())
}

pub(super) fn protocol(draft: &mut Draft, value: &OsStr) -> Result<(), String> {
    let version = number(value)?;
    if !(30..=32).contains(&version) {
        return Err(format!("{version} is none of 30, 31, 32"));
    }
    draft.options.protocol = version;
    Ok(())
}
