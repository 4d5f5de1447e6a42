//! A server's `--log-file`: what its session reports goes there and nowhere else; what the client is
//! to hear travels through the session.

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;

use driftless_transfer::Ending;
use driftless_transfer::operator::Links;
use driftless_transfer::options::ChecksumKind;
use driftless_transfer::report::{Item, ItemFlags, ListProgress, Message, Report, Transferred};
use driftless_tree::flist::Entry;
use driftless_tree::path::printable;

use super::escape::Charset;
use super::format::Format;
use super::listing::Columns;
use super::log::Log;
use super::printer::{Printer, Seat, Streams};
use crate::client::failure::system_text;
use crate::flags::Invocation;
use crate::zone::Zone;

/// The log of a session, if there is one.
#[derive(Default)]
pub struct Journal {
    printer: Option<Printer>,
    /// Nothing is done that would be worth a line.
    is_dry: bool,
    /// The format shows what has changed, which more than content may have.
    itemizes: bool,
    listing: Option<Listing>,
}

/// How entries are listed.
struct Listing {
    human: u8,
    atimes: bool,
    links: bool,
    zone: Zone,
}

impl Journal {
    /// Opens the log that the options name; `sends`: the server is at the source. A log that cannot be
    /// opened is told of on standard error and left out.
    pub fn open(invocation: &Invocation, zone: &Zone, sends: bool) -> Self {
        let listing = Listing {
            human: invocation.output.human,
            atimes: invocation.options.metadata.atimes > 0,
            links: invocation.options.links,
            zone: zone.clone(),
        };
        Self { listing: Some(listing), ..Self::with_log(invocation, zone, sends) }
    }

    fn with_log(invocation: &Invocation, zone: &Zone, sends: bool) -> Self {
        let Some(name) = &invocation.output.log_file else { return Self::default() };
        let links = Links::of(invocation.options.link.insecure);
        let log = match Log::open(Path::new(OsStr::from_bytes(name)), links, zone.clone()) {
            Ok(log) => log,
            Err(error) => {
                let (name, why) = (printable(name), system_text(&error));
                eprintln!(
                    "rsync: [server] failed to open log-file {name}: {why}\n\
                     Ignoring \"log file\" setting."
                );
                return Self::default();
            }
        };
        let streams = Streams {
            out: Box::new(io::sink()),
            err: Box::new(io::sink()),
            log: Some(log),
            charset: Charset::Log,
            zone: zone.clone(),
        };
        let seat = if sends { Seat::Sends } else { Seat::Receives };
        let (options, output) = (&invocation.options, &invocation.output);
        let printer = Printer::new(streams, options, output, seat, Arc::default());
        let format = output.log_file_format.as_deref();
        let itemizes = format.is_none_or(|format| Format::parse(format).has(b"i"));
        Self { printer: Some(printer), is_dry: options.dry_run, itemizes, listing: None }
    }

    /// The session came to its end.
    pub fn end(&mut self, ending: &Ending) {
        if let Some(printer) = &mut self.printer {
            printer.log_end(ending);
        }
    }
}

impl Report for Journal {
    fn item(&mut self, item: &Item<'_>) {
        let has_content = item.flags & ItemFlags::TRANSFER != 0;
        if self.is_dry || !(has_content || self.itemizes) {
            return;
        }
        if let Some(printer) = &mut self.printer {
            printer.item(item);
        }
    }

    fn transferred(&mut self, item: &Item<'_>, transfer: &Transferred<'_>) {
        if let Some(printer) = &mut self.printer {
            printer.transferred(item, transfer);
        }
    }

    fn deleted(&mut self, name: &[u8], is_dir: bool) {
        if let Some(printer) = &mut self.printer {
            printer.deleted(name, is_dir);
        }
    }

    fn message(&mut self, message: &Message<'_>) {
        if let Some(printer) = &mut self.printer {
            printer.message(message);
        }
    }

    fn listing_line(&self, entry: &Entry) -> Option<Vec<u8>> {
        let Listing { human, atimes, links, zone } = self.listing.as_ref()?;
        let columns = Columns { human: *human, atimes: *atimes, links: *links, zone };
        Some(columns.line(entry))
    }

    fn list_digests(&mut self, kind: ChecksumKind) {
        if let Some(printer) = &mut self.printer {
            printer.list_digests(kind);
        }
    }

    fn listing(&mut self, progress: ListProgress) {
        if let Some(printer) = &mut self.printer {
            printer.listing(progress);
        }
    }
}
