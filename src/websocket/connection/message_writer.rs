use std::fmt;

use crate::emitter::Sealed;
use crate::protocol::Opcode;
use crate::websocket::error::ConnectionError;
use crate::websocket::state::handle::WebSocketConnection;

/// A writer of one message in pieces. Each piece is sent as a fragment (RFC 6455 §5.4). Use it for
/// a message that is too large for memory, or not complete yet.
/// [`begin_text`](WebSocketConnection::begin_text) and
/// [`begin_binary`](WebSocketConnection::begin_binary) return it.
///
/// Pings and pongs are sent between the pieces. Other messages of the connection wait for the
/// [end](MessageWriter::end) of this message, and count as unsent bytes.
///
/// If the writer is dropped after its first piece, without `end`, the connection fails with 1011.
/// So half a message never looks complete. Dropping a writer without any piece has no effect.
///
/// ```
/// # fn send_report(connection: react_websocket::WebSocketConnection, lines: impl Iterator<Item = String>) {
/// let mut report = connection.begin_text();
/// for line in lines {
///     report.write(line);
/// }
/// report.end();
/// # }
/// ```
#[must_use = "a message is complete when `end` is called"]
pub struct MessageWriter<T: Payload> {
    connection: WebSocketConnection,
    ticket: u64,
    /// A fragment has been written.
    begun: bool,
    ended: bool,
    payload: std::marker::PhantomData<fn(T)>,
}

/// The kind of message that a [`MessageWriter`] writes: [`TextPayload`] or [`BinaryPayload`].
/// This trait is sealed.
pub trait Payload {
    #[doc(hidden)]
    fn opcode(_: Sealed) -> Opcode;
}

/// Text messages.
#[derive(Debug)]
pub enum TextPayload {}

/// Binary messages.
#[derive(Debug)]
pub enum BinaryPayload {}

impl Payload for TextPayload {
    fn opcode(_: Sealed) -> Opcode {
        Opcode::Text
    }
}

impl Payload for BinaryPayload {
    fn opcode(_: Sealed) -> Opcode {
        Opcode::Binary
    }
}

impl MessageWriter<TextPayload> {
    /// Writes the next piece. Returns what [`WebSocketConnection::write`] returns.
    pub fn write(&mut self, text: impl AsRef<str>) -> bool {
        self.write_fragment(text.as_ref().as_bytes())
    }
}

impl MessageWriter<BinaryPayload> {
    /// Writes the next piece. Returns what [`WebSocketConnection::write`] returns.
    pub fn write(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        self.write_fragment(bytes.as_ref())
    }
}

impl<T: Payload> MessageWriter<T> {
    pub(crate) fn begin(connection: WebSocketConnection) -> MessageWriter<T> {
        let ticket = connection.begin_stream();
        MessageWriter { connection, ticket, begun: false, ended: false, payload: std::marker::PhantomData }
    }

    /// Ends the message, and sends the messages that waited for its end. Returns the same as
    /// [`WebSocketConnection::write`].
    pub fn end(mut self) -> bool {
        self.ended = true;
        self.connection.write_fragment(self.ticket, true, self.opcode(), &[])
    }

    fn write_fragment(&mut self, payload: &[u8]) -> bool {
        let opcode = self.opcode();
        self.begun = true;
        self.connection.write_fragment(self.ticket, false, opcode, payload)
    }

    fn opcode(&self) -> Opcode {
        if self.begun { Opcode::Continuation } else { T::opcode(Sealed) }
    }
}

impl<T: Payload> Drop for MessageWriter<T> {
    fn drop(&mut self) {
        if self.ended {
            return;
        }
        if self.begun && self.connection.is_writable() {
            self.connection.fail(ConnectionError::MessageAbandoned);
        } else {
            self.connection.forget_stream(self.ticket);
        }
    }
}

impl<T: Payload> fmt::Debug for MessageWriter<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MessageWriter").field("connection", &self.connection).field("begun", &self.begun).finish()
    }
}
