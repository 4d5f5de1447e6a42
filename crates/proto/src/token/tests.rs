use super::*;
use crate::setup::Compression;
use crate::{Decode, Violation};

#[derive(Debug, Clone, PartialEq, Eq)]
enum Step {
    Literal(Vec<u8>),
    Block(u32),
    End,
}
use Step::{Block, End, Literal};

/// Content of a basis' block: not compressible by itself, but the same each time.
fn block(index: u32) -> Vec<u8> {
    let mut x = index;
    std::iter::repeat_with(|| {
        x = x.wrapping_mul(1_103_515_245).wrapping_add(12345);
        (x >> 16) as u8
    })
    .take(700)
    .collect()
}

fn write(writer: &mut TokenWriter, steps: &[Step]) -> Vec<u8> {
    let mut out = Vec::new();
    for step in steps {
        match step {
            Literal(data) => writer.literal(data, &mut out),
            Block(index) => writer.block(*index, &block(*index), &mut out),
            End => writer.end(&mut out),
        }
    }
    out
}

/// Reads everything, `cut` bytes at a time, adjacent literals joined.
fn read(reader: &mut TokenReader, wire: &[u8], cut: usize) -> Result<Vec<Step>, Violation> {
    let (mut steps, mut held) = (Vec::new(), Vec::new());
    for piece in wire.chunks(cut) {
        held.extend_from_slice(piece);
        let mut input = held.as_slice();
        loop {
            let block_read = match reader.next(&mut input) {
                Ok(Token::Literal(data)) => {
                    match steps.last_mut() {
                        Some(Literal(all)) => all.extend_from_slice(data),
                        _ => steps.push(Literal(data.to_vec())),
                    }
                    None
                }
                Ok(Token::Block(index)) => {
                    steps.push(Block(index));
                    Some(index)
                }
                Ok(Token::End) => {
                    steps.push(End);
                    None
                }
                Err(Decode::Incomplete) => break,
                Err(Decode::Invalid(violation)) => return Err(violation),
            };
            if let Some(index) = block_read {
                reader.block_data(&block(index))?;
            }
        }
        held = input.to_vec();
    }
    assert!(held.is_empty(), "{} bytes were not understood", held.len());
    Ok(steps)
}

fn noise(len: usize) -> Vec<u8> {
    (0..=len as u32 / 700).flat_map(|i| block(i + 1_000_000)).take(len).collect()
}

fn two_files() -> Vec<Step> {
    let text = b"line of compressible text\n".repeat(3000);
    let mut steps = vec![Block(3), Literal(text), Literal(noise(50_000)), Block(0), Block(1)];
    steps.extend([Literal(block(1)), Literal(block(3)), Block(2), End, End]);
    steps.extend((0..100).map(Block));
    steps.extend([Block(99), Block(163), Block(227), Literal(vec![7]), End]);
    steps
}

fn joined(steps: Vec<Step>) -> Vec<Step> {
    let mut all: Vec<Step> = Vec::new();
    for step in steps {
        match (all.last_mut(), step) {
            (Some(Literal(before)), Literal(data)) => before.extend(data),
            (_, step) => all.push(step),
        }
    }
    all
}

#[test]
fn every_compression_gives_back_what_it_was_given() {
    for compression in Compression::ORDER {
        for protocol in [30, 31] {
            let level = compression.default_level();
            let wire = write(&mut TokenWriter::new(compression, level, protocol), &two_files());
            for cut in [997, wire.len()] {
                let got = read(&mut TokenReader::new(compression, protocol), &wire, cut);
                assert!(got == Ok(joined(two_files())), "{compression:?} in pieces of {cut}");
            }
        }
    }
}

#[test]
fn a_run_ends_after_65536_blocks() {
    let (mut writer, mut wire) = (TokenWriter::new(Compression::Lz4, 0, 32), Vec::new());
    (0..70_000).for_each(|index| writer.block(index, &[], &mut wire));
    writer.end(&mut wire);
    assert_eq!(wire, [0xc0, 0xff, 0xff, 0xc1, 0x6f, 0x11, 0x00]);
    let (mut reader, mut input) = (TokenReader::new(Compression::Lz4, 32), wire.as_slice());
    for index in 0..70_000 {
        assert_eq!(reader.next(&mut input), Ok(Token::Block(index)));
    }
    assert_eq!(reader.next(&mut input), Ok(Token::End));
}

