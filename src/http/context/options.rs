use std::sync::Arc;
use std::time::Duration;

use super::hooks::{BodyLimit, ErrorPage, Hook};
use super::limits::{BUFFERED_MAX, HeadLimits, default_max_connections};
use super::proxies::TrustedProxies;
use crate::http::HttpError;
use crate::http::lifecycle::ConnectionLimits;
use crate::http::message::{HARD_LIMIT, Response, ServerRequest, URI_MAX};

/// The options of an [`HttpServer`](crate::HttpServer): limits, timeouts, trusted proxies, and
/// closures that run before the handlers.
///
/// `None` switches off an option that takes an `Option`.
///
/// ```
/// use react_websocket::HttpOptions;
/// use std::time::Duration;
///
/// let options = HttpOptions::new().max_body_size(1 << 20).header_timeout(Duration::from_secs(5));
/// ```
#[must_use = "options are for `HttpServer::with_options`"]
#[derive(Clone, Debug)]
pub struct HttpOptions {
    pub(crate) header_timeout: Option<Duration>,
    pub(crate) body_timeout: Option<Duration>,
    pub(crate) min_body_rate: Option<u32>,
    pub(crate) write_timeout: Option<Duration>,
    pub(crate) keep_alive_timeout: Duration,
    pub(crate) max_keep_alive_requests: u32,
    pub(crate) half_close_timeout: Duration,
    pub(crate) linger: Duration,
    pub(crate) max_linger_time: Duration,
    pub(crate) max_linger_bytes: usize,
    pub(crate) head: HeadLimits,
    pub(super) max_body_size: usize,
    pub(super) max_body_size_for: Option<BodyLimit>,
    pub(super) error_page: Option<ErrorPage>,
    pub(crate) connections: ConnectionLimits,
    pub(crate) trusted_proxies: Option<TrustedProxies>,
    pub(crate) shutdown_grace: Duration,
    pub(crate) shutdown_spread: Duration,
}

impl Default for HttpOptions {
    fn default() -> Self {
        HttpOptions::new()
    }
}

impl HttpOptions {
    /// Returns the defaults. The documentation of each method names its default.
    pub fn new() -> HttpOptions {
        HttpOptions {
            header_timeout: Some(Duration::from_secs(10)),
            body_timeout: Some(Duration::from_secs(10)),
            min_body_rate: Some(1024),
            write_timeout: Some(Duration::from_secs(30)),
            keep_alive_timeout: Duration::from_secs(30),
            max_keep_alive_requests: 1000,
            half_close_timeout: Duration::from_secs(5),
            linger: Duration::from_secs(5),
            max_linger_time: Duration::from_secs(60),
            max_linger_bytes: 16 << 20,
            head: HeadLimits { request_line: 8 * 1024, head: 16 * 1024, headers: 100 },
            max_body_size: 64 * 1024,
            max_body_size_for: None,
            error_page: None,
            connections: ConnectionLimits {
                max_connections: default_max_connections(),
                max_per_ip: None,
                max_pending: Some(1024),
            },
            trusted_proxies: None,
            shutdown_grace: Duration::from_secs(10),
            shutdown_spread: Duration::ZERO,
        }
    }

    /// Maximum time for the whole head of a request. Default: 10 s. After this time the client gets
    /// a 408, and the connection closes. A client that has sent nothing gets no response.
    ///
    /// The time begins when the connection is accepted. On a connection that is used again, the
    /// time begins with the first byte of the head. Further bytes do not extend the time.
    pub fn header_timeout(mut self, timeout: impl Into<Option<Duration>>) -> HttpOptions {
        self.header_timeout = timeout.into();
        self
    }

    /// Maximum time without a byte of a request's body. Default: 10 s. After this time the client
    /// gets a 408, and the connection closes.
    ///
    /// Only bytes of the body itself count: sizes and extensions of chunks, and trailers, are not
    /// progress.
    pub fn body_timeout(mut self, timeout: impl Into<Option<Duration>>) -> HttpOptions {
        self.body_timeout = timeout.into();
        self
    }

    /// Minimum rate of a request's body, in bytes per second. Default: 1,024. A client that sends
    /// more slowly gets a 408, and the connection closes. The rate is an average, measured from
    /// [`body_timeout`](HttpOptions::body_timeout) after the beginning of the body. `None` or 0
    /// switches it off.
    ///
    /// The rate limits the time of a body. A body of 64 KiB, the default maximum size, takes at
    /// most 74 s, and a body of 1 MiB at most 17 minutes. Without a minimum rate a client that
    /// sends a byte every few seconds would hold its connection for days. A modem of the 1990s is
    /// three times as fast, so clients on bad lines are not affected.
    pub fn min_body_rate(mut self, bytes_per_second: impl Into<Option<u32>>) -> HttpOptions {
        self.min_body_rate = bytes_per_second.into();
        self
    }

