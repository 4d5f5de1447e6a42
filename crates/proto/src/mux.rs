//! Frames: protocol data and messages share each direction of a connection.
//!
//! Protocol reference, section "Multiplexing". Frame boundaries of data carry no meaning; messages
//! keep their order among themselves but may overtake data that their sender still holds back.

use crate::{Decode, Violation};

/// Bytes of a frame's header.
pub const HEADER_LEN: usize = 4;
/// The longest payload that a header can announce.
pub const MAX_FRAME_LEN: usize = 0xff_ffff;
/// Messages with text are shorter than this.
pub const TEXT_LIMIT: usize = 5120;
/// Where [`Mux`] cuts data; rsync stays below 64 KiB as well.
pub const DATA_FRAME_LEN: usize = 60 * 1024;

const TAG_BASE: u8 = 7;

/// What a frame carries. Tags of rsync's internal pipe are absent: on a connection they are an
/// error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Tag {
    /// Protocol data; empty as a keep-alive.
    Data = 0,
    /// Text of an error that makes the transfer partial (exit code 23).
    ErrorXfer = 1,
    /// Text for standard output.
    Info = 2,
    /// Text of an error.
    Error = 3,
    /// Text of a warning.
    Warning = 4,
    /// Bits to add to the sender's I/O error state.
    IoError = 22,
    /// The daemon's timeout in seconds.
    IoTimeout = 33,
    /// Protocol 30's keep-alive.
    Noop = 42,
    /// The peer ends with this exit code; empty as the answer to one.
    ErrorExit = 86,
    /// The item of this number is finished at the receiving side.
    Success = 100,
    /// Name of something deleted; a directory's ends in NUL.
    Deleted = 101,
    /// The item of this number cannot be sent.
    NoSend = 102,
}

impl Tag {
    fn from_wire(byte: u8) -> Result<Self, Violation> {
        let tag = i16::from(byte) - i16::from(TAG_BASE);
        Ok(match tag {
            0 => Self::Data,
            1 => Self::ErrorXfer,
            2 => Self::Info,
            3 => Self::Error,
            4 => Self::Warning,
            22 => Self::IoError,
            33 => Self::IoTimeout,
            42 => Self::Noop,
            86 => Self::ErrorExit,
            100 => Self::Success,
            101 => Self::Deleted,
            102 => Self::NoSend,
            _ => return Err(Violation::Tag(tag)),
        })
    }

    fn allows(self, len: usize) -> bool {
        match self {
            Self::Data => true,
            Self::ErrorXfer | Self::Info | Self::Error | Self::Warning | Self::Deleted => {
                len < TEXT_LIMIT
            }
            Self::IoError | Self::IoTimeout | Self::Success | Self::NoSend => len == 4,
            Self::ErrorExit => len == 0 || len == 4,
            Self::Noop => len == 0,
        }
    }
}

/// The first four bytes of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// What follows.
    pub tag: Tag,
    /// Bytes that follow.
    pub len: usize,
}

impl Header {
    fn to_wire(self) -> [u8; HEADER_LEN] {
        let [a, b, c, _] = (self.len as u32).to_le_bytes();
        [a, b, c, TAG_BASE + self.tag as u8]
    }

    fn from_wire([a, b, c, tag]: [u8; HEADER_LEN]) -> Result<Self, Violation> {
        let tag = Tag::from_wire(tag)?;
        let len = u32::from_le_bytes([a, b, c, 0]) as usize;
        if tag.allows(len) {
            Ok(Self { tag, len })
        } else {
            Err(Violation::MessageLen { tag, len })
        }
    }
}

/// The frame with which a peer takes note of a [`Tag::ErrorExit`]; it sends nothing behind it.
pub const LAST_FRAME: [u8; HEADER_LEN] = [0, 0, 0, TAG_BASE + Tag::ErrorExit as u8];

/// Takes the header of a frame.
///
/// # Errors
/// [`Decode::Incomplete`], an unknown tag, or a length that the tag forbids.
pub fn take_header(input: &mut &[u8]) -> Result<Header, Decode> {
    let (raw, rest) = input.split_first_chunk().ok_or(Decode::Incomplete)?;
    let header = Header::from_wire(*raw)?;
    *input = rest;
    Ok(header)
}

