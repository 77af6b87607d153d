//! What an operator reads: spans and events of `tracing`. Without that feature only faults of the app that no listener takes are
//! reported, on stderr, as panics are.
//!
//! A line that a peer can cause comes at most [`LINES`] times a second, so that no peer can fill a disk. The next line says how many
//! were left out.

use std::fmt::{self, Display};
#[cfg(not(feature = "tracing"))]
use std::io::Write;
use std::net::SocketAddr;

use crate::emitter::drop_each;
use crate::runtime::clock::Coarse;

/// Lines of a kind in a second.
const LINES: u32 = 10;

/// What a fault of the app is: its line on stderr says how to learn of it otherwise.
#[cfg(not(feature = "tracing"))]
macro_rules! limited {
    ($($line:tt)+) => {{
        static LIMIT: Limit = Limit::new();
        if let Some(left_out) = LIMIT.admit(Coarse::now().seconds()) {
            let left_out = if left_out > 0 { format!(" ({left_out} such lines were left out)") } else { String::new() };
            // Before stderr is locked: an app's error is asked for its words here.
            let line = format!("react-websocket: {}{left_out}\n", format_args!($($line)+));
            // A program that has closed it does not want to know.
            let _ = std::io::stderr().write_all(line.as_bytes());
        }
    }};
}

#[cfg(feature = "tracing")]
macro_rules! limited {
    ($level:ident, $($line:tt)+) => {{
        static LIMIT: Limit = Limit::new();
        if let Some(left_out) = LIMIT.admit(Coarse::now().seconds()) {
            tracing::$level!(target: "react_websocket", left_out = (left_out > 0).then_some(left_out), $($line)+);
        }
    }};
}

/// A failure: an error if the app is at fault, information if the peer is. Without the feature
/// `tracing` only failures of the app that no listener is called with are reported, by a line that
/// names the event to listen to.
macro_rules! failed {
    ($cause:expr, $error:expr, $by_app:expr, $is_heard:expr, $by_app_is:literal, $by_peer_is:literal, $event:literal) => {{
        let (cause, error, by_app, is_heard) = ($cause, Words($error), $by_app, $is_heard);
        #[cfg(feature = "tracing")]
        {
            let _ = is_heard;
            if by_app {
                limited!(error, cause, %error, $by_app_is);
            } else {
                limited!(info, cause, %error, $by_peer_is);
            }
        }
        #[cfg(not(feature = "tracing"))]
        {
            let _ = cause;
            if by_app && !is_heard {
                limited!("{}: {error}; handle it in a listener of {}", $by_app_is, $event);
            }
        }
    }};
}

/// A connection was not taken.
pub(crate) fn connection_refused(cause: &'static str, remote: Option<SocketAddr>) {
    #[cfg(feature = "tracing")]
    limited!(warn, cause, remote = remote.map(tracing::field::display), "connection refused");
    #[cfg(not(feature = "tracing"))]
    let _ = (cause, remote);
}

/// A request got an error page, or none. `by_app`: it is not the client's fault. `is_heard`: listeners are called with it.
pub(crate) fn request_failed(cause: &'static str, error: &dyn Display, by_app: bool, is_heard: bool) {
    failed!(cause, error, by_app, is_heard, "request failed", "request refused", "the server's `error` event");
}

/// A handshake was refused. `by_app`: it is not the client's fault. Returns whether it was reported.
pub(crate) fn handshake_failed(cause: &'static str, error: &dyn Display, by_app: bool) -> bool {
    failed!(cause, error, by_app, true, "handshake failed", "handshake refused", "the middleware's `error` event");
    cfg!(feature = "tracing")
}

/// A request looked like a handshake, was not an upgrade any more, and was passed on.
pub(crate) fn not_upgraded(cause: &'static str, remote: Option<SocketAddr>) {
    #[cfg(feature = "tracing")]
    limited!(
        warn,
        cause,
        remote = remote.map(tracing::field::display),
        "WebSocket request without an upgrade: a proxy has to pass on `Upgrade` and `Connection: upgrade` in HTTP/1.1"
    );
    #[cfg(not(feature = "tracing"))]
    let _ = (cause, remote);
}

/// A connection has a fault. `by_app`: it is not the peer's. `is_heard`: a listener of `error` learns of it.
pub(crate) fn connection_failed(cause: &'static str, error: &dyn Display, by_app: bool, is_heard: bool) {
    failed!(cause, error, by_app, is_heard, "connection failed", "connection failed", "the connection's `error` event");
}