    /// Maximum time without an acknowledgement of a response. Default: 30 s. After this time the
    /// connection is dropped, and the `error` event fires with [`HttpError::WriteTimeout`].
    ///
    /// A client that reads slowly keeps its connection, because each acknowledgement restarts the
    /// time. The server asks the system how many bytes the client has acknowledged: once a second,
    /// or every quarter of a timeout below 4 s. So a dead client is detected at most two seconds
    /// late. The server asks while a write waits, while a [`BodyStream`](crate::BodyStream) has
    /// nothing to send, and after the response. Later timeouts, such as
    /// [`keep_alive_timeout`](HttpOptions::keep_alive_timeout), begin when everything has been
    /// acknowledged.
    ///
    /// On Linux the server knows the acknowledgements of TCP and Unix sockets. On other systems,
    /// and for streams that are passed to [`serve`](crate::HttpServer::serve), it only knows how
    /// many bytes the stream accepts. For a TLS stream, set `TCP_NOTSENT_LOWAT` of its socket to
    /// 128 KiB. Without this setting the system accepts more bytes only when a third of a buffer of
    /// up to 4 MiB is free. A slow client may need longer than this timeout for that.
    pub fn write_timeout(mut self, timeout: impl Into<Option<Duration>>) -> HttpOptions {
        self.write_timeout = timeout.into();
        self
    }

    /// Maximum time that a connection waits for its next request. Default: 30 s. After this time
    /// the connection closes.
    ///
    /// The time begins when the client has acknowledged the response. Until then
    /// [`write_timeout`](HttpOptions::write_timeout) applies.
    ///
    /// Behind a load balancer or a proxy, set a longer time than its idle timeout (60 s with nginx
    /// and with AWS). Otherwise it sometimes sends a request on a connection that the server is
    /// closing, and its client gets a 502.
    pub fn keep_alive_timeout(mut self, timeout: Duration) -> HttpOptions {
        self.keep_alive_timeout = timeout;
        self
    }

    /// Maximum number of requests of one connection. Default: 1,000. The response to the last
    /// request has `Connection: close`. 0 counts as 1.
    ///
    /// The limit applies also to busy connections, so that no connection stays with one of several
    /// servers forever. The limit does not cut off a response.
    pub fn max_keep_alive_requests(mut self, requests: u32) -> HttpOptions {
        self.max_keep_alive_requests = requests;
        self
    }

    /// Maximum time of a response after the client has sent a FIN. Default: 5 s. After this time
    /// the server assumes that the client has disconnected. It drops the router's future, and
    /// closes a [`BodyStream`](crate::BodyStream) that has nothing to send. If the client
    /// acknowledges earlier bytes, the time restarts.
    ///
    /// A FIN can mean that the client has disconnected, or that it sends no more and waits for its
    /// response, as `nc -N` does. The server can distinguish these cases only by sending something.
    /// A reset is unambiguous, and drops the future at once. A response that is already being sent
    /// continues.
    pub fn half_close_timeout(mut self, timeout: Duration) -> HttpOptions {
        self.half_close_timeout = timeout;
        self
    }

    /// Maximum time without a byte from the client on a connection that the server ends. Default: 5
    /// s. After this time the server closes the connection.
    ///
    /// After the last response the server sends a FIN, and keeps reading until the client also
    /// sends a FIN (RFC 9112 §9.6). Many clients send the whole body before they read the response.
    /// If the server closed earlier, the client would get a reset instead of its 413. Until the
    /// client has acknowledged everything, [`write_timeout`](HttpOptions::write_timeout) applies
    /// instead. Zero closes at once.
    pub fn linger(mut self, time: Duration) -> HttpOptions {
        self.linger = time;
        self
    }

    /// Maximum total time for reading on a connection that the server ends, from the client's last
    /// acknowledgement. Default: 60 s. After this time the server closes the connection, even if
    /// the client still sends.
    pub fn max_linger_time(mut self, time: Duration) -> HttpOptions {
        self.max_linger_time = time;
        self
    }

