//! Walks through a captured session as its two ends did.

use std::collections::HashMap;

use driftless_proto::args;
use driftless_proto::auth;
use driftless_proto::files_from;
use driftless_proto::filterlist;
use driftless_proto::flist::{IdList, ListItem, ListReader, ListWriter};
use driftless_proto::greeting::{ClientLine, Greeting, MAX_LINE_LEN, ServerLine, take_line};
use driftless_proto::int::{put_int, take_bytes, take_int};
use driftless_proto::item::{Item, ItemFlags, MAX_XATTR_VALUE_LEN, XattrNumbers};
use driftless_proto::ndx::NdxValue;
use driftless_proto::setup::{self, ChecksumKind, CompatFlags, Compression};
use driftless_proto::stats::{DelStats, Stats};
use driftless_proto::sums::{self, SumHead};
use driftless_proto::token::{Token, TokenReader, TokenWriter};
use driftless_tree::Kind;
use driftless_tree::flist::Entry;

use crate::lane::Lane;
use crate::options::{Options, Side};

pub struct Session {
    pub client: Lane,
    pub server: Lane,
    options: Options,
    terms: Terms,
    /// Contents of the basis, where tokens are compressed.
    basis: Vec<u8>,
}

/// What setup settles.
#[derive(Clone, Copy)]
struct Terms {
    protocol: u8,
    compat: CompatFlags,
    checksum: ChecksumKind,
    list_checksum: ChecksumKind,
    compression: Compression,
}

/// What was counted on the way.
#[derive(Debug, Default)]
pub struct Counts {
    pub lists: usize,
    pub sender_dones: usize,
    pub generator_dones: usize,
}

impl Session {
    pub fn new(client: Vec<u8>, server: Vec<u8>, basis: Vec<u8>) -> Self {
        Self {
            client: Lane::new("client", client),
            server: Lane::new("server", server),
            options: Options::default(),
            terms: Terms {
                protocol: 0,
                compat: CompatFlags::default(),
                checksum: ChecksumKind::None,
                list_checksum: ChecksumKind::None,
                compression: Compression::None,
            },
            basis,
        }
    }

    pub fn protocol(&self) -> u8 {
        self.terms.protocol
    }

    /// The text handshake of a daemon and the arguments; false when the daemon ends it.
    pub fn daemon_start(&mut self) -> bool {
        let theirs = greeting(&mut self.server);
        let ours = greeting(&mut self.client);
        self.terms.protocol = ours.agree(&theirs);
        assert_eq!(self.terms.protocol, theirs.agree(&ours));
        while let ClientLine::EarlyInput(len) = client_line(&mut self.client) {
            self.client.value(
                |input| take_bytes(input, len).map(<[u8]>::to_vec),
                |bytes, out| out.extend_from_slice(bytes),
            );
        }
        loop {
            match server_line(&mut self.server) {
                ServerLine::Motd(_) => {}
                ServerLine::AuthRequired(challenge) => self.authentication(&challenge, &theirs),
                ServerLine::Ok => break,
                ServerLine::Exit | ServerLine::Error(_) => return false,
            }
        }
        let protocol = self.terms.protocol;
        let args = self.client.value(
            |input| Ok(owned(args::take_args(input, protocol)?)),
            |args, out| args::put_args(out, args.iter().map(Vec::as_slice), protocol),
        );
        self.arguments(args);
        true
    }

    /// The versions, and the arguments that the remote shell got.
    pub fn shell_start(&mut self, args: Vec<Vec<u8>>) {
        self.arguments(args);
        let version = |lane: &mut Lane| {
            lane.value(setup::take_version, |version, out| setup::put_version(out, *version))
        };
        self.terms.protocol = version(&mut self.client).min(version(&mut self.server));
    }

    fn arguments(&mut self, mut args: Vec<Vec<u8>>) {
        if Options::new(&args).letter('s') {
            args.extend(self.client.value(
                |input| Ok(owned(args::take_secluded(input)?)),
                |args, out| args::put_secluded(out, args.iter().map(Vec::as_slice)),
            ));
        }
        self.options = Options::new(&args);
    }

