use std::collections::VecDeque;
use std::fmt;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::sync::futures::OwnedNotified;

use crate::emitter::{BoxError, EventNames, SharedEmitter, drop_each};
use crate::runtime::trace;
use crate::sync::atomic::{AtomicUsize, Ordering};

pub(super) const EVENTS: EventNames = EventNames {
    object: "a BodyStream",
    names: &["drain", "shutdown", "close"],
    aliases: &[],
    hints: &[(&["end", "finish"], "listen to \"close\": it fires once, whether all was sent or not")],
};
const DRAIN: u8 = 0;
const SHUTDOWN: u8 = 1;
const CLOSE: u8 = 2;

/// From so many unsent bytes on, `write` returns `false`: ReactPHP's figure, and what one read of a client takes.
pub(super) const SOFT_LIMIT: usize = 64 * 1024;

/// With so many unsent bytes, the app ignores `false`. The response is cut before memory runs out.
pub(crate) const HARD_LIMIT: usize = 4 << 20;

/// Up to this size writes share a piece, so that many small ones cost little more memory than their bytes.
const PIECE: usize = 16 * 1024;

/// A writer of a [`BodyStream`](crate::BodyStream), which works on any thread. A clone writes to
/// the same stream.
///
/// A writer has the same events as its [`BodyStream`](crate::BodyStream), and can register
/// listeners for them.
///
/// The stream stays open as long as it has a writer. If the last writer is dropped without
/// [`end`](BodyWriter::end), for example in a task that panics, the body is cut off. `close` fires,
/// and the client notices that the body is incomplete.
///
/// A writer that a listener of the stream captures also keeps the stream open. Use the writer that
/// the listener gets as its argument instead.
pub struct BodyWriter {
    pub(super) inner: Arc<Inner>,
    /// The wait of a write that is pending, as an `AsyncWrite`.
    waiting: Option<Pin<Box<OwnedNotified>>>,
}

/// A stream, as its writers and its reader share it.
pub(crate) struct Inner {
    pub(crate) state: Mutex<State>,
    writers: AtomicUsize,
    /// Notified with the tasks that wait. A `send` that is dropped leaves nothing behind in it.
    room: Arc<Notify>,
    pub(super) events: SharedEmitter<u8, BodyWriter>,
}

#[derive(Default)]
pub(crate) struct State {
    pub(crate) pieces: VecDeque<Vec<u8>>,
    /// Bytes accepted and not yet in the client's socket.
    unsent: usize,
    pub(crate) phase: Phase,
    /// Why the body is incomplete, if it was closed with something missing.
    pub(crate) cut: Option<Cut>,
    /// A write returned `false`.
    wants_drain: bool,
    /// The connection that sends the body.
    pub(crate) reader: Option<Waker>,
    /// The error that the app cut the body with.
    error: Option<BoxError>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Phase {
    #[default]
    Open,
    /// Nothing more is written; the pieces are still to be sent.
    Ended,
    Closed,
}

/// Why a body is incomplete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cut {
    Closed,
    Abandoned,
    TooMuchUnsent,
    Failed,
}

impl Cut {
    /// Returns the text of the `error` event.
    pub(crate) fn reason(self) -> &'static str {
        match self {
            Cut::Closed => "a body stream was closed before all of it was sent",
            Cut::Failed => "the source of a body stream failed",
            Cut::Abandoned => "the last writer of a body stream was dropped without `end()`",
            Cut::TooMuchUnsent => {
                "more than 4194304 bytes of a body stream are unsent: wait for `drain` after `write` returns `false`, or use `send`"
            }
        }
    }
}

impl State {
    fn push(&mut self, bytes: &[u8]) {
        self.unsent += bytes.len();
        match self.pieces.back_mut() {
            Some(last) if last.len() + bytes.len() <= PIECE => last.extend_from_slice(bytes),
            _ if bytes.is_empty() => {}
            last => {
                // Nothing is added to it any more.
                if let Some(last) = last {
                    last.shrink_to_fit();
                }
                self.pieces.push_back(bytes.to_vec());
            }
        }
    }

