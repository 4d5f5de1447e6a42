//! Which key was meant.

/// Returns the text about a key that nothing knows, with the nearest that is known.
pub(super) fn unknown_key<'k>(
    key: &str,
    place: &str,
    known: impl IntoIterator<Item = &'k str>,
) -> String {
    let spellings = known.into_iter().map(|name| (name, name));
    unknown_spelling(key, place, spellings)
}

/// As [`unknown_key`], where what is known has other spellings: pairs of one and the key.
pub(super) fn unknown_spelling<'k>(
    key: &str,
    place: &str,
    known: impl IntoIterator<Item = (&'k str, &'k str)>,
) -> String {
    let nearest = known.into_iter().min_by_key(|(spelling, _)| distance(key, spelling));
    let key = key.escape_debug();
    match nearest {
        Some((_, nearest)) => format!("unknown key '{key}'{place}; did you mean '{nearest}'?"),
        None => format!("unknown key '{key}'{place}"),
    }
}

/// Characters to insert, remove, replace or swap with their neighbour to get from `a` to `b`.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut before_last: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, to) in b.iter().enumerate() {
            let replaced = last[j] + usize::from(from != to);
            let mut best = replaced.min(last[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && a[i - 1] == *to && *from == b[j - 1] {
                best = best.min(before_last[j - 1] + 1);
            }
            row.push(best);
        }
        before_last = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distance_counts_single_mistakes() {
        for (a, b, expected) in [
            ("", "", 0),
            ("delete", "delete", 0),
            ("", "abc", 3),
            ("exclud", "exclude", 1),
            ("excludee", "exclude", 1),
            ("exclide", "exclude", 1),
            ("delte", "delete", 1),
            ("deleet", "delete", 1),
            ("password_file", "password-file", 1),
            ("abc", "xyz", 3),
        ] {
            assert_eq!(distance(a, b), expected, "{a} {b}");
            assert_eq!(distance(b, a), expected, "{b} {a}");
        }
    }
}
