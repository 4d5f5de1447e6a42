//! What a connection says before it is known which module it wants.
//!
//! ```text
//! [PROXY header] ─► greeting ─► [#early_input] ─► module, #list or nothing
//! ```
//! Pure: bytes go in, a [`Step`] comes out. One process holds many doors at once, or one.

use driftless_proto::Decode;
use driftless_proto::auth::Digest;
use driftless_proto::greeting::{ClientLine, Greeting, MAX_LINE_LEN, take_line};
use driftless_tree::path::printable;

use crate::proxy::{self, Header, Taken};

/// The protocol that we speak.
pub(crate) const PROTOCOL: i64 = 32;

/// What a client is, as far as it has said.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Caller {
    /// The version that both speak; it may be one that nobody does.
    pub(crate) protocol: i64,
    /// Digests that it knows; `None` when it did not say.
    pub(crate) digests: Option<Vec<Digest>>,
    /// For the module's early program.
    pub(crate) early_input: Vec<u8>,
}

/// What comes next.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// More bytes are needed.
    Wait,
    /// A proxy has said who calls; the greeting is to be sent.
    Proxied(Header),
    /// The client wants to know what modules there are.
    List,
    /// The client wants this module.
    Module(Vec<u8>),
    /// This is to be said before the connection is closed.
    Refuse(String),
    /// The connection is to be closed; nobody there speaks rsync.
    Close,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Proxy,
    Greeting,
    Request,
    EarlyInput(usize),
}

/// The front of a connection.
#[derive(Debug)]
pub(crate) struct Door {
    stage: Stage,
    /// Read and not yet understood.
    pub(crate) input: Vec<u8>,
    pub(crate) caller: Caller,
}

impl Door {
    pub(crate) fn new(behind_proxy: bool) -> Self {
        let stage = if behind_proxy { Stage::Proxy } else { Stage::Greeting };
        Self { stage, input: Vec::new(), caller: Caller::default() }
    }

    /// Whether a header of a proxy is to come first.
    pub(crate) fn awaits_proxy(&self) -> bool {
        self.stage == Stage::Proxy
    }

    /// Looks at the input.
    pub(crate) fn step(&mut self) -> Step {
        loop {
            match self.stage {
                Stage::Proxy => {
                    return match proxy::take(&self.input) {
                        Taken::Incomplete => Step::Wait,
                        Taken::Invalid => Step::Close,
                        Taken::Header(header, len) => {
                            self.input.drain(..len);
                            self.stage = Stage::Greeting;
                            Step::Proxied(header)
                        }
                    };
                }
                Stage::Greeting => {
                    let line = match self.line() {
                        Ok(line) => line,
                        Err(step) => return step,
                    };
                    match greeting(&line) {
                        Ok((protocol, digests)) => {
                            self.caller.protocol = protocol;
                            self.caller.digests = digests;
                        }
                        Err(text) => return Step::Refuse(text),
                    }
                    self.stage = Stage::Request;
                }
                Stage::Request => {
                    let line = match self.line() {
                        Ok(line) => line,
                        Err(step) => return step,
                    };
                    match ClientLine::parse(line) {
                        Err(_) => {
                            return Step::Refuse("@ERROR: invalid early_input length".to_owned());
                        }
                        Ok(ClientLine::EarlyInput(len)) => self.stage = Stage::EarlyInput(len),
                        Ok(ClientLine::List) => return Step::List,
                        Ok(ClientLine::Module(name)) => return Step::Module(name),
                        Ok(ClientLine::Unknown(line)) => {
                            let shown = printable(&line);
                            return Step::Refuse(format!("@ERROR: Unknown command '{shown}'"));
                        }
                    }
                }
                Stage::EarlyInput(len) => {
                    if self.input.len() < len {
                        return Step::Wait;
                    }
                    self.caller.early_input = self.input.drain(..len).collect();
                    self.stage = Stage::Request;
                }
            }
        }
    }

    fn line(&mut self) -> Result<Vec<u8>, Step> {
        let mut input = self.input.as_slice();
        match take_line(&mut input, MAX_LINE_LEN) {
            Ok(line) => {
                let used = self.input.len() - input.len();
                self.input.drain(..used);
                Ok(line)
            }
            Err(Decode::Incomplete) => Err(Step::Wait),
            Err(Decode::Invalid(_)) => Err(Step::Close),
        }
    }
}

