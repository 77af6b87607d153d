use std::borrow::Cow;

/// An event of a [`Connection`](super::Connection). A message that is complete in one read borrows
/// from the receive buffer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// A complete text message.
    Text(Cow<'a, str>),
    /// A complete binary message.
    Binary(Cow<'a, [u8]>),
    /// A ping. Answer it with a pong with the same payload (RFC 6455 §5.5.2).
    Ping(Cow<'a, [u8]>),
    /// A pong, which answers a ping or is unsolicited (RFC 6455 §5.5.3).
    Pong(Cow<'a, [u8]>),
    /// The peer's Close frame: its code and reason, or `None` if its payload is empty. No event
    /// follows this event.
    Close(Option<(u16, String)>),
}

impl Event<'_> {
    /// Returns the event as owned data. Borrowed data is copied.
    pub fn into_owned(self) -> Event<'static> {
        match self {
            Event::Text(text) => Event::Text(text.into_owned().into()),
            Event::Binary(binary) => Event::Binary(binary.into_owned().into()),
            Event::Ping(payload) => Event::Ping(payload.into_owned().into()),
            Event::Pong(payload) => Event::Pong(payload.into_owned().into()),
            Event::Close(close) => Event::Close(close),
        }
    }
}