#[test]
fn matched_blocks_are_in_the_history_of_old_zlib_only() {
    let steps = [Block(5), Literal(block(5)), End];
    let len = |compression| write(&mut TokenWriter::new(compression, 6, 31), &steps).len();
    assert!(len(Compression::Zlib) < 40, "{}", len(Compression::Zlib));
    assert!(len(Compression::Zlibx) > 700);
}

#[test]
fn plain_tokens_have_the_bytes_of_the_captured_delta() {
    let steps = [Block(0), Literal(b"abc".to_vec()), Block(2), Block(7), End];
    let wire = write(&mut TokenWriter::new(Compression::None, 0, 32), &steps);
    let expected = b"\xff\xff\xff\xff\x03\0\0\0abc\xfd\xff\xff\xff\xf8\xff\xff\xff\0\0\0\0";
    assert_eq!(wire, expected);
}

#[test]
fn long_plain_literals_are_cut() {
    let mut out = Vec::new();
    TokenWriter::new(Compression::None, 0, 32).literal(&[7; LITERAL_LEN + 1], &mut out);
    assert_eq!(out.len(), LITERAL_LEN + 1 + 8);
}

#[test]
fn runs_of_blocks_have_the_bytes_of_the_captured_delta() {
    let mut steps: Vec<_> = (0..10).map(Block).collect();
    steps.push(Literal(b"*** changed ***\n".to_vec()));
    steps.extend((10..30).map(Block));
    steps.push(End);
    let wire = write(&mut TokenWriter::new(Compression::Zlibx, 6, 32), &steps);
    assert!(wire.starts_with(&[0xc0, 0x09, 0x00, 0x40]));
    assert!(wire.ends_with(&[0xc1, 0x13, 0x00, 0x00]));

    let captured = [
        0xc0, 0x09, 0x00, 0x40, 0x12, 0xd2, 0xd2, 0xd2, 0x52, 0x48, 0xce, 0x48, 0xcc, 0x4b, 0x4f,
        0x4d, 0x51, 0xd0, 0xd2, 0xd2, 0xe2, 0x02, 0x00, 0xc1, 0x13, 0x00, 0x00,
    ];
    let got = read(&mut TokenReader::new(Compression::Zlibx, 32), &captured, 1);
    assert_eq!(got, Ok(steps));
}

#[test]
fn blocks_far_away_are_named_by_their_number() {
    let steps = [Block(64), Block(0), Block(1), Block(60), End];
    let wire = write(&mut TokenWriter::new(Compression::Lz4, 0, 32), &steps);
    let expected = [0x20, 64, 0, 0, 0, 0x21, 0, 0, 0, 0, 1, 0, 0x80 + 59, 0];
    assert_eq!(wire, expected);
}

#[test]
fn tokens_that_no_sender_writes_are_refused() {
    for wire in [
        &[0x01][..],
        &[0x20, 0xff, 0xff, 0xff, 0xff],
        &[0x20, 0xff, 0xff, 0xff, 0x7f],
        &[0x21, 0xfe, 0xff, 0xff, 0x7f, 1, 0],
        &[0x21, 0, 0, 0, 0, 0, 0],
        &[0xc0, 0, 0],
    ] {
        for compression in [Compression::Zstd, Compression::Lz4, Compression::Zlibx] {
            let got = read(&mut TokenReader::new(compression, 32), wire, 1);
            assert!(matches!(got, Err(Violation::Number { .. })), "{wire:?} {got:?}");
        }
    }
    let garbage = [0x40, 0x04, 0xff, 0xff, 0xff, 0xff, 0x00];
    for compression in [Compression::Zstd, Compression::Lz4, Compression::Zlibx] {
        let got = read(&mut TokenReader::new(compression, 32), &garbage, 7);
        assert!(matches!(got, Err(Violation::Compressed(_))), "{compression:?}: {got:?}");
    }
}

#[test]
fn frames_of_several_threads_stand_between_those_of_one() {
    let text = b"line of compressible text\n".repeat(30_000);
    let mut writer = TokenWriter::new(Compression::Zstd, 3, 32);
    let (mut wire, mut steps) = (Vec::new(), Vec::new());
    for len in [0, 1000, u64::MAX, u64::MAX, 10, u64::MAX] {
        writer.begin(len, &mut wire);
        let file = [Literal(text.clone()), Literal(noise(50_000)), End];
        wire.extend(write(&mut writer, &file));
        steps.extend([Literal([&text[..], &noise(50_000)].concat()), End]);
    }
    assert_eq!(read(&mut TokenReader::new(Compression::Zstd, 32), &wire, 100_000), Ok(steps));
}
