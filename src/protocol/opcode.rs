/// The type of a frame (RFC 6455 §5.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Opcode {
    /// The next fragment of the current message.
    Continuation = 0x0,
    /// A text message, or its first fragment.
    Text = 0x1,
    /// A binary message, or its first fragment.
    Binary = 0x2,
    /// A frame of the closing handshake.
    Close = 0x8,
    /// A ping, which a [`Pong`](Opcode::Pong) answers.
    Ping = 0x9,
    /// The answer to a [`Ping`](Opcode::Ping), or an unsolicited pong (RFC 6455 section 5.5.3).
    Pong = 0xA,
}

impl Opcode {
    /// Returns whether this is a control frame: Close, Ping or Pong. A control frame is never
    /// fragmented, has at most 125 bytes, and may be between the fragments of a message (§5.5).
    #[inline]
    pub const fn is_control(self) -> bool {
        self as u8 & 0x8 != 0
    }
}
