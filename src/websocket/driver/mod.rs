pub(crate) mod attend;
pub(crate) mod backlog;
pub(crate) mod close;
pub(crate) mod deadlines;
pub(crate) mod dispatcher;
#[cfg(feature = "deflate")]
pub(crate) mod inflated;
pub(crate) mod overdue;
pub(crate) mod pending_events;
pub(crate) mod pings;
pub(crate) mod read;
#[cfg(feature = "__tls")]
pub(crate) mod read_tls;
pub(crate) mod scratch;
pub(crate) mod unasked;
pub(crate) mod write;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use crate::emitter::panic_error;
use crate::http::{ConnectionPermit, Upgraded};
use crate::protocol::{Bucket, Closing, Connection, close_code};
use crate::runtime::clock::{Coarse, Moment};
use crate::runtime::stream::ReadHalf;
use crate::runtime::turn;
use crate::runtime::watchdog;
use crate::sync::atomic::Ordering;
use crate::websocket::driver::backlog::Backlog;
use crate::websocket::driver::deadlines::Deadlines;
use crate::websocket::driver::dispatcher::Dispatcher;
use crate::websocket::driver::scratch::ReadScratch;
use crate::websocket::error::ConnectionError;
use crate::websocket::state::buffers::Buffer;
use crate::websocket::state::cork::Cork;
use crate::websocket::state::flags::{ALARM, BLOCKED, DISCARD_INPUT, DRAINED, HELD_UP, PAUSED, STATE_CHANGED, TERMINATED};
use crate::websocket::state::handle::WebSocketConnection;
use crate::websocket::state::shared::Shared;
use crate::websocket::state::slot::{Phase, Slot};

/// The task of one connection: it reads, delivers what it has read, and writes what other threads
/// could not.
///
/// A turn is one poll. It has these steps, in this order: requests of other threads, a listener that
/// was still running, bytes that were read and not delivered, a read. They are repeated as long as
/// one of them makes progress. All bytes that were written are sent together after each repetition.
pub(crate) struct Driver {
    pub(crate) shared: Arc<Shared>,
    /// `None` after the socket has been dropped.
    pub(crate) read: Option<ReadHalf>,
    pub(crate) session: Connection,
    pub(crate) dispatcher: Dispatcher,
    pub(crate) backlog: Backlog,
    pub(crate) deadlines: Deadlines,
    /// Created by the first ping, by the first message if messages have a rate, and at the end.
    pub(crate) rare: Option<Box<Rare>>,
    /// Bytes that this task has taken from the outbox of a stream that only it can write.
    pub(crate) writing: Option<Box<Buffer>>,
    pub(crate) closing: Closing,
    pub(crate) progress: Progress,
    /// Must be the last field: dropping it signals that the connection is gone, so everything else
    /// must be dropped first.
    pub(crate) permit: ConnectionPermit,
}

/// State that few connections have before their end.
pub(crate) struct Rare {
    /// The rate of the peer's pings.
    pub(crate) pings: Bucket,
    /// Pings above the rate since all received bytes were last read.
    pub(crate) piled_up: u32,
    /// The rate of the peer's messages.
    pub(crate) messages: Bucket,
    /// The code and the reason of the peer's Close frame, if it had them.
    pub(crate) peer_close: Option<(u16, String)>,
}

impl Default for Rare {
    fn default() -> Rare {
        // A full bucket has been full since the clock began.
        Rare { pings: Bucket::full(0), piled_up: 0, messages: Bucket::full(0), peer_close: None }
    }
}

/// The progress of the connection.
#[derive(Default)]
pub(crate) struct Progress {
    /// Other threads can find the task's waker.
    pub(crate) waker_registered: bool,
    /// The connection has begun, and its end has not.
    pub(crate) is_fast: bool,
    /// The socket is full, and wakes the task when it no longer is.
    pub(crate) waits_for_socket: bool,
    /// All received bytes have been read, and more of them wake the task.
    pub(crate) waits_for_peer: bool,
    /// Messages have a deadline or a rate.
    pub(crate) is_counted: bool,
    /// Something has arrived since the last ping.
    pub(crate) heard: bool,
    /// A ping has been received since all received bytes were last read.
    pub(crate) pings_pile_up: bool,
    /// The system has bytes to read of which tokio does not know.
    pub(crate) has_unread: bool,
}

