pub(crate) mod origin_pattern;
pub(crate) mod origins;
pub(crate) mod site;
pub(crate) mod subprotocol;
pub(crate) mod verify;

use std::sync::Arc;
use std::time::Duration;

use http::header::HeaderName;

use crate::http::{ServerRequest, is_token};
use crate::protocol::{ControlRate, Limits};
use crate::runtime::clock::nanos;
use crate::websocket::options::origins::Origins;
use crate::websocket::options::subprotocol::SubprotocolSelector;

/// How the connections of a [`WebSocketMiddleware`](crate::WebSocketMiddleware) behave: limits, timeouts, and
/// the handshake.
///
/// A setting that takes an `Option` is switched off by `None`.
///
/// ```
/// use react_websocket::{Origins, WebSocketMiddleware, WebSocketOptions};
/// use std::time::Duration;
///
/// let options = WebSocketOptions::new()
///     .max_message_size(64 * 1024)
///     .idle_timeout(Duration::from_secs(300))
///     .origins(Origins::list(["https://example.com"]));
/// let websocket = WebSocketMiddleware::new().with_options(options);
/// ```
#[must_use = "options are for `WebSocketMiddleware::with_options`"]
#[derive(Clone, Debug)]
pub struct WebSocketOptions {
    pub(crate) limits: Limits,
    pub(crate) control_rate: Option<ControlRate>,
    pub(crate) message_rate: Option<u32>,
    pub(crate) auto_pong: bool,
    pub(crate) ping_interval: Option<Duration>,
    pub(crate) pong_timeout: Option<Duration>,
    pub(crate) idle_timeout: Option<Duration>,
    pub(crate) max_lifetime: Option<Duration>,
    pub(crate) close_timeout: Duration,
    pub(crate) write_timeout: Option<Duration>,
    pub(crate) handshake_timeout: Option<Duration>,
    pub(crate) write_buffer_soft_limit: usize,
    pub(crate) write_buffer_hard_limit: usize,
    pub(crate) read_ahead: usize,
    pub(crate) turn_budget: (usize, isize),
    /// Nanoseconds. `u64::MAX` switches it off.
    pub(crate) slow_listener_warning: u64,
    pub(crate) subprotocols: Vec<Arc<str>>,
    pub(crate) select_subprotocol: Option<SubprotocolSelector>,
    pub(crate) require_subprotocol: bool,
    pub(crate) origins: Origins,
    pub(crate) keep_request: bool,
    pub(crate) keep_headers: Vec<HeaderName>,
    pub(crate) max_groups_per_connection: usize,
    pub(crate) max_group_name: usize,
}

impl Default for WebSocketOptions {
    fn default() -> Self {
        WebSocketOptions::new()
    }
}

impl WebSocketOptions {
    /// Returns the defaults. The documentation of each method names its default.
    pub fn new() -> WebSocketOptions {
        WebSocketOptions {
            limits: Limits::default(),
            control_rate: Some(ControlRate::default()),
            message_rate: None,
            auto_pong: true,
            ping_interval: Some(Duration::from_secs(20)),
            pong_timeout: Some(Duration::from_secs(20)),
            idle_timeout: None,
            max_lifetime: None,
            close_timeout: Duration::from_secs(10),
            write_timeout: Some(Duration::from_secs(30)),
            handshake_timeout: Some(Duration::from_secs(10)),
            write_buffer_soft_limit: 64 * 1024,
            write_buffer_hard_limit: 4 << 20,
            read_ahead: 64 * 1024,
            turn_budget: (64, 256 * 1024),
            slow_listener_warning: nanos(Duration::from_millis(100)),
            subprotocols: Vec::new(),
            select_subprotocol: None,
            require_subprotocol: false,
            origins: Origins::same_host(),
            keep_request: false,
            keep_headers: Vec::new(),
            max_groups_per_connection: 1024,
            max_group_name: 256,
        }
    }

    /// Maximum size of a message in bytes, all its fragments together. Default: 1 MiB. A larger message fails
    /// the connection with 1009, as soon as the header of a frame announces it.
    pub fn max_message_size(mut self, bytes: usize) -> WebSocketOptions {
        self.limits.max_message_size = bytes;
        self
    }

    /// Maximum size of a frame in bytes. Default: 1 MiB. A larger frame fails the connection with 1009, as soon
    /// as its header announces it.
    pub fn max_frame_size(mut self, bytes: usize) -> WebSocketOptions {
        self.limits.max_frame_size = bytes;
        self
    }