    /// Whether a writer need not wait, because there is room or will never be any.
    fn has_room(&self) -> bool {
        self.phase != Phase::Open || self.unsent < SOFT_LIMIT
    }

    /// Returns why the body is incomplete, if it was cut: the app's error if there is one.
    pub(crate) fn take_error(&mut self) -> Option<BoxError> {
        let cut = self.cut?;
        Some(self.error.take().unwrap_or_else(|| cut.reason().into()))
    }
}

impl Inner {
    pub(crate) fn new() -> Arc<Inner> {
        Arc::new(Inner {
            state: Mutex::default(),
            writers: AtomicUsize::new(0),
            room: Arc::default(),
            events: SharedEmitter::default(),
        })
    }

    /// Closes the stream, unless it is closed already. `cause`: why the body is incomplete; without one it is if something is
    /// unsent.
    pub(crate) fn close(self: &Arc<Inner>, cause: Option<Cut>) {
        self.close_with(cause, None);
    }

    fn close_with(self: &Arc<Inner>, cause: Option<Cut>, error: Option<BoxError>) {
        let mut state = self.state.lock();
        // A stream that has ended needs no writer any more.
        if state.phase == Phase::Closed || cause == Some(Cut::Abandoned) && state.phase == Phase::Ended {
            drop(state);
            return drop_each(error);
        }
        state.phase = Phase::Closed;
        state.error = error;
        let pieces = std::mem::take(&mut state.pieces);
        state.unsent = 0;
        state.cut = cause.or((!pieces.is_empty()).then_some(Cut::Closed));
        let reader = state.reader.take();
        drop(state);
        drop(pieces);
        wake(reader);
        self.room.notify_waiters();
        self.emit(CLOSE);
    }

    /// `bytes` more bytes of the body are in the client's socket.
    pub(crate) fn sent(self: &Arc<Inner>, bytes: usize) {
        let mut state = self.state.lock();
        state.unsent = state.unsent.saturating_sub(bytes);
        if state.unsent >= SOFT_LIMIT {
            return;
        }
        let drained = std::mem::take(&mut state.wants_drain) && state.phase == Phase::Open;
        drop(state);
        self.room.notify_waiters();
        if drained {
            self.emit(DRAIN);
        }
    }

    /// The server begins to end while it sends this.
    pub(crate) fn shut_down(self: &Arc<Inner>) {
        if self.state.lock().phase == Phase::Open {
            self.emit(SHUTDOWN);
        }
    }

    fn emit(self: &Arc<Inner>, event: u8) {
        let (writer, failed) =
            (BodyWriter::of(self), |event: &u8, error| trace::listener_failed(EVENTS.name(*event), error));
        match event {
            CLOSE => self.events.emit_last(event, writer, failed),
            _ => self.events.emit(event, writer, failed),
        }
    }
}

impl BodyWriter {
    pub(crate) fn of(inner: &Arc<Inner>) -> BodyWriter {
        inner.writers.fetch_add(1, Ordering::Relaxed);
        BodyWriter { inner: inner.clone(), waiting: None }
    }

    /// Adds bytes to the body. Returns `true` if fewer than 64 KiB (the soft limit) are unsent.
    /// Otherwise it accepts the bytes and returns `false`: wait for `drain` before the next write.
    /// After the end of the body it returns `false` and drops the bytes.
    ///
    /// Bytes that are written before the response is sent are buffered. The hard limit is 4 MiB of
    /// unsent bytes. A write at or above the hard limit closes the stream and cuts off the body.
    /// The server's `error` event reports this.
    pub fn write(&self, bytes: impl AsRef<[u8]>) -> bool {
        self.accept(bytes.as_ref()).unwrap_or(false)
    }

