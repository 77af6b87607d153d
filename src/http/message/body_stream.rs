use std::collections::VecDeque;
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;
use std::task::{Context, Poll};

use super::body_writer::{BodyWriter, Cut, Inner, Phase};
use crate::emitter::BoxError;

/// A response body that is written while it is sent: for server-sent events, downloads, and other
/// long responses. It corresponds to a `ThroughStream` as a body in ReactPHP.
///
/// [`with_body`](crate::Response::with_body) makes the stream the body of one response. Before that
/// call the stream has all methods of a [`BodyWriter`]. To write after that call, first get a
/// [`writer`](BodyStream::writer).
///
/// On HTTP/1.1 the body is sent `chunked`, or without a coding if the app has set `Content-Length`.
/// If the body has another length, the connection ends, and the server emits `error`.
/// For an HTTP/1.0 client the body ends with the connection. If the body is cut off, the connection
/// ends with a TCP reset, so that the body does not look complete (RFC 9112 §8). A Unix socket has
/// no reset: there an HTTP/1.0 client cannot notice that the body is incomplete.
///
/// Listeners are `||`, or `|writer: &BodyWriter|`:
///
/// | Event | Fires |
/// |---|---|
/// | `drain` | each time the unsent bytes have fallen below 64 KiB after a [`write`](BodyWriter::write) returned `false` |
/// | `shutdown` | once, when the server begins to shut down while this body is being sent; a body that does not end within [`shutdown_grace`](crate::HttpOptions::shutdown_grace) is cut off |
/// | `close` | exactly once, last: the body was sent to its end; the client disconnected; [`close`](BodyWriter::close) was called; the last writer was dropped; or the stream or its response was dropped without being sent |
///
/// `close` fires for every end of a request. In its listener, stop the timer or task that writes to
/// the stream:
///
/// ```
/// use react_websocket::body::BodyWriter;
/// use react_websocket::{BodyStream, Loop, Response};
///
/// # let _router =
/// |_request: react_websocket::ServerRequest| {
///     let events = BodyStream::new();
///     let writer = events.writer();
///     let timer = Loop::add_periodic_timer(1.0, move || writer.write("data: tick\n\n"));
///     events.on("shutdown", |events: &BodyWriter| events.end_with("data: goodbye\n\n"));
///     events.on("close", move || Loop::cancel_timer(timer));
///     Response::new(200).with_header("Content-Type", "text/event-stream").with_body(events)
/// };
/// ```
///
/// Asynchronous code can use [`send`](BodyWriter::send) instead of listening to `drain`:
///
/// ```
/// use react_websocket::{BodyStream, Response};
///
/// # let _router =
/// |_request: react_websocket::ServerRequest| {
///     let download = BodyStream::new();
///     let writer = download.writer();
///     tokio::spawn(async move {
///         for _ in 0..1_000 {
///             if !writer.send([0; 10_000]).await {
///                 return;
///             }
///         }
///         writer.end();
///     });
///     Response::new(200).with_body(download)
/// };
/// ```
///
/// A stream is the body of only one response. The compiler checks this:
///
/// ```compile_fail
/// # use react_websocket::{BodyStream, Response};
/// let stream = BodyStream::new();
/// Response::new(200).with_body(stream.writer());
/// Response::new(200).with_body(stream);
/// ```
pub struct BodyStream {
    // Dropped before the writer. A stream that never became a body was not cut, but is of no use
    // any more.
    reader: BodyReader,
    writer: BodyWriter,
}

impl BodyStream {
    /// Creates a stream. Bytes that are written before the response is sent are buffered.
    pub fn new() -> BodyStream {
        let inner = Inner::new();
        let writer = BodyWriter::of(&inner);
        BodyStream { reader: BodyReader { inner, has_begun: false }, writer }
    }

    /// Returns another writer of this stream, for code that writes while the body is sent.
    pub fn writer(&self) -> BodyWriter {
        self.writer.clone()
    }
}

impl Deref for BodyStream {
    type Target = BodyWriter;

    fn deref(&self) -> &BodyWriter {
        &self.writer
    }
}

impl Default for BodyStream {
    fn default() -> Self {
        BodyStream::new()
    }
}

impl fmt::Debug for BodyStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.reader.fmt(f)
    }
}

/// The reading half for the connection. Dropping it closes the stream in any case.
pub(crate) struct BodyReader {
    inner: Arc<Inner>,
    /// The connection has asked for the first piece.
    has_begun: bool,
}

/// The next part of the body.
pub(crate) enum Piece {
    Bytes(VecDeque<Vec<u8>>),
    /// The body is complete.
    End,
    /// The body is incomplete, and nothing follows.
    Cut(Cut),
}

impl BodyReader {
    pub(crate) fn new(stream: BodyStream) -> BodyReader {
        stream.reader
    }

    /// Returns why the body is incomplete, if it was cut.
    pub(crate) fn take_error(&self) -> Option<BoxError> {
        self.inner.state.lock().take_error()
    }

    /// Returns the next piece for the connection to send.
    pub(crate) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Piece> {
        let had_begun = std::mem::replace(&mut self.has_begun, true);
        let mut state = self.inner.state.lock();
        match (state.phase, state.cut) {
            (Phase::Closed, Some(cut)) => Poll::Ready(Piece::Cut(cut)),
            (Phase::Closed, None) if had_begun => Poll::Ready(Piece::Cut(Cut::Closed)),
            // A stream that was closed before it was sent is an empty body.
            (Phase::Closed, None) => Poll::Ready(Piece::End),
            _ if !state.pieces.is_empty() => Poll::Ready(Piece::Bytes(std::mem::take(&mut state.pieces))),
            (Phase::Ended, _) => Poll::Ready(Piece::End),
            (Phase::Open, _) => {
                state.reader = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }

    /// Ready when [`poll_next`](BodyReader::poll_next) is.
    pub(crate) fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.inner.state.lock();
        if state.phase == Phase::Open && state.pieces.is_empty() {
            state.reader = Some(cx.waker().clone());
            return Poll::Pending;
        }
        Poll::Ready(())
    }

    /// `bytes` more bytes of the body are in the client's socket.
    pub(crate) fn sent(&mut self, bytes: usize) {
        self.inner.sent(bytes);
    }

    /// The stream, for what concerns it while the connection reads it.
    pub(crate) fn stream(&self) -> Arc<Inner> {
        self.inner.clone()
    }
}

impl Drop for BodyReader {
    fn drop(&mut self) {
        self.inner.close(None);
    }
}

impl fmt::Debug for BodyReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}
