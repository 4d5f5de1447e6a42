//! The rules in force in one directory, and the verdict on names in it.
//!
//! ```text
//! global list:  rule  rule  [.rules]  rule  [.other]          first match decides
//!                              │
//!              sub/deep/.rules ► sub/.rules ► .rules          nearest directory first
//! ```
//! Invariants
//! * A chain is immutable; entering a directory makes a new one that shares what it inherits.
//! * A per-directory file is known by its name alone, and only once.

use std::sync::Arc;

use driftless_tree::RelPath;

use crate::error::{RuleError, Warning};
use crate::merge::{Base, Item, List, Loader, PerDir, ReadFile};
use crate::place;
use crate::rule::Rule;
use crate::rules::{Rules, applies};

/// The end of the transfer for which rules are evaluated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Side {
    /// An exclude match hides the name from the transfer.
    Sender,
    /// An exclude match protects the name from deletion.
    Receiver,
}

/// What the rules say about a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// Shown, or at risk of deletion.
    Included,
    /// Hidden, or protected from deletion; with a directory, all that is below it.
    Excluded,
    /// No rule matched, which has the effect of [`Verdict::Included`].
    NoMatch,
}

impl Verdict {
    /// Whether the name is hidden or protected.
    pub fn is_excluded(self) -> bool {
        self == Verdict::Excluded
    }
}

/// The rule that decides about a name.
#[derive(Debug, Clone, Copy)]
pub struct Reason<'c> {
    rule: &'c Rule,
    list: ListOf<'c>,
}

/// Which list a rule is in.
#[derive(Debug, Clone, Copy)]
enum ListOf<'c> {
    Options,
    Cvs,
    /// That of per-directory files of this name.
    Files(&'c [u8]),
}

impl Reason<'_> {
    /// Whether names that match are shown, or at risk of deletion.
    pub fn includes(&self) -> bool {
        self.rule.traits.include
    }

    /// The pattern and its list, as rsync names them with `-vv`.
    pub fn text(&self) -> Vec<u8> {
        let pattern = &self.rule.pattern;
        let mut text = match self.rule.from_file {
            true => b"<rule from a file read earlier>".to_vec(),
            false if pattern.is_dir_only() => [pattern.text(), b"/"].concat(),
            false => pattern.text().to_vec(),
        };
        match self.list {
            ListOf::Options => {}
            ListOf::Cvs => text.extend_from_slice(b" [global CVS]"),
            ListOf::Files(name) => {
                text.extend_from_slice(b" [per-dir ");
                text.extend_from_slice(name);
                text.push(b']');
            }
        }
        text
    }
}

/// The rules in force in one directory.
#[derive(Debug, Clone)]
pub struct Chain {
    rules: Arc<Rules>,
    side: Side,
    /// One for each per-directory file known here, in the order of their declaration.
    slots: Arc<[Slot]>,
    warnings: Arc<[Warning]>,
}

/// A per-directory file and its rules as they stand in this directory.
#[derive(Debug, Clone)]
struct Slot {
    rule: PerDir,
    level: Option<Arc<Level>>,
}

/// The rules of one directory's file, and those of the directories above.
#[derive(Debug)]
struct Level {
    items: Vec<Item>,
    above: Option<Arc<Level>>,
}

/// What is asked about.
#[derive(Clone, Copy)]
struct Question<'q> {
    name: &'q [u8],
    is_dir: bool,
    xattr: bool,
    /// Whether perishable rules count.
    perishable: bool,
}

