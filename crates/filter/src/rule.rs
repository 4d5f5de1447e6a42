//! One rule: what its text says. Origin: filter reference, "Rule syntax".
//!
//! Knows no files and no lists; what a rule does to a list is for [`crate::merge`].

use crate::error::SyntaxError;
use crate::pattern::Pattern;

/// Which sides a rule is meant for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Sides {
    /// Not said: both, but with `--delete-excluded` the sender only.
    #[default]
    Plain,
    Sender,
    Receiver,
    /// Both were named, which resists `--delete-excluded`.
    Both,
}

impl Sides {
    fn adding(self, side: Sides) -> Sides {
        match self {
            Sides::Plain => side,
            same if same == side => side,
            _ => Sides::Both,
        }
    }
}

/// A rule with a pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Rule {
    pub(crate) pattern: Pattern,
    pub(crate) traits: Traits,
    /// Its text is not shown: the file may not be the reader's to see.
    pub(crate) from_file: bool,
}

/// What is said of a pattern beside the pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Traits {
    pub(crate) include: bool,
    /// Applies where the pattern does not match.
    pub(crate) negate: bool,
    pub(crate) full_path: bool,
    pub(crate) sides: Sides,
    pub(crate) perishable: bool,
    /// For names of extended attributes, never for files.
    pub(crate) xattr: bool,
}

/// A merge rule: how a file of rules is read and what its rules inherit.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Merge {
    pub(crate) name: Vec<u8>,
    pub(crate) form: Form,
    /// `include` and `negate` are unused here.
    pub(crate) traits: Traits,
    pub(crate) self_exclude: bool,
    pub(crate) no_inherit: bool,
}

/// How the text of a file is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Form {
    /// Rules are bare patterns of this sense.
    pub(crate) bare: Option<Sense>,
    /// Any white space ends a rule, and there are no comments.
    pub(crate) word_split: bool,
    /// CVS's own: `!` clears although patterns are bare.
    pub(crate) cvs: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sense {
    Exclude,
    Include,
}

/// What a rule's text asks for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Parsed<'t> {
    Clear,
    Pattern { text: &'t [u8], traits: Traits },
    CvsList(Traits),
    MergeNow(Merge),
    PerDir(Merge),
}

/// The grammar that a text is in, and what its rules take over from the file they are in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Grammar {
    /// Full rules.
    Rules(Traits),
    /// Patterns of one sense; `clear` says that `!` is no pattern.
    Bare { traits: Traits, clear: bool },
    /// `--exclude` and `--include`: patterns of one sense with few prefixes.
    OldStyle(Sense),
}

impl Merge {
    /// The grammar of the file's text.
    pub(crate) fn grammar(&self) -> Grammar {
        match self.form.bare {
            None => Grammar::Rules(self.traits),
            Some(sense) => Grammar::Bare {
                traits: Traits { include: sense == Sense::Include, ..self.traits },
                clear: self.form.cvs,
            },
        }
    }
}

/// Parses one rule.
pub(crate) fn parse(text: &[u8], grammar: Grammar) -> Result<Parsed<'_>, SyntaxError> {
    match grammar {
        Grammar::Rules(inherited) => parse_full(text, inherited),
        Grammar::Bare { clear: true, .. } if text == b"!" => Ok(Parsed::Clear),
        Grammar::Bare { traits, .. } => Ok(Parsed::Pattern { text, traits }),
        Grammar::OldStyle(sense) => parse_old_style(text, sense),
    }
}

fn parse_old_style(text: &[u8], sense: Sense) -> Result<Parsed<'_>, SyntaxError> {
    let (text, sense) = match text {
        b"!" => return Ok(Parsed::Clear),
        [b'-', b' ', rest @ ..] => (rest, Sense::Exclude),
        [b'+', b' ', rest @ ..] => (rest, Sense::Include),
        _ => (text, sense),
    };
    if text.is_empty() {
        return Err(SyntaxError::NoPattern);
    }
    let traits = Traits { include: sense == Sense::Include, ..Traits::default() };
    Ok(Parsed::Pattern { text, traits })
}

/// The kinds of rules, by their short names.
const LONG_NAMES: [(&[u8], u8); 9] = [
    (b"exclude", b'-'),
    (b"include", b'+'),
    (b"hide", b'H'),
    (b"show", b'S'),
    (b"protect", b'P'),
    (b"risk", b'R'),
    (b"merge", b'.'),
    (b"dir-merge", b':'),
    (b"clear", b'!'),
];

