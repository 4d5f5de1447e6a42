//! Places in a TOML text, and values with what was expected of them.

use toml::Spanned;
use toml::de::DeValue;

/// Something wrong at a place of the text.
#[derive(Debug)]
pub(super) struct At {
    pub(super) offset: usize,
    pub(super) what: String,
}

impl At {
    pub(super) fn new(offset: usize, what: impl Into<String>) -> Self {
        Self { offset, what: what.into() }
    }

    pub(super) fn of<T>(spanned: &Spanned<T>, what: impl Into<String>) -> Self {
        Self::new(spanned.span().start, what)
    }
}

/// A file's text.
pub(super) struct Text<'a>(&'a str);

impl<'a> Text<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self(text)
    }

    /// Returns the line of an offset, counted from 1.
    pub(super) fn line(&self, offset: usize) -> usize {
        let before = self.0.as_bytes().iter().take(offset);
        before.filter(|byte| **byte == b'\n').count() + 1
    }
}

/// Returns a value's kind in words.
pub(super) fn kind_of(value: &Spanned<DeValue<'_>>) -> &'static str {
    match value.get_ref() {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) | DeValue::Float(_) => "a number",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

/// Returns a string.
pub(super) fn string<'v>(value: &'v Spanned<DeValue<'_>>, key: &str) -> Result<&'v str, At> {
    value.get_ref().as_str().ok_or_else(|| unfit(value, key, "a string"))
}

/// Returns a switch.
pub(super) fn boolean(value: &Spanned<DeValue<'_>>, key: &str) -> Result<bool, At> {
    value.get_ref().as_bool().ok_or_else(|| unfit(value, key, "true or false"))
}

/// Returns a string, or a number as it would be typed on a command line.
pub(super) fn scalar(value: &Spanned<DeValue<'_>>, key: &str) -> Result<String, At> {
    match value.get_ref() {
        DeValue::String(text) => Ok(text.to_string()),
        DeValue::Integer(number) if number.radix() == 10 => Ok(number.as_str().to_owned()),
        DeValue::Float(number) => Ok(number.as_str().to_owned()),
        _ => Err(unfit(value, key, "a string or a number")),
    }
}

/// Returns a string, or each string of a list, with its place.
pub(super) fn strings<'v>(
    value: &'v Spanned<DeValue<'_>>,
    key: &str,
) -> Result<Vec<(usize, &'v str)>, At> {
    let one =
        |value: &'v Spanned<DeValue<'_>>| Some((value.span().start, value.get_ref().as_str()?));
    match value.get_ref() {
        DeValue::Array(list) => {
            list.iter().map(|item| one(item).ok_or_else(|| unfit(item, key, "strings"))).collect()
        }
        _ => {
            Ok(vec![one(value).ok_or_else(|| unfit(value, key, "a string or a list of strings"))?])
        }
    }
}

fn unfit(value: &Spanned<DeValue<'_>>, key: &str, wanted: &str) -> At {
    At::of(value, format!("{key} takes {wanted}, not {}", kind_of(value)))
}
