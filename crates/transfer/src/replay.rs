//! Playing a batch file: a receiving side whose sender is a record. Protocol reference, "Batch
//! files".
//!
//! ```text
//! file ─► Recording (header) ─► match_options ─► play: the receiving side, whose requests go nowhere
//! ```
//! What the record has and this tree does not need is skipped; what this tree needs and the record
//! does not have stays as it is, and counts as not transferred.

use std::fs::File;
use std::os::fd::OwnedFd;

pub use driftless_fs::operator::open_file;
use driftless_proto::Decode;
use driftless_proto::batch::BatchHeader;
use driftless_proto::setup::{ChecksumKind, Compression};

use crate::connect::handshake::{Setup, need};
use crate::connect::stream::Stream;
use crate::connect::{Connection, Direction, Established, Listener, can_recurse_incrementally};
use crate::error::PushError;
use crate::link::Frames;
use crate::options::{Append, CompressChoice, TransferOptions};
use crate::receiver::role::{Sender, receive_from};
use crate::record::stream_flags;
use crate::report::Report;
use crate::request::{Ending, Request, SessionFailure};

/// A batch file of which the header was read.
pub struct Recording {
    connection: Connection,
    header: BatchHeader,
    /// The options that were typed allow lists that come one by one.
    may_be_incremental: bool,
}

/// An option that the record decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Matched {
    /// With its letter, as in `--recurse (-r)`.
    pub option: &'static str,
    /// It was not given, and holds.
    pub set: bool,
}

impl Recording {
    /// Reads the header from a file or a pipe.
    ///
    /// # Errors
    /// It is no batch file, ends in its header, or is of a later protocol than `options` allow.
    pub fn open(
        file: OwnedFd,
        options: &TransferOptions,
        report: &mut dyn Report,
    ) -> Result<Self, PushError> {
        let nowhere = File::options().write(true).open("/dev/null")?;
        let mut connection = Connection::new(Stream::pair(file, nowhere)?, None, options);
        let most = options.protocol;
        let take = |input: &mut &[u8]| {
            let version = input.get(4..8).and_then(|bytes| bytes.try_into().ok());
            let version = i32::from_le_bytes(version.ok_or(Decode::Incomplete)?);
            if version > i32::from(most) {
                return Ok(Err(version));
            }
            BatchHeader::take(input).map(Ok)
        };
        let header = match need(&mut connection.link, &mut Listener(report), take) {
            Ok(Ok(header)) => header,
            Ok(Err(version)) => {
                let text = format!(
                    "The protocol version in the batch file is too new ({version} > {most})."
                );
                return Err(PushError::Fatal { text, exit: 2 });
            }
            Err(PushError::Protocol { exit, .. }) => {
                let text = "protocol version mismatch -- is your shell clean?\n\
                            (see the rsync manpage for an explanation)";
                return Err(PushError::Fatal { text: text.to_owned(), exit });
            }
            Err(error) => return Err(error),
        };
        let may_be_incremental = can_recurse_incrementally(Direction::Receive, options);
        Ok(Self { connection, header, may_be_incremental })
    }

    /// Makes `options` those of the session that was recorded, as far as its stream depends on
    /// them, and returns what was changed.
    ///
    /// # Errors
    /// One that cannot be changed here: `--iconv`.
    pub fn match_options(&self, options: &mut TransferOptions) -> Result<Vec<Matched>, PushError> {
        let (wanted, given) = (self.header.stream_flags, stream_flags(options));
        let mut matched = Vec::new();
        for (bit, option) in FLAGS {
            let set = wanted & bit != 0;
            if set == (given & bit != 0) {
                continue;
            }
            if bit == BatchHeader::ICONV {
                let what = if set { "Please" } else { "Do not" };
                let text = format!("{what} specify the --iconv option to use this batch file.");
                return Err(PushError::Fatal { text, exit: 1 });
            }
            change(options, bit, set);
            matched.push(Matched { option, set });
        }
        Ok(matched)
    }

    /// Applies the record to the destination that `request` names.
    ///
    /// # Errors
    /// As for [`crate::receive`].
    pub fn play(
        self,
        options: &TransferOptions,
        request: &Request,
        report: &mut dyn Report,
    ) -> Result<Ending, Box<SessionFailure>> {
        let Self { mut connection, header, may_be_incremental } = self;
        if header.compat.inc_recurse() && !may_be_incremental {
            let text = "Incompatible options specified for inc-recursive batch file.".to_owned();
            let error = PushError::Fatal { text, exit: 1 };
            return Err(Box::new(SessionFailure { error, ending: Ending::default() }));
        }
        let checksum = ChecksumKind::fallback(header.protocol);
        let setup = Setup {
            protocol: header.protocol,
            compat: header.compat,
            checksum,
            list_checksum: checksum,
            compression: match options.compress {
                CompressChoice::Off => Compression::None,
                _ => Compression::Zlib,
            },
            seed: header.seed,
            seeds_files: Setup::seeds_files(header.protocol, options),
        };
        connection.link.start_transfer(Frames { output: false, input: false });
        let established =
            Established { link: connection.link, child: None, setup, is_server: false };
        receive_from(established, options, request, report, &Sender::Recorded)
    }
}

/// Bits of the header, in the order in which rsync looks at them.
const FLAGS: [(u32, &str); 15] = [
    (BatchHeader::RECURSE, "--recurse (-r)"),
    (BatchHeader::OWNER, "--owner (-o)"),
    (BatchHeader::GROUP, "--group (-g)"),
    (BatchHeader::LINKS, "--links (-l)"),
    (BatchHeader::DEVICES, "--devices (-D)"),
    (BatchHeader::HARD_LINKS, "--hard-links (-H)"),
    (BatchHeader::CHECKSUM, "--checksum (-c)"),
    (BatchHeader::DIRS, "--dirs (-d)"),
    (BatchHeader::COMPRESS, "--compress (-z)"),
    (BatchHeader::ICONV, "--iconv"),
    (BatchHeader::ACLS, "--acls (-A)"),
    (BatchHeader::XATTRS, "--xattrs (-X)"),
    (BatchHeader::INPLACE, "--inplace"),
    (BatchHeader::APPEND, "--append"),
    (BatchHeader::APPEND_VERIFY, "--append-verify"),
];

fn change(options: &mut TransferOptions, bit: u32, set: bool) {
    let append = |now: Append, of: Append| match (set, now) {
        (true, _) => of,
        (false, now) if now == of => Append::Off,
        (false, now) => now,
    };
    match bit {
        BatchHeader::RECURSE => options.selection.recursive = set,
        BatchHeader::OWNER => options.owner = set,
        BatchHeader::GROUP => options.group = set,
        BatchHeader::LINKS => options.links = set,
        BatchHeader::DEVICES => options.devices = set,
        BatchHeader::HARD_LINKS => options.hard_links = set,
        BatchHeader::CHECKSUM => options.update.checksum = set,
        BatchHeader::DIRS => options.selection.dirs_given = Some(set),
        BatchHeader::COMPRESS if set => options.compress = CompressChoice::Zlib,
        BatchHeader::COMPRESS => options.compress = CompressChoice::Off,
        BatchHeader::ACLS => options.metadata.acls = set,
        BatchHeader::XATTRS => options.metadata.xattrs = u8::from(set),
        BatchHeader::INPLACE => {
            options.write.inplace = set;
            options.write.write_devices &= set;
        }
        BatchHeader::APPEND => {
            options.write.append = append(options.write.append, Append::Trusting)
        }
        BatchHeader::APPEND_VERIFY => {
            options.write.append = append(options.write.append, Append::Verifying);
        }
        _ => {}
    }
}