    /// Maximum number of frames in a message. Empty frames count. Default: 4,096. A message of more frames
    /// fails the connection with 1008.
    ///
    /// With the default, each fragment of a 1 MiB message has 256 bytes. Peers have no reason to send smaller
    /// fragments.
    pub fn max_fragments(mut self, frames: u32) -> WebSocketOptions {
        self.limits.max_fragments = frames;
        self
    }

    /// Maximum rate of pings that are answered. Default: 200 at once, then 100 per second. A peer that exceeds
    /// it fails the connection with 1008.
    ///
    /// Pongs do not count, since they need no answer. While reading is paused or a listener is slow, up to
    /// 10,000 pings may pile up. One pong then answers all pings that exceed the rate (RFC 6455 §5.5.3).
    pub fn control_rate(mut self, rate: impl Into<Option<ControlRate>>) -> WebSocketOptions {
        self.control_rate = rate.into();
        self
    }

    /// Maximum number of messages per second from one peer. Default: off. When a peer exceeds it, reading
    /// pauses, and TCP slows the peer down. No message is dropped.
    pub fn message_rate(mut self, per_second: impl Into<Option<u32>>) -> WebSocketOptions {
        self.message_rate = per_second.into();
        self
    }

    /// Whether each ping is answered with a pong automatically. Default: on. ReactPHP has the opposite option,
    /// `no_auto_pong`.
    pub fn auto_pong(mut self, on: bool) -> WebSocketOptions {
        self.auto_pong = on;
        self
    }

    /// How often the peer is pinged. Default: 20 s. Each interval varies by up to 10 %, so that connections of
    /// the same second drift apart.
    ///
    /// Most proxies drop a connection on which nothing moves for 60 s, some after 30 s.
    pub fn ping_interval(mut self, interval: impl Into<Option<Duration>>) -> WebSocketOptions {
        self.ping_interval = interval.into();
        self
    }

    /// How long a peer may stay silent after a ping. Default: 20 s. A peer that exceeds it fails with 1006:
    /// `error` and `close` fire, and the socket is dropped.
    ///
    /// The time begins when the ping has left. Everything that is received is a sign of life. While data that
    /// was sent before the ping is under way, every acknowledgement of it is a sign of life, too.
    ///
    /// A peer whose system has stopped answering is found within this time. A peer whose system answers, but
    /// which reads nothing, may still have unread data. If more than 64 KiB were sent to it lately, it has one
    /// more second for each 8 KiB of them, and nine minutes at most.
    ///
    /// The time does not count while reading is paused, nor while the socket is full. A full socket is subject
    /// to [`write_timeout`](WebSocketOptions::write_timeout).
    pub fn pong_timeout(mut self, timeout: impl Into<Option<Duration>>) -> WebSocketOptions {
        self.pong_timeout = timeout.into();
        self
    }

    /// How long a peer may send no message. Default: off, since a chat is silent for hours. A peer that exceeds
    /// it is closed with 1001.
    pub fn idle_timeout(mut self, timeout: impl Into<Option<Duration>>) -> WebSocketOptions {
        self.idle_timeout = timeout.into();
        self
    }

    /// Maximum age of a connection. Default: off. An older connection is closed with 1001.
    pub fn max_lifetime(mut self, age: impl Into<Option<Duration>>) -> WebSocketOptions {
        self.max_lifetime = age.into();
        self
    }

    /// How long a peer may take to answer a Close frame, from when the frame has left. Default: 10 s. The
    /// socket of a peer that exceeds it is dropped, and `close` fires with 1006.
    ///
    /// Until the peer's system has acknowledged the Close frame and what was written before it,
    /// [`write_timeout`](WebSocketOptions::write_timeout) applies. A peer whose system has everything may not
    /// have read it yet. It has more time under the same rule as in
    /// [`pong_timeout`](WebSocketOptions::pong_timeout).
    ///
    /// Messages that the peer sent before its Close frame are delivered. Each asynchronous listener may take as
    /// long as this timeout. If the peer is still there, all listeners together may take six times as long in
    /// addition.
    pub fn close_timeout(mut self, timeout: Duration) -> WebSocketOptions {
        self.close_timeout = timeout;
        self
    }

