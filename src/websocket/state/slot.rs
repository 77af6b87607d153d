//! The part of a connection that any thread may access.

use std::any::Any;
use std::net::SocketAddr;
use std::num::NonZeroU64;
use std::sync::Arc;
use std::task::Waker;

use parking_lot::{Mutex, MutexGuard};
use tokio::sync::Notify;

use crate::emitter::{Change, ListenerId, drop_each};
use crate::http::{Response, ServerRequest, Shutdown};
use crate::runtime::clock::Alarm;
use crate::runtime::slab::Slab;
use crate::runtime::trace;
use crate::sync::atomic::{AtomicU8, AtomicU16, AtomicU32, Ordering};
use crate::sync::global;
use crate::websocket::error::ConnectionError;
use crate::websocket::state::address::PeerAddress;
#[cfg(feature = "deflate")]
use crate::websocket::state::deflate::Deflate;
use crate::websocket::state::event::{ConnectionEvents, NAMES};
use crate::websocket::state::flags::{ALARM, FINISHED};
use crate::websocket::state::framing::Framing;
use crate::websocket::state::handle::WebSocketConnection;
use crate::websocket::state::held::HeldMessages;
use crate::websocket::state::outbox::Outbox;
use crate::websocket::state::shared::Shared;
use crate::websocket::state::streaming::Streaming;
use crate::websocket::stats::Received;

/// The part of a connection that any thread may access. A handle refers to it.
///
/// Slots are never freed, but reused, so that a handle can be a plain index. The number in it is
/// unique in the process. It shows whether the handle's connection still exists.
#[derive(Default)]
pub(crate) struct Slot {
    /// Requests to the connection's task.
    pub(crate) flags: AtomicU16,
    /// The number of guards that keep the slot. Changed under the lock.
    kept: AtomicU32,
    /// The event whose listeners were called last, for the watchdog.
    pub(crate) event: AtomicU8,
    pub(crate) received: Received,
    state: Mutex<State>,
}

/// The progress of a connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Phase {
    /// The `connection` listeners are running.
    #[default]
    Handshake,
    /// The handshake is accepted, and the 101 is about to leave.
    Accepted,
    Open,
    /// No message is accepted any more: our Close is queued, or the connection was terminated,
    /// rejected or broken.
    Closing,
    /// Listeners of `close` are running or have run, or the handshake was refused.
    Closed,
}

#[derive(Default)]
pub(crate) struct State {
    /// The connection's number; 0 if the slot is free.
    pub(crate) number: u64,
    /// The shutdown of the server that accepted the connection, once the 101 has left.
    pub(crate) lifetime: Option<Arc<Shutdown>>,
    pub(crate) phase: Phase,
    pub(crate) outbox: Outbox,
    /// The thread that is going to flush the outbox.
    pub(crate) corked_by: u32,
    /// The socket is full, and the task writes it.
    pub(crate) blocked: bool,
    /// The socket has failed.
    pub(crate) broken: bool,
    /// A `write` has returned `false`.
    pub(crate) wants_drain: bool,
    /// Messages are [held](crate::websocket::state::held::HeldMessages) until there is room.
    pub(crate) holds: bool,
    /// There is room, and `drain` is due.
    pub(crate) has_drained: bool,
    /// The socket has been dropped, and `close` is due.
    pub(crate) has_ended: bool,
    pub(crate) framing: Framing,
    /// [Options](crate::websocket::options::WebSocketOptions) that every write needs.
    pub(crate) soft_limit: usize,
    pub(crate) hard_limit: usize,
    /// Messages that were accepted for sending.
    pub(crate) messages_out: u64,
    /// The listeners of the app. The task owns the listeners themselves.
    pub(crate) registered: Vec<ListenerId>,
    pub(crate) pending_changes: Vec<Change<ConnectionEvents>>,
    pub(crate) task: Option<Waker>,
    pub(crate) shared: Option<Arc<Shared>>,
    pub(crate) remote: PeerAddress,
    pub(crate) local: Option<Arc<SocketAddr>>,
    /// Exists if both ends have agreed on compression.
    #[cfg(feature = "deflate")]
    pub(crate) deflate: Option<Box<Deflate>>,
    app_state: Option<Box<AppState>>,
    cold: Option<Box<ColdState>>,
}

/// State that many connections have for as long as they live, such as members of a group.
#[derive(Default)]
pub(crate) struct AppState {
    /// The part of the handshake that is [kept](super::kept_request).
    pub(crate) handshake: Option<Box<[u8]>>,
    /// The app's own data, one of each type.
    pub(crate) data: Vec<Arc<dyn Any + Send + Sync>>,
}

