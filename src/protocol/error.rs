use super::{Opcode, close_code};

/// A rule of RFC 6455, or a limit of ours, that the peer broke.
///
/// Every variant ends the connection; [`close_code`](ProtocolError::close_code) is the code that tells the peer why.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProtocolError {
    /// A reserved bit is set and no extension was agreed (§5.2).
    #[error("reserved bits {bits:#05b} without an extension")]
    ReservedBits {
        /// RSV1 to RSV3, RSV1 being the highest.
        bits: u8,
    },
    /// Opcodes 3 to 7 and 11 to 15 mean nothing yet (§5.2).
    #[error("reserved opcode {opcode}")]
    ReservedOpcode {
        /// The four bits as they came.
        opcode: u8,
    },
    /// Frames from a client are masked (§5.1).
    #[error("unmasked frame")]
    Unmasked,
    /// A control frame is never fragmented (§5.5).
    #[error("fragmented control frame")]
    FragmentedControl {
        /// Which control frame.
        opcode: Opcode,
    },
    /// A control frame carries at most 125 bytes (§5.5).
    #[error("control frame over 125 bytes")]
    ControlTooLong {
        /// Which control frame.
        opcode: Opcode,
    },
    /// A length has to be written in as few bytes as possible (§5.2).
    #[error("payload length {length} not in its shortest form")]
    LengthNotMinimal {
        /// The length that was announced.
        length: u64,
    },
    /// The most significant bit of a 64-bit length is zero (§5.2).
    #[error("payload length with the top bit set")]
    LengthTopBit,
    /// A continuation frame with no message under way (§5.4).
    #[error("continuation without a message")]
    UnexpectedContinuation,
    /// A new message inside an unfinished one (§5.4).
    #[error("new message inside a fragmented one")]
    ExpectedContinuation {
        /// What came instead.
        opcode: Opcode,
    },
    /// Text that is not, or can no longer become, UTF-8 (§8.1).
    #[error("text is not UTF-8")]
    InvalidUtf8,
    /// A Close payload of one byte is half a code (§5.5.1).
    #[error("close payload of one byte")]
    TruncatedCloseCode,
    /// A close code that must not be sent (§7.4).
    #[error("invalid close code {code}")]
    InvalidCloseCode {
        /// The code as it came.
        code: u16,
    },
    /// A close reason is text (§5.5.1).
    #[error("close reason is not UTF-8")]
    InvalidCloseReason,
    /// One frame announced more than [`Limits::max_frame_size`](super::Limits::max_frame_size).
    #[error("frame of {length} bytes, the limit is {limit}")]
    FrameTooLarge {
        /// The length that was announced.
        length: u64,
        /// The limit in bytes.
        limit: usize,
    },
    /// The frames of one message add up to more than [`Limits::max_message_size`](super::Limits::max_message_size).
    #[error("message of {length} bytes or more, the limit is {limit}")]
    MessageTooLarge {
        /// What the message would have with the frame just announced.
        length: u64,
        /// The limit in bytes.
        limit: usize,
    },
    /// One message came in more pieces than [`Limits::max_fragments`](super::Limits::max_fragments).
    #[error("message of more than {limit} fragments")]
    TooManyFragments {
        /// The limit.
        limit: u32,
    },
    /// Pings exceed the [`ControlRate`](crate::ControlRate).
    #[error("more than {burst} pings at once, or {per_second} per second after that")]
    TooManyPings {
        /// Pings that may come at once.
        burst: u32,
        /// Pings per second after that.
        per_second: u32,
    },
}

impl ProtocolError {
    /// The close code that answers this error (RFC 6455 §7.4.1): 1002, 1007, 1008 or 1009.
    pub const fn close_code(&self) -> u16 {
        match self {
            ProtocolError::InvalidUtf8 | ProtocolError::InvalidCloseReason => close_code::INVALID_PAYLOAD,
            ProtocolError::TooManyFragments { .. } | ProtocolError::TooManyPings { .. } => close_code::POLICY,
            ProtocolError::FrameTooLarge { .. } | ProtocolError::MessageTooLarge { .. } => close_code::TOO_LARGE,
            _ => close_code::PROTOCOL,
        }
    }
}
