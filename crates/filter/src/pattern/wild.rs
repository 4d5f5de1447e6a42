//! Wildcards: `?`, `*`, `**`, `[...]` and `\`, on bytes.
//!
//! The pattern is compiled to tokens and run as a set of positions that advance together, one step
//! for each byte of the text, so that a match costs at most tokens times bytes whatever the
//! pattern is.

/// The most tokens that are matched; the longest rule that a peer or file may bring has fewer.
const MAX_TOKENS: usize = WORDS * 64 - 1;
const WORDS: usize = 81;

/// A compiled wildcard pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wild {
    /// `None` for a malformed pattern, which matches nothing.
    tokens: Option<Vec<Token>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    Byte(u8),
    /// `?`
    Any,
    /// `[...]`: the bytes that it accepts.
    Class(Box<ByteSet>),
    /// `*`
    Star,
    /// `**` or more stars.
    DoubleStar,
}

/// A set of bytes, never with the slash.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct ByteSet([u64; 4]);

impl ByteSet {
    fn insert(&mut self, byte: u8) {
        self.0[usize::from(byte / 64)] |= 1 << (byte % 64);
    }

    fn contains(&self, byte: u8) -> bool {
        self.0[usize::from(byte / 64)] & (1 << (byte % 64)) != 0
    }

    fn inverted(mut self) -> Self {
        self.0 = self.0.map(|word| !word);
        self
    }

    fn remove(&mut self, byte: u8) {
        self.0[usize::from(byte / 64)] &= !(1 << (byte % 64));
    }
}

impl Wild {
    /// Compiles; a pattern that is malformed (an open `[`, an unknown class name, a lone backslash
    /// at the end) or too long becomes one that matches nothing.
    pub(super) fn compile(mut pattern: &[u8]) -> Self {
        let mut tokens = Vec::with_capacity(pattern.len());
        while let Some((&first, rest)) = pattern.split_first() {
            let (token, rest) = match first {
                b'?' => (Some(Token::Any), rest),
                b'*' => {
                    let more = rest.iter().take_while(|&&b| b == b'*').count();
                    let star = if more == 0 { Token::Star } else { Token::DoubleStar };
                    (Some(star), &rest[more..])
                }
                b'\\' => match rest.split_first() {
                    Some((&escaped, rest)) => (Some(Token::Byte(escaped)), rest),
                    None => (None, rest),
                },
                b'[' => match compile_class(rest) {
                    Some((set, rest)) => (Some(Token::Class(Box::new(set))), rest),
                    None => (None, rest),
                },
                byte => (Some(Token::Byte(byte)), rest),
            };
            match token {
                Some(token) if tokens.len() < MAX_TOKENS => tokens.push(token),
                _ => return Self { tokens: None },
            }
            pattern = rest;
        }
        Self { tokens: Some(tokens) }
    }

    /// Whether the text, given in parts, matches from its start to its end, or, with `anywhere`,
    /// from behind any of its slashes to its end.
    pub(super) fn matches(&self, parts: &[&[u8]], anywhere: bool) -> bool {
        let Some(tokens) = &self.tokens else {
            return false;
        };
        if let Some(Token::Byte(last)) = tokens.last()
            && parts.iter().rev().find_map(|part| part.last()) != Some(last)
        {
            return false;
        }
        if tokens.len() < 64 {
            run::<1>(tokens, parts, anywhere)
        } else {
            run::<WORDS>(tokens, parts, anywhere)
        }
    }
}

/// The positions in the pattern that the text read so far can have reached.
struct Positions<const W: usize>([u64; W]);

impl<const W: usize> Positions<W> {
    /// Adds a position, and the one behind it when a star may stand for nothing.
    fn reach(&mut self, tokens: &[Token], at: usize) {
        self.0[at / 64] |= 1 << (at % 64);
        if matches!(tokens.get(at), Some(Token::Star | Token::DoubleStar)) {
            // Two stars never follow each other, so one step is all.
            self.0[(at + 1) / 64] |= 1 << ((at + 1) % 64);
        }
    }

    fn contains(&self, at: usize) -> bool {
        self.0[at / 64] & (1 << (at % 64)) != 0
    }

    fn iter(&self) -> impl Iterator<Item = usize> + '_ {
        self.0.iter().enumerate().flat_map(|(at, &word)| {
            let mut left = word;
            std::iter::from_fn(move || {
                let bit = left.trailing_zeros() as usize;
                left &= left.checked_sub(1)?;
                Some(at * 64 + bit)
            })
        })
    }
}

fn run<const W: usize>(tokens: &[Token], parts: &[&[u8]], anywhere: bool) -> bool {
    let mut current = Positions([0; W]);
    current.reach(tokens, 0);
    for &byte in parts.iter().copied().flatten() {
        let mut next = Positions([0; W]);
        let mut alive = false;
        for at in current.iter() {
            let to = match tokens.get(at) {
                Some(Token::Byte(b)) if *b == byte => at + 1,
                Some(Token::Any) if byte != b'/' => at + 1,
                Some(Token::Class(set)) if set.contains(byte) => at + 1,
                Some(Token::Star) if byte != b'/' => at,
                Some(Token::DoubleStar) => at,
                _ => continue,
            };
            next.reach(tokens, to);
            alive = true;
        }
        if anywhere && byte == b'/' {
            next.reach(tokens, 0);
            alive = true;
        }
        if !alive && !anywhere {
            return false;
        }
        current = next;
    }
    current.contains(tokens.len())
}