    /// Maximum number of bytes that are read and dropped on a connection that the server ends.
    /// Default: 16 MiB. Above this limit the server closes the connection, and a client that still
    /// sends gets a reset.
    pub fn max_linger_bytes(mut self, bytes: usize) -> HttpOptions {
        self.max_linger_bytes = bytes;
        self
    }

    /// Maximum size of a request line in bytes. Default: 8 KiB. The server answers a longer request
    /// line with 414.
    ///
    /// A value above 65,534 counts as 65,534, because a longer target does not fit into a
    /// [`Uri`](crate::types::Uri). In a `Uri` each byte that is
    /// [percent-encoded](crate::ServerRequest::uri) counts three times.
    pub fn max_request_line(mut self, bytes: usize) -> HttpOptions {
        self.head.request_line = bytes.min(URI_MAX);
        self
    }

    /// Maximum size of a request's head in bytes, from the request line to the empty line. Default:
    /// 16 KiB. The server answers a larger head with 431.
    pub fn max_head_size(mut self, bytes: usize) -> HttpOptions {
        self.head.head = bytes;
        self
    }

    /// Maximum number of header lines in a request. Default: 100. The server answers a request with
    /// more lines with 431. A value above 24,000 counts as 24,000.
    pub fn max_headers(mut self, lines: usize) -> HttpOptions {
        // A `HeaderMap` holds only slightly more. Further headers would be missing from it.
        self.head.headers = lines.min(24_000);
        self
    }

    /// Maximum size of a request's body in bytes. Default: 64 KiB. The server answers a larger body
    /// with 413, and closes the connection. The whole body is kept in memory.
    ///
    /// ReactPHP passes a request with a larger body to the handler, with an empty body. This crate
    /// refuses the request.
    pub fn max_body_size(mut self, bytes: usize) -> HttpOptions {
        self.max_body_size = bytes;
        self
    }

    /// Sets a closure that returns the maximum body size of each request in bytes, instead of
    /// [`max_body_size`](HttpOptions::max_body_size). The closure gets the request before its body
    /// is read, and can decide by path, headers or address. 0 refuses any body.
    ///
    /// The closure is called for requests that have a body. If it panics, the request is answered with 500, and the
    /// `error` event fires.
    ///
    /// ```
    /// use react_websocket::{HttpOptions, ServerRequest};
    ///
    /// let options = HttpOptions::new().max_body_size_for(|request: &ServerRequest| match request.path() {
    ///     "/upload" if request.header("authorization").is_some() => 8 << 20,
    ///     _ => 16 * 1024,
    /// });
    /// ```
    pub fn max_body_size_for(mut self, limit: impl Fn(&ServerRequest) -> usize + Send + Sync + 'static) -> HttpOptions {
        self.max_body_size_for = Some(Hook::new(Arc::new(limit)));
        self
    }

    /// Sets a closure that builds the server's own error pages. The server sends an error page if a
    /// request is malformed, too large or too slow, if a handler fails, or if a connection exceeds
    /// a limit. The closure gets the error and the default page, and returns the page to send. For
    /// example, it can add CORS headers. Without CORS headers a browser hides a 413 from its web
    /// page.
    ///
    /// For a failed handler the closure gets the page with the changes of the middlewares. The
    /// closure does not get pages of a [`WebSocketMiddleware`] and of the app. The body must be
    /// bytes. If the closure panics, or its page cannot be sent, the default page is sent, and the
    /// `error` event fires.
    ///
    /// [`WebSocketMiddleware`]: crate::WebSocketMiddleware
    ///
    /// ```
    /// use react_websocket::errors::HttpError;
    /// use react_websocket::{HttpOptions, Response};
    ///
    /// let options = HttpOptions::new().error_page(|error: &HttpError, page: Response| {
    ///     page.with_header("Access-Control-Allow-Origin", "*")
    ///         .with_header("Content-Type", "application/json")
    ///         .with_body(format!("{{\"error\":\"{}\"}}", error.cause()))
    /// });
    /// ```
    pub fn error_page(mut self, page: impl Fn(&HttpError, Response) -> Response + Send + Sync + 'static) -> HttpOptions {
        self.error_page = Some(Hook::new(Arc::new(page)));
        self
    }

    /// Maximum number of open connections of the server, including upgraded ones. Default: the
    /// process's soft limit of open files, minus 64 or 5 %, whichever is more. The server answers a
    /// further connection with 503 and `Retry-After`. `None` sets no limit.
    ///
    /// If the soft limit is so low that the reserve would take half of it, the default is `None`: connections then wait
    /// to be accepted.
    pub fn max_connections(mut self, connections: impl Into<Option<usize>>) -> HttpOptions {
        self.connections.max_connections = connections.into();
        self
    }

