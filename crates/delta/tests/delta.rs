//! Signature, search and patch together.

use driftless_delta::patch::{MissingBlock, apply};
use driftless_delta::search::MAX_LITERAL_LEN;
use driftless_delta::{Layout, Search, Signature, Strong, Token, file_digest};
use proptest::prelude::*;

const SEED: i32 = 12345;

#[derive(Debug, Clone, PartialEq, Eq)]
enum Step {
    Literal(Vec<u8>),
    Block(u32),
}

/// Tokens of `new` against `signature`, fed in pieces of `piece_len`, adjacent literals joined.
fn search(signature: &Signature, strong: Strong, new: &[u8], piece_len: usize) -> Vec<Step> {
    let mut steps = Vec::new();
    let mut sink = |token: Token<'_>| match (token, steps.last_mut()) {
        (Token::Block(block), _) => steps.push(Step::Block(block)),
        (Token::Literal(bytes), last) => {
            assert!((1..=MAX_LITERAL_LEN).contains(&bytes.len()));
            match last {
                Some(Step::Literal(before)) => before.extend_from_slice(bytes),
                _ => steps.push(Step::Literal(bytes.to_vec())),
            }
        }
    };
    let mut search = Search::new(signature, strong, SEED, true);
    new.chunks(piece_len).for_each(|piece| search.feed(piece, &mut sink));
    search.finish(&mut sink);
    steps
}

fn patch(steps: &[Step], layout: &Layout, basis: &[u8]) -> Vec<u8> {
    let mut content = Vec::new();
    for step in steps {
        let token = match step {
            Step::Literal(bytes) => Token::Literal(bytes),
            Step::Block(block) => Token::Block(*block),
        };
        apply(token, layout, basis, &mut content).unwrap();
    }
    content
}

fn sign(basis: &[u8], block_len: i32, strong: Strong) -> Signature {
    let count = basis.len().div_ceil(block_len as usize) as i32;
    let remainder = (basis.len() % block_len as usize) as i32;
    let strong_len = strong.digest_len().min(16);
    let layout =
        Layout::from_head(count, block_len, strong_len as i32, remainder, strong_len).unwrap();
    Signature::of(basis, layout, strong, SEED, true)
}

/// Bytes without repetitions worth matching.
fn noise(len: usize, seed: u32) -> Vec<u8> {
    let mut x = seed;
    std::iter::repeat_with(|| {
        x = x.wrapping_mul(1_103_515_245).wrapping_add(12_345) & 0x7fff_ffff;
        (x >> 16) as u8
    })
    .take(len)
    .collect()
}

fn blocks(steps: &[Step]) -> Vec<u32> {
    steps
        .iter()
        .filter_map(|step| match step {
            Step::Block(block) => Some(*block),
            Step::Literal(_) => None,
        })
        .collect()
}

fn literal_len(steps: &[Step]) -> usize {
    steps
        .iter()
        .map(|step| match step {
            Step::Literal(bytes) => bytes.len(),
            Step::Block(_) => 0,
        })
        .sum()
}

/// The session of the protocol reference, "One changed file": block sums and tokens as rsync 3.5.0
/// sent them.
#[test]
fn the_recorded_session_has_the_same_sums_and_tokens() {
    let old = noise(5000, 42);
    let new = [&old[..1000], b"INSERTED-TEXT", &old[1000..3000], b"#", &old[3001..]].concat();
    let layout = Layout::of_basis(5000, 16, false);
    let signature = Signature::of(&old, layout, Strong::Xxh128, SEED, true);
    let sums = |block| (signature.rolling(block).unwrap(), signature.strong(block).unwrap());
    assert_eq!(sums(0), (0x1ef3_0265, &[0x30, 0x9e][..]));
    assert_eq!(sums(1), (0x9233_f85c, &[0x0a, 0xe9][..]));
    assert_eq!(sums(7), (0x5a7a_fe2f, &[0x05, 0x68][..]));
    let steps = search(&signature, Strong::Xxh128, &new, 4096);
    assert_eq!(
        steps,
        [
            Step::Block(0),
            Step::Literal(new[700..1413].to_vec()),
            Step::Block(2),
            Step::Block(3),
            Step::Literal(new[2813..3513].to_vec()),
            Step::Block(5),
            Step::Block(6),
            Step::Block(7),
        ]
    );
    let digest = file_digest(Strong::Xxh128, &new);
    assert_eq!(format!("{digest:?}"), "538b4f6ba59ffcebb864099e576ef459");
}

#[test]
fn unchanged_content_is_one_run() {
    let old = noise(1_000_003, 1);
    let layout = Layout::of_basis(old.len() as u64, 16, false);
    let signature = Signature::of(&old, layout, Strong::Xxh128, SEED, true);
    let steps = search(&signature, Strong::Xxh128, &old, 256 * 1024);
    assert_eq!(blocks(&steps), (0..layout.count()).collect::<Vec<_>>());
    assert_eq!(literal_len(&steps), 0);
}

#[test]
fn equal_blocks_are_matched_as_a_run_of_neighbours() {
    let old = vec![0; 10_000];
    let steps = search(&sign(&old, 700, Strong::Md5), Strong::Md5, &old, 999);
    assert_eq!(blocks(&steps), (0..15).collect::<Vec<_>>());
}

#[test]
fn the_short_last_block_matches_only_at_the_end() {
    let old = noise(1500, 3);
    let signature = sign(&old, 700, Strong::Xxh3);
    let last = &old[1400..];
    let moved = [&b"new"[..], last].concat();
    assert_eq!(
        search(&signature, Strong::Xxh3, &moved, 10),
        [Step::Literal(b"new".to_vec()), Step::Block(2)]
    );
    let followed = [last, &b"new"[..]].concat();
    assert_eq!(search(&signature, Strong::Xxh3, &followed, 10), [Step::Literal(followed)]);
}