    /// Adds bytes to the body. Returns whether there is room for more, or `None` if the bytes were
    /// not accepted.
    pub(super) fn accept(&self, bytes: &[u8]) -> Option<bool> {
        let mut state = self.inner.state.lock();
        if state.phase != Phase::Open {
            return None;
        }
        if state.unsent >= HARD_LIMIT {
            drop(state);
            self.inner.close(Some(Cut::TooMuchUnsent));
            return None;
        }
        state.push(bytes);
        let room = state.unsent < SOFT_LIMIT;
        state.wants_drain |= !room;
        let reader = state.reader.take();
        drop(state);
        wake(reader);
        Some(room)
    }

    /// Waits until fewer than 64 KiB are unsent, then [writes](BodyWriter::write) the bytes.
    /// Returns `false` if the body has ended or the stream is closed.
    pub async fn send(&self, bytes: impl AsRef<[u8]>) -> bool {
        self.wait_until(State::has_room).await;
        self.write(bytes);
        self.is_writable()
    }

    /// Waits until the body has ended or the stream is closed.
    pub(super) async fn over(&self) {
        self.wait_until(|state| state.phase != Phase::Open).await;
    }

    async fn wait_until(&self, is_reached: fn(&State) -> bool) {
        loop {
            let mut changed = pin!(self.inner.room.notified());
            changed.as_mut().enable();
            if is_reached(&self.inner.state.lock()) {
                return;
            }
            changed.await;
        }
    }

    /// Completes the body. The unsent bytes are still sent, and further writes return `false`.
    pub fn end(&self) {
        let mut state = self.inner.state.lock();
        if state.phase == Phase::Open {
            state.phase = Phase::Ended;
        }
        let reader = state.reader.take();
        drop(state);
        wake(reader);
        self.inner.room.notify_waiters();
    }

    /// Writes a last piece and [ends](BodyWriter::end) the body.
    pub fn end_with(&self, bytes: impl AsRef<[u8]>) {
        self.write(bytes);
        self.end();
    }

    /// Cuts off the body: drops the unsent bytes and closes the connection, so that the client
    /// notices that the body is incomplete. `close` fires.
    ///
    /// If the stream is closed before its response is sent, and has no unsent bytes, the body is
    /// empty, as in ReactPHP.
    pub fn close(&self) {
        self.inner.close(None);
    }

    /// Cuts off the body, like [`close`](BodyWriter::close), because its source has failed. The
    /// server's `error` event has the error.
    pub fn fail(&self, error: impl Into<BoxError>) {
        self.inner.close_with(Some(Cut::Failed), Some(error.into()));
    }

    /// Returns whether [`write`](BodyWriter::write) still accepts bytes.
    pub fn is_writable(&self) -> bool {
        self.inner.state.lock().phase == Phase::Open
    }

    /// Ready when there is room, or there will never be any.
    pub(super) fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            if self.inner.state.lock().has_room() {
                self.waiting = None;
                return Poll::Ready(());
            }
            match &mut self.waiting {
                Some(changed) => {
                    ready!(changed.as_mut().poll(cx));
                    self.waiting = None;
                }
                // There may be room by now, so this is looked at once more.
                waiting => *waiting = Some(Box::pin(self.inner.room.clone().notified_owned())),
            }
        }
    }

    /// Returns the number of unsent bytes: accepted by `write`, but not yet in the kernel. Returns
    /// 0 if the stream is closed.
    pub fn buffered_amount(&self) -> usize {
        self.inner.state.lock().unsent
    }
}

impl Clone for BodyWriter {
    fn clone(&self) -> BodyWriter {
        BodyWriter::of(&self.inner)
    }
}

impl Drop for BodyWriter {
    fn drop(&mut self) {
        if self.inner.writers.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.inner.close(Some(Cut::Abandoned));
        }
    }
}

impl fmt::Debug for BodyWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("BodyWriter").field(&self.inner).finish()
    }
}

impl fmt::Debug for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.state.lock();
        f.debug_struct("BodyStream").field("phase", &state.phase).field("unsent", &state.unsent).finish_non_exhaustive()
    }
}

fn wake(reader: Option<Waker>) {
    if let Some(reader) = reader {
        reader.wake();
    }
}
