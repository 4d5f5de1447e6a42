//! The global list, as the user, the daemon's configuration or the peer gave it.

use std::sync::Arc;

use driftless_tree::RelPath;

use crate::chain::Side;
use crate::cvs;
use crate::error::{Place, RuleError, Warning};
use crate::merge::{Base, Item, Loader, ReadFile, settle_sides};
use crate::pattern::Pattern;
use crate::rule::{Form, Grammar, Merge, Rule, Sense, Sides, Traits};

/// How rules were given, in the order of the command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Given {
    /// `--exclude=PATTERN`
    Exclude(Vec<u8>),
    /// `--include=PATTERN`
    Include(Vec<u8>),
    /// `--filter=RULE`
    Filter(Vec<u8>),
    /// `--exclude-from=FILE`
    ExcludeFrom(Vec<u8>),
    /// `--include-from=FILE`
    IncludeFrom(Vec<u8>),
    /// `-0`: rules in files that are named behind it end at NUL bytes, or no longer.
    From0(bool),
    /// `-C`. Wherever it stands, its rules go to the end.
    CvsExclude,
    /// `-F`, given this many times in this place. The first adds `: /.rsync-filter`, the second
    /// `- .rsync-filter`, further ones nothing; several entries add up.
    PerDirFilter(u8),
    /// A rule that the peer sent, without its length. Before protocol 29 peers send old-style
    /// patterns; that follows [`ParseOptions::protocol`].
    Received(Vec<u8>),
}

/// What the meaning of rules depends on besides their text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParseOptions {
    /// `--delete-excluded`: rules without a side are the sender's only.
    pub delete_excluded: bool,
    /// `-0`, `--from0`: rules in the files of directories, and in those that the peer names, end at
    /// NUL bytes. In others that is a matter of order: [`Given::From0`].
    pub from0: bool,
    /// The session's protocol; before 30 nothing of CVS's list is perishable.
    pub protocol: u8,
    /// Absolute path of the transfer root, in a module that of the root inside the module (`/` for
    /// the module itself). Full-path rules compare with it.
    pub root: Vec<u8>,
    /// The text of `$HOME/.cvsignore`.
    pub home_cvsignore: Option<Vec<u8>>,
    /// The value of `$CVSIGNORE`.
    pub cvsignore: Option<Vec<u8>>,
}

/// A module's filter parameters, as in its configuration; empty where not set.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ModuleRules {
    /// `filter`: rules separated by white space.
    pub filter: Vec<u8>,
    /// `include from`: a file.
    pub include_from: Vec<u8>,
    /// `include`: patterns separated by white space.
    pub include: Vec<u8>,
    /// `exclude from`: a file.
    pub exclude_from: Vec<u8>,
    /// `exclude`: patterns separated by white space.
    pub exclude: Vec<u8>,
}

/// The rules of one transfer, immutable once parsed.
#[derive(Debug, Clone)]
pub struct Rules {
    pub(crate) items: Arc<[Item]>,
    pub(crate) options: ParseOptions,
    /// What `-C` adds protects from `--delete-excluded`, too.
    pub(crate) keeps_cvs: bool,
    warnings: Vec<Warning>,
}

impl Rules {
    /// Parses what was given.
    ///
    /// The rules that rsync adds by itself for `--backup` (`P *~`) and `--partial-dir` (`-p DIR/`)
    /// are the caller's to append as [`Given::Filter`]; those of `-C` still come behind them.
    ///
    /// # Errors
    /// The first rule that is none, or the first named file that cannot be read.
    pub fn parse(
        given: &[Given],
        options: &ParseOptions,
        files: &mut dyn ReadFile,
    ) -> Result<Rules, RuleError> {
        let plain = Grammar::Rules(Traits::default());
        let mut loader = Loader::new(options, files, Base::Options, &[]);
        loader.from0 = false;
        let mut per_dir_count = 0_u8;
        for one in given {
            match one {
                Given::Exclude(text) | Given::Include(text) | Given::Filter(text)
                    if text.is_empty() => {}
                Given::Exclude(text) => {
                    loader.add_text(text, Grammar::OldStyle(Sense::Exclude))?;
                }
                Given::Include(text) => {
                    loader.add_text(text, Grammar::OldStyle(Sense::Include))?;
                }
                Given::Filter(text) => loader.add_text(text, plain)?,
                Given::ExcludeFrom(name) => loader.add_from(name, Sense::Exclude)?,
                Given::IncludeFrom(name) => loader.add_from(name, Sense::Include)?,
                Given::From0(on) => loader.from0 = *on,
                Given::Received(text) => {
                    loader.from0 = options.from0;
                    let grammar = match options.protocol {
                        ..29 => Grammar::OldStyle(Sense::Exclude),
                        _ => plain,
                    };
                    let before = loader.list.items.len();
                    loader.add_text(text, grammar)?;
                    // A received `!` may have emptied the list.
                    let before = before.min(loader.list.items.len());
                    settle_sides(&mut loader.list.items[before..]);
                }
                Given::PerDirFilter(count) => {
                    let after = per_dir_count.saturating_add(*count);
                    if per_dir_count == 0 && after >= 1 {
                        loader.add_text(b": /.rsync-filter", plain)?;
                    }
                    if per_dir_count < 2 && after >= 2 {
                        loader.add_text(b"- .rsync-filter", plain)?;
                    }
                    per_dir_count = after;
                }
                Given::CvsExclude => {}
            }
        }
        if given.contains(&Given::CvsExclude) {
            let merge = Merge {
                name: cvs::FILE_NAME.to_vec(),
                form: Form { bare: Some(Sense::Exclude), word_split: true, cvs: true },
                no_inherit: true,
                ..Merge::default()
            };
            loader.add_per_dir(merge, true, &Place::Text(b":C".to_vec()));
            loader.add_cvs_list(Traits::default(), true);
        }
        Ok(Self::of(loader.list.items, options, loader.warnings))
    }

