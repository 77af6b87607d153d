//! The events of a connection: their names, the arguments of their listeners, and the data of each
//! event.

use std::fmt;

use bytes::Bytes;

use crate::emitter::{Contained, EventNames, Events, Listener, ListenerError, did_you_mean};
use crate::websocket::error::ConnectionError;
use crate::websocket::message::{Message, Text};
use crate::websocket::state::handle::WebSocketConnection;

pub(crate) const NAMES: EventNames = EventNames {
    object: "a WebSocketConnection",
    names: &["text", "binary", "message", "ping", "pong", "drain", "end", "error", "close"],
    aliases: &[],
    hints: &[
        (&["data", "msg"], "did you mean \"message\"?"),
        (&["disconnect", "finish"], "did you mean \"close\"?"),
        (&["open", "connect", "connection"], "a connection is open when its `WebSocketMiddleware` emits \"connection\""),
        (&["join", "leave"], "listen to it on the `ConnectionGroup`"),
    ],
};
pub(crate) const TEXT: u8 = 0;
pub(crate) const BINARY: u8 = 1;
pub(crate) const MESSAGE: u8 = 2;
pub(crate) const PING: u8 = 3;
pub(crate) const PONG: u8 = 4;
pub(crate) const DRAIN: u8 = 5;
pub(crate) const END: u8 = 6;
pub(crate) const ERROR: u8 = 7;
pub(crate) const CLOSE: u8 = 8;

/// The events of a connection, as the emitter needs them.
pub(crate) enum ConnectionEvents {}

impl Events for ConnectionEvents {
    type Subject = WebSocketConnection;
    type Args<'a> = Args<'a>;
    const FOLLOWER: Option<u8> = Some(MESSAGE);
}

/// The arguments of an event's listeners. They borrow from the receive buffer.
#[derive(Clone, Copy)]
pub(crate) enum Args<'a> {
    Nothing,
    Text(&'a str),
    Bytes(&'a [u8]),
    Failed(&'a ConnectionError),
    Closed(u16, &'a str),
}

impl Args<'_> {
    /// Returns the message, for listeners that take either kind.
    pub(crate) fn to_message(self) -> Message {
        match self {
            Args::Text(text) => Message::Text(Text::pooled(text)),
            Args::Bytes(bytes) => Message::Binary(Message::pooled(bytes)),
            _ => Message::Binary(Bytes::new()),
        }
    }
}

/// Owned arguments, for listeners that are called later.
#[derive(Default)]
pub(crate) enum OwnedArgs {
    #[default]
    Nothing,
    Text(Text),
    Bytes(Bytes),
    Failed(Box<ConnectionError>),
    Closed(u16, Box<str>),
}

impl OwnedArgs {
    pub(crate) fn new(args: Args<'_>) -> OwnedArgs {
        match args {
            Args::Nothing => OwnedArgs::Nothing,
            Args::Text(text) => OwnedArgs::Text(Text::pooled(text)),
            Args::Bytes(bytes) => OwnedArgs::Bytes(Message::pooled(bytes)),
            Args::Failed(error) => OwnedArgs::Failed(Box::new(error.clone())),
            Args::Closed(code, reason) => OwnedArgs::Closed(code, reason.into()),
        }
    }

    pub(crate) fn as_args(&self) -> Args<'_> {
        match self {
            OwnedArgs::Nothing => Args::Nothing,
            OwnedArgs::Text(text) => Args::Text(text),
            OwnedArgs::Bytes(bytes) => Args::Bytes(bytes),
            OwnedArgs::Failed(error) => Args::Failed(error),
            OwnedArgs::Closed(code, reason) => Args::Closed(*code, reason),
        }
    }
}

/// The arguments that a closure takes, besides the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    Nothing,
    Text,
    Bytes,
    Message,
    /// A reason and optionally a code, or the error itself.
    Failure,
    /// A code and optionally a reason.
    Close,
}

impl Shape {
    fn describe(self) -> &'static str {
        match self {
            Shape::Nothing => "()",
            Shape::Text => "(&str)",
            Shape::Bytes => "(&[u8])",
            Shape::Message => "(Message)",
            Shape::Failure => "(Option<&str>, Option<u16>) or (&ConnectionError)",
            Shape::Close => "(u16, &str)",
        }
    }

    /// Returns the event that a closure of this shape is probably meant for, where it does not fit
    /// the given one. `|reason: &str|` for `close` is still meant for `close`.
    fn meant_instead_of(self, expected: Shape) -> Option<&'static str> {
        use Shape::{Bytes, Close, Failure, Message, Nothing, Text};
        match (self, expected) {
            (Text, Bytes | Message) => Some("text"),
            (Bytes, Text | Message) => Some("binary"),
            (Message, Text | Bytes) => Some("message"),
            (Failure, Close) => Some("error"),
            (Close, Failure) => Some("close"),
            (Nothing | Text | Bytes | Message | Failure | Close, _) => None,
        }
    }
}

const fn shape_of(event: u8) -> Shape {
    match event {
        TEXT => Shape::Text,
        BINARY | PING | PONG => Shape::Bytes,
        MESSAGE => Shape::Message,
        ERROR => Shape::Failure,
        CLOSE => Shape::Close,
        _ => Shape::Nothing,
    }
}

/// A closure made into a listener. Its event must still be checked.
pub struct ConnectionListener {
    pub(crate) shape: Shape,
    pub(crate) listener: Contained<Box<dyn Listener<ConnectionEvents>>>,
}

impl fmt::Debug for ConnectionListener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnectionListener").finish_non_exhaustive()
    }
}

impl ConnectionListener {
    /// Returns the listener if it fits the event.
    pub(crate) fn fit(self, event: u8) -> Result<Box<dyn Listener<ConnectionEvents>>, ListenerError> {
        let expected = shape_of(event);
        if self.shape == Shape::Nothing || self.shape == expected {
            return Ok(self.listener.into_inner());
        }
        Err(ListenerError::WrongSignature {
            event: NAMES.name(event),
            expected: expected.describe(),
            found: self.shape.describe(),
            hint: self.shape.meant_instead_of(expected).map(did_you_mean),
        })
    }
}
