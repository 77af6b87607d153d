/// What a frame is for (RFC 6455 §5.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Opcode {
    /// The next fragment of the message that is under way.
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
    /// Close, Ping and Pong: never fragmented, at most 125 bytes, allowed between the fragments of a message (§5.5).
    #[inline]
    pub const fn is_control(self) -> bool {
        self as u8 & 0x8 != 0
    }
}
