//! One `[[mirror]]`.

use std::ffi::OsStr;
use std::path::PathBuf;

use driftless_live::config::{MirrorConfig, PullConfig};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::text::{At, boolean, kind_of, scalar, string, strings};
use super::{in_file_order, nearest};
use crate::destination::{parse_remote, parse_source, parse_target};
use crate::options::table::{Effect, Form, OPTIONS, OptionRow};
use crate::options::{Circumstances, Draft, TargetDraft};

/// Keys besides the options.
const OWN_KEYS: [&str; 3] = ["source", "targets", "live"];

type Value<'i> = Spanned<DeValue<'i>>;

/// What a table describes.
pub(super) enum AnyMirror {
    /// A source here, whose changes are mirrored as they happen.
    Live(MirrorConfig),
    /// A source elsewhere.
    Pull(PullConfig),
}

impl AnyMirror {
    pub(super) fn name(&self) -> &str {
        match self {
            Self::Live(mirror) => &mirror.name,
            Self::Pull(pull) => &pull.name,
        }
    }
}

/// Keys that mean nothing where nothing is watched.
const WATCHING: [&str; 3] = ["settle", "poll-interval", "backend"];

/// Reads a mirror's table.
pub(super) fn read(value: &Value<'_>, at: &Circumstances) -> Result<AnyMirror, At> {
    let Some(table) = value.get_ref().as_table() else {
        return Err(At::of(
            value,
            format!("mirror is a list of tables, not of {}", kind_of(value)),
        ));
    };
    check_keys(table)?;
    let mut draft = Draft::new(at.clone());
    for row in OPTIONS {
        if let Some(value) = row.key().and_then(|key| table.get(key)) {
            apply(row, &mut draft, value)?;
        }
    }
    let (Some(source), Some(targets)) = (table.get("source"), table.get("targets")) else {
        let missing = if table.contains_key("source") { "targets" } else { "source" };
        return Err(At::of(value, format!("this mirror has no {missing}")));
    };
    let text = OsStr::new(string(source, "source")?);
    let is_live = table.get("live").map_or(Ok(true), |live| boolean(live, "live"))?;
    let target_drafts = all_targets(targets, at)?;
    let wrong = |what: String| At::of(value, what);
    if let Some(remote) = parse_remote(text, at) {
        let remote = remote.map_err(|what| At::of(source, what))?;
        check_pull(table, source, is_live)?;
        let pull = draft.finish_pull(remote, target_drafts).map_err(wrong)?;
        return Ok(AnyMirror::Pull(pull));
    }
    if !is_live {
        let what = "live = false is for sources on other machines; leave it out, or name a \
                    schedule beside it";
        return Err(At::of(table.get("live").unwrap_or(value), what));
    }
    let path = parse_source(text, at).map_err(|what| At::of(source, what))?;
    draft.finish(path, target_drafts).map(AnyMirror::Live).map_err(wrong)
}

/// What a mirror with a remote source must and cannot have.
fn check_pull(table: &DeTable<'_>, source: &Value<'_>, is_live: bool) -> Result<(), At> {
    if is_live || !table.contains_key("schedule") {
        let what = "changes of a remote source are not seen as they happen: write live = false \
                    and a schedule, as in schedule = \"30 3 * * *\"";
        return Err(At::of(source, what));
    }
    for (key, _) in in_file_order(table) {
        let name = key.get_ref().as_ref();
        if WATCHING.contains(&name) {
            return Err(At::of(key, format!("{name} means nothing for a remote source")));
        }
        if name == "verify" {
            return Err(At::of(key, "verify is not supported for a remote source yet"));
        }
    }
    Ok(())
}

/// Refuses keys that nothing knows, and those that are known to do nothing yet.
fn check_keys(table: &DeTable<'_>) -> Result<(), At> {
    for (key, _) in in_file_order(table) {
        let name = key.get_ref().as_ref();
        match OPTIONS.iter().find(|row| row.key() == Some(name)) {
            Some(row) if row.supported() => {}
            Some(_) => {
                return Err(At::of(key, format!("{name} is not supported by driftless live yet")));
            }
            None if OWN_KEYS.contains(&name) => {}
            None => {
                let what = nearest::unknown_spelling(name, " in [[mirror]]", spellings());
                return Err(At::of(key, what));
            }
        }
    }
    Ok(())
}

/// Each way to spell a key, and the key; rsync's other names for an option are none.
fn spellings() -> impl Iterator<Item = (&'static str, &'static str)> {
    let options = OPTIONS.iter().filter(|row| row.supported() && row.key().is_some());
    let options = options.flat_map(|row| {
        let aliases = row.aliases.iter().map(|alias| (*alias, row.name));
        aliases.chain([(row.name, row.name)])
    });
    OWN_KEYS.into_iter().map(|key| (key, key)).chain(options)
}

/// Lets an option take effect.
fn apply(row: &OptionRow, draft: &mut Draft, value: &Value<'_>) -> Result<(), At> {
    let key = row.name;
    let wrong = |offset: usize| move |why: String| At::new(offset, format!("{key}: {why}"));
    match (row.effect, row.form) {
        (Effect::Switch(set), Form::On) => {
            if boolean(value, key)? {
                set(draft, true);
            }
            Ok(())
        }
        (Effect::Switch(set), _) => {
            set(draft, boolean(value, key)?);
            Ok(())
        }
        (Effect::Take(take), Form::List(_)) => strings(value, key)?
            .into_iter()
            .try_for_each(|(offset, text)| take(draft, OsStr::new(text)).map_err(wrong(offset))),
        (Effect::Take(take), _) => {
            take(draft, OsStr::new(&scalar(value, key)?)).map_err(wrong(value.span().start))
        }
        (Effect::NotYet, _) => unreachable!("check_keys refused it"),
    }
}

fn all_targets(value: &Value<'_>, at: &Circumstances) -> Result<Vec<TargetDraft>, At> {
    match value.get_ref() {
        DeValue::Array(list) => list.iter().map(|one| target(one, at)).collect(),
        _ => Ok(vec![target(value, at)?]),
    }
}

/// A string, or a table with `url` and `password-file`.
fn target(value: &Value<'_>, at: &Circumstances) -> Result<TargetDraft, At> {
    match value.get_ref() {
        DeValue::String(text) => {
            let destination =
                parse_target(OsStr::new(text.as_ref()), at).map_err(|what| At::of(value, what))?;
            Ok(TargetDraft { destination, password_file: None })
        }
        DeValue::Table(table) => target_table(value, table, at),
        _ => Err(At::of(
            value,
            format!("a target is a string or a table with url, not {}", kind_of(value)),
        )),
    }
}

fn target_table(
    value: &Value<'_>,
    table: &DeTable<'_>,
    at: &Circumstances,
) -> Result<TargetDraft, At> {
    let mut destination = None;
    let mut password_file: Option<PathBuf> = None;
    for (key, value) in in_file_order(table) {
        match key.get_ref().as_ref() {
            "url" => {
                let text = OsStr::new(string(value, "url")?);
                destination = Some(parse_target(text, at).map_err(|what| At::of(value, what))?);
            }
            "password-file" => {
                let name = string(value, "password-file")?;
                password_file = Some(at.absolute(OsStr::new(name)));
            }
            unknown => {
                let known = ["url", "password-file"];
                return Err(At::of(key, nearest::unknown_key(unknown, " in a target", known)));
            }
        }
    }
    match destination {
        Some(destination) => Ok(TargetDraft { destination, password_file }),
        None => Err(At::of(value, "this target has no url")),
    }
}