    /// Maximum number of pending connections, which have not sent a complete request head yet.
    /// Default: 1,024. When a further connection arrives, the server closes a pending connection
    /// without a response. It closes the oldest connection that has sent nothing, or else the
    /// oldest of all. The statistics count this connection as
    /// [refused](crate::stats::HttpStats::refused).
    ///
    /// If more than a sixteenth of the pending connections come from one address, the server closes
    /// a connection of this address instead. So a flood from one address displaces no other client.
    /// [`max_connections_per_ip`](HttpOptions::max_connections_per_ip) explains what counts as one
    /// address.
    pub fn max_pending_handshakes(mut self, connections: impl Into<Option<usize>>) -> HttpOptions {
        self.connections.max_pending = connections.into();
        self
    }

    /// Maximum number of open connections from one address. Default: off, because many people can
    /// share an address. The server answers a further connection with 429.
    ///
    /// All addresses of an IPv6 /64 network count as one address, because a client usually has the
    /// whole network. An IPv4 address and its IPv6 form (`::ffff:192.0.2.1`) count as one address.
    ///
    /// The server checks the limit when it accepts a connection, before the first request. So the
    /// limit counts the addresses of the socket's peers. [Trusted
    /// proxies](HttpOptions::trusted_proxies) are not counted: a proxy has the connections of many
    /// clients, and can limit its clients itself. With the [PROXY
    /// protocol](crate::SocketOptions::proxy_protocol) the server checks the limit when it has read
    /// the header, and counts the client's address.
    pub fn max_connections_per_ip(mut self, connections: impl Into<Option<u32>>) -> HttpOptions {
        self.connections.max_per_ip = connections.into();
        self
    }

    /// The proxies whose headers about the client are trusted. Default: no proxies, because a
    /// client can send such headers itself.
    ///
    /// The headers decide the `remote_address` of [requests](crate::ServerRequest::remote_address)
    /// and of [connections](crate::WebSocketConnection::remote_address), and the request's
    /// [`scheme`](crate::ServerRequest::scheme) and [`host`](crate::ServerRequest::host).
    ///
    /// With this option, every connection over a Unix socket counts as a connection of a proxy. The
    /// permissions of the socket's file decide which programs can connect. A stream that is served
    /// without an address does not count as a proxy.
    pub fn trusted_proxies(mut self, proxies: impl Into<Option<TrustedProxies>>) -> HttpOptions {
        self.trusted_proxies = proxies.into();
        self
    }

    /// Maximum time of a graceful shutdown. Default: 10 s. After this time all connections that are
    /// still open are dropped.
    ///
    /// Connections without a request end at once. If a client does not read its response, or an
    /// event stream does not end, the shutdown takes the whole time. See the `shutdown` event of a
    /// [`BodyStream`](crate::BodyStream). In tests use
    /// [`Listening::terminate`](crate::Listening::terminate).
    pub fn shutdown_grace(mut self, time: Duration) -> HttpOptions {
        self.shutdown_grace = time;
        self
    }

    /// The time over which a graceful shutdown spreads its Close frames to upgraded connections, so that their clients
    /// do not all reconnect at once. Default: zero. It should be shorter than
    /// [`shutdown_grace`](HttpOptions::shutdown_grace).
    pub fn shutdown_spread(mut self, time: Duration) -> HttpOptions {
        self.shutdown_spread = time;
        self
    }

    /// Returns the maximum memory of one connection while it speaks HTTP, in bytes. The sum
    /// includes the head, the bytes that are read ahead, the received body, and the unsent bytes of
    /// a [`BodyStream`](crate::BodyStream). It also includes 64 KiB of responses to
    /// pipelined requests, and 8 KiB for everything else. It excludes
    /// the bytes of a response, and larger bodies under
    /// [`max_body_size_for`](HttpOptions::max_body_size_for). TLS adds at most
    /// 160 KiB, see `docs/tls.md`. For a WebSocket see
    /// [`WebSocketOptions::worst_case_bytes`](crate::WebSocketOptions).
    pub fn worst_case_bytes(&self) -> usize {
        let head = self.head.head.saturating_add(32 * 1024);
        let body = self.max_body_size.saturating_mul(2);
        head.saturating_add(body).saturating_add(2 * HARD_LIMIT + BUFFERED_MAX).saturating_add(8 * 1024)
    }
}