    fn authentication(&mut self, challenge: &[u8], theirs: &Greeting) {
        let line =
            self.client.value(|i| take_line(i, MAX_LINE_LEN), |line, out| put_line(line, out));
        let (user, response) = auth::parse_response(&line).expect("a user and a response");
        assert_eq!(user, b"alice");
        let protocol = self.terms.protocol;
        let digest = auth::choose(&theirs.digests, protocol).unwrap();
        let fits = |password: &[u8]| auth::verify(digest, password, challenge, protocol, response);
        assert!(fits(b"s3cret") ^ fits(b"wrong"), "the response fits one of the passwords");
    }

    /// Flags, names and seed.
    pub fn setup(&mut self) {
        let protocol = self.terms.protocol;
        if protocol >= 30 {
            self.terms.compat = self.server.value(CompatFlags::take, |compat, out| compat.put(out));
        }
        let named = self.terms.compat.varint_flist_flags();
        let fallback = ChecksumKind::fallback(protocol);
        (self.terms.checksum, self.terms.list_checksum) = match self.options.checksum_choice() {
            Some(choice) => choice,
            None if !named => (fallback, fallback),
            None => {
                let (ours, theirs) = self.names();
                let (ours, theirs) = (setup::checksums(&ours), setup::checksums(&theirs));
                let kind = setup::choose(&ours, &theirs, "checksum", b"").unwrap();
                (kind, kind)
            }
        };
        if self.options.compresses() {
            self.terms.compression = match self.options.compress_choice() {
                Some(choice) => choice,
                None if !named => Compression::Zlib,
                None => {
                    let (ours, theirs) = self.names();
                    let (ours, theirs) = (setup::compressions(&ours), setup::compressions(&theirs));
                    setup::choose(&ours, &theirs, "compression", b"").unwrap()
                }
            };
        }
        self.server.value(setup::take_seed, |seed, out| setup::put_seed(out, *seed));
        self.server.start_frames();
        if protocol >= 30 {
            self.client.start_frames();
        }
    }

    fn names(&mut self) -> (Vec<u8>, Vec<u8>) {
        let names = |lane: &mut Lane| {
            lane.value(
                |input| setup::take_names(input).map(<[u8]>::to_vec),
                |names, out| {
                    let words = std::str::from_utf8(names).unwrap().split(' ');
                    setup::put_names(out, words);
                },
            )
        };
        let theirs = names(&mut self.server);
        (names(&mut self.client), theirs)
    }

    /// Everything behind setup. Whatever ends early must end between two values.
    pub fn transfer(&mut self) -> Counts {
        if self.options.has_filter_list() && !self.client.is_empty() {
            filter_rules(&mut self.client);
        }
        match self.options.files_from() {
            Some(Side::Client) => names_from(&mut self.client),
            Some(Side::Server) => names_from(&mut self.server),
            None => {}
        }
        let Self { client, server, options, terms, basis } = self;
        let (sender, generator) =
            if options.server_sends() { (server, client) } else { (client, server) };
        let mut counts = Counts::default();
        if !sender.is_empty() {
            let stats = options.server_sends();
            Sender::new(sender, options, *terms, basis, stats).run(&mut counts);
        }
        generator_stream(generator, options, *terms, &mut counts);
        counts
    }

    /// The sender's bytes in a batch file, recorded by a session with the same arguments.
    pub fn batch(&self, mut batch: Lane) -> Counts {
        let header =
            batch.value(driftless_proto::batch::BatchHeader::take, |header, out| header.put(out));
        assert_eq!((header.protocol, header.compat), (self.terms.protocol, self.terms.compat));
        let mut counts = Counts::default();
        Sender::new(&mut batch, &self.options, self.terms, &self.basis, true).run(&mut counts);
        counts
    }
}

