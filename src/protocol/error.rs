use super::{Opcode, close_code};

/// A rule of RFC 6455, or a limit, that the peer violated.
///
/// Every variant ends the connection with its [`close_code`](ProtocolError::close_code).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProtocolError {
    /// A reserved bit is set, but no extension was negotiated (§5.2). Or RSV1 is set in a control
    /// frame or a continuation, which permessage-deflate does not allow (RFC 7692 §6.1).
    #[error("reserved bits {bits:#05b} without an extension")]
    ReservedBits {
        /// The bits RSV1 to RSV3, with RSV1 as the highest.
        bits: u8,
    },
    /// The opcode is reserved: 3 to 7 or 11 to 15 (§5.2).
    #[error("reserved opcode {opcode}")]
    ReservedOpcode {
        /// The opcode.
        opcode: u8,
    },
    /// A frame of the client is not masked (§5.1).
    #[error("unmasked frame")]
    Unmasked,
    /// A frame of the server is masked (§5.1).
    #[error("masked frame")]
    Masked,
    /// A control frame is fragmented (§5.5).
    #[error("fragmented control frame")]
    FragmentedControl {
        /// The type of the control frame.
        opcode: Opcode,
    },
    /// A control frame has more than 125 bytes (§5.5).
    #[error("control frame over 125 bytes")]
    ControlTooLong {
        /// The type of the control frame.
        opcode: Opcode,
    },
    /// The length is not encoded in as few bytes as possible (§5.2).
    #[error("payload length {length} not in its shortest form")]
    LengthNotMinimal {
        /// The length that was announced.
        length: u64,
    },
    /// The most significant bit of a 64-bit length is set (§5.2).
    #[error("payload length with the top bit set")]
    LengthTopBit,
    /// A continuation frame has no message to continue (§5.4).
    #[error("continuation without a message")]
    UnexpectedContinuation,
    /// A new message begins inside an unfinished one (§5.4).
    #[error("new message inside a fragmented one")]
    ExpectedContinuation {
        /// The type of the frame.
        opcode: Opcode,
    },
    /// The payload of a compressed message is not DEFLATE, or ends early (RFC 7692 §7.2.2).
    #[error("compressed message is not DEFLATE")]
    InvalidDeflate,
    /// Text is not UTF-8, and further bytes cannot make it valid (§8.1).
    #[error("text is not UTF-8")]
    InvalidUtf8,
    /// The payload of a Close frame has only one byte, but a code has two (§5.5.1).
    #[error("close payload of one byte")]
    TruncatedCloseCode,
    /// The close code must not be sent (§7.4).
    #[error("invalid close code {code}")]
    InvalidCloseCode {
        /// The code.
        code: u16,
    },
    /// The reason of a Close frame is not UTF-8 (§5.5.1).
    #[error("close reason is not UTF-8")]
    InvalidCloseReason,
    /// The length of a frame exceeds [`Limits::max_frame_size`](super::Limits::max_frame_size).
    #[error("frame of {length} bytes, the limit is {limit}")]
    FrameTooLarge {
        /// The length that was announced.
        length: u64,
        /// The limit in bytes.
        limit: usize,
    },
    /// The length of a message exceeds
    /// [`Limits::max_message_size`](super::Limits::max_message_size).
    #[error("message of {length} bytes or more, the limit is {limit}")]
    MessageTooLarge {
        /// The length of the message up to and including the announced frame.
        length: u64,
        /// The limit in bytes.
        limit: usize,
    },
    /// A message has more frames than [`Limits::max_fragments`](super::Limits::max_fragments).
    #[error("message of more than {limit} fragments")]
    TooManyFragments {
        /// The limit.
        limit: u32,
    },
    /// Pings exceed the [`ControlRate`](crate::options::ControlRate).
    #[error("more than {burst} pings at once, or {per_second} per second after that")]
    TooManyPings {
        /// Maximum number of pings at once.
        burst: u32,
        /// Maximum number of pings per second after the burst.
        per_second: u32,
    },
}

impl ProtocolError {
    /// Returns the close code for this error (RFC 6455 §7.4.1): 1002, 1007, 1008 or 1009.
    pub const fn close_code(&self) -> u16 {
        match self {
            ProtocolError::InvalidUtf8 | ProtocolError::InvalidCloseReason | ProtocolError::InvalidDeflate => {
                close_code::INVALID_PAYLOAD
            }
            ProtocolError::TooManyFragments { .. } | ProtocolError::TooManyPings { .. } => close_code::POLICY,
            ProtocolError::FrameTooLarge { .. } | ProtocolError::MessageTooLarge { .. } => close_code::TOO_LARGE,
            _ => close_code::PROTOCOL,
        }
    }
}