/// A connection has ended. Logged at the level `debug`, for each connection.
pub(crate) fn connection_closed(cause: &'static str, code: u16, reason: &str) {
    #[cfg(feature = "tracing")]
    tracing::debug!(target: "react_websocket", cause, code, reason = ?reason, "connection closed");
    #[cfg(not(feature = "tracing"))]
    let _ = (cause, code, reason);
}

/// Listeners have kept their thread too long.
pub(crate) fn slow_listener() {
    #[cfg(feature = "tracing")]
    limited!(warn, "a listener has kept its thread for longer than slow_listener_warning");
}

/// A listener does not return.
pub(crate) fn stuck_listener(event: &'static str, connection: u64) {
    #[cfg(feature = "tracing")]
    limited!(error, event, connection, "a listener has not returned for a second, and its thread serves nobody else");
    #[cfg(not(feature = "tracing"))]
    limited!(
        "a listener of `{event}`, of connection {connection}, has not returned for a second, and its thread serves nobody else"
    );
}

/// A callback of the loop has returned an error.
pub(crate) fn callback_failed(error: &dyn Display) {
    let error = Words(error);
    #[cfg(feature = "tracing")]
    limited!(error, %error, "a callback of the loop failed");
    #[cfg(not(feature = "tracing"))]
    limited!("a callback of the loop failed: {error}");
}

/// A listener has returned an error or has panicked, and no other event reports it.
pub(crate) fn listener_failed(event: &str, error: impl Display) {
    #[cfg(feature = "tracing")]
    limited!(error, event, error = %Words(&error), "a listener failed");
    #[cfg(not(feature = "tracing"))]
    limited!("a listener of `{event}` failed: {}", Words(&error));
    drop_each([error]);
}

/// Has a future run in a span for its connection.
#[cfg(feature = "tracing")]
pub(crate) fn in_connection<F: Future>(remote: Option<SocketAddr>, future: F) -> impl Future<Output = F::Output> {
    use tracing::Instrument;
    let remote = remote.map(tracing::field::display);
    future.instrument(tracing::info_span!(target: "react_websocket", "connection", remote))
}

/// Has a future run in a span for its WebSocket, within that of the connection.
#[cfg(feature = "tracing")]
pub(crate) fn in_websocket<F: Future>(id: u64, future: F) -> impl Future<Output = F::Output> {
    use tracing::Instrument;
    let span = tracing::info_span!(target: "react_websocket", "websocket", id);
    span.in_scope(|| tracing::debug!(target: "react_websocket", "connection open"));
    future.instrument(span)
}

#[cfg(not(feature = "tracing"))]
pub(crate) fn in_connection<F: Future>(_remote: Option<SocketAddr>, future: F) -> F {
    future
}

#[cfg(not(feature = "tracing"))]
pub(crate) fn in_websocket<F: Future>(_id: u64, future: F) -> F {
    future
}

/// An error in words. An app's may panic when it is asked for them.
struct Words<'a>(&'a dyn Display);

impl Display for Words<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words = crate::emitter::contain(|| Ok(self.0.to_string()));
        f.write_str(words.as_deref().unwrap_or("an error that panics when it is put in words"))
    }
}

/// How many lines of a kind there were lately.
struct Limit(parking_lot::Mutex<Window>);

struct Window {
    second: u64,
    lines: u32,
    left_out: u64,
}

impl Limit {
    const fn new() -> Limit {
        Limit(parking_lot::Mutex::new(Window { second: 0, lines: 0, left_out: 0 }))
    }

    /// Whether there may be one more line in this second, and how many were left out since the last.
    fn admit(&self, second: u64) -> Option<u64> {
        let mut window = self.0.lock();
        if window.second != second {
            (window.second, window.lines) = (second, 0);
        }
        if window.lines >= LINES {
            window.left_out += 1;
            return None;
        }
        window.lines += 1;
        Some(std::mem::take(&mut window.left_out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_has_ten_lines_of_a_kind_and_the_next_says_how_many_were_left_out() {
        let limit = Limit::new();
        let admitted: Vec<_> = (0..15).map(|_| limit.admit(7)).collect();
        assert_eq!(admitted[..10], [Some(0); 10]);
        assert_eq!(admitted[10..], [None; 5]);
        assert_eq!(limit.admit(8), Some(5));
        assert_eq!(limit.admit(8), Some(0));
    }
}