impl Chain {
    /// The chain of the transfer root. Reads the root's per-directory files, and those of the
    /// directories above it that a rule asks for.
    ///
    /// # Errors
    /// A rule in one of the files that is none, or a file that cannot be read.
    pub fn root(
        rules: Arc<Rules>,
        side: Side,
        files: &mut dyn ReadFile,
    ) -> Result<Chain, RuleError> {
        let mut slots = Vec::new();
        declare(&mut slots, &rules.items);
        let chain = Chain { rules, side, slots: slots.into(), warnings: Arc::new([]) };
        let root = place::normalize(&chain.rules.options.root);
        let mut slots = chain.slots.to_vec();
        let mut warnings = Vec::new();
        for at in 0..slots.len() {
            for dir in scanned_above(&slots[at].rule, &root) {
                chain.read_slot(&mut slots, at, &dir, files, &mut warnings)?;
            }
        }
        Chain { slots: slots.into(), ..chain }.read_dir(&root, files, warnings)
    }

    /// The chain of `dir`, a path relative to the transfer root, whose parent this chain belongs to.
    ///
    /// # Errors
    /// As for [`Chain::root`].
    pub fn enter(&self, dir: &RelPath, files: &mut dyn ReadFile) -> Result<Chain, RuleError> {
        if self.slots.is_empty() {
            return Ok(self.clone());
        }
        let root = place::normalize(&self.rules.options.root);
        self.read_dir(&place::join(&root, dir.as_bytes()), files, Vec::new())
    }

    /// The verdict on a name in this chain's directory, given as its path relative to the transfer
    /// root. The caller has tested the directories above.
    pub fn check(&self, path: &[u8], is_dir: bool) -> Verdict {
        self.answer(Question { name: path, is_dir, xattr: false, perishable: true })
    }

    /// Like [`Chain::check`], inside a directory that is itself being deleted: perishable rules do
    /// not count there.
    pub fn check_in_deleted(&self, path: &[u8], is_dir: bool) -> Verdict {
        self.answer(Question { name: path, is_dir, xattr: false, perishable: false })
    }

    /// The rule that decides about a name, if one does; `doomed`: it is in a directory that is itself
    /// being deleted.
    pub fn reason(&self, path: &[u8], is_dir: bool, doomed: bool) -> Option<Reason<'_>> {
        let question = Question { name: path, is_dir, xattr: false, perishable: !doomed };
        self.first_match(&self.rules.items, question, ListOf::Options)
    }

    /// The verdict on the name of an extended attribute, to be copied (sender) or removed.
    pub fn check_xattr(&self, name: &[u8]) -> Verdict {
        self.answer(Question { name, is_dir: false, xattr: true, perishable: true })
    }

    /// What was left out of the files that this directory has added.
    pub fn warnings(&self) -> &[Warning] {
        &self.warnings
    }

    fn read_dir(
        &self,
        dir: &[u8],
        files: &mut dyn ReadFile,
        mut warnings: Vec<Warning>,
    ) -> Result<Chain, RuleError> {
        let mut slots = self.slots.to_vec();
        let mut at = 0;
        // A file may declare further files, which this directory is searched for at once.
        while at < slots.len() {
            self.read_slot(&mut slots, at, dir, files, &mut warnings)?;
            at += 1;
        }
        Ok(Chain { slots: slots.into(), warnings: warnings.into(), ..self.clone() })
    }

    fn read_slot(
        &self,
        slots: &mut Vec<Slot>,
        at: usize,
        dir: &[u8],
        files: &mut dyn ReadFile,
        warnings: &mut Vec<Warning>,
    ) -> Result<(), RuleError> {
        let rule = slots[at].rule.clone();
        let known: Vec<&[u8]> = slots.iter().map(|slot| slot.rule.file_name()).collect();
        let base = Base::Dir(dir, rule.depth + 1);
        let mut loader = Loader::new(&self.rules.options, files, base, &known);
        loader.add_dir_file(dir, &rule)?;
        warnings.append(&mut loader.warnings);
        let List { mut items, cleared } = loader.list;
        items.retain(|item| match item {
            Item::Rule(rule) => self.applies(rule),
            Item::Cvs { .. } | Item::PerDir(_) => true,
        });
        let above = slots[at].level.take().filter(|_| !cleared && !rule.merge.no_inherit);
        declare(slots, &items);
        slots[at].level = match (items.is_empty(), above) {
            (true, above) => above,
            (false, above) => Some(Arc::new(Level { items, above })),
        };
        Ok(())
    }

    fn applies(&self, rule: &Rule) -> bool {
        applies(rule.traits.sides, self.side, self.rules.options.delete_excluded)
    }

    fn answer(&self, question: Question<'_>) -> Verdict {
        match self.first_match(&self.rules.items, question, ListOf::Options) {
            Some(reason) if reason.includes() => Verdict::Included,
            Some(_) => Verdict::Excluded,
            None => Verdict::NoMatch,
        }
    }

    fn first_match<'c>(
        &'c self,
        items: &'c [Item],
        question: Question<'_>,
        list: ListOf<'c>,
    ) -> Option<Reason<'c>> {
        let reason = |rule, list| {
            let is_so = self.applies(rule) && self.test(rule, question);
            is_so.then_some(Reason { rule, list })
        };
        items.iter().find_map(|item| match item {
            Item::Rule(rule) => reason(rule, list),
            Item::Cvs { rules, from_option: true, .. } if self.rules.keeps_cvs => {
                let rule = rules.iter().find(|rule| self.test(rule, question))?;
                Some(Reason { rule, list: ListOf::Cvs })
            }
            Item::Cvs { rules, .. } => rules.iter().find_map(|rule| reason(rule, ListOf::Cvs)),
            Item::PerDir(rule) => {
                let slot =
                    self.slots.iter().find(|slot| slot.rule.file_name() == rule.file_name())?;
                let list = ListOf::Files(slot.rule.file_name());
                std::iter::successors(slot.level.as_ref(), |level| level.above.as_ref())
                    .find_map(|level| self.first_match(&level.items, question, list))
            }
        })
    }

    fn test(&self, rule: &Rule, question: Question<'_>) -> bool {
        let Question { name, is_dir, xattr, perishable } = question;
        if rule.traits.xattr != xattr || (rule.traits.perishable && !perishable) || name.is_empty()
        {
            return false;
        }
        let matches = rule.pattern.matches(name, is_dir, &self.rules.options.root);
        matches != rule.traits.negate
    }
}