/// State that few connections have.
#[derive(Default)]
pub(crate) struct ColdState {
    pub(crate) request: Option<ServerRequest>,
    pub(crate) rejection: Option<Response>,
    /// Writers that wait for room.
    pub(crate) senders: Option<Arc<Notify>>,
    pub(crate) pong: Option<WaitingPong>,
    /// The message that is being streamed, and the frames behind it.
    pub(crate) stream: Streaming,
    /// Messages of groups that wait until there is room.
    pub(crate) held: HeldMessages,
    /// Messages that were dropped.
    pub(crate) dropped: u64,
    /// The code and reason of our Close frame.
    pub(crate) our_close: Option<(u16, String)>,
    /// The error that `fail` has set, on any thread, until the task has seen it. Then it is `error`.
    pub(crate) fault: Option<ConnectionError>,
    /// The error that ended the connection.
    pub(crate) error: Option<ConnectionError>,
    pub(crate) terminated: bool,
    /// Listeners are no longer awaited.
    pub(crate) skip_async: bool,
}

/// The answer to the last ping, while the socket is full.
pub(crate) struct WaitingPong {
    pub(crate) payload: Vec<u8>,
    /// The minimum number of bytes that leave before it: all bytes that were unsent when it began
    /// to wait.
    pub(crate) behind: u64,
}

global! { static SLOTS: Slab<Slot> = Slab::new(); }

impl Slot {
    /// Opens a connection in a free slot.
    pub(crate) fn open(shared: Arc<Shared>, remote: Option<SocketAddr>) -> WebSocketConnection {
        let (index, number) = SLOTS.take();
        if index != u32::MAX {
            *Slot::at(index).lock() = State {
                number: number.get(),
                // With a soft limit of 0 the unsent bytes could never be below it. With a soft
                // limit above the hard limit, a writer that waits for `drain` would exceed
                // the hard limit.
                soft_limit: shared.options.write_buffer_soft_limit.min(shared.options.write_buffer_hard_limit).max(1),
                hard_limit: shared.options.write_buffer_hard_limit,
                framing: Framing::of(shared.role),
                shared: Some(shared),
                remote: remote.into(),
                ..State::default()
            };
        }
        WebSocketConnection::new(index, number)
    }

    /// Returns the connection of a slot, if `which` accepts it.
    pub(crate) fn owner(index: u32, which: impl Fn(&State) -> bool) -> Option<WebSocketConnection> {
        let state = Slot::at(index).lock();
        let number = NonZeroU64::new(state.number)?;
        which(&state).then(|| WebSocketConnection::new(index, number))
    }

    #[inline(always)]
    pub(crate) fn at(index: u32) -> &'static Slot {
        SLOTS.get(index)
    }

    /// Frees the slot, as soon as no guard [keeps](WebSocketConnection::keep) it. From then on,
    /// every handle of the connection is a closed one.
    pub(crate) fn retire(index: u32, number: u64) {
        let slot = Slot::at(index);
        let mut state = slot.lock();
        if state.number != number {
            return;
        }
        if slot.kept.load(Ordering::Relaxed) > 0 {
            slot.flags.fetch_or(FINISHED, Ordering::Relaxed);
            return;
        }
        let mut before = std::mem::take(&mut *state);
        slot.flags.store(0, Ordering::Relaxed);
        slot.received.reset();
        drop(state);
        SLOTS.give_back(index);
        // Must be outside of the lock: the app's values may do anything when they are dropped.
        drop_each(before.app_state_if_any().map(|app_state| std::mem::take(&mut app_state.data)).unwrap_or_default());
        if let Some(ColdState { rejection, fault, error, .. }) = before.cold_if_any() {
            drop_each(rejection.take());
            drop_each(fault.take());
            drop_each(error.take());
        }
    }

    #[inline(always)]
    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    /// Makes the task look at these flags. Call it under the lock.
    #[inline]
    pub(crate) fn signal(&self, state: &State, flags: u16) {
        self.flags.fetch_or(flags, Ordering::Release);
        if let Some(task) = &state.task {
            task.wake_by_ref();
        }
    }
}

/// Access from a handle to its slot.
impl WebSocketConnection {
    #[inline(always)]
    pub(crate) fn slot(&self) -> &'static Slot {
        Slot::at(self.index())
    }

    /// Locks the state, if the connection still exists.
    #[inline(always)]
    pub(crate) fn lock(&self) -> Option<MutexGuard<'static, State>> {
        self.lock_at(self.slot())
    }

    /// Locks the state of a connection whose slot is known.
    #[inline(always)]
    pub(crate) fn lock_at(&self, slot: &'static Slot) -> Option<MutexGuard<'static, State>> {
        let state = slot.lock();
        (state.number == self.id()).then_some(state)
    }

    pub(crate) fn retire(self) {
        Slot::retire(self.index(), self.id());
    }

    pub(crate) fn shared(&self) -> Option<Arc<Shared>> {
        self.lock()?.shared.clone()
    }
}

