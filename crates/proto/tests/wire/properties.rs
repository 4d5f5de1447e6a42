//! What holds for every value: it survives the wire, however the wire is cut, and nothing that a
//! peer can send makes a decoder panic.

use driftless_proto::batch::BatchHeader;
use driftless_proto::flist::{IdList, ListItem, ListReader, ListWriter};
use driftless_proto::item::Item;
use driftless_proto::mux::{Demux, Message, Mux, Tag};
use driftless_proto::ndx::{NdxReader, NdxValue, NdxWriter};
use driftless_proto::setup::{CompatFlags, Compression};
use driftless_proto::stats::{DelStats, Stats};
use driftless_proto::sums::{self, SumHead};
use driftless_proto::token::{Token, TokenReader, TokenWriter};
use driftless_proto::{Decode, args, files_from, filterlist, int};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::decoders;
use crate::lists::{self, Dice};

/// Takes all values of `wire`, which arrives in pieces of these lengths, over and over.
fn drip<T>(
    wire: &[u8],
    piece_lens: &[usize],
    mut take: impl FnMut(&mut &[u8]) -> Result<T, Decode>,
) -> Vec<T> {
    let (mut values, mut held, mut rest) = (Vec::new(), Vec::new(), wire);
    for len in piece_lens.iter().cycle() {
        let (piece, later) = rest.split_at((*len).min(rest.len()));
        held.extend_from_slice(piece);
        rest = later;
        let mut input = held.as_slice();
        while !input.is_empty() {
            match take(&mut input) {
                Ok(value) => values.push(value),
                Err(Decode::Incomplete) => break,
                Err(Decode::Invalid(violation)) => panic!("{violation}"),
            }
        }
        held = input.to_vec();
        if rest.is_empty() {
            break;
        }
    }
    assert!(held.is_empty(), "{} bytes were not understood", held.len());
    values
}

fn pieces() -> impl Strategy<Value = Vec<usize>> {
    vec(prop_oneof![Just(1_usize), 1..20_usize, 1..2000_usize], 1..8)
}

/// Numbers of all magnitudes and signs.
fn wide() -> impl Strategy<Value = i64> {
    (any::<i64>(), 0..64_u32).prop_map(|(value, shift)| value >> shift)
}

fn bytes(len: std::ops::Range<usize>) -> impl Strategy<Value = Vec<u8>> {
    vec(any::<u8>(), len)
}

