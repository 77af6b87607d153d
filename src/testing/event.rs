use std::fmt;

use bytes::Bytes;

use crate::websocket::{Message, Text};

/// An event that a [`TestConnection`](super::TestConnection) receives.
///
/// `Display` prints an event as in the message of a failed expectation: `text "hello"`, `close 1000
/// "bye"`. Long payloads are shortened.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// A text message.
    Text(Text),
    /// A binary message.
    Binary(Bytes),
    /// A ping. The client answers it with a pong by itself, see
    /// [`TestHandshake::auto_pong`](super::TestHandshake::auto_pong).
    Ping(Bytes),
    /// A pong: an answer to [`TestConnection::ping`](super::TestConnection::ping).
    Pong(Bytes),
    /// The connection has ended. It is the last event.
    Close {
        /// The code of the Close frame. 1005 if the frame has no code, and 1006 if the connection
        /// ended without a Close frame (RFC 6455 section 7.1.5).
        code: u16,
        /// The reason of the Close frame.
        reason: Text,
    },
}

/// Maximum number of characters that are shown of a text.
const TEXT_SHOWN: usize = 200;

/// Maximum number of bytes that are shown of a binary payload.
const BYTES_SHOWN: usize = 32;

impl Event {
    /// Returns whether this is a ping or a pong.
    pub fn is_control(&self) -> bool {
        matches!(self, Event::Ping(_) | Event::Pong(_))
    }
}

impl From<Message> for Event {
    fn from(message: Message) -> Event {
        match message {
            Message::Text(text) => Event::Text(text),
            Message::Binary(bytes) => Event::Binary(bytes),
        }
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Event::Text(text) => write!(f, "text {}", Shown(text)),
            Event::Binary(bytes) => write!(f, "binary {}", ShownBytes(bytes)),
            Event::Ping(bytes) => write!(f, "ping {}", ShownBytes(bytes)),
            Event::Pong(bytes) => write!(f, "pong {}", ShownBytes(bytes)),
            Event::Close { code, reason } => write!(f, "close {code} {}", Shown(reason)),
        }
    }
}

/// A text, quoted and shortened.
pub(super) struct Shown<'a>(pub(super) &'a str);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.char_indices().nth(TEXT_SHOWN) {
            None => write!(f, "{:?}", self.0),
            Some((end, _)) => write!(f, "{:?}… ({} bytes)", self.0.get(..end).unwrap_or_default(), self.0.len()),
        }
    }
}

/// Bytes, quoted as in a byte string and shortened.
pub(super) struct ShownBytes<'a>(pub(super) &'a [u8]);

impl fmt::Display for ShownBytes<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = self.0.get(..BYTES_SHOWN).unwrap_or(self.0);
        write!(f, "b\"{}\"", shown.escape_ascii())?;
        if shown.len() < self.0.len() { write!(f, "… ({} bytes)", self.0.len()) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_shown_in_one_line_and_shortened() {
        let shown = |event: Event| event.to_string();
        assert_eq!(shown(Event::Text("a \"b\"\n".into())), r#"text "a \"b\"\n""#);
        assert_eq!(shown(Event::Binary(Bytes::from_static(b"\x00a\xff"))), r#"binary b"\x00a\xff""#);
        assert_eq!(shown(Event::Ping(Bytes::new())), r#"ping b"""#);
        assert_eq!(shown(Event::Close { code: 1000, reason: "bye".into() }), r#"close 1000 "bye""#);
        let long = shown(Event::Text("ä".repeat(1000).into()));
        assert_eq!(long, format!("text \"{}\"… (2000 bytes)", "ä".repeat(200)));
        let long = shown(Event::Pong(Bytes::from(vec![b'x'; 33])));
        assert_eq!(long, format!("pong b\"{}\"… (33 bytes)", "x".repeat(32)));
    }
}
