//! Sends the counters of a server to each page that is open.
//!
//! # Protocol
//!
//! The server sends JSON objects in text messages. A page sends nothing.
//!
//! * `{"type": "start", "interval": 1000, "stats": {…}}` is the first message. `interval` is the time between two
//!   messages in milliseconds.
//! * `{"type": "stats", "stats": {…}}` follows after each interval.
//!
//! `stats` contains the counters since the start of the server, and `time`, the milliseconds since then. A page computes
//! each rate from two messages: the difference of the counters, divided by the difference of the times. So a page that
//! misses a message still computes the right rate.

use std::sync::Arc;
use std::time::Duration;

use react_websocket::options::SlowMemberPolicy;
use react_websocket::{
    GroupManager, HttpServer, Loop, Response, Timer, WebSocketConnection, WebSocketMiddleware, WebSocketOptions,
};
use serde_json::{Value, json};
use tokio::time::Instant;

/// Time between two messages.
pub const INTERVAL: Duration = Duration::from_secs(1);

/// Maximum number of pages.
pub const PAGES: usize = 100;

/// A page is slow if this number of bytes is unsent. Then it gets only the latest message.
pub const SOFT_LIMIT: usize = 4 * 1024;

/// The objects whose counters are sent.
pub struct Watched {
    pub http: HttpServer,
    pub websocket: WebSocketMiddleware,
    pub groups: GroupManager,
    pub start: Instant,
}

/// The endpoint of the pages. The counters can reveal a lot about an app: on a public address this endpoint needs a
/// login, for example [`WebSocketMiddleware::with_verify`].
pub fn endpoint(path: &str) -> WebSocketMiddleware {
    let options = WebSocketOptions::new().max_message_size(0).write_buffer_soft_limit(SOFT_LIMIT);
    WebSocketMiddleware::new().with_path(path).with_options(options)
}

/// Begins to feed the pages. The chain of the watched server may contain the endpoint. Server and endpoint then keep each
/// other, so they live as long as the process.
///
/// All pages are members of one group. Its timer ends with the group, so nothing runs while no page is open. Each message
/// is encoded once for all pages.
pub fn feed(endpoint: &WebSocketMiddleware, watched: Watched) {
    let (watched, pages) = (Arc::new(watched), GroupManager::new());
    pages.on("create", {
        let watched = watched.clone();
        move |group| {
            group.set_slow_member_policy(SlowMemberPolicy::KeepLatest);
            let watched = watched.clone();
            Loop::add_periodic_timer(INTERVAL, move |timer: Timer| match group.is_empty() {
                true => Loop::cancel_timer(timer),
                false => group.write(json!({"type": "stats", "stats": watched.stats()}).to_string()),
            });
        }
    });
    endpoint.on("connection", move |page: WebSocketConnection| {
        if pages.get("pages").is_some_and(|group| group.len() >= PAGES) {
            page.reject(Response::plaintext("too many pages").with_status(503));
            return Ok(());
        }
        let interval = INTERVAL.as_millis() as u64;
        page.write(json!({"type": "start", "interval": interval, "stats": watched.stats()}).to_string());
        pages.join("pages", page).map(drop)
    });
}

impl Watched {
    fn stats(&self) -> Value {
        let (http, websocket, groups) = (self.http.stats(), self.websocket.stats(), self.groups.stats());
        json!({
            "time": self.start.elapsed().as_millis() as u64,
            "http": {
                "open": http.open, "pending": http.pending, "accepted": http.accepted, "refused": http.refused,
                "requests": http.requests, "errors": http.errors,
            },
            "websocket": {
                "open": websocket.open, "unsent": websocket.unsent, "accepted": websocket.accepted,
                "refused": websocket.refused, "not_upgraded": websocket.not_upgraded, "closed": websocket.closed,
                "messages_in": websocket.messages_in, "messages_out": websocket.messages_out,
                "bytes_in": websocket.bytes_in, "bytes_out": websocket.bytes_out, "dropped": websocket.dropped,
                "slow_listeners": websocket.slow_listeners, "stuck_listeners": websocket.stuck_listeners,
            },
            "groups": {
                "open": groups.open, "members": groups.joined.saturating_sub(groups.left),
                "created": groups.created, "joined": groups.joined, "left": groups.left,
            },
        })
    }
}