/// Adds a slot for each per-directory rule that has none.
fn declare(slots: &mut Vec<Slot>, items: &[Item]) {
    for item in items {
        if let Item::PerDir(rule) = item
            && !slots.iter().any(|slot| slot.rule.file_name() == rule.file_name())
        {
            slots.push(Slot { rule: rule.clone(), level: None });
        }
    }
}

/// The directories above the root that are searched for the rule's file, outermost first: from the
/// one in the rule's name, if that is above the root, down to the root's parent.
fn scanned_above(rule: &PerDir, root: &[u8]) -> Vec<Vec<u8>> {
    let name = &rule.merge.name;
    let Some(slash) = name.iter().rposition(|&b| b == b'/') else {
        return Vec::new();
    };
    let from = place::normalize(&place::join(root, &name[..=slash]));
    let Some(rest) = place::below(root, &from).filter(|rest| !rest.is_empty()) else {
        return Vec::new();
    };
    let mut dirs = vec![from.clone()];
    for (at, _) in rest.iter().enumerate().filter(|&(_, &b)| b == b'/') {
        dirs.push(place::join(&from, &rest[..at]));
    }
    dirs
}

/// Decides a path from scratch: as a walk would, it tests every directory above it first. `is_dir`
/// is about the path itself.
///
/// # Errors
/// As for [`Chain::enter`].
pub fn decide(
    rules: &Arc<Rules>,
    side: Side,
    path: &RelPath,
    is_dir: bool,
    files: &mut dyn ReadFile,
) -> Result<Verdict, RuleError> {
    let mut chain = Chain::root(Arc::clone(rules), side, files)?;
    for dir in path.ancestors() {
        if chain.check(dir.as_bytes(), true).is_excluded() {
            return Ok(Verdict::Excluded);
        }
        chain = chain.enter(&dir, files)?;
    }
    Ok(chain.check(path.as_bytes(), is_dir))
}