/// What a turn may still handle.
pub(crate) struct Budget {
    pub(crate) frames: usize,
    /// Negative if the last read exceeded it. No read is large enough to wrap it.
    pub(crate) bytes: isize,
    /// The last read has taken all received bytes.
    pub(crate) is_dry: bool,
}

impl Budget {
    pub(crate) fn is_spent(&self) -> bool {
        self.frames == 0 || self.bytes <= 0
    }
}

impl Driver {
    /// The rest of a connection's life, from when the 101 has left.
    pub(crate) fn start(connection: WebSocketConnection, shared: Arc<Shared>, upgraded: Upgraded) -> Driver {
        let Upgraded { stream, read_ahead, permit } = upgraded;
        let (read, write) = stream.into_halves();
        if let Some(mut state) = connection.lock() {
            state.outbox.attach(write);
            state.phase = state.phase.max(Phase::Open);
            state.lifetime = Some(permit.shutdown().clone());
            // Makes the first turn send everything that has been written so far.
            connection.slot().signal(&state, STATE_CHANGED);
        }
        shared.connections.insert(connection);
        permit.shutdown().register(shared.connections.clone());
        if permit.shutdown().is_closing() {
            connection.close_for_shutdown();
        }
        if permit.shutdown().is_terminated() {
            connection.cut();
        }
        let clock = permit.clock();
        let is_counted = shared.options.idle_timeout.is_some() || shared.options.message_rate.is_some();
        let mut backlog = Backlog::default();
        backlog.push(&read_ahead);
        Driver {
            read: Some(read),
            #[cfg(feature = "deflate")]
            session: connection.session(shared.role),
            #[cfg(not(feature = "deflate"))]
            session: Connection::new(shared.role),
            dispatcher: Dispatcher::new(connection),
            backlog,
            deadlines: Deadlines::new(&shared.options, clock),
            rare: None,
            writing: None,
            closing: Closing::new(shared.role),
            progress: Progress { is_counted, ..Progress::default() },
            shared,
            permit,
        }
    }

    /// Ends a connection whose listeners were called, but whose 101 did not leave. Only `close` is
    /// emitted.
    pub(crate) fn never_started(connection: WebSocketConnection) {
        let mut dispatcher = Dispatcher::new(connection);
        dispatcher.schedule_close(close_code::ABNORMAL, String::new());
        dispatcher.finish();
        connection.retire();
    }

    #[inline(always)]
    pub(crate) fn connection(&self) -> WebSocketConnection {
        self.dispatcher.connection()
    }