/// Takes the name off a rule: the short name of its kind, and the length of the name with the
/// comma that may follow.
fn take_name(text: &[u8]) -> Result<(u8, usize), SyntaxError> {
    let first = *text.first().ok_or(SyntaxError::Unknown)?;
    let (kind, len) = if b"-+HSPR.:!".contains(&first) {
        (first, 1)
    } else {
        let ends = |at: usize| match text.get(at) {
            None | Some(b'_' | b',') => true,
            Some(byte) => is_space(*byte),
        };
        LONG_NAMES
            .iter()
            .find(|(name, _)| text.starts_with(name) && ends(name.len()))
            .map(|(name, kind)| (*kind, name.len()))
            .ok_or(SyntaxError::Unknown)?
    };
    Ok((kind, len + usize::from(text.get(len) == Some(&b','))))
}

/// White space as the C locale has it.
pub(crate) fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t'..=b'\r')
}

fn parse_full(text: &[u8], inherited: Traits) -> Result<Parsed<'_>, SyntaxError> {
    let (kind, mut at) = take_name(text)?;
    if kind == b'!' {
        return if at == text.len() { Ok(Parsed::Clear) } else { Err(SyntaxError::TrailingClear) };
    }
    let mut modifiers = Modifiers::new(kind, inherited);
    while let Some(&byte) = text.get(at) {
        at += 1;
        if matches!(byte, b' ' | b'_') {
            break;
        }
        modifiers
            .apply(byte)
            .map_err(|()| SyntaxError::Modifier { modifier: byte, position: at - 1 })?;
    }
    if inherited.sides != Sides::Plain && modifiers.traits.sides != Sides::Plain {
        return Err(SyntaxError::SideInSidedFile);
    }
    modifiers.finish(text.get(at..).unwrap_or_default(), inherited)
}

struct Modifiers {
    kind: u8,
    traits: Traits,
    form: Form,
    self_exclude: bool,
    no_inherit: bool,
}

impl Modifiers {
    fn new(kind: u8, inherited: Traits) -> Self {
        let sides = match kind {
            b'H' | b'S' => Sides::Sender,
            b'P' | b'R' => Sides::Receiver,
            _ => Sides::Plain,
        };
        let include = matches!(kind, b'+' | b'S' | b'R');
        let traits = Traits { include, sides, ..Traits { xattr: false, ..inherited } };
        Self { kind, traits, form: Form::default(), self_exclude: false, no_inherit: false }
    }

    fn is_merge(&self) -> bool {
        matches!(self.kind, b'.' | b':')
    }

    fn implies_side(&self) -> bool {
        !self.is_merge() && !matches!(self.kind, b'-' | b'+')
    }

    fn apply(&mut self, modifier: u8) -> Result<(), ()> {
        let merge = self.is_merge();
        match modifier {
            b'-' if merge && self.form.bare.is_none() => self.form.bare = Some(Sense::Exclude),
            b'+' if merge && self.form.bare.is_none() => self.form.bare = Some(Sense::Include),
            b'/' => self.traits.full_path = true,
            b'!' if !merge => self.traits.negate = true,
            b'C' if self.form.bare.is_none() && !self.implies_side() => {
                self.form = Form { bare: Some(Sense::Exclude), word_split: true, cvs: true };
                self.no_inherit = true;
            }
            b'e' if merge => self.self_exclude = true,
            b'n' if merge => self.no_inherit = true,
            b'w' if merge => self.form.word_split = true,
            b'p' => self.traits.perishable = true,
            b's' if !self.implies_side() => {
                self.traits.sides = self.traits.sides.adding(Sides::Sender);
            }
            b'r' if !self.implies_side() => {
                self.traits.sides = self.traits.sides.adding(Sides::Receiver);
            }
            b'x' => self.traits.xattr = true,
            _ => return Err(()),
        }
        Ok(())
    }

    fn finish(mut self, text: &[u8], inherited: Traits) -> Result<Parsed<'_>, SyntaxError> {
        if self.traits.sides == Sides::Plain {
            self.traits.sides = inherited.sides;
        }
        if !self.is_merge() {
            return match (self.form.cvs, text) {
                (true, _) => Ok(Parsed::CvsList(self.traits)),
                (false, b"") => Err(SyntaxError::NoPattern),
                (false, text) => Ok(Parsed::Pattern { text, traits: self.traits }),
            };
        }
        let name = match text {
            b"" if self.form.cvs => crate::cvs::FILE_NAME,
            b"" => return Err(SyntaxError::NoPattern),
            name => name,
        };
        let merge = Merge {
            name: name.to_vec(),
            form: self.form,
            // An `x` of a merge rule says nothing about the rules in its file.
            traits: Traits { xattr: false, ..self.traits },
            self_exclude: self.self_exclude,
            no_inherit: self.no_inherit,
        };
        Ok(if self.kind == b'.' { Parsed::MergeNow(merge) } else { Parsed::PerDir(merge) })
    }
}
