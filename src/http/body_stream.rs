use std::collections::VecDeque;
use std::fmt;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::emitter::{EventNames, Listeners, Turnstile, listener_methods};

const EVENTS: EventNames = EventNames {
    object: "a BodyStream",
    names: &["drain", "close"],
    aliases: &[],
    hints: &[(&["end", "finish"], "listen to \"close\": it fires once, whether all was sent or not")],
};
const DRAIN: u8 = 0;
const CLOSE: u8 = 1;

/// From so many unsent bytes on, `write` answers `false`: ReactPHP's figure, and what one read of a client takes.
const SOFT_LIMIT: usize = 64 * 1024;

/// With so many unsent bytes, the app does not heed `false`; the response is cut before memory is.
pub(super) const HARD_LIMIT: usize = 4 << 20;

/// Up to this size writes share a piece, so that many small ones cost little more memory than their bytes.
const PIECE: usize = 16 * 1024;

/// A response body that is written while it is sent: server-sent events, downloads, anything that takes time. What a
/// `ThroughStream` is as a body in ReactPHP.
///
/// Clones are the same stream, and any thread may write. On HTTP/1.1 it is sent `chunked`, or as it is if the app has set
/// `Content-Length`; to an HTTP/1.0 client it ends with the connection.
///
/// | Event | Fires |
/// |---|---|
/// | `drain` | each time the unsent bytes have fallen below 64 KiB after a [`write`](BodyStream::write) returned `false` |
/// | `close` | exactly once, last: the body was sent to its end, the client left, or [`close`](BodyStream::close) was called |
///
/// ```
/// use react_websocket::{BodyStream, Response};
/// use std::time::Duration;
///
/// # let _router =
/// |_request: react_websocket::ServerRequest| {
///     let events = BodyStream::new();
///     let writer = events.clone();
///     tokio::spawn(async move {
///         while writer.send("data: tick\n\n").await {
///             tokio::time::sleep(Duration::from_secs(1)).await;
///         }
///     });
///     Response::new(200).with_header("Content-Type", "text/event-stream").with_body(events)
/// };
/// ```
#[derive(Clone)]
pub struct BodyStream {
    inner: Arc<Inner>,
}

struct Inner {
    state: Mutex<State>,
    /// Told when there is room again, or nothing more is written. Changes of the state come first.
    room: Notify,
    listeners: Listeners<u8, ()>,
    turnstile: Turnstile<u8>,
}

#[derive(Default)]
struct State {
    pieces: VecDeque<Vec<u8>>,
    /// Bytes accepted and not yet in the client's socket.
    unsent: usize,
    phase: Phase,
    /// It was closed with something unsent.
    is_cut: bool,
    /// A write was answered `false`.
    wants_drain: bool,
    /// The connection that sends the body.
    reader: Option<Waker>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Phase {
    #[default]
    Open,
    /// Nothing more is written; what is there is still to be sent.
    Ended,
    Closed,
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

    /// Whether nobody has to wait to write, be it in vain.
    fn has_room(&self) -> bool {
        self.phase != Phase::Open || self.unsent < SOFT_LIMIT
    }
}

impl BodyStream {
    /// A stream that can be written at once. What is written before the response is under way waits.
    pub fn new() -> BodyStream {
        let inner = Inner {
            state: Mutex::default(),
            room: Notify::new(),
            listeners: Listeners::default(),
            turnstile: Turnstile::default(),
        };
        BodyStream { inner: Arc::new(inner) }
    }

    /// Adds bytes to the body. `true` while fewer than 64 KiB are unsent; `false` from there on (they are accepted all the
    /// same; stop until `drain`), and after the end (they are dropped).
    ///
    /// Past 4 MiB unsent the stream closes: its client would get a body with a hole.
    pub fn write(&self, bytes: impl AsRef<[u8]>) -> bool {
        let bytes = bytes.as_ref();
        let mut state = self.inner.state.lock();
        if state.phase != Phase::Open {
            return false;
        }
        if state.unsent >= HARD_LIMIT {
            drop(state);
            self.close();
            return false;
        }
        state.push(bytes);
        let room = state.unsent < SOFT_LIMIT;
        state.wants_drain |= !room;
        let reader = state.reader.take();
        drop(state);
        wake(reader);
        room
    }

