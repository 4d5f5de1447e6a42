//! Making a batch file: what the sender of a session sends, for [`crate::replay()`]. Protocol
//! reference, "Batch files".
//!
//! Nothing in the file says which digest and which compression its session agreed on, so such a
//! session agrees on MD5 and zlib.

use std::fs::File;
use std::io::{self, Write};

pub use driftless_fs::operator::create_file;
use driftless_proto::batch::BatchHeader;
use driftless_proto::setup::{ChecksumKind, Compression};

use crate::connect::handshake::Setup;
use crate::options::{Append, CompressChoice, OfferOptions, TransferOptions};

/// Makes the options those of a session that is recorded. What the server is told of them does not
/// change.
pub fn prepare(options: &mut TransferOptions) {
    options.offer = OfferOptions {
        checksums: Some(vec![ChecksumKind::Md5]),
        compressions: Some(vec![Compression::Zlib]),
    };
}

/// Writes the start of the file.
pub(crate) fn put_header(
    mut file: &File,
    setup: &Setup,
    options: &TransferOptions,
) -> io::Result<()> {
    let Setup { protocol, compat, seed, .. } = *setup;
    let mut start = Vec::with_capacity(32);
    BatchHeader { stream_flags: stream_flags(options), protocol, compat, seed }.put(&mut start);
    file.write_all(&start)
}

/// The options that the recorded stream depends on.
pub(crate) fn stream_flags(options: &TransferOptions) -> u32 {
    let selection = &options.selection;
    let metadata = &options.metadata;
    let append = options.write.append;
    let table = [
        (selection.recursive, BatchHeader::RECURSE),
        (options.owner, BatchHeader::OWNER),
        (options.group, BatchHeader::GROUP),
        (options.links, BatchHeader::LINKS),
        (options.devices, BatchHeader::DEVICES),
        (options.hard_links, BatchHeader::HARD_LINKS),
        (options.update.checksum, BatchHeader::CHECKSUM),
        (selection.recursive || selection.dirs(), BatchHeader::DIRS),
        (options.compress != CompressChoice::Off, BatchHeader::COMPRESS),
        (metadata.iconv.is_some(), BatchHeader::ICONV),
        (metadata.acls, BatchHeader::ACLS),
        (metadata.xattrs > 0, BatchHeader::XATTRS),
        (options.write.in_place(), BatchHeader::INPLACE),
        (append == Append::Trusting, BatchHeader::APPEND),
        (append == Append::Verifying, BatchHeader::APPEND_VERIFY),
    ];
    table.iter().filter(|(on, _)| *on).fold(0, |all, (_, bit)| all | bit)
}