/// A connection whose slot is kept even after its end, with the values that the app has attached.
pub(crate) struct SlotGuard(WebSocketConnection);

impl WebSocketConnection {
    pub(crate) fn keep(self) -> SlotGuard {
        if let Some(_state) = self.lock() {
            self.slot().kept.fetch_add(1, Ordering::Relaxed);
        }
        SlotGuard(self)
    }
}

impl SlotGuard {
    pub(crate) fn connection(&self) -> WebSocketConnection {
        self.0
    }
}

impl Drop for SlotGuard {
    fn drop(&mut self) {
        let Some(state) = self.0.lock() else { return };
        let slot = self.0.slot();
        let is_last = slot.kept.fetch_sub(1, Ordering::Relaxed) == 1;
        let is_over = slot.flags.load(Ordering::Relaxed) & FINISHED != 0;
        drop(state);
        if is_last && is_over {
            self.0.retire();
        }
    }
}

impl State {
    pub(crate) fn app_state(&mut self) -> &mut AppState {
        self.app_state.get_or_insert_default()
    }

    pub(crate) fn app_state_if_any(&mut self) -> Option<&mut AppState> {
        self.app_state.as_deref_mut()
    }

    pub(crate) fn cold(&mut self) -> &mut ColdState {
        self.cold.get_or_insert_default()
    }

    pub(crate) fn cold_if_any(&mut self) -> Option<&mut ColdState> {
        self.cold.as_deref_mut()
    }

    /// Frees the cold state if it is empty.
    pub(crate) fn trim_cold(&mut self) {
        if self.cold.as_deref().is_some_and(ColdState::is_empty) {
            self.cold = None;
        }
    }

    /// Returns the number of unsent bytes.
    #[inline(always)]
    pub(crate) fn unsent(&self) -> usize {
        self.outbox.unsent() + if self.framing.is_streaming() { self.waiting() } else { 0 }
    }

    /// Returns the number of bytes that wait behind a message that is being streamed.
    #[inline(never)]
    fn waiting(&self) -> usize {
        self.cold.as_ref().map_or(0, |cold| cold.stream.waiting())
    }

    /// Returns whether a message is accepted and only needs to be added to the outbox.
    #[inline(always)]
    pub(crate) fn is_plain(&self) -> bool {
        self.framing.is_plain() && self.is_simple()
    }

    #[inline(always)]
    pub(crate) fn is_simple(&self) -> bool {
        self.is_writable() && !self.blocked && self.outbox.is_plain() && self.outbox.own_bytes() < self.hard_limit
    }

    /// Adds the held messages of a slow consumer, since the end follows.
    pub(crate) fn let_out_held(&mut self) {
        while self.holds
            && !self.framing.is_streaming()
            && let Some(frame) = self.cold().held.pop()
        {
            self.messages_out += 1;
            self.push_frames(|out| out.extend_from_slice(&frame));
        }
    }

    /// Returns whether messages are accepted.
    #[inline]
    pub(crate) fn is_writable(&self) -> bool {
        self.phase < Phase::Closing
    }
}

impl ColdState {
    fn is_empty(&self) -> bool {
        self.request.is_none()
            && self.rejection.is_none()
            && self.senders.is_none()
            && self.pong.is_none()
            && self.stream.is_idle()
            && self.held.is_empty()
            && self.dropped == 0
            && self.our_close.is_none()
            && self.fault.is_none()
            && self.error.is_none()
            && !self.terminated
            && !self.skip_async
    }
}

/// Reports a turn that does not end. Its listener holds no lock of the crate.
pub(crate) fn report_stuck(slot: u32, inner_event: Option<&'static str>) {
    let Some(connection) = Slot::owner(slot, |_| true) else { return };
    let event = usize::from(Slot::at(slot).event.load(Ordering::Relaxed));
    let event = inner_event.or_else(|| NAMES.names.get(event).copied()).unwrap_or("connection");
    if let Some(shared) = connection.shared() {
        shared.connections.count_stuck_listener();
    }
    trace::stuck_listener(event, connection.id());
}

impl Alarm for Slot {
    fn ring(&self, number: u64) {
        let state = self.lock();
        if state.number == number {
            self.signal(&state, ALARM);
        }
    }
}