    /// Waits until there is room, then [writes](BodyStream::write). `false` if the stream is over.
    pub async fn send(&self, bytes: impl AsRef<[u8]>) -> bool {
        loop {
            let mut room = pin!(self.inner.room.notified());
            room.as_mut().enable();
            if self.inner.state.lock().has_room() {
                break;
            }
            room.await;
        }
        self.write(bytes);
        self.is_writable()
    }

    /// Says that nothing more comes. What was written is still sent.
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

    /// Writes a last piece and [ends](BodyStream::end).
    pub fn end_with(&self, bytes: impl AsRef<[u8]>) {
        self.write(bytes);
        self.end();
    }

    /// Stops here: what is unsent is dropped and, as the client has to see that something is missing, its connection is
    /// closed.
    pub fn close(&self) {
        let mut state = self.inner.state.lock();
        if state.phase == Phase::Closed {
            return;
        }
        state.phase = Phase::Closed;
        let pieces = std::mem::take(&mut state.pieces);
        state.is_cut = !pieces.is_empty();
        let reader = state.reader.take();
        drop(state);
        drop(pieces);
        wake(reader);
        self.inner.room.notify_waiters();
        self.emit(CLOSE);
    }

    /// Whether [`write`](BodyStream::write) still takes anything.
    pub fn is_writable(&self) -> bool {
        self.inner.state.lock().phase == Phase::Open
    }

    /// Bytes written and not yet in the client's socket.
    pub fn buffered_amount(&self) -> usize {
        self.inner.state.lock().unsent
    }

    fn emit(&self, event: u8) {
        self.inner.turnstile.push(event);
        self.inner.turnstile.pass(|event| {
            self.inner.listeners.emit(&event, &(), |_| {});
            if event == CLOSE {
                self.inner.listeners.remove_all(None);
            }
        });
    }
}

/// # Listeners
///
/// The events are `drain` and `close`. On a stream that is closed already, `close` does not fire again.
impl BodyStream {
    listener_methods! { EVENTS, FnMut(), |listener, _nothing: &()| listener(), |stream| Some(&stream.inner.listeners) }
}

impl Default for BodyStream {
    fn default() -> Self {
        BodyStream::new()
    }
}

impl fmt::Debug for BodyStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.inner.state.lock();
        f.debug_struct("BodyStream").field("phase", &state.phase).field("unsent", &state.unsent).finish()
    }
}

/// The end that the connection reads. Dropping it closes the stream, whatever the reason.
#[derive(Debug)]
pub(super) struct BodyReader(BodyStream);

/// What there is to send.
pub(super) enum Piece {
    Bytes(VecDeque<Vec<u8>>),
    /// The body is complete.
    End,
    /// The app has cut it short.
    Cut,
}

impl BodyReader {
    pub(super) fn new(stream: BodyStream) -> BodyReader {
        BodyReader(stream)
    }

    /// Whether there is nothing to send any more, because the app has closed the stream.
    pub(super) fn is_closed(&self) -> bool {
        self.0.inner.state.lock().phase == Phase::Closed
    }

    /// Whether the app has closed the stream with something unsent.
    pub(super) fn is_cut(&self) -> bool {
        self.0.inner.state.lock().is_cut
    }

    pub(super) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Piece> {
        let mut state = self.0.inner.state.lock();
        match state.phase {
            Phase::Closed => Poll::Ready(Piece::Cut),
            _ if !state.pieces.is_empty() => Poll::Ready(Piece::Bytes(std::mem::take(&mut state.pieces))),
            Phase::Ended => Poll::Ready(Piece::End),
            Phase::Open => {
                state.reader = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }

    /// Ready when [`poll_next`](BodyReader::poll_next) is.
    pub(super) fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.0.inner.state.lock();
        if state.phase == Phase::Open && state.pieces.is_empty() {
            state.reader = Some(cx.waker().clone());
            return Poll::Pending;
        }
        Poll::Ready(())
    }

    /// So many bytes of the body are in the socket now.
    pub(super) fn sent(&mut self, bytes: usize) {
        let mut state = self.0.inner.state.lock();
        state.unsent = state.unsent.saturating_sub(bytes);
        if state.unsent >= SOFT_LIMIT {
            return;
        }
        let drained = std::mem::take(&mut state.wants_drain) && state.phase == Phase::Open;
        drop(state);
        self.0.inner.room.notify_waiters();
        if drained {
            self.0.emit(DRAIN);
        }
    }
}

impl Drop for BodyReader {
    fn drop(&mut self) {
        self.0.close();
    }
}

fn wake(reader: Option<Waker>) {
    if let Some(reader) = reader {
        reader.wake();
    }
}
