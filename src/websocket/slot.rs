use std::any::Any;
use std::net::SocketAddr;
use std::num::NonZeroU64;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU16, AtomicU32, Ordering};
use std::task::Waker;

use parking_lot::{Mutex, MutexGuard};
use tokio::sync::Notify;

use super::connection::WebSocketConnection;
use super::error::ConnectionError;
use super::event::{ConnectionEvents, NAMES};
use super::lag::Held;
use super::outbox::Outbox;
use super::shared::Shared;
use super::stats::Received;
use super::writer::Streaming;
use crate::emitter::{Change, ListenerId, drop_each};
use crate::http::{Lifetime, Response, ServerRequest};
use crate::runtime::clock::Alarm;
use crate::runtime::slab::Slab;
use crate::runtime::trace;
use crate::runtime::turn;

/// What a handle points to: the part of a connection that any thread may touch.
///
/// Slots are never freed but used again, so that a handle can be a plain index. The number in it, which no two connections of
/// a process share, tells whether the connection that a handle means is still there.
#[derive(Default)]
pub(super) struct Slot {
    /// What the connection's task has to look at. Changed under the lock, read without.
    pub(super) flags: AtomicU16,
    /// How many keep it. Changed under the lock.
    kept: AtomicU32,
    /// The event whose listeners were called last, for the watchdog.
    pub(super) event: AtomicU8,
    pub(super) received: Received,
    state: Mutex<State>,
}

/// Listeners were added or removed.
pub(super) const MAIL: u16 = 1 << 0;
/// The socket is full: the task has to write.
pub(super) const BLOCKED: u16 = 1 << 1;
/// Fewer bytes than the soft limit are unsent again, and somebody waits for that.
pub(super) const DRAINED: u16 = 1 << 2;
/// A deadline may have passed.
pub(super) const ALARM: u16 = 1 << 3;
/// The phase, or whether reading is paused, or the socket's health has changed.
pub(super) const ATTEND: u16 = 1 << 4;
/// No message is to be delivered any more: `close` was called, or there is a fault.
pub(super) const DEAF: u16 = 1 << 5;
/// No message is to be delivered for now.
pub(super) const PAUSED: u16 = 1 << 6;
/// Nothing that has been read counts any more: `terminate` was called.
pub(super) const CUT: u16 = 1 << 7;
/// The peer has said Close: nothing more comes from it.
pub(super) const HEARD_OUT: u16 = 1 << 8;
/// The task has ended, and others still keep the slot.
const OVER: u16 = 1 << 9;
/// A listener had to wait for others: the turn is over, and the next one begins when these have had theirs.
pub(super) const HELD_UP: u16 = turn::HELD_UP;

/// How far a connection has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Phase {
    /// The `connection` listeners run.
    #[default]
    Handshake,
    /// They have decided, and the 101 is about to leave.
    Accepted,
    Open,
    /// Our Close is on its way: nothing more is written.
    Closing,
    /// Listeners of `close` run, or have run.
    Closed,
}

#[derive(Default)]
pub(super) struct State {
    /// The connection's number; 0 if the slot is free.
    pub(super) number: u64,
    /// The lifetime that it was accepted in, once the 101 has left.
    pub(super) lifetime: Option<Arc<Lifetime>>,
    pub(super) phase: Phase,
    pub(super) outbox: Outbox,
    /// The thread that is going to flush the outbox.
    pub(super) corked_by: u32,
    /// The socket is full, and the task goes on.
    pub(super) blocked: bool,
    /// The socket has failed.
    pub(super) broken: bool,
    /// A `write` has answered `false`.
    pub(super) wants_drain: bool,
    /// Messages are [held](super::lag::Held) until there is room.
    pub(super) holds: bool,
    /// There is room, and `drain` is to be said.
    pub(super) has_drained: bool,
    /// The socket has been let go, and `close` is about to be said.
    pub(super) has_ended: bool,
    /// A [`MessageWriter`](super::writer::MessageWriter) has begun a message and not ended it.
    pub(super) streaming: bool,
    /// [Options](super::options::WebSocketOptions) that every write asks for.
    pub(super) soft_limit: usize,
    pub(super) hard_limit: usize,
    /// Messages that were accepted for sending.
    pub(super) messages_out: u64,
    /// The listeners there are, our own left out. They themselves are with the task.
    pub(super) registered: Vec<ListenerId>,
    pub(super) mail: Vec<Change<ConnectionEvents>>,
    pub(super) task: Option<Waker>,
    pub(super) shared: Option<Arc<Shared>>,
    pub(super) remote: Option<SocketAddr>,
    pub(super) local: Option<Arc<SocketAddr>>,
    belongings: Option<Box<Belongings>>,
    extras: Option<Box<Extras>>,
}

