//! Rules as they are sent to a peer. Origin: protocol reference, "Filter list and files-from".

use crate::chain::Side;
use crate::error::RuleError;
use crate::merge::{Item, PerDir};
use crate::rule::{Rule, Sense, Sides, Traits};
use crate::rules::{Rules, applies};

impl Rules {
    /// The rules that the receiving side of a push needs, each without the length in front of it.
    ///
    /// `delete_excluded` keeps the rules without a side at home.
    ///
    /// # Errors
    /// [`RuleError::TooModern`] when the protocol cannot express one of them.
    pub fn wire_texts(
        &self,
        protocol: u8,
        delete_excluded: bool,
    ) -> Result<Vec<Vec<u8>>, RuleError> {
        let mut out = Vec::new();
        for item in self.items.iter() {
            match item {
                Item::Rule(rule) if applies(rule.traits.sides, Side::Receiver, delete_excluded) => {
                    out.push(rule_text(rule, rule.traits.sides, protocol)?);
                }
                Item::Cvs { rules, traits, .. }
                    if applies(traits.sides, Side::Receiver, delete_excluded) =>
                {
                    for rule in rules {
                        let perishable = rule.traits.perishable && protocol >= 30;
                        let rule =
                            Rule { traits: Traits { perishable, ..rule.traits }, ..rule.clone() };
                        out.push(rule_text(&rule, rule.traits.sides, protocol)?);
                    }
                }
                // The rules of a file of bare patterns have no side either.
                Item::PerDir(rule)
                    if applies(
                        rule.merge.traits.sides,
                        Side::Receiver,
                        delete_excluded && rule.merge.form.bare.is_some(),
                    ) =>
                {
                    out.push(per_dir_text(rule, protocol)?);
                }
                _ => {}
            }
        }
        Ok(out)
    }

    /// The rules that the sending side of a pull needs. What `-C` adds is left to the peer, which
    /// learns of the option.
    ///
    /// # Errors
    /// As for [`Rules::wire_texts`].
    pub fn wire_texts_for_sender(&self, protocol: u8) -> Result<Vec<Vec<u8>>, RuleError> {
        self.texts(protocol, |sides| sides != Sides::Receiver)
    }

    /// All rules but those that `-C` adds, for a batch file's script.
    ///
    /// # Errors
    /// As for [`Rules::wire_texts`].
    pub fn script_texts(&self, protocol: u8) -> Result<Vec<Vec<u8>>, RuleError> {
        self.texts(protocol, |_| true)
    }

    fn texts(
        &self,
        protocol: u8,
        is_meant: impl Fn(Sides) -> bool,
    ) -> Result<Vec<Vec<u8>>, RuleError> {
        let mut out = Vec::new();
        for item in self.items.iter() {
            match item {
                Item::Rule(rule) if is_meant(rule.traits.sides) => {
                    let sides = match rule.traits.sides {
                        Sides::Plain if self.options.delete_excluded => Sides::Sender,
                        sides => sides,
                    };
                    out.push(rule_text(rule, sides, protocol)?);
                }
                Item::Cvs { traits, from_option: false, .. } if is_meant(traits.sides) => {
                    let mut text = prefix(traits, traits.sides, Some(b"C"), protocol)?;
                    text.push(b' ');
                    out.push(text);
                }
                Item::PerDir(rule) if !rule.from_option && is_meant(rule.merge.traits.sides) => {
                    out.push(per_dir_text(rule, protocol)?);
                }
                _ => {}
            }
        }
        Ok(out)
    }
}

fn rule_text(rule: &Rule, sides: Sides, protocol: u8) -> Result<Vec<u8>, RuleError> {
    let mut text = if protocol >= 29 {
        let mut text = prefix(&rule.traits, sides, None, protocol)?;
        text.push(b' ');
        text
    } else {
        old_prefix(rule)?
    };
    text.extend_from_slice(rule.pattern.text());
    if rule.pattern.is_dir_only() {
        text.push(b'/');
    }
    Ok(text)
}

/// Before protocol 29 there are only "- ", "+ " and nothing. Sides are dropped: what the other side
/// does not need is not sent.
fn old_prefix(rule: &Rule) -> Result<Vec<u8>, RuleError> {
    let Traits { include, negate, full_path, perishable, xattr, sides: _ } = rule.traits;
    if negate || full_path || perishable || xattr {
        return Err(RuleError::TooModern);
    }
    let pattern = rule.pattern.text();
    let ambiguous = pattern == b"!" || pattern.starts_with(b"- ") || pattern.starts_with(b"+ ");
    Ok(match (include, ambiguous) {
        (true, _) => b"+ ".to_vec(),
        (false, true) => b"- ".to_vec(),
        (false, false) => Vec::new(),
    })
}

fn per_dir_text(rule: &PerDir, protocol: u8) -> Result<Vec<u8>, RuleError> {
    let merge = &rule.merge;
    let mut form = Vec::new();
    if merge.form.cvs {
        form.push(b'C');
    } else {
        if merge.no_inherit {
            form.push(b'n');
        }
        if merge.form.word_split {
            form.push(b'w');
        }
        match merge.form.bare {
            Some(Sense::Exclude) => form.push(b'-'),
            Some(Sense::Include) => form.push(b'+'),
            None => {}
        }
    }
    let mut text = prefix(&merge.traits, merge.traits.sides, Some(&form), protocol)?;
    // Not the rule's sense: a merge rule has a kind of its own.
    text[0] = b':';
    text.push(b' ');
    text.extend_from_slice(&merge.name);
    Ok(text)
}

/// Kind and modifiers in rsync's order, `form` being those of merge rules.
fn prefix(
    traits: &Traits,
    sides: Sides,
    form: Option<&[u8]>,
    protocol: u8,
) -> Result<Vec<u8>, RuleError> {
    if protocol < 29 || (traits.perishable && protocol < 30) {
        return Err(RuleError::TooModern);
    }
    let mut text = vec![if traits.include { b'+' } else { b'-' }];
    if traits.full_path {
        text.push(b'/');
    }
    if traits.negate {
        text.push(b'!');
    }
    text.extend_from_slice(form.unwrap_or_default());
    if traits.xattr {
        text.push(b'x');
    }
    if matches!(sides, Sides::Sender | Sides::Both) {
        text.push(b's');
    }
    if matches!(sides, Sides::Receiver | Sides::Both) {
        text.push(b'r');
    }
    if traits.perishable {
        text.push(b'p');
    }
    Ok(text)
}