/// Writes a frame.
///
/// # Panics
/// When the payload exceeds [`MAX_FRAME_LEN`].
pub fn put_frame(out: &mut Vec<u8>, tag: Tag, payload: &[u8]) {
    assert!(payload.len() <= MAX_FRAME_LEN, "a frame's length has 24 bits");
    out.extend_from_slice(&Header { tag, len: payload.len() }.to_wire());
    out.extend_from_slice(payload);
}

/// A frame other than data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Its kind.
    pub tag: Tag,
    /// Its text or number.
    pub payload: Vec<u8>,
}

impl Message {
    /// The payload as a number, when it is one.
    pub fn number(&self) -> Option<i32> {
        self.payload.as_slice().try_into().ok().map(i32::from_le_bytes)
    }
}

/// Separates what arrives into data and messages. Data is handed on as it comes, however long the
/// frame around it is; a message is complete.
#[derive(Debug, Default)]
pub struct Demux {
    /// Payload still to come of the current data frame.
    data_left: usize,
    /// Header, then payload, of a message that has not arrived completely.
    partial: Vec<u8>,
}

impl Demux {
    /// At the boundary of a frame.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes from `input` up to and with the next message; data on the way is appended to `data`.
    /// `None`: all input is used up.
    ///
    /// # Errors
    /// An unknown tag or a length that the tag forbids; the stream cannot be read any further.
    pub fn feed(
        &mut self,
        input: &mut &[u8],
        data: &mut Vec<u8>,
    ) -> Result<Option<Message>, Violation> {
        loop {
            if self.data_left > 0 {
                let taken = split_off(input, self.data_left);
                data.extend_from_slice(taken);
                self.data_left -= taken.len();
            }
            if input.is_empty() {
                return Ok(None);
            }
            let missing = HEADER_LEN.saturating_sub(self.partial.len());
            self.partial.extend_from_slice(split_off(input, missing));
            let Some((raw, payload)) = self.partial.split_first_chunk() else {
                return Ok(None);
            };
            let header = Header::from_wire(*raw)?;
            if header.tag == Tag::Data {
                self.data_left = header.len;
                self.partial.clear();
                continue;
            }
            let missing = header.len.saturating_sub(payload.len());
            self.partial.extend_from_slice(split_off(input, missing));
            if self.partial.len() < HEADER_LEN + header.len {
                return Ok(None);
            }
            let payload = self.partial.split_off(HEADER_LEN);
            self.partial.clear();
            return Ok(Some(Message { tag: header.tag, payload }));
        }
    }

    /// Whether the last byte fed was the last of a frame: only here may the connection end.
    pub fn between_frames(&self) -> bool {
        self.data_left == 0 && self.partial.is_empty()
    }
}

fn split_off<'a>(input: &mut &'a [u8], len: usize) -> &'a [u8] {
    let (taken, rest) = input.split_at(len.min(input.len()));
    *input = rest;
    taken
}

/// What is to be written to the connection: unframed bytes at first, then frames.
///
/// Data collects in an open frame at the end until [`Mux::flush`] or something else closes it.
#[derive(Debug, Default)]
pub struct Mux {
    /// Protocol data travels without frames, and messages are not sent.
    bare: bool,
    /// A copy of the protocol data, for who records it.
    copy: Option<Vec<u8>>,
    /// Protocol data goes into the copy only.
    diverted: bool,
    out: Vec<u8>,
    /// Bytes of `out` that were written already.
    sent: usize,
    /// Where the header of the open frame stands in `out`.
    open: Option<usize>,
}

impl Mux {
    /// Nothing to write.
    pub fn new() -> Self {
        Self::default()
    }

    /// An output whose protocol data has no frames around it, which knows no messages: a client's
    /// before protocol 30.
    pub fn bare() -> Self {
        Self { bare: true, ..Self::default() }
    }

    /// Keeps a copy of all protocol data from now on, to be fetched with [`Mux::take_copy`].
    pub fn keep_copy(&mut self) {
        self.copy.get_or_insert_default();
    }

    /// Whether a copy is kept.
    pub fn is_copied(&self) -> bool {
        self.copy.is_some()
    }

    /// What was copied since the last call.
    pub fn take_copy(&mut self) -> Option<Vec<u8>> {
        self.copy.as_mut().filter(|copy| !copy.is_empty()).map(std::mem::take)
    }