/// What we say first.
pub(crate) fn our_greeting() -> Vec<u8> {
    let mut out = Vec::new();
    Greeting { protocol: 32, sub: 0, digests: Digest::PREFERENCE.to_vec() }.put(&mut out);
    out
}

/// The version to speak and the digests, of a client's greeting. Versions out of range are told
/// later, where clients expect it.
fn greeting(line: &[u8]) -> Result<(i64, Option<Vec<Digest>>), String> {
    let startup = || "@ERROR: protocol startup error".to_owned();
    let rest = line.strip_prefix(b"@RSYNCD: ").ok_or_else(startup)?;
    let mut words = rest.split(|b| *b == b' ').filter(|word| !word.is_empty());
    let version = words.next().ok_or_else(startup)?;
    let digits = version.iter().take_while(|b| b.is_ascii_digit()).count();
    let number = |text: &[u8]| std::str::from_utf8(text).ok()?.parse::<u32>().ok().map(i64::from);
    let theirs = number(&version[..digits]).ok_or_else(startup)?;
    let sub = version[digits..].strip_prefix(b".").and_then(number);
    let shown = printable(line);
    if theirs >= 30 && sub.is_none() {
        return Err(format!("@ERROR: your client omitted the subprotocol value: {shown}"));
    }
    let names: Vec<&[u8]> = words.collect();
    if theirs >= 32 && names.is_empty() {
        return Err(format!("@ERROR: your client omitted the digest name list: {shown}"));
    }
    let sub = sub.unwrap_or(0);
    let lower = theirs <= PROTOCOL && sub != 0;
    let digests = names.iter().copied().filter_map(Digest::of).collect();
    Ok((theirs.min(PROTOCOL) - i64::from(lower), (!names.is_empty()).then_some(digests)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(text: &[u8]) -> (Step, Door) {
        let mut door = Door::new(false);
        let mut step = Step::Wait;
        for byte in text {
            assert_eq!(step, Step::Wait, "it went on before the end");
            door.input.push(*byte);
            step = door.step();
        }
        (step, door)
    }

    #[test]
    fn a_client_names_itself_and_its_module() {
        let (step, door) = after(b"@RSYNCD: 31.0 md5\nmod\n");
        assert_eq!(step, Step::Module(b"mod".to_vec()));
        assert_eq!((door.caller.protocol, door.caller.digests), (31, Some(vec![Digest::Md5])));
        assert_eq!(after(b"@RSYNCD: 29\n\n").0, Step::List);
        assert_eq!(after(b"@RSYNCD: 32.0 sha1\n#list\n").0, Step::List);
        let (step, door) = after(b"@RSYNCD: 30.0\n#early_input=3\nab\nmod\n");
        assert_eq!(
            (step, door.caller.early_input),
            (Step::Module(b"mod".to_vec()), b"ab\n".to_vec())
        );
    }

    #[test]
    fn versions_out_of_range_are_told_later() {
        assert_eq!(after(b"@RSYNCD: 99.0 md5\n\n").1.caller.protocol, 32);
        assert_eq!(after(b"@RSYNCD: 19\n\n").1.caller.protocol, 19);
        assert_eq!(after(b"@RSYNCD: 31.5\n\n").1.caller.protocol, 30);
    }

    #[test]
    fn others_are_told_what_is_wrong() {
        for (said, answer) in [
            (&b"GET / HTTP/1.0\n"[..], "@ERROR: protocol startup error"),
            (b"@RSYNCD: x\n", "@ERROR: protocol startup error"),
            (b"@RSYNCD: 30\n", "@ERROR: your client omitted the subprotocol value: @RSYNCD: 30"),
            (b"@RSYNCD: 32.0\n", "@ERROR: your client omitted the digest name list: @RSYNCD: 32.0"),
            (b"@RSYNCD: 31.0\n#early_input=0\n", "@ERROR: invalid early_input length"),
            (b"@RSYNCD: 31.0\n#early_input=5121\n", "@ERROR: invalid early_input length"),
            (b"@RSYNCD: 31.0\n#x\n", "@ERROR: Unknown command '#x'"),
        ] {
            assert_eq!(after(said).0, Step::Refuse(answer.to_owned()), "{}", said.escape_ascii());
        }
        let mut door = Door::new(false);
        door.input = vec![b'x'; MAX_LINE_LEN + 1];
        assert_eq!(door.step(), Step::Close);
    }
}