fn owned(args: Vec<&[u8]>) -> Vec<Vec<u8>> {
    args.into_iter().map(<[u8]>::to_vec).collect()
}

fn put_line(line: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(line);
    out.push(b'\n');
}

fn greeting(lane: &mut Lane) -> Greeting {
    lane.value(
        |input| Ok(Greeting::parse(&take_line(input, MAX_LINE_LEN)?)?),
        |greeting, out| greeting.put(out),
    )
}

fn client_line(lane: &mut Lane) -> ClientLine {
    lane.value(
        |input| Ok(ClientLine::parse(take_line(input, MAX_LINE_LEN)?)?),
        |line, out| line.put(out),
    )
}

fn server_line(lane: &mut Lane) -> ServerLine {
    lane.value(
        |input| Ok(ServerLine::parse(take_line(input, MAX_LINE_LEN)?)),
        |line, out| line.put(out),
    )
}

fn filter_rules(lane: &mut Lane) {
    loop {
        let rule = lane.value(
            |input| Ok(filterlist::take_rule(input)?.map(<[u8]>::to_vec)),
            |rule, out| match rule {
                Some(text) => filterlist::put_rule(out, text),
                None => filterlist::put_end(out),
            },
        );
        if rule.is_none() {
            break;
        }
    }
}

fn names_from(lane: &mut Lane) {
    loop {
        let name = lane.value(
            |input| Ok(files_from::take_name(input)?.map(<[u8]>::to_vec)),
            |name, out| match name {
                Some(name) => files_from::put_name(out, name),
                None => files_from::put_end(out),
            },
        );
        if name.is_none() {
            break;
        }
    }
}

fn item(lane: &mut Lane) -> Item {
    lane.value(Item::take, |item, out| item.put(out))
}

fn sum_head(lane: &mut Lane, terms: Terms) -> SumHead {
    lane.value(
        |input| SumHead::take(input, terms.protocol, terms.checksum.digest_len()),
        |head, out| head.put(out),
    )
}

fn del_stats(lane: &mut Lane) {
    lane.value(DelStats::take, |counts, out| counts.put(out));
}

fn generator_stream(lane: &mut Lane, options: &Options, terms: Terms, counts: &mut Counts) {
    lane.start_items(terms.protocol);
    while !lane.is_empty() {
        match lane.ndx() {
            NdxValue::Done => counts.generator_dones += 1,
            NdxValue::DelStats => del_stats(lane),
            NdxValue::Item(_) => {
                let item = item(lane);
                if options.letter('X') && item.has_xattr_list(terms.protocol, terms.compat) {
                    xattr_requests(lane);
                }
                if item.has(ItemFlags::TRANSFER) && !options.dry_run() {
                    let head = sum_head(lane, terms);
                    if !options.has("--append") {
                        block_sums(lane, &head);
                    }
                }
            }
            other => panic!("{other:?} from a generator"),
        }
    }
}

fn xattr_requests(lane: &mut Lane) {
    let (mut reader, mut writer) = (XattrNumbers::new(), XattrNumbers::new());
    loop {
        let number = lane.value(
            |input| reader.take_request(input),
            |number, out| match number {
                Some(number) => writer.put_request(out, *number),
                None => XattrNumbers::put_end(out),
            },
        );
        if number.is_none() {
            break;
        }
    }
}

fn block_sums(lane: &mut Lane, head: &SumHead) {
    lane.value(
        |input| {
            let half: Vec<_> = sums::take_blocks(input, head, head.count / 2).collect();
            let rest = (0..head.count - half.len() as u32).map(|_| sums::take_block(input, head));
            let all = half.into_iter().map(Ok).chain(rest);
            all.map(|sums| sums.map(|(rolling, strong)| (rolling, strong.to_vec()))).collect()
        },
        |blocks: &Vec<(u32, Vec<u8>)>, out| {
            for (rolling, strong) in blocks {
                sums::put_block(out, head, *rolling, strong);
            }
        },
    );
}