    /// How long a peer may take none of the bytes that were written to it. Default: 30 s. A peer that exceeds
    /// it fails with 1006: `error` and `close` fire, and the socket is dropped.
    ///
    /// On Linux, every byte that the peer acknowledges restarts the time. On other systems, every byte that the
    /// socket accepts restarts it. The peer is checked once a second, so that a dead one is found within this
    /// time and a second.
    pub fn write_timeout(mut self, timeout: impl Into<Option<Duration>>) -> WebSocketOptions {
        self.write_timeout = timeout.into();
        self
    }

    /// How long an asynchronous [`with_verify`](crate::WebSocketMiddleware::with_verify) closure and
    /// asynchronous `connection` listeners may take to decide, all together. Default: 10 s. A handshake that
    /// exceeds it is refused with 503.
    pub fn handshake_timeout(mut self, timeout: impl Into<Option<Duration>>) -> WebSocketOptions {
        self.handshake_timeout = timeout.into();
        self
    }

    /// Soft limit on unsent bytes. Default: 64 KiB, as in ReactPHP. At or above it, `write` returns `false`.
    /// When fewer bytes are unsent again, `drain` fires. A soft limit above the hard limit counts as the hard
    /// limit, and 0 as 1.
    pub fn write_buffer_soft_limit(mut self, bytes: usize) -> WebSocketOptions {
        self.write_buffer_soft_limit = bytes;
        self
    }

    /// Hard limit on unsent bytes. Default: 4 MiB. A write at or above it fails the connection with 1013.
    ///
    /// The limit is checked before a message is added, so that one large message always fits a peer that reads.
    pub fn write_buffer_hard_limit(mut self, bytes: usize) -> WebSocketOptions {
        self.write_buffer_hard_limit = bytes;
        self
    }

    /// Maximum number of bytes read ahead while an asynchronous listener runs, so that pings are answered.
    /// Default: 64 KiB. Reading pauses at this limit.
    pub fn read_ahead(mut self, bytes: usize) -> WebSocketOptions {
        self.read_ahead = bytes;
        self
    }

    /// Maximum number of frames and of bytes that one connection handles before other connections have their
    /// turn. Default: 64 frames and 256 KiB, some tens of microseconds of work each. 0 counts as 1.
    pub fn turn_budget(mut self, frames: usize, bytes: usize) -> WebSocketOptions {
        self.turn_budget = (frames.max(1), isize::try_from(bytes.max(1)).unwrap_or(isize::MAX));
        self
    }

    /// How long listeners may keep their thread before they count as slow. Default: 100 ms, measured to a few
    /// milliseconds. Slow listeners are counted in
    /// [`WebSocketStats::slow_listeners`](crate::WebSocketStats::slow_listeners), and the feature `tracing`
    /// logs a warning.
    ///
    /// The time is that of all listeners of one turn together, or of one handshake. Meanwhile no other
    /// connection of that thread is served. Work that takes long belongs in an asynchronous listener or in
    /// `tokio::task::spawn_blocking`.
    pub fn slow_listener_warning(mut self, time: impl Into<Option<Duration>>) -> WebSocketOptions {
        self.slow_listener_warning = time.into().map_or(u64::MAX, nanos);
        self
    }

    /// Subprotocols that the server speaks, the most wanted first. The first of them that the
    /// client offered is agreed on. If the client offered none of them, no subprotocol is. Default:
    /// none.
    ///
    /// # Panics
    /// If a name is not a token (RFC 6455 section 4.1), so that no client could offer it.
    #[track_caller]
    pub fn subprotocols<S: Into<Arc<str>>>(mut self, names: impl IntoIterator<Item = S>) -> WebSocketOptions {
        let names: Vec<Arc<str>> = names.into_iter().map(Into::into).collect();
        if let Some(name) = names.iter().find(|name| !is_token(name.as_bytes())) {
            panic!("{name:?} is not a subprotocol: a name has no spaces, commas or quotes and is not empty");
        }
        self.subprotocols = names;
        self
    }