proptest! {
    #[test]
    fn integers(values in vec(wide(), 1..20), pieces in pieces(), protocol in 29..33_u8) {
        let mut wire = Vec::new();
        for &value in &values {
            int::put_varint(&mut wire, value as i32);
            int::put_varlong(&mut wire, value, 3);
            int::put_varlong(&mut wire, value, 4);
            int::put_longint(&mut wire, value);
            int::put_varint30(&mut wire, value as i32, protocol);
            int::put_varlong30(&mut wire, value, 3, protocol);
        }
        let got = drip(&wire, &pieces, |input| {
            let mut rest = *input;
            let all = (
                int::take_varint(&mut rest)?,
                int::take_varlong(&mut rest, 3)?,
                int::take_varlong(&mut rest, 4)?,
                int::take_longint(&mut rest)?,
                int::take_varint30(&mut rest, protocol)?,
                int::take_varlong30(&mut rest, 3, protocol)?,
            );
            *input = rest;
            Ok(all)
        });
        let expected: Vec<_> =
            values.iter().map(|&v| (v as i32, v, v, v, v as i32, v)).collect();
        prop_assert_eq!(got, expected);
    }

    #[test]
    fn strings(texts in vec(bytes(0..400), 1..6), pieces in pieces()) {
        let mut wire = Vec::new();
        texts.iter().for_each(|text| int::put_vstring(&mut wire, text));
        let take = |input: &mut &[u8]| int::take_vstring(input, "text", 4095).map(<[u8]>::to_vec);
        prop_assert_eq!(drip(&wire, &pieces, take), texts);
    }

    #[test]
    fn numbers_of_entries(
        values in vec(
            prop_oneof![
                Just(NdxValue::Done),
                Just(NdxValue::FlistEof),
                Just(NdxValue::DelStats),
                (0..=i32::MAX as u32 - 101).prop_map(NdxValue::SubList),
                (0..1000_u32).prop_map(NdxValue::SubList),
                (0..=i32::MAX as u32).prop_map(NdxValue::Item),
                (0..100_000_u32).prop_map(NdxValue::Item),
                (0..600_u32).prop_map(NdxValue::Item),
            ],
            1..50,
        ),
        pieces in pieces(),
        protocol in 29..33_u8,
    ) {
        let (mut writer, mut wire) = (NdxWriter::new(protocol), Vec::new());
        values.iter().for_each(|&value| writer.put(&mut wire, value));
        let mut reader = NdxReader::new(protocol);
        prop_assert_eq!(drip(&wire, &pieces, |input| reader.take(input)), values);
    }

    #[test]
    fn items(
        items in vec((any::<u16>(), any::<Option<u8>>(), proptest::option::of(bytes(0..300))), 1..9),
        pieces in pieces(),
    ) {
        let make = |(flags, basis, xname): (u16, Option<u8>, Option<Vec<u8>>)| {
            Item { basis, xname: xname.map(Into::into), ..Item::new(flags) }
        };
        let items: Vec<_> = items.into_iter().map(make).collect();
        let mut wire = Vec::new();
        items.iter().for_each(|item| item.put(&mut wire));
        let got = drip(&wire, &pieces, Item::take);
        for (got, item) in got.iter().zip(&items) {
            let announced = Item { basis: got.basis, xname: got.xname.clone(), ..Item::new(got.flags) };
            prop_assert_eq!(&announced, item);
        }
        prop_assert_eq!(got.len(), items.len());
    }

    #[test]
    fn sums_of_blocks(
        count in 0..200_u32,
        block_len in 1..=131_072_u32,
        strong_len in 0..=16_u32,
        last in any::<u32>(),
        pieces in pieces(),
    ) {
        let head = SumHead { count, block_len, strong_len, remainder: last % block_len };
        let mut wire = Vec::new();
        head.put(&mut wire);
        prop_assert_eq!(wire.len(), SumHead::LEN);
        prop_assert_eq!(SumHead::take(&mut &*wire, 32, 16), Ok(head));
        let strong = [9; 20];
        wire.clear();
        (0..count).for_each(|i| sums::put_block(&mut wire, &head, i.wrapping_mul(last), &strong));
        prop_assert_eq!(wire.len() as u64, head.sums_len());
        let got = drip(&wire, &pieces, |input| {
            sums::take_block(input, &head).map(|(rolling, strong)| (rolling, strong.len() as u32))
        });
        let expected: Vec<_> = (0..count).map(|i| (i.wrapping_mul(last), strong_len)).collect();
        prop_assert_eq!(got, expected);
    }

    #[test]
    fn figures(
        values in proptest::array::uniform5(wide()),
        counts in proptest::array::uniform5(0..=1_u32 << 28),
        compat in 0..0x200_u32,
        protocol in 29..33_u8,
    ) {
        let [read_bytes, written_bytes, total_size, list_build_ms, list_transfer_ms] = values;
        let stats = Stats { read_bytes, written_bytes, total_size, list_build_ms, list_transfer_ms };
        let [files, dirs, symlinks, devices, specials] = counts;
        let deleted = DelStats { files, dirs, symlinks, devices, specials };
        let compat = if protocol >= 30 { CompatFlags(compat) } else { CompatFlags::default() };
        let batch = BatchHeader { stream_flags: files, protocol, compat, seed: read_bytes as i32 };
        let mut wire = Vec::new();
        stats.put(&mut wire, protocol);
        deleted.put(&mut wire);
        batch.put(&mut wire);
        let mut input = wire.as_slice();
        prop_assert_eq!(Stats::take(&mut input, protocol), Ok(stats));
        prop_assert_eq!(DelStats::take(&mut input), Ok(deleted));
        prop_assert_eq!(BatchHeader::take(&mut input), Ok(batch));
        prop_assert!(input.is_empty());
    }

    #[test]
    fn rules_names_and_arguments(
        rules in vec(bytes(1..300), 0..6),
        names in vec("[a-z/ ]{1,300}", 0..6),
        pieces in pieces(),
        protocol in 29..33_u8,
    ) {
        let mut wire = Vec::new();
        rules.iter().for_each(|rule| filterlist::put_rule(&mut wire, rule));
        let take = |input: &mut &[u8]| filterlist::take_rule(input).map(|r| r.map(<[u8]>::to_vec));
        let got: Vec<_> = drip(&wire, &pieces, take).into_iter().flatten().collect();
        prop_assert_eq!(got, rules);

        let names: Vec<_> = names.into_iter().map(String::into_bytes).collect();
        wire.clear();
        names.iter().for_each(|name| files_from::put_name(&mut wire, name));
        let take = |input: &mut &[u8]| files_from::take_name(input).map(|n| n.map(<[u8]>::to_vec));
        let got: Vec<_> = drip(&wire, &pieces, take).into_iter().flatten().collect();
        prop_assert_eq!(&got, &names);

        wire.clear();
        args::put_args(&mut wire, names.iter().map(Vec::as_slice), protocol);
        let got = drip(&wire, &pieces, |input| {
            args::take_args(input, protocol).map(|all| all.iter().map(|a| a.to_vec()).collect::<Vec<_>>())
        });
        prop_assert_eq!(got, vec![names]);
    }

    #[test]
    fn a_quoted_value_is_restored(value in bytes(0..200)) {
        let mut quoted = Vec::new();
        args::put_quoted_value(&mut quoted, &value);
        prop_assert_eq!(args::unquote(&quoted), value);
    }

    #[test]
    fn names_of_ids(
        ids in vec((1..u32::MAX, bytes(0..256)), 0..9),
        zero in proptest::option::of(bytes(1..256)),
        compat in 0..0x200_u32,
        protocol in 29..33_u8,
    ) {
        let options = driftless_proto::flist::ListOptions {
            protocol,
            compat: if protocol >= 30 { CompatFlags(compat) } else { CompatFlags::default() },
            ..Default::default()
        };
        let zero = zero.filter(|_| options.compat.id0_names()).map(Into::into);
        let names = ids.into_iter().map(|(id, name)| (id, name.into())).collect();
        let list = IdList { names, zero };
        let mut wire = Vec::new();
        list.put(&mut wire, &options);
        for len in 0..wire.len() {
            prop_assert_eq!(IdList::take(&mut &wire[..len], &options), Err(Decode::Incomplete));
        }
        prop_assert_eq!(IdList::take(&mut &*wire, &options), Ok(list));
    }

    #[test]
    fn data_and_messages(
        steps in vec(
            prop_oneof![
                4 => bytes(0..3000).prop_map(Outgoing::Data),
                1 => (60_000..200_000_usize).prop_map(|len| Outgoing::Data(vec![7; len])),
                2 => bytes(0..5120).prop_map(|text| Outgoing::Message(Tag::Info, text)),
                1 => any::<[u8; 4]>().prop_map(|n| Outgoing::Message(Tag::Success, n.to_vec())),
                1 => Just(Outgoing::KeepAlive),
                3 => (0..100_000_usize).prop_map(Outgoing::Write),
            ],
            0..20,
        ),
        pieces in pieces(),
    ) {
        let (mut mux, mut wire) = (Mux::new(), Vec::new());
        let (mut data, mut messages) = (Vec::new(), Vec::new());
        for step in steps {
            match step {
                Outgoing::Data(bytes) => {
                    mux.data(&bytes);
                    data.extend(bytes);
                }
                Outgoing::Message(tag, payload) => {
                    mux.message(tag, &payload);
                    messages.push(Message { tag, payload });
                }
                Outgoing::KeepAlive => mux.keep_alive(),
                Outgoing::Write(len) => {
                    let len = len.min(mux.ready().len());
                    wire.extend_from_slice(&mux.ready()[..len]);
                    mux.written(len);
                }
            }
        }
        mux.flush();
        wire.extend_from_slice(mux.ready());
        mux.written(mux.ready().len());
        prop_assert_eq!(mux.pending_len(), 0);

        let (mut demux, mut got_data) = (Demux::new(), Vec::new());
        let got = drip(&wire, &pieces, |input| {
            Ok(demux.feed(input, &mut got_data)?)
        });
        let got: Vec<_> = got.into_iter().flatten().collect();
        prop_assert!(demux.between_frames());
        prop_assert!(got_data == data);
        prop_assert_eq!(got, messages);
    }

    #[test]
    fn file_lists(seed in any::<u64>(), lens in vec(0..20_u32, 1..5), pieces in pieces()) {
        let mut dice = Dice(seed);
        let options = lists::options(&mut dice);
        let told = options.compat.varint_flist_flags()
            || options.protocol >= 31
            || options.compat.safe_flist();
        let (mut writer, mut wire) = (ListWriter::new(options.clone()), Vec::new());
        let (mut sent, mut items) = (lists::Sent::default(), Vec::new());
        for len in lens {
            let first_ndx = writer.first_ndx();
            for ndx in first_ndx..first_ndx + len {
                let entry = lists::entry(&mut dice, &options, &mut sent, ndx, first_ndx);
                writer.entry(&entry, &mut wire);
                items.push(ListItem::Entry(entry));
            }
            let io_error = dice.below(8) as u32;
            writer.end(io_error, &mut wire);
            items.push(ListItem::End { io_error: if told { io_error } else { 0 } });
        }
        let mut reader = ListReader::new(options);
        let got = drip(&wire, &pieces, |input| reader.next(input));
        for (got, item) in got.iter().zip(&items) {
            prop_assert_eq!(got, item);
        }
        prop_assert_eq!(got.len(), items.len());
        prop_assert_eq!(reader.first_ndx(), writer.first_ndx());
    }
}

