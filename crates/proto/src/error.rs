//! Why bytes could not be decoded.

/// The two ways in which there is no value yet.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Decode {
    /// The value is longer than what has arrived; nothing was consumed.
    #[error("more bytes are needed")]
    Incomplete,
    /// No further bytes can make this valid. The session is over.
    #[error(transparent)]
    Invalid(#[from] Violation),
}

/// A breach of the protocol by the peer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    /// A variable-length integer announces more bytes than any has.
    #[error("invalid first byte {0:#04x} of a variable-length integer")]
    Varint(u8),
    /// A number outside its range.
    #[error("{what} {value} is out of range")]
    Number {
        /// What the number is.
        what: &'static str,
        /// As sent.
        value: i64,
    },
    /// A length that exceeds the limit for its field.
    #[error("{what} of {len} bytes, at most {limit} are allowed")]
    TooLong {
        /// The field.
        what: &'static str,
        /// As sent, or as received so far.
        len: u64,
        /// The limit.
        limit: u64,
    },
    /// More elements than the limit.
    #[error("more than {limit} {what}")]
    TooMany {
        /// The elements.
        what: &'static str,
        /// The limit.
        limit: u64,
    },
    /// A frame with a tag that is unknown or does not belong on a network connection.
    #[error("unexpected message tag {0}")]
    Tag(i16),
    /// A message of a length that its kind does not have.
    #[error("message {tag:?} of {len} bytes")]
    MessageLen {
        /// Kind of the message.
        tag: crate::mux::Tag,
        /// Bytes of payload.
        len: usize,
    },
    /// A line of the daemon's text handshake that makes no sense there.
    #[error("{what}: '{line}'")]
    Line {
        /// What is wrong with it.
        what: &'static str,
        /// The line, made printable.
        line: String,
    },
    /// Neither end supports a name that the other offers.
    #[error("no common {what}, the peer offers '{offered}'")]
    NothingInCommon {
        /// Kind of the names.
        what: &'static str,
        /// The peer's list, made printable.
        offered: String,
    },
    /// A name in a file list that could leave the tree or is no name at all.
    #[error("unsafe name '{0}' in the file list")]
    Name(String),
    /// `.` as the name of something other than a directory.
    #[error("'{0}' in the file list is no directory")]
    DotIsNoDirectory(String),
    /// A file size below zero.
    #[error("negative size {0} in the file list")]
    Size(i64),
    /// Type bits of a mode that no file has.
    #[error("mode {0:#o} in the file list has no known type")]
    Mode(u32),
    /// A hard-link reference to something that is no earlier first member of a group.
    #[error("hard-link reference to number {0}, which begins no group")]
    HardLink(i64),
    /// Flags of a file-list entry that contradict the session.
    #[error("flags {0:#x} of a file-list entry contradict the session")]
    EntryFlags(u32),
    /// A malformed ACL.
    #[error("ACL: {what} {value} is out of range")]
    Acl {
        /// The field.
        what: &'static str,
        /// As sent.
        value: i64,
    },
    /// A malformed extended attribute.
    #[error("extended attribute: {what} {value} is out of range")]
    Xattr {
        /// The field.
        what: &'static str,
        /// As sent.
        value: i64,
    },
    /// Compressed data that does not decompress.
    #[error("the {0} stream is corrupt")]
    Compressed(&'static str),
}

impl Violation {
    /// The exit code that rsync has for this (protocol reference, "What a robust peer must reject").
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Number { .. }
            | Self::TooMany { .. }
            | Self::DotIsNoDirectory(_)
            | Self::Mode(_)
            | Self::HardLink(_)
            | Self::EntryFlags(_) => 2,
            Self::TooLong { .. } => 3,
            Self::Name(_) | Self::Size(_) | Self::NothingInCommon { .. } => 4,
            Self::Line { .. } => 5,
            Self::Xattr { .. } => 11,
            Self::Varint(_)
            | Self::Tag(_)
            | Self::MessageLen { .. }
            | Self::Acl { .. }
            | Self::Compressed(_) => 12,
        }
    }
}