struct Sender<'a> {
    lane: &'a mut Lane,
    options: &'a Options,
    terms: Terms,
    basis: &'a [u8],
    has_stats: bool,
    lists: (ListReader, ListWriter),
    kinds: HashMap<u32, Option<Kind>>,
    tokens: (TokenReader, TokenWriter, TokenReader),
}

impl<'a> Sender<'a> {
    fn new(
        lane: &'a mut Lane,
        options: &'a Options,
        terms: Terms,
        basis: &'a [u8],
        has_stats: bool,
    ) -> Self {
        let list = options.list(terms.protocol, terms.compat, terms.list_checksum);
        let reader = || TokenReader::new(terms.compression, terms.protocol);
        let writer =
            TokenWriter::new(terms.compression, terms.compression.default_level(), terms.protocol);
        Self {
            lane,
            options,
            terms,
            basis,
            has_stats,
            lists: (ListReader::new(list.clone()), ListWriter::new(list)),
            kinds: HashMap::new(),
            tokens: (reader(), writer, reader()),
        }
    }

    fn run(mut self, counts: &mut Counts) {
        self.lane.start_items(self.terms.protocol);
        let incremental = self.terms.compat.inc_recurse();
        self.list(counts);
        if !incremental {
            self.ids();
        }
        let mut open_lists = 1;
        let mut phases = 0;
        while !self.lane.is_empty() {
            match self.lane.ndx() {
                NdxValue::Done => {
                    counts.sender_dones += 1;
                    if open_lists > 1 {
                        open_lists -= 1;
                        continue;
                    }
                    phases += 1;
                    if phases == 3 && self.has_stats {
                        let protocol = self.terms.protocol;
                        self.lane.value(
                            |input| Stats::take(input, protocol),
                            |stats, out| stats.put(out, protocol),
                        );
                    }
                }
                NdxValue::FlistEof => assert!(incremental),
                NdxValue::SubList(_) => {
                    self.list(counts);
                    open_lists += 1;
                }
                NdxValue::DelStats => del_stats(self.lane),
                NdxValue::Item(ndx) => self.answer(ndx),
            }
        }
    }

    fn list(&mut self, counts: &mut Counts) {
        let (reader, writer) = &mut self.lists;
        let first_ndx = reader.first_ndx();
        assert_eq!(first_ndx, writer.first_ndx());
        let mut entries: Vec<Entry> = Vec::new();
        loop {
            let item = self.lane.value(
                |input| reader.next(input),
                |item, out| match item {
                    ListItem::Entry(entry) => writer.entry(entry, out),
                    ListItem::End { io_error } => writer.end(*io_error, out),
                },
            );
            match item {
                ListItem::Entry(entry) => entries.push(entry),
                ListItem::End { .. } => break,
            }
        }
        counts.lists += 1;
        // With a conversion of names the numbers follow the order of transmission.
        if !self.options.has("--iconv") {
            driftless_tree::flist::sort(&mut entries);
        }
        let numbered = (first_ndx..).zip(entries.iter().map(Entry::kind));
        self.kinds.extend(numbered);
    }

    fn ids(&mut self) {
        let list = self.options.list(self.terms.protocol, self.terms.compat, ChecksumKind::None);
        if !list.numeric_ids {
            for _ in [list.owner || list.acls, list.group || list.acls].iter().filter(|&&has| has) {
                self.lane.value(|input| IdList::take(input, &list), |ids, out| ids.put(out, &list));
            }
        }
        if self.terms.protocol < 30 {
            self.lane.value(take_int, |io_error, out| put_int(out, *io_error));
        }
    }

    fn answer(&mut self, ndx: u32) {
        let item = item(self.lane);
        if self.options.letter('X') && item.has_xattr_list(self.terms.protocol, self.terms.compat) {
            xattr_values(self.lane);
        }
        if item.has(ItemFlags::TRANSFER) {
            assert_eq!(self.kinds.get(&ndx), Some(&Some(Kind::File)), "number {ndx}");
            if !self.options.dry_run() {
                self.content();
            }
        }
    }

