//! What a session says: items to the sender, texts to the client, progress to the caller.

use std::borrow::Cow;
use std::time::Instant;

use driftless_proto::item::{Item, ItemFlags};
use driftless_proto::mux::Tag;
use driftless_proto::ndx::NdxValue;
use driftless_tree::flist::Entry;

use crate::driver::Level;
use crate::module::quoted;
use crate::options::{Itemize, RemoveSource};
use crate::receiver::lists::List;
use crate::receiver::session::Session;
use crate::report::{self, Direction, Message, Origin, Overall, Role};

impl Session<'_> {
    /// Writes an item without request for content, where it is to be reported. Protocol reference,
    /// "Item attributes".
    pub(crate) fn tell(&mut self, entry: &Entry, ndx: u32, flags: u16, xname: Option<&[u8]>) {
        const SILENT: u16 =
            ItemFlags::BASIS_TYPE_FOLLOWS | ItemFlags::XNAME_FOLLOWS | ItemFlags::LOCAL_CHANGE;
        let talk = &self.options.talk;
        let all = talk.itemize == Itemize::All || talk.info.name >= 2;
        if flags & !SILENT == 0 && xname.is_none_or(<[u8]>::is_empty) && !all {
            return;
        }
        let mut item = Item::new(flags);
        item.xname = xname.map(Into::into);
        self.put_item(ndx, &item, entry);
    }

    /// Writes an item, with what it asks of extended attributes.
    pub(crate) fn put_item(&mut self, ndx: u32, item: &Item, entry: &Entry) {
        self.wire.put_ndx(NdxValue::Item(ndx));
        self.wire.link.output.append(|out| item.put(out));
        if self.has_xattr_list(item) {
            self.put_xattr_requests(entry);
        }
    }

    /// Tells the sender that an entry is finished, where it waits for that.
    pub(crate) fn acknowledge(&mut self, ndx: u32) {
        if self.options.delete.remove_source != RemoveSource::Nothing && !self.is_dry() {
            self.wire.link.output.number(Tag::Success, ndx as i32);
        }
    }

    /// Likewise for an entry that needed no content; the old `--remove-sent-files` does not mean it.
    pub(crate) fn acknowledge_equal(&mut self, ndx: u32) {
        if self.options.delete.remove_source == RemoveSource::Same {
            self.acknowledge(ndx);
        }
    }

    /// Says something, here and to a client at the other end.
    pub(crate) fn say(&mut self, level: Level, text: impl AsRef<[u8]>) {
        let (tag, bytes) = (tag_of(level), text.as_ref());
        if level == Level::ErrorXfer {
            self.ending.error_xfer = true;
        }
        if self.receive.server {
            const LIMIT: usize = driftless_proto::mux::TEXT_LIMIT - 2;
            let mut line = bytes.get(..LIMIT.min(bytes.len())).unwrap_or_default().to_vec();
            line.push(b'\n');
            self.wire.link.output.message(tag, &line);
        }
        self.report.message(&Message { level, origin: Origin::Here, text: bytes });
    }

    /// Says that an act failed, as rsync words it; the transfer is partial then. `act` may say itself
    /// that it `failed to` do something.
    pub(crate) fn failed(&mut self, role: Role, act: &str, name: &[u8], error: &std::io::Error) {
        let end = if act.contains("failed to ") { "" } else { " failed" };
        let what = [act.as_bytes(), b" ", &self.quoted_path(name), end.as_bytes()].concat();
        self.said_failure(role, &what, error);
    }

    /// Likewise, in these words before the reason.
    pub(crate) fn said_failure(&mut self, role: Role, what: &[u8], error: &std::io::Error) {
        let start = format!("rsync: [{}] ", role.name());
        let why = format!(": {}", reason(error));
        self.say(Level::ErrorXfer, [start.as_bytes(), what, why.as_bytes()].concat());
    }

    /// The whole path of a name in quotes, as a peer may see it.
    pub(crate) fn quoted_path(&self, name: &[u8]) -> Vec<u8> {
        let mut full = self.full_path(name);
        if name == b"." {
            full.extend_from_slice(b"/.");
        }
        quoted(self.receive.module.as_deref(), &full)
    }

    /// The whole path of a name for people.
    pub(crate) fn full_path(&self, name: &[u8]) -> Vec<u8> {
        let dir = self.destination.as_ref().map_or(&b""[..], |d| &d.shown);
        let mut full = dir.to_vec();
        if !name.is_empty() && name != b"." {
            if !full.ends_with(b"/") {
                full.push(b'/');
            }
            full.extend_from_slice(name);
        }
        full
    }

    /// How many entries were listed before one.
    fn count_before(&self, list: &List, at: usize) -> u64 {
        // With incremental recursion each list has a number for its directory.
        let directories = match self.lists_incremental() {
            true => self.lists.find(list.ndx(at)).map_or(0, |(number, _)| number as u64 + 1),
            false => 0,
        };
        (u64::from(list.first) + at as u64).saturating_sub(directories)
    }

    /// How far content is, at most ten times a second unless the file is done.
    pub(crate) fn show_progress(&mut self, list: &List, at: usize, offset: u64, finished: bool) {
        let Some(entry) = list.entries.get(at) else { return };
        if self.options.talk.info.progress == 0 {
            return;
        }
        if !finished && self.last_progress.elapsed().as_millis() < 100 {
            return;
        }
        self.last_progress = Instant::now();
        let overall = Overall {
            done_bytes: self.counts.done_bytes + if finished { 0 } else { offset },
            total_bytes: self.ending.statistics.total_size,
            transferred_count: self.ending.statistics.transferred_count,
            remaining_count: self.lists.entry_count.saturating_sub(self.count_before(list, at) + 1),
            listed_count: self.lists.entry_count,
            lists_complete: self.lists.complete,
        };
        let len = entry.size;
        self.report.progress(&report::Progress { entry, offset, len, finished, overall });
    }

    /// An entry with the owner that it has here.
    pub(crate) fn with_owner_here<'e>(&self, entry: &'e Entry) -> Cow<'e, Entry> {
        let uid = self.likeness.users.map(entry.uid);
        let gid = self.likeness.groups.map(entry.gid);
        match (uid, gid) == (entry.uid, entry.gid) {
            true => Cow::Borrowed(entry),
            false => Cow::Owned(Entry { uid, gid, ..entry.clone() }),
        }
    }

    /// The caller is told of an item that came back.
    pub(crate) fn show_item(&mut self, entry: &Entry, item: &Item) {
        if item.has(ItemFlags::IS_NEW) {
            self.counts.created.count(entry.mode);
        }
        self.report.item(&report::Item {
            entry: &self.with_owner_here(entry),
            flags: item.flags,
            xname: item.xname.as_deref(),
            direction: Direction::Received,
            source_dir: b"",
            gives_group: self.likeness.gid(entry).is_some(),
        });
    }
}

/// What the system says, with its number.
pub(crate) fn reason(error: &std::io::Error) -> String {
    match error.raw_os_error() {
        Some(code) => {
            let text = error.to_string();
            let text = text.split(" (os error").next().unwrap_or_default();
            format!("{text} ({code})")
        }
        None => error.to_string(),
    }
}

fn tag_of(level: Level) -> Tag {
    match level {
        Level::Motd | Level::Info => Tag::Info,
        Level::Warning => Tag::Warning,
        Level::Error => Tag::Error,
        Level::ErrorXfer => Tag::ErrorXfer,
    }
}
