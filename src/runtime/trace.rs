//! The spans and events of `tracing`. Without that feature only errors of the app that no listener
//! gets are reported, on stderr, as panics are.
//!
//! A peer can cause at most [`LINES`] lines a second of one kind, so that it cannot fill a disk.
//! The next line contains the number of omitted lines.

use std::error::Error;
use std::fmt::{self, Display};
#[cfg(not(feature = "tracing"))]
use std::io::Write;
use std::net::SocketAddr;
use std::ops::Deref;

use crate::emitter::{contain, drop_each, report};
use crate::runtime::clock::Coarse;

/// Maximum number of lines of a kind per second.
const LINES: u32 = 10;

/// Reports an error of the app. Its line on stderr explains how to handle it otherwise.
#[cfg(not(feature = "tracing"))]
macro_rules! limited {
    ($($line:tt)+) => {{
        crate::sync::global! { static LIMIT: Limit = Limit::new(); }
        if let Some(left_out) = LIMIT.admit(Coarse::now().seconds()) {
            let left_out = if left_out > 0 { format!(" ({left_out} such lines were omitted)") } else { String::new() };
            // Formatted before stderr is locked, since this calls code of the app.
            let line = format!("react-websocket: {}{left_out}\n", format_args!($($line)+));
            // A program that has closed stderr gets no report.
            let _ = std::io::stderr().write_all(line.as_bytes());
        }
    }};
}

#[cfg(feature = "tracing")]
macro_rules! limited {
    ($level:ident, $($line:tt)+) => {{
        crate::sync::global! { static LIMIT: Limit = Limit::new(); }
        if let Some(left_out) = LIMIT.admit(Coarse::now().seconds()) {
            tracing::$level!(target: "react_websocket", left_out = (left_out > 0).then_some(left_out), $($line)+);
        }
    }};
}

/// Reports a failure: an error if the app is the cause, information if the peer is. Without the
/// feature `tracing` it only reports failures of the app that no listener gets, by a line that
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

/// A connection was refused.
pub(crate) fn connection_refused(cause: &'static str, remote: Option<SocketAddr>) {
    #[cfg(feature = "tracing")]
    limited!(warn, cause, remote = remote.map(tracing::field::display), "connection refused");
    #[cfg(not(feature = "tracing"))]
    let _ = (cause, remote);
}

/// A request failed. `by_app`: the client is not the cause. `is_heard`: listeners get it.
pub(crate) fn request_failed(cause: &'static str, error: &(dyn Error + 'static), by_app: bool, is_heard: bool) {
    failed!(cause, error, by_app, is_heard, "request failed", "request refused", "the server's `error` event");
}

/// A handshake was refused. `by_app`: the client is not the cause. Returns whether it was reported.
pub(crate) fn handshake_failed(cause: &'static str, error: &(dyn Error + 'static), by_app: bool) -> bool {
    failed!(cause, error, by_app, true, "handshake failed", "handshake refused", "the middleware's `error` event");
    cfg!(feature = "tracing")
}

/// The handshake of a web page of this machine was refused for its origin. Whoever wrote the page
/// probably wrote the app, and looks for the reason.
pub(crate) fn local_page_refused(error: &(dyn Error + 'static)) {
    #[cfg(not(feature = "tracing"))]
    limited!("handshake refused: {}", Words(error));
    #[cfg(feature = "tracing")]
    let _ = error;
}

/// A request looked like a handshake, but had lost the upgrade, and was passed on.
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

/// A connection failed. `by_app`: the peer is not the cause. `is_heard`: a listener of `error` gets
/// it.
pub(crate) fn connection_failed(cause: &'static str, error: &(dyn Error + 'static), by_app: bool, is_heard: bool) {
    failed!(cause, error, by_app, is_heard, "connection failed", "connection failed", "the connection's `error` event");
}

/// A connection has ended. Logged at the level `debug`, for each connection.
pub(crate) fn connection_closed(cause: &'static str, code: u16, reason: &str) {
    #[cfg(feature = "tracing")]
    tracing::debug!(target: "react_websocket", cause, code, reason = ?reason, "connection closed");
    #[cfg(not(feature = "tracing"))]
    let _ = (cause, code, reason);
}

/// Listeners have occupied their thread for too long.
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
pub(crate) fn callback_failed(error: &(dyn Error + 'static)) {
    let error = Words(error);
    #[cfg(feature = "tracing")]
    limited!(error, %error, "a callback of the loop failed");
    #[cfg(not(feature = "tracing"))]
    limited!("a callback of the loop failed: {error}");
}

/// A listener has returned an error or has panicked, and no other event reports it.
pub(crate) fn listener_failed(event: &str, error: impl Deref<Target = dyn Error + Send + Sync>) {
    #[cfg(feature = "tracing")]
    limited!(error, event, error = %Words(&*error), "a listener failed");
    #[cfg(not(feature = "tracing"))]
    limited!("a listener of `{event}` failed: {}", Words(&*error));
    drop_each([error]);
}

/// Runs a future in a span for its connection.
#[cfg(feature = "tracing")]
pub(crate) fn in_connection<F: Future>(remote: Option<SocketAddr>, future: F) -> impl Future<Output = F::Output> {
    use tracing::Instrument;
    let remote = remote.map(tracing::field::display);
    future.instrument(tracing::info_span!(target: "react_websocket", "connection", remote))
}

/// Runs a future in a span for its WebSocket, within the span of the connection.
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

/// An error and its causes in words. An app's error may panic when it is formatted.
struct Words<'a>(&'a (dyn Error + 'static));

impl Display for Words<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words = contain(|| Ok(report(self.0).to_string()));
        f.write_str(words.as_deref().unwrap_or("an error that panics when it is put in words"))
    }
}

/// Counts the recent lines of a kind.
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

    /// Returns the number of lines that were omitted since the last one. `None` if this second has
    /// no room for another line.
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
