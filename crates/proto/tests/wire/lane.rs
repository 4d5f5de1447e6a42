//! One direction of a captured session, whose every value is decoded and encoded again.

use driftless_proto::Decode;
use driftless_proto::mux::{self, Demux, Message};
use driftless_proto::ndx::{NdxReader, NdxValue, NdxWriter};

/// What has not been decoded yet of one direction.
pub struct Lane {
    name: &'static str,
    rest: Vec<u8>,
    at: usize,
    pub messages: Vec<Message>,
    ndx: Option<(NdxReader, NdxWriter)>,
}

impl Lane {
    pub fn new(name: &'static str, raw: Vec<u8>) -> Self {
        Self { name, rest: raw, at: 0, messages: Vec::new(), ndx: None }
    }

    pub fn start_items(&mut self, protocol: u8) {
        self.ndx = Some((NdxReader::new(protocol), NdxWriter::new(protocol)));
    }

    pub fn is_empty(&self) -> bool {
        self.at == self.rest.len()
    }

    /// Decodes one value, encodes it again and compares the bytes.
    #[track_caller]
    pub fn value<T>(
        &mut self,
        take: impl FnOnce(&mut &[u8]) -> Result<T, Decode>,
        put: impl FnOnce(&T, &mut Vec<u8>),
    ) -> T {
        let before = &self.rest[self.at..];
        let mut input = before;
        let start: Vec<u8> = before.iter().take(16).copied().collect();
        let value = take(&mut input)
            .unwrap_or_else(|error| panic!("{} at {}: {error}: {start:02x?}", self.name, self.at));
        let used = &before[..before.len() - input.len()];
        let mut again = Vec::new();
        put(&value, &mut again);
        assert_eq!(again, used, "{} at {}", self.name, self.at);
        self.at += used.len();
        value
    }

    /// Decodes one value without encoding it.
    #[track_caller]
    pub fn take<T>(&mut self, take: impl FnOnce(&mut &[u8]) -> Result<T, Decode>) -> T {
        let mut input = &self.rest[self.at..];
        let value =
            take(&mut input).unwrap_or_else(|e| panic!("{} at {}: {e}", self.name, self.at));
        self.at = self.rest.len() - input.len();
        value
    }

    /// As [`Lane::take`], with the bytes that the value had.
    #[track_caller]
    pub fn with_bytes<T>(&mut self, take: impl FnOnce(&mut Self) -> T) -> (T, Vec<u8>) {
        let start = self.at;
        let value = take(self);
        (value, self.rest[start..self.at].to_vec())
    }

    #[track_caller]
    pub fn ndx(&mut self) -> NdxValue {
        let (mut reader, mut writer) = self.ndx.take().expect("items have begun");
        let value = self.value(|input| reader.take(input), |value, out| writer.put(out, *value));
        self.ndx = Some((reader, writer));
        value
    }

    /// From here on the bytes are frames: compares them frame by frame, then goes on with the data
    /// inside them.
    #[track_caller]
    pub fn start_frames(&mut self) {
        let raw = self.rest.split_off(self.at);
        let mut frames = raw.as_slice();
        let mut again = Vec::new();
        while !frames.is_empty() {
            let header = mux::take_header(&mut frames).expect("a frame's header");
            let (payload, rest) = frames.split_at(header.len);
            mux::put_frame(&mut again, header.tag, payload);
            frames = rest;
        }
        assert_eq!(again, raw, "{}: frames", self.name);

        let (mut data, mut messages) = (Vec::new(), Vec::new());
        let mut demux = Demux::new();
        for piece in raw.chunks(1000) {
            let mut piece = piece;
            while let Some(message) = demux.feed(&mut piece, &mut data).expect("frames") {
                messages.push(message);
            }
        }
        assert!(demux.between_frames());
        (self.rest, self.at, self.messages) = (data, 0, messages);
    }
}
