use std::fmt;
use std::hash::{Hash, Hasher};
use std::net::SocketAddr;
use std::num::NonZeroU64;
use std::sync::Arc;

use parking_lot::MutexGuard;

use super::error::ConnectionError;
#[cfg(doc)]
use super::into_listener::IntoListener;
#[cfg(doc)]
use super::message::Message;
use super::shared::Shared;
use super::slot::{Slot, State};
use super::stats::Traffic;
use crate::emitter::BoxError;

/// One WebSocket connection, as an address: `Copy`, 16 bytes, usable from any thread.
///
/// It owns nothing. The connection belongs to its task, as it belongs to the event loop in ReactPHP, so a closure that
/// captures a handle keeps nothing alive and leaks nothing. A handle whose connection has ended answers `false` or `None`;
/// it never reaches a later connection. Handles of one connection are equal, so sets and maps of them work as
/// `SplObjectStorage` does.
///
/// # Events
///
/// | Event | Listeners take | Fires |
/// |---|---|---|
/// | `text` | `&str` | once for each complete text message |
/// | `binary` | `&[u8]` | once for each complete binary message |
/// | `message` | [`Message`] | with either, after `text` or `binary` |
/// | `ping`, `pong` | `&[u8]` | for each ping or pong; the pong that answers a ping is on its way already |
/// | `drain` | | each time the unsent bytes have fallen below the soft limit after a write that returned `false`, a [`send`](WebSocketConnection::send) that had to wait, or a broadcast past the limit |
/// | `end` | | when the peer's Close has come |
/// | `error` | `Option<&str>, Option<u16>` or [`&ConnectionError`](ConnectionError) | at most once, for a fault; `close` follows |
/// | `close` | `u16, &str` | **exactly once, last**, however the connection ended |
///
/// Listeners may take fewer arguments (`||` fits any event), or the connection first. See [`IntoListener`] for all the
/// closures that fit. The listeners of a connection never run at the same time and are never called from within each other;
/// an asynchronous one is awaited before the next message is delivered. One that panics or returns `Err` makes `error` with
/// 1011 and ends this connection, no other.
#[derive(Clone, Copy)]
pub struct WebSocketConnection {
    slot: u32,
    /// Not 0, so that an `Option` of a handle is no larger.
    number: NonZeroU64,
}

/// # Facts
impl WebSocketConnection {
    /// A number that no other connection of this process has: `spl_object_id`, Ratchet's `resourceId`.
    pub fn id(&self) -> u64 {
        self.number.get()
    }

    /// The client's address; `None` on a Unix socket or a stream without, and after `close`. Behind
    /// [trusted proxies](crate::HttpOptions::trusted_proxies) it is the one that they tell; the proxy's own is
    /// [the request's `peer_address`](crate::ServerRequest::peer_address).
    pub fn remote_address(&self) -> Option<SocketAddr> {
        self.lock()?.remote
    }

    /// The address that the peer connected to; `None` as with [`remote_address`](WebSocketConnection::remote_address).
    pub fn local_address(&self) -> Option<SocketAddr> {
        self.lock()?.local.as_deref().copied()
    }

    /// Messages of groups that this connection has missed, because it read too slowly and the group's
    /// [policy](crate::SlowMemberPolicy) is to drop them then.
    pub fn dropped(&self) -> u64 {
        self.lock().and_then(|mut state| Some(state.existing_extras()?.dropped)).unwrap_or(0)
    }

    /// The fault that ended the connection: in listeners of `error` and `close`, and in those of the middleware's `error`.
    pub fn error(&self) -> Option<ConnectionError> {
        self.lock()?.existing_extras()?.error.clone()
    }
}

/// What the crate itself uses.
impl WebSocketConnection {
    pub(super) fn new(slot: u32, number: NonZeroU64) -> WebSocketConnection {
        WebSocketConnection { slot, number }
    }

    pub(super) fn index(&self) -> u32 {
        self.slot
    }

    #[inline(always)]
    pub(super) fn slot(&self) -> &'static Slot {
        Slot::at(self.slot)
    }

    /// The state, if the connection is still there.
    #[inline(always)]
    pub(super) fn lock(&self) -> Option<MutexGuard<'static, State>> {
        self.lock_at(self.slot())
    }

    /// The same, its slot being known.
    #[inline(always)]
    pub(super) fn lock_at(&self, slot: &'static Slot) -> Option<MutexGuard<'static, State>> {
        let state = slot.lock();
        (state.number == self.number.get()).then_some(state)
    }

    /// What it has sent and received so far.
    pub(super) fn traffic(&self) -> Traffic {
        let Some(mut state) = self.lock() else { return Traffic::default() };
        let received = &self.slot().received;
        Traffic {
            messages_in: received.messages(),
            messages_out: state.messages_out,
            bytes_in: received.bytes(),
            bytes_out: state.outbox.written(),
            dropped: state.existing_extras().map_or(0, |extras| extras.dropped),
        }
    }

    pub(super) fn retire(self) {
        Slot::retire(self.slot, self.number.get());
    }

    pub(crate) fn max_group_name(&self) -> Option<usize> {
        self.shared().map(|shared| shared.options.max_group_name)
    }

    pub(crate) fn max_groups(&self) -> Option<usize> {
        self.shared().map(|shared| shared.options.max_groups_per_connection)
    }

    /// A listener that concerns this connection failed somewhere else.
    pub(crate) fn listener_failed(&self, error: BoxError) {
        self.fail(ConnectionError::Listener(error.into()));
    }

    pub(super) fn shared(&self) -> Option<Arc<Shared>> {
        self.lock()?.shared.clone()
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
