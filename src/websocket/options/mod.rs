#[cfg(feature = "deflate")]
pub(crate) mod compression;
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

/// The options of the connections of a [`WebSocketMiddleware`](crate::WebSocketMiddleware): limits,
/// timeouts, and rules of the handshake.
///
/// `None` switches off an option that takes an `Option`.
///
/// ```
/// use react_websocket::options::Origins;
/// use react_websocket::{WebSocketMiddleware, WebSocketOptions};
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
    #[cfg(feature = "deflate")]
    pub(crate) compression: Option<compression::Compression>,
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
            #[cfg(feature = "deflate")]
            compression: None,
        }
    }

    /// Maximum size of a message in bytes, all its fragments together. Default: 1 MiB. A larger
    /// message fails the connection with 1009, when a frame header announces the size.
    pub fn max_message_size(mut self, bytes: usize) -> WebSocketOptions {
        self.limits.max_message_size = bytes;
        self
    }

    /// Maximum size of a frame in bytes. Default: 1 MiB. A larger frame fails the connection with
    /// 1009, when its header has arrived.
    pub fn max_frame_size(mut self, bytes: usize) -> WebSocketOptions {
        self.limits.max_frame_size = bytes;
        self
    }

    /// Maximum number of frames in a message, empty frames included. Default: 4,096. A message of
    /// more frames fails the connection with 1008.
    ///
    /// With the defaults, a message of 1 MiB can have fragments of 256 bytes. Peers have no reason
    /// to send smaller fragments.
    pub fn max_fragments(mut self, frames: u32) -> WebSocketOptions {
        self.limits.max_fragments = frames;
        self
    }

    /// Maximum rate of pings. Default: 200 at once, then 100 per second. A peer that exceeds the
    /// rate fails the connection with 1008.
    ///
    /// Pongs do not count, because they need no answer. While reading is paused or a listener is
    /// slow, up to 10,000 pings may accumulate. Then one pong answers all pings that exceed the
    /// rate (RFC 6455 §5.5.3).
    pub fn control_rate(mut self, rate: impl Into<Option<ControlRate>>) -> WebSocketOptions {
        self.control_rate = rate.into();
        self
    }

    /// Maximum number of messages per second from one peer. Default: off. When a peer exceeds the
    /// rate, reading pauses, and TCP slows down the peer. No message is dropped.
    pub fn message_rate(mut self, per_second: impl Into<Option<u32>>) -> WebSocketOptions {
        self.message_rate = per_second.into();
        self
    }

    /// Sets whether the connection answers each ping with a pong automatically. Default: on.
    /// ReactPHP has the opposite option, `no_auto_pong`.
    pub fn auto_pong(mut self, on: bool) -> WebSocketOptions {
        self.auto_pong = on;
        self
    }

    /// Interval of the pings to the peer. Default: 20 s. Each interval varies by up to 10 %, so
    /// that connections of the same second do not send their pings together.
    ///
    /// Most proxies drop a connection without traffic after 60 s, some after 30 s.
    pub fn ping_interval(mut self, interval: impl Into<Option<Duration>>) -> WebSocketOptions {
        self.ping_interval = interval.into();
        self
    }

    /// Maximum time of silence after a ping. Default: 20 s. After this time the connection fails
    /// with 1006: `error` and `close` fire, and the socket is dropped.
    ///
    /// The time begins when the ping was sent. Every received byte shows that the peer is alive.
    /// While earlier bytes are not acknowledged, every acknowledgement also shows that the peer is
    /// alive.
    ///
    /// If the peer's system has stopped answering, the dead peer is detected within this time. If
    /// only the peer has stopped reading, its system may have unread data. After more than 64 KiB
    /// of recently sent bytes, the peer gets one more second for each 8 KiB, and at most nine
    /// minutes.
    ///
    /// The time is suspended while reading is paused or the socket is full. For a full socket
    /// [`write_timeout`](WebSocketOptions::write_timeout) applies.
    pub fn pong_timeout(mut self, timeout: impl Into<Option<Duration>>) -> WebSocketOptions {
        self.pong_timeout = timeout.into();
        self
    }

    /// Maximum time without a message from the peer. Default: off, because a chat can be silent for
    /// hours. After this time the connection is closed with 1001.
    pub fn idle_timeout(mut self, timeout: impl Into<Option<Duration>>) -> WebSocketOptions {
        self.idle_timeout = timeout.into();
        self
    }

    /// Maximum age of a connection. Default: off. At this age the connection is closed with 1001.
    pub fn max_lifetime(mut self, age: impl Into<Option<Duration>>) -> WebSocketOptions {
        self.max_lifetime = age.into();
        self
    }

    /// Maximum time until the peer answers a Close frame, from the sending of the frame. Default:
    /// 10 s. After this time the socket is dropped, and `close` fires with 1006.
    ///
    /// Until the peer's system has acknowledged the Close frame and all earlier bytes,
    /// [`write_timeout`](WebSocketOptions::write_timeout) applies. The peer may not have read these
    /// bytes yet. So it gets more time by the same rule as in
    /// [`pong_timeout`](WebSocketOptions::pong_timeout).
    ///
    /// Messages that the peer sent before its Close frame are delivered. Each asynchronous listener
    /// may take as long as this timeout. While the peer is still connected, all listeners together
    /// may take six times as long in addition.
    pub fn close_timeout(mut self, timeout: Duration) -> WebSocketOptions {
        self.close_timeout = timeout;
        self
    }

    /// Maximum time without an acknowledgement of sent bytes. Default: 30 s. After this time the
    /// connection fails with 1006: `error` and `close` fire, and the socket is dropped.
    ///
    /// On Linux, every byte that the peer acknowledges restarts the time. On other systems, every
    /// byte that the socket accepts restarts it. The driver checks the peer once a second, so a
    /// dead peer is detected at most one second after this time.
    pub fn write_timeout(mut self, timeout: impl Into<Option<Duration>>) -> WebSocketOptions {
        self.write_timeout = timeout.into();
        self
    }

    /// Maximum total time of an asynchronous
    /// [`with_verify`](crate::WebSocketMiddleware::with_verify) closure and asynchronous
    /// `connection` listeners. Default: 10 s. A handshake that takes longer is refused with 503.
    pub fn handshake_timeout(mut self, timeout: impl Into<Option<Duration>>) -> WebSocketOptions {
        self.handshake_timeout = timeout.into();
        self
    }

    /// Soft limit on unsent bytes. Default: 64 KiB, as in ReactPHP. If the unsent bytes are at or
    /// above the limit after a write, `write` returns `false`. When they have fallen below the
    /// limit, `drain` fires. A soft limit above the hard limit counts as the hard limit, and 0
    /// counts as 1.
    pub fn write_buffer_soft_limit(mut self, bytes: usize) -> WebSocketOptions {
        self.write_buffer_soft_limit = bytes;
        self
    }

    /// Hard limit on unsent bytes. Default: 4 MiB. A write at or above it fails the connection with 1013.
    ///
    /// The limit is checked before a message is added. So a peer that reads can get a message that
    /// is larger than the limit.
    pub fn write_buffer_hard_limit(mut self, bytes: usize) -> WebSocketOptions {
        self.write_buffer_hard_limit = bytes;
        self
    }

    /// Maximum number of bytes that are read ahead while an asynchronous listener runs. Default: 64
    /// KiB. At this limit reading pauses. Reading ahead allows the connection to answer pings.
    pub fn read_ahead(mut self, bytes: usize) -> WebSocketOptions {
        self.read_ahead = bytes;
        self
    }

    /// Maximum number of frames, and of bytes, that one connection handles before its task yields
    /// to others. Default: 64 frames and 256 KiB, each some tens of microseconds of work. 0 counts
    /// as 1.
    pub fn turn_budget(mut self, frames: usize, bytes: usize) -> WebSocketOptions {
        self.turn_budget = (frames.max(1), isize::try_from(bytes.max(1)).unwrap_or(isize::MAX));
        self
    }

    /// Time after which listeners count as slow. Default: 100 ms, measured to a few milliseconds.
    /// Slow listeners are counted in
    /// [`WebSocketStats::slow_listeners`](crate::stats::WebSocketStats::slow_listeners), and the
    /// feature `tracing` logs a warning.
    ///
    /// The measured time is the total time of all listeners of one turn, or of one handshake.
    /// During this time the thread serves no other connection. Move long work into an asynchronous
    /// listener or into `tokio::task::spawn_blocking`.
    pub fn slow_listener_warning(mut self, time: impl Into<Option<Duration>>) -> WebSocketOptions {
        self.slow_listener_warning = time.into().map_or(u64::MAX, nanos);
        self
    }

    /// Sets the subprotocols that the server speaks, in the order of preference. The server selects
    /// the first subprotocol of this list that the client offers. If the client offers no
    /// subprotocol of the list, the connection has no subprotocol. Default: none.
    ///
    /// # Panics
    /// If a name is not a token (RFC 6455 section 4.1). No client could offer such a name.
    #[track_caller]
    pub fn subprotocols<S: Into<Arc<str>>>(mut self, names: impl IntoIterator<Item = S>) -> WebSocketOptions {
        let names: Vec<Arc<str>> = names.into_iter().map(Into::into).collect();
        if let Some(name) = names.iter().find(|name| !is_token(name.as_bytes())) {
            panic!("{name:?} is not a subprotocol: a name has no spaces, commas or quotes and is not empty");
        }
        self.subprotocols = names;
        self
    }

    /// Sets a closure that selects the subprotocol from the request and the offered subprotocols,
    /// instead of [`subprotocols`](WebSocketOptions::subprotocols).
    ///
    /// The closure is called for each valid handshake that offers a subprotocol, before the closure
    /// of [`with_verify`](crate::WebSocketMiddleware::with_verify). It returns one of the offered
    /// names, or `None` for no subprotocol. If it panics or returns another name, the handshake is
    /// refused with a 500.
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

    /// Sets whether a handshake without a selected subprotocol is refused with 400. Default: off.
    pub fn require_subprotocol(mut self, on: bool) -> WebSocketOptions {
        self.require_subprotocol = on;
        self
    }

    /// Sets which web pages may connect. Default: pages of the same host and port. A client without
    /// an `Origin` header may always connect.
    pub fn origins(mut self, origins: Origins) -> WebSocketOptions {
        self.origins = origins;
        self
    }

    /// Sets the headers that [`connection.request()`](crate::WebSocketConnection::request) keeps
    /// after the `connection` listeners have returned. Default: none. All lines of a header are
    /// kept for the life of the connection.
    ///
    /// # Panics
    /// If a name is not a valid header name.
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

    /// Sets whether [`connection.request()`](crate::WebSocketConnection::request) keeps the whole
    /// request, with all headers and attributes, for the life of the connection. Default: off,
    /// because the request takes more memory than everything else of an idle connection. The path,
    /// the query and the addresses are always kept, and
    /// [`keep_headers`](WebSocketOptions::keep_headers) keeps single headers.
    pub fn keep_request(mut self, on: bool) -> WebSocketOptions {
        self.keep_request = on;
        self
    }

    /// Maximum number of groups of one connection. Default: 1,024. Joining a further group returns
    /// [`GroupError::TooManyGroups`](crate::errors::GroupError::TooManyGroups).
    pub fn max_groups_per_connection(mut self, groups: usize) -> WebSocketOptions {
        self.max_groups_per_connection = groups;
        self
    }

    /// Maximum size of a group's name in bytes. Default: 256. Joining a group with a longer name
    /// returns [`GroupError::NameTooLong`](crate::errors::GroupError::NameTooLong).
    pub fn max_group_name(mut self, bytes: usize) -> WebSocketOptions {
        self.max_group_name = bytes;
        self
    }

    /// Returns the maximum memory of one connection, in bytes. This is the sum of the received
    /// message, the bytes that are read ahead, the unsent bytes, and 16 KiB for everything else.
    /// The unsent bytes are at most the hard limit and one message. The request's target may take 8
    /// KiB of the 16 KiB (see
    /// [`HttpOptions::max_request_line`](crate::HttpOptions::max_request_line)).
    ///
    /// The sum excludes the memory of the app's listeners, the headers of
    /// [`keep_headers`](WebSocketOptions::keep_headers), and the requests of
    /// [`keep_request`](WebSocketOptions::keep_request). It also excludes the messages that a
    /// [`SlowMemberPolicy`](crate::options::SlowMemberPolicy) keeps for slow consumers. TLS
    /// adds at most 160 KiB, see `docs/tls.md`. Multiply
    /// the sum by the number of connections to calculate the memory of a server.
    pub fn worst_case_bytes(&self) -> usize {
        // A buffer that grows by doubling can have twice what is in it.
        let message = self.limits.max_message_size.saturating_mul(2);
        // Frames read ahead are kept as raw bytes, in a buffer that grows by doubling.
        let ahead = self.read_ahead.saturating_add(64 * 1024).saturating_mul(2);
        // And a fourth more, which has been sent and is not cut off yet.
        let unsent = self.write_buffer_hard_limit.saturating_add(self.limits.max_message_size);
        let unsent = unsent.saturating_add(unsent / 4).saturating_mul(2);
        #[cfg(feature = "deflate")]
        let message = message.saturating_add(self.compression.as_ref().map_or(0, |it| it.worst_case_bytes(&self.limits)));
        message.saturating_add(ahead).saturating_add(unsent).saturating_add(16 * 1024)
    }
}
