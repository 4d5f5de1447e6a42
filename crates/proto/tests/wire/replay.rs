//! The real rsync replays a batch file that our codecs wrote: it must understand list, items and
//! tokens, and in particular a deflate stream with matched blocks in its history.

use std::path::Path;
use std::process::Command;

use driftless_proto::batch::BatchHeader;
use driftless_proto::flist::{ListOptions, ListWriter};
use driftless_proto::item::{Item, ItemFlags};
use driftless_proto::ndx::{NdxValue, NdxWriter};
use driftless_proto::setup::{CompatFlags, Compression};
use driftless_proto::stats::Stats;
use driftless_proto::sums::SumHead;
use driftless_proto::token::TokenWriter;
use driftless_tree::Timestamp;
use driftless_tree::flist::{DirFlags, Entry};
use md5::Digest;

const COMPAT: CompatFlags = CompatFlags(0x1fe);

/// A piece of the file that the batch makes out of the basis.
enum Piece {
    Literal(Vec<u8>),
    Blocks(std::ops::Range<u32>),
}

/// Bytes that do not compress by themselves.
fn noise(len: usize, seed: u64) -> Vec<u8> {
    let next = |x: &u64| Some((x * 1_103_515_245 + 12345) % (1 << 31));
    std::iter::successors(Some(seed), next).skip(1).take(len).map(|x| (x >> 16) as u8).collect()
}

fn list() -> Vec<u8> {
    let options = ListOptions { protocol: 32, compat: COMPAT, ..ListOptions::default() };
    let (mut writer, mut out) = (ListWriter::new(options), Vec::new());
    let mtime = Timestamp { secs: 1_700_000_000, nanos: 5 };
    let root = Entry {
        name: (*b".").into(),
        mode: 0o040_755,
        dir: DirFlags { top: true, no_content: false },
        mtime,
        ..Entry::default()
    };
    writer.entry(&root, &mut out);
    for name in [b"a", b"b"] {
        let file = Entry { name: (*name).into(), mode: 0o100_644, mtime, ..Entry::default() };
        writer.entry(&file, &mut out);
    }
    writer.end(0, &mut out);
    out
}

#[track_caller]
fn check(block_len: usize, pieces: &[Piece], compression: Compression) {
    let basis = noise(block_len * 4, 42);
    let block = |index: u32| &basis[index as usize * block_len..][..block_len];
    let mut batch = Vec::new();
    let compress = match compression {
        Compression::None => 0,
        _ => BatchHeader::COMPRESS,
    };
    let stream_flags = BatchHeader::RECURSE | compress;
    BatchHeader { stream_flags, protocol: 32, compat: COMPAT, seed: 1 }.put(&mut batch);
    batch.extend(list());

    let (mut ndx, mut tokens) = (NdxWriter::new(32), TokenWriter::new(compression, 6, 32));
    let mut content = Vec::new();
    for number in [1, 2] {
        content.clear();
        ndx.put(&mut batch, NdxValue::Item(number));
        Item::new(ItemFlags::TRANSFER | ItemFlags::REPORT_SIZE).put(&mut batch);
        let block_len = block_len as u32;
        SumHead { count: 4, block_len, strong_len: 2, remainder: 0 }.put(&mut batch);
        for piece in pieces {
            match piece {
                Piece::Literal(data) => {
                    tokens.literal(data, &mut batch);
                    content.extend_from_slice(data);
                }
                Piece::Blocks(range) => {
                    for index in range.clone() {
                        tokens.block(index, block(index), &mut batch);
                        content.extend_from_slice(block(index));
                    }
                }
            }
        }
        tokens.end(&mut batch);
        batch.extend_from_slice(&md5::Md5::digest(&content));
    }
    (0..3).for_each(|_| ndx.put(&mut batch, NdxValue::Done));
    Stats::default().put(&mut batch, 32);
    ndx.put(&mut batch, NdxValue::Done);

    let dir = tempfile::tempdir().expect("a temporary directory");
    replay(dir.path(), &batch, &basis);
    for name in ["a", "b"] {
        let got = std::fs::read(dir.path().join("dst").join(name)).expect("the replayed file");
        assert!(got == content, "rsync made other bytes of '{name}'");
    }
}

#[track_caller]
fn replay(dir: &Path, batch: &[u8], basis: &[u8]) {
    let (file, dst) = (dir.join("batch"), dir.join("dst"));
    std::fs::create_dir(&dst).expect("a destination");
    for name in ["a", "b"] {
        std::fs::write(dst.join(name), basis).expect("a basis");
    }
    std::fs::write(&file, batch).expect("a batch file");
    let output = Command::new("rsync")
        .arg("-r")
        .arg(format!("--read-batch={}", file.display()))
        .arg(format!("{}/", dst.display()))
        .output()
        .expect("rsync is installed");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && errors.is_empty(), "{}: {errors}", output.status);
}

fn mixed(block_len: usize) -> Vec<Piece> {
    let repeated = noise(block_len * 4, 42)[block_len..block_len * 2].to_vec();
    vec![
        Piece::Blocks(1..2),
        // Compresses to nothing only with the block in the history.
        Piece::Literal(repeated.clone()),
        Piece::Literal(noise(40_000, 7)),
        Piece::Blocks(0..3),
        Piece::Literal(b"some text, some text, some text".to_vec()),
        Piece::Blocks(1..2),
        Piece::Literal(repeated),
    ]
}

#[test]
fn rsync_understands_plain_tokens() {
    check(700, &mixed(700), Compression::None);
}

#[test]
fn rsync_understands_old_zlib_with_short_blocks() {
    check(700, &mixed(700), Compression::Zlib);
}

#[test]
fn rsync_understands_old_zlib_with_blocks_beyond_a_stored_one() {
    check(131_072, &mixed(131_072), Compression::Zlib);
}