/// What many connections have as long as they live: those in a group, for instance.
#[derive(Default)]
pub(super) struct Belongings {
    /// What is [kept](super::kept_request) of the handshake.
    pub(super) handshake: Option<Box<[u8]>>,
    /// The app's own data, one of each type.
    pub(super) data: Vec<Arc<dyn Any + Send + Sync>>,
}

/// What few connections have.
#[derive(Default)]
pub(super) struct Extras {
    pub(super) request: Option<ServerRequest>,
    pub(super) rejection: Option<Response>,
    /// Those who wait for room.
    pub(super) senders: Option<Arc<Notify>>,
    pub(super) pong: Option<WaitingPong>,
    /// The message that is being streamed, and what waits behind it.
    pub(super) stream: Streaming,
    /// Messages of groups that wait until there is room.
    pub(super) held: Held,
    /// Messages that were dropped.
    pub(super) dropped: u64,
    /// What `close_with` said.
    pub(super) closing: Option<(u16, String)>,
    /// A fault that somebody else than the task has found.
    pub(super) fault: Option<ConnectionError>,
    /// The fault that ended the connection, for whoever asks.
    pub(super) error: Option<ConnectionError>,
    pub(super) terminated: bool,
    /// No listener is waited for any more.
    pub(super) hurried: bool,
}

/// The answer to the last ping, while the socket is full.
pub(super) struct WaitingPong {
    pub(super) payload: Vec<u8>,
    /// How many bytes leave before it at least: all that were to be sent when it began to wait.
    pub(super) behind: u64,
}

static SLOTS: Slab<Slot> = Slab::new();

impl Slot {
    /// A connection in a free slot.
    pub(super) fn open(shared: Arc<Shared>, remote: Option<SocketAddr>) -> WebSocketConnection {
        let (index, number) = SLOTS.take();
        if index != u32::MAX {
            *Slot::at(index).lock() = State {
                number: number.get(),
                // Of 0, what is unsent could never be below it; and who heeds it is not to meet the hard one.
                soft_limit: shared.options.write_buffer_soft_limit.min(shared.options.write_buffer_hard_limit).max(1),
                hard_limit: shared.options.write_buffer_hard_limit,
                shared: Some(shared),
                remote,
                ..State::default()
            };
        }
        WebSocketConnection::new(index, number)
    }

    /// The connection that has a slot, if it is one of those.
    pub(super) fn owner(index: u32, which: impl Fn(&State) -> bool) -> Option<WebSocketConnection> {
        let state = Slot::at(index).lock();
        let number = NonZeroU64::new(state.number)?;
        which(&state).then(|| WebSocketConnection::new(index, number))
    }