    fn content(&mut self) {
        let head = sum_head(self.lane, self.terms);
        let (reader, writer, check) = &mut self.tokens;
        let (steps, wire) = self.lane.with_bytes(|lane| {
            let block = |index| block_of(self.basis, &head, index);
            lane.take(|input| Ok(read_tokens(reader, input, block)))
        });
        let mut again = Vec::new();
        for step in &steps {
            match step {
                Step::Literal(data) => writer.literal(data, &mut again),
                Step::Block(index) => {
                    writer.block(*index, block_of(self.basis, &head, *index), &mut again);
                }
            }
        }
        writer.end(&mut again);
        let digest = self.lane.value(
            |input| take_bytes(input, self.terms.checksum.digest_len()).map(<[u8]>::to_vec),
            |digest, out| out.extend_from_slice(digest),
        );
        if self.terms.compression == Compression::None {
            assert_eq!(again, wire, "tokens");
            return;
        }
        // Another encoder's output may differ in its bytes, not in its meaning.
        let block = |index| block_of(self.basis, &head, index);
        let mut input = again.as_slice();
        assert!(joined(read_tokens(check, &mut input, block)) == joined(steps.clone()));
        assert!(input.is_empty());
        let content: Vec<u8> = steps
            .iter()
            .flat_map(|step| match step {
                Step::Literal(data) => data.as_slice(),
                Step::Block(index) => block(*index),
            })
            .copied()
            .collect();
        assert_eq!(digest_of(self.terms.checksum, &content), digest);
    }
}

fn xattr_values(lane: &mut Lane) {
    let (mut reader, mut writer) = (XattrNumbers::new(), XattrNumbers::new());
    loop {
        let value = lane.value(
            |input| {
                Ok(reader
                    .take_value(input, MAX_XATTR_VALUE_LEN)?
                    .map(|(number, value)| (number, value.to_vec())))
            },
            |value, out| match value {
                Some((number, value)) => writer.put_value(out, *number, value),
                None => XattrNumbers::put_end(out),
            },
        );
        if value.is_none() {
            break;
        }
    }
}

#[derive(Clone, PartialEq, Eq)]
enum Step {
    Literal(Vec<u8>),
    Block(u32),
}

fn read_tokens<'a>(
    reader: &mut TokenReader,
    input: &mut &[u8],
    block: impl Fn(u32) -> &'a [u8],
) -> Vec<Step> {
    let mut steps = Vec::new();
    loop {
        let step = match reader.next(input).expect("a token") {
            Token::Literal(data) => Step::Literal(data.to_vec()),
            Token::Block(index) => Step::Block(index),
            Token::End => return steps,
        };
        if let Step::Block(index) = step {
            reader.block_data(block(index)).expect("a place in the history");
        }
        steps.push(step);
    }
}

fn joined(steps: Vec<Step>) -> Vec<Step> {
    let mut all: Vec<Step> = Vec::new();
    for step in steps {
        match (all.last_mut(), step) {
            (Some(Step::Literal(before)), Step::Literal(data)) => before.extend(data),
            (_, step) => all.push(step),
        }
    }
    all
}

fn block_of<'a>(basis: &'a [u8], head: &SumHead, index: u32) -> &'a [u8] {
    let start = (index * head.block_len) as usize;
    let end = (start + head.block_len as usize).min(basis.len());
    basis.get(start..end).unwrap_or_default()
}

fn digest_of(kind: ChecksumKind, content: &[u8]) -> Vec<u8> {
    use md5::Digest;
    match kind {
        ChecksumKind::Xxh128 => twox_hash::XxHash3_128::oneshot(content).to_le_bytes().to_vec(),
        ChecksumKind::Md5 => md5::Md5::digest(content).to_vec(),
        other => panic!("no capture compresses with {other:?}"),
    }
}