    /// From now on protocol data goes into the copy only, or, with `false`, to the peer again.
    ///
    /// # Panics
    /// When no copy is kept.
    pub fn divert(&mut self, diverted: bool) {
        assert!(self.copy.is_some(), "data is diverted into a copy");
        self.diverted = diverted;
    }

    /// Whether there are no frames, and so no messages.
    pub fn is_bare(&self) -> bool {
        self.bare
    }

    /// Adds bytes outside any frame, as before multiplexing starts.
    pub fn unframed(&mut self, bytes: &[u8]) {
        self.flush();
        self.out.extend_from_slice(bytes);
    }

    /// Adds protocol data.
    pub fn data(&mut self, bytes: &[u8]) {
        self.append(|out| out.extend_from_slice(bytes));
    }

    /// Adds the protocol data that `write` appends to the vector it gets; it must do nothing else
    /// to it.
    pub fn append<R>(&mut self, write: impl FnOnce(&mut Vec<u8>) -> R) -> R {
        if self.diverted
            && let Some(copy) = &mut self.copy
        {
            return write(copy);
        }
        let frame = if self.bare { None } else { Some(self.open_frame()) };
        let from = self.out.len();
        let result = write(&mut self.out);
        if let Some(copy) = &mut self.copy {
            copy.extend_from_slice(self.out.get(from..).unwrap_or_default());
        }
        if let Some(start) = frame
            && self.out.len() - start - HEADER_LEN >= DATA_FRAME_LEN
        {
            self.cut(start);
        }
        result
    }

    /// Adds a message, after the data added so far.
    ///
    /// # Panics
    /// When the tag forbids the payload's length.
    pub fn message(&mut self, tag: Tag, payload: &[u8]) {
        assert!(tag.allows(payload.len()), "{tag:?} cannot have {} bytes", payload.len());
        if self.bare {
            return;
        }
        self.flush();
        put_frame(&mut self.out, tag, payload);
    }

    /// Adds a message with a number.
    pub fn number(&mut self, tag: Tag, value: i32) {
        self.message(tag, &value.to_le_bytes());
    }

    /// Adds an empty data frame.
    pub fn keep_alive(&mut self) {
        self.message(Tag::Data, &[]);
    }

    /// Closes the open frame: everything added is [`Mux::ready`].
    pub fn flush(&mut self) {
        if let Some(start) = self.open.take() {
            let len = self.out.len() - start - HEADER_LEN;
            if len == 0 {
                self.out.truncate(start);
            } else {
                self.put_header(start, len);
            }
        }
    }

    /// What can be written now: all closed frames.
    pub fn ready(&self) -> &[u8] {
        let end = self.open.unwrap_or(self.out.len());
        self.out.get(self.sent..end).unwrap_or_default()
    }

    /// Bytes that were added and not yet written, the open frame included.
    pub fn pending_len(&self) -> usize {
        self.out.len() - self.sent
    }

    /// The first `len` bytes of [`Mux::ready`] were written.
    ///
    /// # Panics
    /// When there were fewer.
    pub fn written(&mut self, len: usize) {
        assert!(len <= self.ready().len(), "more was written than there was");
        self.sent += len;
        if self.sent == self.out.len() {
            self.out.clear();
            self.sent = 0;
        } else if self.sent > self.out.len() / 2 {
            self.out.drain(..self.sent);
            self.open = self.open.map(|start| start - self.sent);
            self.sent = 0;
        }
    }

    fn open_frame(&mut self) -> usize {
        *self.open.get_or_insert_with(|| {
            self.out.extend_from_slice(&[0; HEADER_LEN]);
            self.out.len() - HEADER_LEN
        })
    }

    fn put_header(&mut self, start: usize, len: usize) {
        let header = Header { tag: Tag::Data, len }.to_wire();
        self.out[start..start + HEADER_LEN].copy_from_slice(&header);
    }