    /// Parses a module's own rules, which are tested before those of a client. Origin: filter
    /// reference, "Daemon filters".
    ///
    /// # Errors
    /// As for [`Rules::parse`].
    pub fn parse_module(
        given: &ModuleRules,
        options: &ParseOptions,
        files: &mut dyn ReadFile,
    ) -> Result<Rules, RuleError> {
        let mut loader = Loader::new(options, files, Base::Options, &[]);
        loader.add_words(&given.filter, Grammar::Rules(Traits::default()))?;
        if !given.include_from.is_empty() {
            loader.add_from(&given.include_from, Sense::Include)?;
        }
        loader.add_words(&given.include, Grammar::OldStyle(Sense::Include))?;
        if !given.exclude_from.is_empty() {
            loader.add_from(&given.exclude_from, Sense::Exclude)?;
        }
        loader.add_words(&given.exclude, Grammar::OldStyle(Sense::Exclude))?;
        let mut items = loader.list.items;
        for item in &mut items {
            if let Item::Rule(rule) = item {
                *rule = for_module(rule);
            }
        }
        Ok(Self::of(items, options, loader.warnings))
    }

    /// No rules at all.
    pub fn none(options: &ParseOptions) -> Rules {
        Self::of(Vec::new(), options, Vec::new())
    }

    fn of(items: Vec<Item>, options: &ParseOptions, warnings: Vec<Warning>) -> Rules {
        Rules { items: items.into(), options: options.clone(), keeps_cvs: false, warnings }
    }

    /// The same rules for another transfer root, an absolute path: each of several sources has its
    /// own, and so has the destination.
    pub fn with_root(&self, root: &[u8]) -> Rules {
        let options = ParseOptions { root: root.to_vec(), ..self.options.clone() };
        Rules { options, ..self.clone() }
    }

    /// The rules of a client that receives: what `-C` adds protects from `--delete-excluded` there
    /// (seen; at a server, which is sent its rules, it does not).
    #[must_use]
    pub fn keeping_cvs(self) -> Rules {
        Rules { keeps_cvs: true, ..self }
    }

    /// Whether nothing was given that could match.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Whether directories are searched for files with rules.
    pub fn has_per_dir(&self) -> bool {
        self.items.iter().any(|item| matches!(item, Item::PerDir(_)))
    }

    /// The names of the files that bring a directory rules of its own.
    pub fn per_dir_names(&self) -> impl Iterator<Item = &[u8]> {
        self.items.iter().filter_map(|item| match item {
            Item::PerDir(slot) => Some(slot.file_name()),
            _ => None,
        })
    }

    /// Whether extended attributes are selected by rules, which turns the defaults for their names
    /// off.
    pub fn has_xattr(&self) -> bool {
        self.items.iter().any(|item| matches!(item, Item::Rule(rule) if rule.traits.xattr))
    }

    /// What was left out of the given rules.
    pub fn warnings(&self) -> &[Warning] {
        &self.warnings
    }
}

/// A rule of a module: a directory that is excluded stands for all that is in it, so that a file of
/// its name is not meant (one that is included for itself alone, seen with 3.5.0), and any slash
/// anchors at the module.
fn for_module(rule: &Rule) -> Rule {
    let text = rule.pattern.text();
    let anchored = text.contains(&b'/');
    let mut raw = Vec::with_capacity(text.len() + 5);
    if anchored && !text.starts_with(b"/") && !text.starts_with(b"**") {
        raw.push(b'/');
    }
    raw.extend_from_slice(text);
    if rule.pattern.is_dir_only() {
        raw.extend_from_slice(if rule.traits.include { b"/" } else { b"/***" });
    }
    let full_path = rule.pattern.is_full_path() || anchored;
    let traits = Traits { full_path, ..rule.traits };
    Rule { pattern: Pattern::new(&raw, full_path), traits, from_file: rule.from_file }
}

/// Whether a rule of the receiver could protect `dir` or a name below it from deletion. Errs
/// towards yes.
pub fn may_protect_below(list: &Rules, dir: &RelPath) -> bool {
    let dir = dir.as_bytes();
    let excluded_go = list.options.delete_excluded;
    let may = |rule: &Rule, excluded_go: bool| {
        let (traits, pattern) = (&rule.traits, &rule.pattern);
        if traits.include || traits.xattr || !applies(traits.sides, Side::Receiver, excluded_go) {
            return false;
        }
        match pattern.fixed_start() {
            Some(start) if !traits.negate => {
                let common = start.len().min(dir.len());
                start[..common] == dir[..common]
            }
            _ => true,
        }
    };
    list.items.iter().any(|item| match item {
        Item::Rule(rule) => may(rule, excluded_go),
        Item::Cvs { rules, from_option, .. } => {
            let excluded_go = excluded_go && !(list.keeps_cvs && *from_option);
            rules.iter().any(|rule| may(rule, excluded_go))
        }
        Item::PerDir(rule) => rule.merge.traits.sides != Sides::Sender,
    })
}

/// Whether a rule is for a side.
pub(crate) fn applies(sides: Sides, side: Side, delete_excluded: bool) -> bool {
    match (sides, side) {
        (Sides::Both, _) | (Sides::Sender | Sides::Plain, Side::Sender) => true,
        (Sides::Receiver, Side::Receiver) => true,
        (Sides::Plain, Side::Receiver) => !delete_excluded,
        (Sides::Sender, Side::Receiver) | (Sides::Receiver, Side::Sender) => false,
    }
}