#[test]
fn a_block_with_an_equal_rolling_sum_is_not_taken_for_another() {
    // 1, -2, 1 inserted anywhere changes neither half of the rolling sum.
    let old = vec![5u8; 700];
    let mut new = old.clone();
    for (at, change) in [(300, 1u8), (301, 254), (302, 1)] {
        new[at] = new[at].wrapping_add(change);
    }
    let (of_old, of_new) = (sign(&old, 700, Strong::Md4), sign(&new, 700, Strong::Md4));
    assert_eq!(of_old.rolling(0), of_new.rolling(0));
    assert_eq!(search(&of_old, Strong::Md4, &new, 64), [Step::Literal(new)]);
}

#[test]
fn sums_that_prove_nothing_match_nothing() {
    let old = noise(5000, 4);
    let steps = search(&sign(&old, 700, Strong::None), Strong::None, &old, 512);
    assert_eq!(steps, [Step::Literal(old.clone())]);
    let empty = Signature::with_layout(Layout::EMPTY);
    assert_eq!(search(&empty, Strong::Xxh128, &old, 512), [Step::Literal(old.clone())]);
    assert_eq!(search(&empty, Strong::Xxh128, &[], 512), []);
}

#[test]
fn an_incomplete_signature_matches_what_it_has() {
    let old = noise(2100, 5);
    let whole = sign(&old, 700, Strong::Xxh128);
    let mut half = Signature::with_layout(*whole.layout());
    half.push(whole.rolling(0).unwrap(), whole.strong(0).unwrap());
    assert!(whole.is_complete() && !half.is_complete());
    let steps = search(&half, Strong::Xxh128, &old, 512);
    assert_eq!(steps, [Step::Block(0), Step::Literal(old[700..].to_vec())]);
}

#[test]
fn a_token_beyond_the_basis_is_an_error() {
    let layout = Layout::of_basis(1500, 16, false);
    let mut content = Vec::new();
    let basis = vec![0; 1450];
    for block in [2, 3, u32::MAX] {
        let refused = apply(Token::Block(block), &layout, &basis, &mut content);
        assert_eq!(refused, Err(MissingBlock(block)));
    }
    assert_eq!(content, []);
}

#[derive(Debug, Clone)]
enum Edit {
    Insert(usize, Vec<u8>),
    Remove(usize, usize),
    Move(usize, usize, usize),
}

fn edits() -> impl Strategy<Value = Vec<Edit>> {
    let at = 0..20_000usize;
    let len = 0..3000usize;
    let edit = prop_oneof![
        (at.clone(), proptest::collection::vec(any::<u8>(), 0..200))
            .prop_map(|(a, b)| Edit::Insert(a, b)),
        (at.clone(), len.clone()).prop_map(|(a, n)| Edit::Remove(a, n)),
        (at.clone(), at, len).prop_map(|(a, b, n)| Edit::Move(a, b, n)),
    ];
    proptest::collection::vec(edit, 0..6)
}

fn edit(content: &mut Vec<u8>, edit: &Edit) {
    let cut = |content: &mut Vec<u8>, at: usize, len: usize| -> Vec<u8> {
        let start = at.min(content.len());
        content.drain(start..(start + len).min(content.len())).collect()
    };
    let paste = |content: &mut Vec<u8>, at: usize, bytes: Vec<u8>| {
        let at = at.min(content.len());
        content.splice(at..at, bytes);
    };
    match edit {
        Edit::Insert(at, bytes) => paste(content, *at, bytes.clone()),
        Edit::Remove(at, len) => drop(cut(content, *at, *len)),
        Edit::Move(from, to, len) => {
            let bytes = cut(content, *from, *len);
            paste(content, *to, bytes);
        }
    }
}

proptest! {
    #[test]
    fn patching_the_basis_with_the_delta_gives_the_content(
        old_len in 0..20_000usize,
        alphabet in prop_oneof![Just(1u8), Just(2), Just(255)],
        edits in edits(),
        block_len in 1..2000i32,
        piece_len in 1..5000usize,
        strong in prop_oneof![Just(Strong::Xxh128), Just(Strong::Md5), Just(Strong::Sha1)],
    ) {
        let old: Vec<u8> = noise(old_len, 9).into_iter().map(|byte| byte % alphabet).collect();
        let mut new = old.clone();
        edits.iter().for_each(|step| edit(&mut new, step));
        let signature = sign(&old, block_len, strong);
        let steps = search(&signature, strong, &new, piece_len);
        prop_assert_eq!(&patch(&steps, signature.layout(), &old), &new);
        let at_once = search(&signature, strong, &new, new.len().max(1));
        prop_assert_eq!(steps, at_once, "the tokens depend on the pieces");
    }

    #[test]
    fn few_edits_cost_few_blocks(edits in edits(), piece_len in 1..5000usize) {
        let old = noise(20_000, 10);
        let mut new = old.clone();
        edits.iter().for_each(|step| edit(&mut new, step));
        let inserted: usize = edits.iter().map(|edit| match edit {
            Edit::Insert(_, bytes) => bytes.len(),
            _ => 0,
        }).sum();
        let steps = search(&sign(&old, 100, Strong::Xxh128), Strong::Xxh128, &new, piece_len);
        // Each edit breaks the content at three places at most, and each break spoils at most a
        // block on either side.
        prop_assert!(literal_len(&steps) <= inserted + edits.len() * 3 * 2 * 100);
    }
}