/// Compiles what follows a `[`; `None` when it is malformed.
fn compile_class(mut rest: &[u8]) -> Option<(ByteSet, &[u8])> {
    let mut set = ByteSet::default();
    let inverted = matches!(rest.first(), Some(b'!' | b'^'));
    if inverted {
        rest = &rest[1..];
    }
    // The byte that a following `-` would make a range from.
    let mut previous: Option<u8> = None;
    let mut first = true;
    loop {
        let (&byte, after) = rest.split_first()?;
        match byte {
            b']' if !first => {
                rest = after;
                break;
            }
            b'-' if previous.is_some() && after.first().is_some_and(|&b| b != b']') => {
                let (&end, mut after) = after.split_first()?;
                let mut end = end;
                if end == b'\\' {
                    (end, after) = after.split_first().map(|(&b, rest)| (b, rest))?;
                }
                for byte in previous.into_iter().flat_map(|start| start..=end) {
                    set.insert(byte);
                }
                previous = None;
                rest = after;
            }
            b'\\' => {
                let (&escaped, after) = after.split_first()?;
                set.insert(escaped);
                previous = Some(escaped);
                rest = after;
            }
            b'[' if after.first() == Some(&b':') => {
                let name = &after[1..];
                let close = name.iter().position(|&b| b == b']')?;
                match name[..close].strip_suffix(b":") {
                    Some(class) => {
                        let belongs = named_class(class)?;
                        (0..=u8::MAX).filter(belongs).for_each(|byte| set.insert(byte));
                        previous = None;
                        rest = &name[close + 1..];
                    }
                    // No ":]": the bracket stands for itself.
                    None => {
                        set.insert(b'[');
                        previous = Some(b'[');
                        rest = after;
                    }
                }
            }
            _ => {
                set.insert(byte);
                previous = Some(byte);
                rest = after;
            }
        }
        first = false;
    }
    let mut set = if inverted { set.inverted() } else { set };
    set.remove(b'/');
    Some((set, rest))
}

/// The POSIX classes, as in the C locale.
fn named_class(name: &[u8]) -> Option<fn(&u8) -> bool> {
    Some(match name {
        b"alnum" => u8::is_ascii_alphanumeric,
        b"alpha" => u8::is_ascii_alphabetic,
        b"blank" => |b| matches!(b, b' ' | b'\t'),
        b"cntrl" => u8::is_ascii_control,
        b"digit" => u8::is_ascii_digit,
        b"graph" => u8::is_ascii_graphic,
        b"lower" => u8::is_ascii_lowercase,
        b"print" => |b| matches!(b, b' '..=b'~'),
        b"punct" => u8::is_ascii_punctuation,
        b"space" => |b| matches!(b, b' ' | b'\t'..=b'\r'),
        b"upper" => u8::is_ascii_uppercase,
        b"xdigit" => u8::is_ascii_hexdigit,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Straight from the definition, by recursion.
    fn reference(tokens: &[Token], text: &[u8]) -> bool {
        let Some((token, rest)) = tokens.split_first() else {
            return text.is_empty();
        };
        match token {
            Token::Star | Token::DoubleStar => {
                let crosses = *token == Token::DoubleStar;
                reference(rest, text)
                    || text.split_first().is_some_and(|(&byte, after)| {
                        (crosses || byte != b'/') && reference(tokens, after)
                    })
            }
            one => text.split_first().is_some_and(|(&byte, after)| {
                let fits = match one {
                    Token::Byte(b) => *b == byte,
                    Token::Any => byte != b'/',
                    Token::Class(set) => byte != b'/' && set.contains(byte),
                    Token::Star | Token::DoubleStar => false,
                };
                fits && reference(rest, after)
            }),
        }
    }

    proptest! {
        #[test]
        fn positions_agree_with_recursion(
            pattern in "[ab/?*]{0,9}|[ab]\\*{0,2}[ab?/\\[]{0,3}\\*{0,3}(\\[[^!]?[ab-]{1,3}\\])?b{0,2}",
            filler in 0..2_usize,
            text in "[ab/]{0,10}",
            cut in 0..10_usize,
        ) {
            // Long patterns take the way with many words of positions.
            let (pattern, text) = match filler {
                0 => (pattern, text),
                _ => ("x".repeat(70) + &pattern, "x".repeat(70) + &text),
            };
            let wild = Wild::compile(pattern.as_bytes());
            let expected = |text: &[u8]| {
                wild.tokens.as_ref().is_some_and(|tokens| reference(tokens, text))
            };
            let text = text.as_bytes();
            let (start, end) = text.split_at(cut.min(text.len()));
            prop_assert_eq!(wild.matches(&[start, end], false), expected(text));
            let anywhere = expected(text)
                || (0..text.len()).any(|at| text[at] == b'/' && expected(&text[at + 1..]));
            prop_assert_eq!(wild.matches(&[start, end], true), anywhere);
        }
    }
}