    #[inline(always)]
    pub(crate) fn slot(&self) -> &'static Slot {
        self.dispatcher.slot()
    }

    #[inline]
    fn take_turn(&mut self, cork: &Cork, scratch: &mut ReadScratch, cx: &mut Context<'_>) -> Poll<()> {
        let (frames, bytes) = self.shared.options.turn_budget;
        let mut budget = Budget { frames, bytes, is_dry: false };
        // Requests are handled before more is read. But a listener of `drain` that writes may be
        // requested again and again, and must not stop the task from reading.
        let mut attends_again = false;
        let mut may_be_timed = self.progress.is_counted;
        // Bytes that have arrived since the last turn may be unread.
        self.progress.waits_for_peer = false;
        loop {
            let is_fast = self.is_fast();
            if !is_fast {
                may_be_timed = true;
                self.attend(cx);
                if std::mem::take(&mut self.progress.has_unread) {
                    self.read_unknown(scratch, cx, &mut budget);
                }
                if self.dispatcher.poll(cx).is_ready() {
                    if self.dispatcher.is_over() {
                        return Poll::Ready(());
                    }
                    if self.note_failure() {
                        // The due events wait until the failure is known, which may be the case
                        // already.
                        continue;
                    }
                    self.deliver_backlog(scratch, cx, &mut budget);
                }
                cork.flush();
                if self.flags() & HELD_UP != 0 {
                    self.slot().flags.fetch_and(!HELD_UP, Ordering::Relaxed);
                    budget.frames = 0;
                    self.pause_held_up();
                }
                let is_asked = self.needs_attention();
                if is_asked && !std::mem::replace(&mut attends_again, true) || !is_asked && self.end_if_over(cx) {
                    continue;
                }
                attends_again = false;
            }
            self.progress.waits_for_peer = false;
            if budget.is_spent() {
                // Other tasks have their turn. The rest is in the backlog, or in the socket.
                cx.waker().wake_by_ref();
                break;
            }
            if is_fast || self.may_read() {
                if self.poll_read(scratch, cx, &mut budget).is_ready() {
                    // Once the end has begun, bytes are only sent when it is known whether they are
                    // the last.
                    if self.progress.is_fast {
                        cork.flush();
                    }
                    continue;
                }
                self.progress.waits_for_peer = true;
                if std::mem::take(&mut self.progress.pings_pile_up) {
                    self.answer_piled_up_pings();
                }
            }
            if !self.needs_attention() {
                break;
            }
            budget.frames -= 1;
        }
        if may_be_timed {
            self.deadlines.register(self.permit.clock(), self.slot(), self.connection().id());
        }
        Poll::Pending
    }

    #[cold]
    fn pause_held_up(&mut self) {
        let pause = turn::take_pause();
        if !pause.is_zero() && self.deadlines.message == Moment::NEVER {
            self.deadlines.message = self.permit.clock().after(pause);
        }
    }

    /// Returns whether reading is the only work.
    #[inline]
    fn is_fast(&self) -> bool {
        self.flags() & (DRAINED | ALARM | STATE_CHANGED | BLOCKED | PAUSED | DISCARD_INPUT | TERMINATED | HELD_UP) == 0
            && self.progress.is_fast
            && self.dispatcher.is_idle()
            && self.backlog.is_empty()
            && self.deadlines.message == Moment::NEVER
    }

    #[inline]
    pub(crate) fn flags(&self) -> u16 {
        self.slot().flags.load(Ordering::Acquire)
    }

    /// Returns whether other threads have requests.
    #[inline]
    fn needs_attention(&self) -> bool {
        let flags = self.flags();
        flags & (DRAINED | ALARM | STATE_CHANGED) != 0 || flags & BLOCKED != 0 && !self.progress.waits_for_socket
    }

    /// Handles the requests of other threads.
    #[inline]
    fn attend(&mut self, cx: &mut Context<'_>) {
        self.progress.waits_for_socket = false;
        if self.flags() & (DRAINED | ALARM | STATE_CHANGED | BLOCKED) != 0 || !self.progress.waker_registered {
            self.attend_now(cx);
        }
    }

    /// Makes the error of a listener the connection's error. Returns whether there was one.
    #[inline]
    pub(crate) fn note_failure(&mut self) -> bool {
        let failure = self.dispatcher.take_failure();
        let has_failed = failure.is_some();
        if let Some(error) = failure {
            self.connection().fail(ConnectionError::Listener(error.into()));
        }
        has_failed
    }
}

impl Future for Driver {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let driver = self.get_mut();
        let begun = Coarse::now();
        let watched = watchdog::begin_turn(begun, driver.connection().index());
        let cork = Cork::begin();
        turn::begin(&driver.slot().flags);
        let mut scratch = ReadScratch::take();
        let mut panics = 0;
        let polled = loop {
            match catch_unwind(AssertUnwindSafe(|| driver.take_turn(&cork, &mut scratch, cx))) {
                Ok(polled) => break polled,
                Err(panic) => {
                    // A listener panicked, and its arguments are lost. The panic ends this
                    // connection only.
                    panics += 1;
                    driver.begin_to_fail();
                    driver.dispatcher.abandon();
                    driver.connection().fail(ConnectionError::Listener(panic_error(panic).into()));
                    if panics > 1 {
                        driver.hang_up();
                        driver.dispatcher.skip_async();
                    }
                }
            }
        };
        turn::end();
        scratch.put_back();
        watched.end_turn();
        driver.shared.note_time(begun);
        polled
    }
}

impl Drop for Driver {
    /// The connection or its runtime has ended: `close` fires in any case.
    fn drop(&mut self) {
        if !self.dispatcher.is_over() {
            self.look_at_state();
            self.hang_up();
            if !self.closing.is_close_scheduled() {
                self.end_now(&mut Context::from_waker(Waker::noop()));
            }
            self.dispatcher.finish();
        }
        self.deadlines.forget(self.permit.clock(), self.connection().id());
        self.shared.connections.remove(self.connection());
        self.connection().retire();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An idle connection mostly costs these two types and its listeners. This test keeps them
    /// small.
    #[test]
    fn a_connection_is_small() {
        assert!(size_of::<Driver>() <= 264, "the task's part: {}", size_of::<Driver>());
        assert!(size_of::<Slot>() <= 280, "what the handle points to: {}", size_of::<Slot>());
    }
}
