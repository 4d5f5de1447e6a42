//! Owners of the sender as owners here: by name where both ends know it, and by the user's own map.
//! Protocol reference, "uid/gid names".

use std::collections::HashMap;

use driftless_fs::Owners;

/// Users, or groups.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum IdKind {
    User,
    Group,
}

/// One `FROM:TO` of `--usermap` or `--groupmap`.
#[derive(Debug)]
struct MapRule {
    from: From,
    to: u32,
}

#[derive(Debug)]
enum From {
    Range(u32, u32),
    /// A name, perhaps with wildcards.
    Name(Vec<u8>),
    Nameless,
}

#[derive(Debug)]
pub(crate) struct IdMap {
    kind: IdKind,
    rules: Vec<MapRule>,
    known: HashMap<u32, u32>,
}

impl IdMap {
    /// `map` is the option's text; what it cannot use goes to `complaints`, as rsync words it.
    pub(crate) fn new(
        kind: IdKind,
        map: Option<&[u8]>,
        owners: &Owners,
        complaints: &mut Vec<String>,
    ) -> Self {
        let items = map.unwrap_or_default().split(|&b| b == b',').filter(|item| !item.is_empty());
        let rules = items.filter_map(|item| parse(kind, item, owners, complaints)).collect();
        Self { kind, rules, known: HashMap::new() }
    }

    /// An id came with its name.
    pub(crate) fn learn(&mut self, id: u32, name: Option<&[u8]>, owners: &Owners) {
        let by_name = || {
            // The superuser is the superuser, whatever the name is.
            let name = name.filter(|_| id != 0)?;
            match self.kind {
                IdKind::User => owners.uid(name),
                IdKind::Group => owners.gid(name),
            }
        };
        let ours = self.by_rule(id, name).or_else(by_name).unwrap_or(id);
        self.known.insert(id, ours);
    }

    /// The id here.
    pub(crate) fn map(&self, id: u32) -> u32 {
        match self.known.get(&id) {
            Some(ours) => *ours,
            None => self.by_rule(id, None).unwrap_or(id),
        }
    }

    fn by_rule(&self, id: u32, name: Option<&[u8]>) -> Option<u32> {
        let matches = |rule: &&MapRule| match &rule.from {
            From::Range(low, high) => (*low..=*high).contains(&id),
            From::Name(pattern) if pattern == b"*" => true,
            From::Name(pattern) => name.is_some_and(|name| matches_wild(pattern, name)),
            From::Nameless => name.is_none(),
        };
        self.rules.iter().find(matches).map(|rule| rule.to)
    }
}

fn parse(
    kind: IdKind,
    item: &[u8],
    owners: &Owners,
    complaints: &mut Vec<String>,
) -> Option<MapRule> {
    let colon = item.iter().position(|&b| b == b':')?;
    let (from, to) = (&item[..colon], &item[colon + 1..]);
    let from = match from {
        b"" => From::Nameless,
        _ if from[0].is_ascii_digit() => {
            let mut ends = from.splitn(2, |&b| b == b'-');
            let low = number(ends.next()?)?;
            From::Range(low, ends.next().map_or(Some(low), number)?)
        }
        name => From::Name(name.to_vec()),
    };
    let (named, option) = match kind {
        IdKind::User => (owners.uid(to), "usermap"),
        IdKind::Group => (owners.gid(to), "groupmap"),
    };
    let to_id = number(to).or(named);
    if to_id.is_none() {
        let shown = driftless_tree::path::printable(to);
        complaints.push(format!("Unknown --{option} name on receiver: {shown}"));
    }
    Some(MapRule { from, to: to_id? })
}

fn number(text: &[u8]) -> Option<u32> {
    let digits = !text.is_empty() && text.iter().all(u8::is_ascii_digit);
    digits.then(|| std::str::from_utf8(text).ok()?.parse().ok()).flatten()
}

/// `*` and `?`; both texts are short, and the work is bounded by their product.
fn matches_wild(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, t));
                p += 1;
            }
            Some(&b) if b == b'?' || b == text[t] => {
                p += 1;
                t += 1;
            }
            _ => match &mut star {
                None => return false,
                Some((back, from)) => {
                    *from += 1;
                    (p, t) = (*back + 1, *from);
                }
            },
        }
    }
    pattern[p..].iter().all(|&b| b == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_rule_that_matches_decides() {
        let owners = Owners::new();
        let mut complaints = Vec::new();
        let text = b"1000-1999:7,bob:root,:9,no*:8,x:nobody-of-that-name";
        let mut map = IdMap::new(IdKind::User, Some(text), &owners, &mut complaints);
        assert_eq!(complaints, ["Unknown --usermap name on receiver: nobody-of-that-name"]);
        map.learn(5, Some(b"bob"), &owners);
        map.learn(1500, Some(b"bob"), &owners);
        map.learn(6, Some(b"nobody"), &owners);
        assert_eq!((map.map(5), map.map(1500), map.map(6), map.map(77)), (0, 7, 8, 9));
    }

    #[test]
    fn names_known_here_decide_and_unknown_ones_leave_the_number() {
        let owners = Owners::new();
        let mut map = IdMap::new(IdKind::Group, None, &owners, &mut Vec::new());
        map.learn(4242, Some(b"root"), &owners);
        map.learn(4243, Some(b"no such group here"), &owners);
        map.learn(0, Some(b"nogroup"), &owners);
        assert_eq!((map.map(4242), map.map(4243), map.map(1), map.map(0)), (0, 4243, 1, 0));
    }
}