    /// Closes the frame at `start`, as several when it is too long: the pieces move apart, the last
    /// one first, to make room for their headers.
    fn cut(&mut self, start: usize) {
        self.open = None;
        let data = start + HEADER_LEN;
        let data_len = self.out.len() - data;
        let later = data_len.div_ceil(DATA_FRAME_LEN) - 1;
        self.out.resize(self.out.len() + later * HEADER_LEN, 0);
        for piece in (0..=later).rev() {
            let from = piece * DATA_FRAME_LEN;
            let len = DATA_FRAME_LEN.min(data_len - from);
            let to = data + from + piece * HEADER_LEN;
            self.out.copy_within(data + from..data + from + len, to);
            self.put_header(to - HEADER_LEN, len);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn demux(mut wire: &[u8]) -> (Vec<u8>, Vec<Message>) {
        let (mut demux, mut data, mut messages) = (Demux::new(), Vec::new(), Vec::new());
        while let Some(message) = demux.feed(&mut wire, &mut data).unwrap() {
            messages.push(message);
        }
        assert!(demux.between_frames());
        (data, messages)
    }

    #[test]
    fn a_message_stands_between_the_data_around_it() {
        let mut mux = Mux::new();
        mux.data(b"abc");
        mux.data(b"def");
        mux.number(Tag::NoSend, 11);
        mux.append(|out| out.push(b'g'));
        assert_eq!(mux.ready(), b"\x06\0\0\x07abcdef\x04\0\0\x6d\x0b\0\0\0");
        mux.flush();
        assert_eq!(mux.ready()[18..], *b"\x01\0\0\x07g");
        let (data, messages) = demux(mux.ready());
        assert_eq!(data, b"abcdefg");
        assert_eq!(messages, [Message { tag: Tag::NoSend, payload: vec![11, 0, 0, 0] }]);
        assert_eq!(messages[0].number(), Some(11));
    }

    #[test]
    fn long_data_is_cut_into_frames() {
        let long: Vec<u8> = (0..DATA_FRAME_LEN * 3 + 17).map(|i| (i / 7) as u8).collect();
        let mut mux = Mux::new();
        mux.data(b"x");
        mux.data(&long);
        mux.data(b"y");
        mux.flush();
        let mut wire = mux.ready();
        let mut frames = Vec::new();
        while !wire.is_empty() {
            let header = take_header(&mut wire).unwrap();
            frames.push(header.len);
            wire = &wire[header.len..];
        }
        assert_eq!(frames, [DATA_FRAME_LEN, DATA_FRAME_LEN, DATA_FRAME_LEN, 18, 1]);
        let (data, _) = demux(mux.ready());
        assert_eq!(data, [b"x", &long[..], b"y"].concat());
    }

    #[test]
    fn what_was_written_is_forgotten_and_the_open_frame_survives() {
        let mut mux = Mux::new();
        mux.unframed(b"hello\n");
        mux.data(b"abc");
        assert_eq!(mux.ready(), b"hello\n");
        mux.written(2);
        assert_eq!(mux.ready(), b"llo\n");
        mux.written(4);
        assert_eq!(mux.ready(), b"");
        mux.data(b"d");
        mux.flush();
        assert_eq!(mux.ready(), b"\x04\0\0\x07abcd");
        mux.written(8);
        assert_eq!(mux.pending_len(), 0);
        mux.keep_alive();
        assert_eq!(mux.ready(), b"\0\0\0\x07");
    }

    #[test]
    fn data_of_an_unfinished_frame_is_handed_on() {
        let (mut demux, mut data) = (Demux::new(), Vec::new());
        demux.feed(&mut &b"\xff\xff\xff\x07abc"[..], &mut data).unwrap();
        assert_eq!(data, b"abc");
        assert!(!demux.between_frames());
    }

    #[test]
    fn tags_of_the_internal_pipe_and_unknown_ones_are_refused() {
        for tag in [5, 6, 7, 8, 9, 10, 11, 99, 248] {
            let wire = [0, 0, 0, tag + 7];
            assert_eq!(take_header(&mut &wire[..]), Err(Violation::Tag(tag.into()).into()));
        }
        assert_eq!(take_header(&mut &[0, 0, 0, 3][..]), Err(Violation::Tag(-4).into()));
    }

    #[test]
    fn messages_have_the_lengths_of_their_kind() {
        for (len, tag, fits) in [
            (5119, Tag::Info, true),
            (5120, Tag::Info, false),
            (3, Tag::NoSend, false),
            (0, Tag::ErrorExit, true),
            (4, Tag::ErrorExit, true),
            (5, Tag::ErrorExit, false),
        ] {
            let header = Header { tag, len };
            assert_eq!(take_header(&mut &header.to_wire()[..]).is_ok(), fits, "{header:?}");
        }
    }
}