    #[inline(always)]
    pub(super) fn at(index: u32) -> &'static Slot {
        SLOTS.get(index)
    }

    /// Frees the slot, as soon as nobody [keeps](WebSocketConnection::keep) it. Every handle of the connection is a closed one
    /// from then on.
    pub(super) fn retire(index: u32, number: u64) {
        let slot = Slot::at(index);
        let mut state = slot.lock();
        if state.number != number {
            return;
        }
        if slot.kept.load(Ordering::Relaxed) > 0 {
            slot.flags.fetch_or(OVER, Ordering::Relaxed);
            return;
        }
        let mut before = std::mem::take(&mut *state);
        slot.flags.store(0, Ordering::Relaxed);
        slot.received.reset();
        drop(state);
        SLOTS.give_back(index);
        // Outside of the lock: what an app stored in it may do anything when it is dropped.
        drop_each(before.existing_belongings().map(|belongings| std::mem::take(&mut belongings.data)).unwrap_or_default());
        if let Some(Extras { rejection, fault, error, .. }) = before.existing_extras() {
            drop_each(rejection.take());
            drop_each(fault.take());
            drop_each(error.take());
        }
    }

    #[inline(always)]
    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    /// Makes the task look at something. To be called under the lock.
    #[inline]
    pub(super) fn signal(&self, state: &State, flags: u16) {
        self.flags.fetch_or(flags, Ordering::Release);
        if let Some(task) = &state.task {
            task.wake_by_ref();
        }
    }
}

/// A connection whose slot is kept, and with it what the app has attached, also when it has ended.
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
        let is_over = slot.flags.load(Ordering::Relaxed) & OVER != 0;
        drop(state);
        if is_last && is_over {
            self.0.retire();
        }
    }
}

impl State {
    pub(super) fn belongings(&mut self) -> &mut Belongings {
        self.belongings.get_or_insert_default()
    }

    pub(super) fn existing_belongings(&mut self) -> Option<&mut Belongings> {
        self.belongings.as_deref_mut()
    }

    pub(super) fn extras(&mut self) -> &mut Extras {
        self.extras.get_or_insert_default()
    }

    pub(super) fn existing_extras(&mut self) -> Option<&mut Extras> {
        self.extras.as_deref_mut()
    }

    /// Gives the memory of the extras back if nothing is in them.
    pub(super) fn trim_extras(&mut self) {
        if self.extras.as_deref().is_some_and(Extras::is_empty) {
            self.extras = None;
        }
    }

    /// Bytes accepted and not in the socket.
    #[inline(always)]
    pub(super) fn unsent(&self) -> usize {
        self.outbox.unsent() + if self.streaming { self.waiting() } else { 0 }
    }

    /// Bytes that wait behind a message that is being streamed.
    #[inline(never)]
    fn waiting(&self) -> usize {
        self.extras.as_ref().map_or(0, |extras| extras.stream.waiting())
    }

    /// Whether a message is accepted, and has only to be added to the outbox.
    #[inline(always)]
    pub(super) fn is_plain(&self) -> bool {
        self.is_writable()
            && !self.streaming
            && !self.blocked
            && self.outbox.is_plain()
            && self.outbox.own_bytes() < self.hard_limit
    }

    /// Adds what a slow member still has coming, since the end follows.
    pub(super) fn let_out_held(&mut self) {
        while self.holds
            && !self.streaming
            && let Some(frame) = self.extras().held.pop()
        {
            self.messages_out += 1;
            self.outbox.own().extend_from_slice(&frame);
        }
    }

    /// Whether messages are accepted.
    #[inline]
    pub(super) fn is_writable(&self) -> bool {
        self.phase < Phase::Closing
    }
}

impl Extras {
    fn is_empty(&self) -> bool {
        self.request.is_none()
            && self.rejection.is_none()
            && self.senders.is_none()
            && self.pong.is_none()
            && self.stream.is_idle()
            && self.held.is_empty()
            && self.dropped == 0
            && self.closing.is_none()
            && self.fault.is_none()
            && self.error.is_none()
            && !self.terminated
            && !self.hurried
    }
}

/// A turn does not end. The listener that it is in holds no lock of ours.
pub(super) fn report_stuck(slot: u32, number: u64, inner_event: Option<&'static str>) {
    let Some(connection) = Slot::owner(slot, |state| state.number == number) else { return };
    let event = usize::from(Slot::at(slot).event.load(Ordering::Relaxed));
    let event = inner_event.or_else(|| NAMES.names.get(event).copied()).unwrap_or("connection");
    if let Some(shared) = connection.shared() {
        shared.connections.has_stuck_listener();
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