#[derive(Debug, Clone)]
enum Outgoing {
    Data(Vec<u8>),
    Message(Tag, Vec<u8>),
    KeepAlive,
    Write(usize),
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Step {
    Literal(Vec<u8>),
    Block(u32),
    End,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        3 => bytes(1..3000).prop_map(Step::Literal),
        1 => (1..100_000_usize, any::<u8>()).prop_map(|(len, byte)| Step::Literal(vec![byte; len])),
        3 => (0..8_u32).prop_map(Step::Block),
        1 => (0..=i32::MAX as u32 - 1).prop_map(Step::Block),
        2 => Just(Step::End),
    ];
    vec(step, 0..20)
}

/// The content of a block: long enough for several stored blocks of deflate when asked for.
fn block(index: u32, len: usize) -> Vec<u8> {
    (0..len as u32).map(|i| (i.wrapping_mul(index | 1) >> 3) as u8).collect()
}

/// Literals next to each other are one: how they were cut is not kept.
fn joined(steps: impl IntoIterator<Item = Step>) -> Vec<Step> {
    let mut all: Vec<Step> = Vec::new();
    for step in steps {
        match (all.last_mut(), step) {
            (Some(Step::Literal(before)), Step::Literal(data)) => before.extend(data),
            (_, step) => all.push(step),
        }
    }
    all
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn tokens(
        steps in steps(),
        pieces in pieces(),
        compression in proptest::sample::select(&Compression::ORDER[..]),
        protocol in 30..32_u8,
        block_len in prop_oneof![Just(700_usize), Just(131_072)],
    ) {
        let mut writer = TokenWriter::new(compression, compression.default_level(), protocol);
        let mut wire = Vec::new();
        for step in &steps {
            match step {
                Step::Literal(data) => writer.literal(data, &mut wire),
                Step::Block(index) => writer.block(*index, &block(*index, block_len), &mut wire),
                Step::End => writer.end(&mut wire),
            }
        }
        writer.end(&mut wire);
        let mut reader = TokenReader::new(compression, protocol);
        let got = drip(&wire, &pieces, |input| {
            let step = match reader.next(input)? {
                Token::Literal(data) => Step::Literal(data.to_vec()),
                Token::Block(index) => Step::Block(index),
                Token::End => Step::End,
            };
            if let Step::Block(index) = step {
                reader.block_data(&block(index, block_len))?;
            }
            Ok(step)
        });
        prop_assert!(joined(got) == joined(steps.into_iter().chain([Step::End])));
    }
}

proptest! {
    #[test]
    fn decoders_stand_random_bytes(input in bytes(0..2000)) {
        decoders::ALL.iter().for_each(|(_, decode)| decode(&input));
    }

    /// Mostly small numbers get further than random ones.
    #[test]
    fn decoders_stand_almost_sensible_bytes(
        input in vec(prop_oneof![3 => 0..8_u8, 1 => any::<u8>(), 1 => Just(0x40)], 0..2000),
    ) {
        decoders::ALL.iter().for_each(|(_, decode)| decode(&input));
    }
}

#[test]
fn every_decoder_has_a_fuzz_target() {
    let fuzz = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz");
    let manifest = std::fs::read_to_string(fuzz.join("Cargo.toml")).expect("the fuzz manifest");
    for (name, _) in decoders::ALL {
        let target = fuzz.join(format!("fuzz_targets/{name}.rs"));
        assert!(target.is_file(), "{} is absent", target.display());
        assert!(manifest.contains(&format!("name = \"{name}\"")), "{name} is not in the manifest");
    }
}