    /// Has a closure select the subprotocol by the request and by what the client offered, instead
    /// of [`subprotocols`](WebSocketOptions::subprotocols).
    ///
    /// It is called for each handshake that is in order and offers a subprotocol, before
    /// [`with_verify`](crate::WebSocketMiddleware::with_verify)'s closure. It returns one of the
    /// offered names, or `None` for no subprotocol. If it panics or returns another name, the
    /// handshake is refused with a 500.
    ///
    /// ```
    /// use react_websocket::WebSocketOptions;
    ///
    /// let options = WebSocketOptions::new().select_subprotocol(|request, offered| {
    ///     let wanted = if request.path() == "/v2" { "chat.v2" } else { "chat.v1" };
    ///     offered.contains(&wanted).then_some(wanted)
    /// });
    /// ```
    pub fn select_subprotocol<F>(mut self, select: F) -> WebSocketOptions
    where
        F: for<'a> Fn(&'a ServerRequest, &'a [&'a str]) -> Option<&'a str> + Send + Sync + 'static,
    {
        self.select_subprotocol = Some(SubprotocolSelector::new(select));
        self
    }

    /// Whether a client is refused with 400 if no subprotocol is agreed on. Default: off.
    pub fn require_subprotocol(mut self, on: bool) -> WebSocketOptions {
        self.require_subprotocol = on;
        self
    }

    /// Which pages may connect. By default those of the same host, and clients that are no browsers.
    pub fn origins(mut self, origins: Origins) -> WebSocketOptions {
        self.origins = origins;
        self
    }

    /// The headers that [`connection.request()`](crate::WebSocketConnection::request) still has when the `connection`
    /// listeners are done. Default: none. All lines of a header are kept, for as long as the connection lives.
    ///
    /// # Panics
    /// If one is not the name of a header.
    #[track_caller]
    pub fn keep_headers<S: AsRef<str>>(mut self, names: impl IntoIterator<Item = S>) -> WebSocketOptions {
        self.keep_headers.clear();
        for name in names {
            let name = name.as_ref();
            match HeaderName::from_bytes(name.as_bytes()) {
                Ok(name) => self.keep_headers.push(name),
                Err(_) => panic!("{name:?} is not the name of a header"),
            }
        }
        self
    }

    /// Whether [`connection.request()`](crate::WebSocketConnection::request) is the whole request for as long as the
    /// connection lives, with all headers and attributes. Default: off, since that takes more memory than all else of an
    /// idle connection. The path, the query and the addresses are kept anyway, and a few headers by
    /// [`keep_headers`](WebSocketOptions::keep_headers).
    pub fn keep_request(mut self, on: bool) -> WebSocketOptions {
        self.keep_request = on;
        self
    }

    /// Maximum number of groups that one connection may be in. Default: 1,024. Joining one more is a
    /// [`GroupError::TooManyGroups`](crate::GroupError::TooManyGroups).
    pub fn max_groups_per_connection(mut self, groups: usize) -> WebSocketOptions {
        self.max_groups_per_connection = groups;
        self
    }

    /// Maximum size of a group's name in bytes. Default: 256. A longer name is a
    /// [`GroupError::NameTooLong`](crate::GroupError::NameTooLong).
    pub fn max_group_name(mut self, bytes: usize) -> WebSocketOptions {
        self.max_group_name = bytes;
        self
    }

    /// Returns the most memory that one connection can take, in bytes. The sum has these parts: the message
    /// that is being received, the bytes read ahead, the unsent bytes, and 16 KiB for everything else. Unsent
    /// bytes are at most the hard limit and one message. The request's target may take 8 KiB of the 16 (see
    /// [`HttpOptions::max_request_line`](crate::HttpOptions::max_request_line)).
    ///
    /// These come on top: what the app's listeners hold, the headers that
    /// [`keep_headers`](WebSocketOptions::keep_headers) names, the requests of
    /// [`keep_request`](WebSocketOptions::keep_request), and what a
    /// [`SlowMemberPolicy`](crate::SlowMemberPolicy) keeps for slow consumers. TLS adds at most 160 KiB, see
    /// `docs/tls.md`. Multiply the sum by the number of connections to find the memory that a server
    /// needs.
    pub fn worst_case_bytes(&self) -> usize {
        // A buffer that grows by doubling can have twice what is in it.
        let message = self.limits.max_message_size.saturating_mul(2);
        // Frames read ahead are kept as raw bytes, in a buffer that grows by doubling.
        let ahead = self.read_ahead.saturating_add(64 * 1024).saturating_mul(2);
        // And a fourth more, which has been sent and is not cut off yet.
        let unsent = self.write_buffer_hard_limit.saturating_add(self.limits.max_message_size);
        let unsent = unsent.saturating_add(unsent / 4).saturating_mul(2);
        message.saturating_add(ahead).saturating_add(unsent).saturating_add(16 * 1024)
    }
}
