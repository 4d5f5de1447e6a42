//! Every decoder on bytes from anywhere: it must neither panic, nor consume an incomplete value,
//! nor return something that cannot be encoded. The fuzz targets run these as well.

use driftless_proto::batch::BatchHeader;
use driftless_proto::flist::{IdList, ListItem, ListOptions, ListReader, ListWriter};
use driftless_proto::greeting::{ClientLine, Greeting, MAX_LINE_LEN, ServerLine, take_line};
use driftless_proto::item::{Item, MAX_XATTR_VALUE_LEN, XattrNumbers};
use driftless_proto::mux::Demux;
use driftless_proto::ndx::{NdxReader, NdxWriter};
use driftless_proto::setup::{self, CompatFlags, Compression};
use driftless_proto::stats::{DelStats, Stats};
use driftless_proto::sums::{self, SumHead};
use driftless_proto::token::{Token, TokenReader};
use driftless_proto::{Decode, args, auth, files_from, filterlist, int};

/// A decoder and the name of its fuzz target.
pub type Decoder = (&'static str, fn(&[u8]));

/// All of them.
pub const ALL: [Decoder; 14] = [
    ("mux", mux),
    ("greeting", greeting),
    ("args", arguments),
    ("setup", session_setup),
    ("ndx_item", ndx_item),
    ("sums", block_sums),
    ("tokens_plain", tokens_plain),
    ("tokens_zstd", tokens_zstd),
    ("tokens_lz4", tokens_lz4),
    ("tokens_zlib", tokens_zlib),
    ("flist", flist),
    ("filterlist", filter_list),
    ("stats", stats),
    ("batch", batch),
];

/// The most that compressed input may grow to before the test has seen enough of it.
const OUTPUT_ENOUGH: usize = 8 << 20;

/// Takes values until there is none; `Incomplete` must have consumed nothing.
fn drain<'a, T>(
    mut input: &'a [u8],
    mut take: impl FnMut(&mut &'a [u8]) -> Result<T, Decode>,
    mut seen: impl FnMut(T),
) {
    loop {
        let before = input.len();
        match take(&mut input) {
            Ok(value) => seen(value),
            Err(Decode::Incomplete) => {
                assert_eq!(input.len(), before, "an incomplete value consumed bytes");
                return;
            }
            Err(Decode::Invalid(violation)) => {
                assert!(violation.exit_code() > 0 && !violation.to_string().is_empty());
                return;
            }
        }
        if input.len() == before {
            return;
        }
    }
}

/// Frames, the same however the bytes are cut.
pub fn mux(input: &[u8]) {
    let read = |piece_len: usize| {
        let (mut demux, mut data, mut messages) = (Demux::new(), Vec::new(), Vec::new());
        for mut piece in input.chunks(piece_len) {
            loop {
                match demux.feed(&mut piece, &mut data) {
                    Ok(Some(message)) => messages.push(message),
                    Ok(None) => break,
                    Err(violation) => return (data, messages, Some(violation)),
                }
            }
        }
        (data, messages, None)
    };
    assert_eq!(read(1), read(input.len().max(1)));
}

/// Lines of the text handshake.
pub fn greeting(input: &[u8]) {
    drain(
        input,
        |input| take_line(input, MAX_LINE_LEN),
        |line| {
            if let Ok(greeting) = Greeting::parse(&line) {
                let mut out = Vec::new();
                greeting.put(&mut out);
                assert!(greeting.agree(&greeting) <= greeting.protocol);
            }
            ServerLine::parse(line.clone()).put(&mut Vec::new());
            if let Ok(client) = ClientLine::parse(line.clone()) {
                client.put(&mut Vec::new());
            }
            if let Some((_, response)) = auth::parse_response(&line) {
                auth::verify(auth::Digest::Md5, b"", b"", 32, response);
            }
        },
    );
}

/// Argument lists.
pub fn arguments(input: &[u8]) {
    for protocol in [29, 32] {
        drain(
            input,
            |input| args::take_args(input, protocol),
            |list| {
                args::put_args(&mut Vec::new(), list, protocol);
            },
        );
    }
    drain(input, args::take_secluded, drop);
    drain(input, files_from::take_name, |name| {
        name.into_iter().for_each(|name| files_from::put_name(&mut Vec::new(), name));
    });
    args::unquote(input);
}

/// Flags, names, seeds and the integers that everything is made of.
pub fn session_setup(input: &[u8]) {
    drain(input, CompatFlags::take, |flags| flags.put(&mut Vec::new()));
    drain(input, setup::take_names, |names| {
        setup::checksums(names);
        setup::compressions(names);
    });
    drain(input, setup::take_version, |version| setup::put_version(&mut Vec::new(), version));
    drain(input, setup::take_seed, |seed| setup::put_seed(&mut Vec::new(), seed));
    drain(input, |input| int::take_varlong(input, 3), drop);
    drain(input, |input| int::take_varlong(input, 4), drop);
    drain(input, int::take_longint, drop);
}

/// Numbers and attributes of items.
pub fn ndx_item(input: &[u8]) {
    for protocol in [29, 32] {
        let (mut reader, mut writer) = (NdxReader::new(protocol), NdxWriter::new(protocol));
        drain(input, |input| reader.take(input), |value| writer.put(&mut Vec::new(), value));
    }
    drain(input, Item::take, |item| item.put(&mut Vec::new()));
    let mut numbers = XattrNumbers::new();
    drain(input, |input| numbers.take_request(input), drop);
    let mut numbers = XattrNumbers::new();
    drain(input, |input| numbers.take_value(input, MAX_XATTR_VALUE_LEN), drop);
}

/// Sum heads with their blocks.
pub fn block_sums(input: &[u8]) {
    for protocol in [29, 32] {
        let mut rest = input;
        let Ok(head) = SumHead::take(&mut rest, protocol, 16) else { continue };
        let len = head.sums_len();
        assert!(head.file_len() <= u64::from(head.count) * u64::from(head.block_len));
        let before = rest.len();
        let got = sums::take_blocks(&mut rest, &head, head.count).len();
        assert_eq!(before - rest.len(), got * head.entry_len());
        assert!(got as u64 * head.entry_len() as u64 <= len);
        drain(rest, |input| sums::take_block(input, &head), drop);
    }
}

fn tokens(input: &[u8], compression: Compression) {
    let mut reader = TokenReader::new(compression, 30);
    let (mut rest, mut produced) = (input, 0);
    while produced < OUTPUT_ENOUGH {
        let before = rest.len();
        let block = match reader.next(&mut rest) {
            Ok(Token::Literal(data)) => {
                assert!(!data.is_empty());
                produced += data.len();
                None
            }
            Ok(Token::Block(index)) => Some(index),
            Ok(Token::End) => None,
            Err(Decode::Incomplete) => {
                // Compressed data before it may have been taken, or been worth nothing.
                assert!(rest.len() <= before);
                return;
            }
            Err(Decode::Invalid(_)) => return,
        };
        if let Some(index) = block {
            produced += 700;
            let block = [index as u8; 700];
            if reader.block_data(&block).is_err() {
                return;
            }
        }
    }
}

/// Plain tokens.
pub fn tokens_plain(input: &[u8]) {
    tokens(input, Compression::None);
}

/// Tokens with zstd.
pub fn tokens_zstd(input: &[u8]) {
    tokens(input, Compression::Zstd);
}

/// Tokens with LZ4.
pub fn tokens_lz4(input: &[u8]) {
    tokens(input, Compression::Lz4);
}

/// Tokens with both kinds of deflate.
pub fn tokens_zlib(input: &[u8]) {
    tokens(input, Compression::Zlibx);
    tokens(input, Compression::Zlib);
}

/// File lists and id lists; the first bytes choose the session's options.
pub fn flist(input: &[u8]) {
    let Some(([protocol, low, high, compat], rest)) = input.split_first_chunk() else { return };
    let has = |bit: u8| low & bit != 0;
    let protocol = 29 + protocol % 4;
    let compat = if protocol < 30 { 0 } else { u32::from(*compat) };
    let options = ListOptions {
        protocol,
        compat: CompatFlags(compat | u32::from(high & 1) << 8),
        owner: has(1),
        group: has(2),
        devices: has(4),
        specials: has(8),
        links: has(16),
        hard_links: has(32),
        atimes: has(64),
        checksum_len: has(128).then_some(16),
        acls: high & 2 != 0,
        xattrs: high & 4 != 0,
        numeric_ids: high & 8 != 0,
        relative: high & 16 != 0,
        missing_args: high & 32 != 0,
    };
    let (mut reader, mut writer) =
        (ListReader::new(options.clone()), ListWriter::new(options.clone()));
    drain(
        rest,
        |input| reader.next(input),
        |item| match item {
            ListItem::Entry(entry) => writer.entry(&entry, &mut Vec::new()),
            ListItem::End { io_error } => writer.end(io_error, &mut Vec::new()),
        },
    );
    drain(rest, |input| IdList::take(input, &options), |ids| ids.put(&mut Vec::new(), &options));
}

/// Frames of filter rules.
pub fn filter_list(input: &[u8]) {
    drain(input, filterlist::take_rule, |rule| {
        rule.into_iter().for_each(|text| filterlist::put_rule(&mut Vec::new(), text));
    });
}

/// Figures at the end.
pub fn stats(input: &[u8]) {
    for protocol in [29, 32] {
        drain(input, |input| Stats::take(input, protocol), |s| s.put(&mut Vec::new(), protocol));
    }
    drain(input, DelStats::take, |counts| counts.put(&mut Vec::new()));
}

/// Starts of batch files.
pub fn batch(input: &[u8]) {
    drain(input, BatchHeader::take, |header| header.put(&mut Vec::new()));
}
