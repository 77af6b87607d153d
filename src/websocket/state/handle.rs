use std::fmt;
use std::hash::{Hash, Hasher};
use std::num::NonZeroU64;

#[cfg(doc)]
use crate::websocket::connection::into_listener::IntoListener;
#[cfg(doc)]
use crate::websocket::error::ConnectionError;
#[cfg(doc)]
use crate::websocket::message::Message;

/// A handle of one WebSocket connection. It is `Copy`, has 16 bytes, and works on any thread.
///
/// A handle owns nothing. The connection belongs to its task, as it belongs to the event loop in
/// ReactPHP. So a closure that captures a handle keeps nothing alive and leaks nothing. If the
/// connection has ended, the methods of its handles return `false` or `None`. A handle never refers
/// to a later connection. Handles of one connection are equal, so sets and maps of handles work
/// like `SplObjectStorage`.
///
/// # Events
///
/// | Event | Listeners take | Fires |
/// |---|---|---|
/// | `text` | `&str` | once for each complete text message |
/// | `binary` | `&[u8]` | once for each complete binary message |
/// | `message` | [`Message`] | for each message, after its `text` or `binary` |
/// | `ping`, `pong` | `&[u8]` | for each ping or pong; the pong that answers a ping is already queued, unless `auto_pong` is off |
/// | `drain` | | each time the unsent bytes have fallen below the soft limit after a write that returned `false`, a [`send`](WebSocketConnection::send) that had to wait, or a broadcast that exceeded the limit |
/// | `end` | | when the peer's Close frame has arrived |
/// | `error` | `Option<&str>, Option<u16>` or [`&ConnectionError`](ConnectionError) | at most once, when the connection fails; `close` follows |
/// | `close` | `u16, &str` | **exactly once, last**, for every end of the connection |
///
/// Listeners may take fewer arguments (`||` fits any event), or the connection as an additional
/// first argument. [`IntoListener`] lists all closures that fit.
///
/// The listeners of a connection never run at the same time, and are never called from within each
/// other. An asynchronous listener is awaited before the next message is delivered. A listener that
/// panics or returns `Err` fails this connection, and no other, with 1011.
#[derive(Clone, Copy)]
pub struct WebSocketConnection {
    slot: u32,
    /// Never 0, so that an `Option` of a handle has the same size.
    number: NonZeroU64,
}

impl WebSocketConnection {
    /// Returns the number of the connection, which is unique in this process: PHP's
    /// `spl_object_id`, Ratchet's `resourceId`.
    pub fn id(&self) -> u64 {
        self.number.get()
    }

    pub(crate) fn new(slot: u32, number: NonZeroU64) -> WebSocketConnection {
        WebSocketConnection { slot, number }
    }

    pub(crate) fn index(&self) -> u32 {
        self.slot
    }
}

impl PartialEq for WebSocketConnection {
    fn eq(&self, other: &WebSocketConnection) -> bool {
        self.number == other.number
    }
}

impl Eq for WebSocketConnection {}

impl Hash for WebSocketConnection {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.number.hash(state);
    }
}

impl fmt::Debug for WebSocketConnection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "WebSocketConnection({})", self.number)
    }
}
