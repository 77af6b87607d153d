use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use http::HeaderMap;

use super::hooks::{BodyLimit, ErrorPage, Hook};
use super::limits::{HeadLimits, default_max_connections};
use super::proxies::TrustedProxies;
use crate::emitter::contain;
use crate::http::HttpError;
use crate::http::lifecycle::ConnectionLimits;
use crate::http::message::{Forwarding, HARD_LIMIT, Response, ServerRequest, URI_MAX};
use crate::runtime::stream::Stream;

/// The limits and timeouts of an [`HttpServer`](crate::HttpServer), and the app's decisions before its handlers are
/// called.
///
/// A setting that takes an `Option` is switched off by `None`.
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
    max_body_size: usize,
    max_body_size_for: Option<BodyLimit>,
    error_page: Option<ErrorPage>,
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

    /// How long a client may take for a request's head, in all. Default: 10 s. A client that takes longer is answered with 408,
    /// and the connection closes; a client that has sent nothing is not answered.
    ///
    /// The time begins when the connection is accepted or, on a connection that is used again, with the head's first byte. It is
    /// one deadline, not one for every read: a client that sends a byte now and then is not waited for.
    pub fn header_timeout(mut self, timeout: impl Into<Option<Duration>>) -> HttpOptions {
        self.header_timeout = timeout.into();
        self
    }

    /// How long a client may send nothing of a request's body. Default: 10 s. A client that sends nothing for longer is answered
    /// with 408, and the connection closes.
    ///
    /// Only the body itself counts: the sizes and extensions of chunks, and trailers, are no progress.
    pub fn body_timeout(mut self, timeout: impl Into<Option<Duration>>) -> HttpOptions {
        self.body_timeout = timeout.into();
        self
    }

    /// The least rate of a request's body, in bytes per second. Default: 1,024. A client that sends less, on average since
    /// [`body_timeout`](HttpOptions::body_timeout) after the body began, is answered with 408, and the connection closes. `None`
    /// or 0 switches it off.
    ///
    /// It bounds how long a body may take: 64 KiB, the default limit, take 74 s at most, and 1 MiB 17 minutes. Without
    /// it a client that sends a byte every few seconds would hold its connection for days. A modem of the nineties is
    /// three times as fast, so clients on bad lines are not affected.
    pub fn min_body_rate(mut self, bytes_per_second: impl Into<Option<u32>>) -> HttpOptions {
        self.min_body_rate = bytes_per_second.into();
        self
    }

    /// How long a client may acknowledge nothing of a response. Default: 30 s. The connection is then cut, and the `error` event
    /// fires with [`HttpError::WriteTimeout`].
    ///
    /// A client that reads slowly is not cut, however slowly: each acknowledgement restarts the time. The server asks
    /// the system what the client has acknowledged: once a second, and every quarter of a timeout below 4 s. So a client
    /// that is gone is found two seconds late at most. The server asks while a write waits, while a
    /// [`BodyStream`](crate::BodyStream) has nothing to send, and after the response. Times that follow, such as
    /// [`keep_alive_timeout`](HttpOptions::keep_alive_timeout), begin when everything has been acknowledged.
    ///
    /// On Linux the acknowledgements of TCP and Unix sockets are known. Elsewhere, and of streams that are given to
    /// [`serve`](crate::HttpServer::serve), the server only knows what the stream accepts. Below a TLS stream set
    /// `TCP_NOTSENT_LOWAT` of the socket to 128 KiB. Without it the system accepts more only when a third of a buffer
    /// of up to 4 MiB is free. For that a slow client may need longer than this timeout.
    pub fn write_timeout(mut self, timeout: impl Into<Option<Duration>>) -> HttpOptions {
        self.write_timeout = timeout.into();
        self
    }

    /// How long a connection without a request is kept for the next one. Default: 30 s. The connection then closes.
    ///
    /// The time begins when the client has acknowledged the response. Until then
    /// [`write_timeout`](HttpOptions::write_timeout) applies.
    ///
    /// Behind a load balancer or a proxy that keeps connections, set it longer than the time for which that keeps them (60 s with
    /// nginx and with AWS). Otherwise it sends a request now and then on a connection that the server is closing, and its client
    /// gets a 502.
    pub fn keep_alive_timeout(mut self, timeout: Duration) -> HttpOptions {
        self.keep_alive_timeout = timeout;
        self
    }

    /// How many requests one connection may carry. Default: 1,000. The last one is answered with `Connection: close`. 0 counts
    /// as 1.
    ///
    /// It is a total, for busy connections as for others, so that none stays with one of several servers for ever. A response
    /// that is being sent is not cut by it.
    pub fn max_keep_alive_requests(mut self, requests: u32) -> HttpOptions {
        self.max_keep_alive_requests = requests;
        self
    }

    /// How long a response may still take when the client has sent a FIN. Default: 5 s. The server then assumes that
    /// the client is gone: the router's future is dropped, and a [`BodyStream`](crate::BodyStream) that has nothing to
    /// send closes. A client that acknowledges earlier bytes is there, and the time restarts.
    ///
    /// A FIN may mean that the client has left, or that it sends no more and waits for its response, as `nc -N` does.
    /// Nothing tells these apart until something is sent. A reset is clear, and drops the future at once. A response
    /// that is being sent goes on in any case.
    pub fn half_close_timeout(mut self, timeout: Duration) -> HttpOptions {
        self.half_close_timeout = timeout;
        self
    }

    /// How long a client may be silent on a connection that the server ends, until the server closes it. Default: 5 s.
    ///
    /// After the last response the server sends a FIN, and reads on until the client does so, too (RFC 9112 §9.6). Many
    /// clients send a whole body before they read the response. If the server closed before that, the client would get
    /// a reset instead of its 413. Until the client has acknowledged everything,
    /// [`write_timeout`](HttpOptions::write_timeout) applies instead. Zero closes at once.
    pub fn linger(mut self, time: Duration) -> HttpOptions {
        self.linger = time;
        self
    }

    /// How long a connection that the server ends is read on in all, from the client's last acknowledgement. Default:
    /// 60 s. The server then closes it, even if the client still sends.
    pub fn max_linger_time(mut self, time: Duration) -> HttpOptions {
        self.max_linger_time = time;
        self
    }

    /// Maximum number of bytes that are read and dropped on a connection that the server ends. Default: 16 MiB. The
    /// server then closes it, and a client that still sends gets a reset.
    pub fn max_linger_bytes(mut self, bytes: usize) -> HttpOptions {
        self.max_linger_bytes = bytes;
        self
    }

    /// Maximum size of a request line in bytes. Default: 8 KiB. A longer request line is answered with 414.
    ///
    /// More than 65,534 bytes count as 65,534, since a longer target does not fit a [`Uri`](crate::Uri). A byte of the
    /// target that is [percent-encoded](crate::ServerRequest::uri) counts three times there.
    pub fn max_request_line(mut self, bytes: usize) -> HttpOptions {
        self.head.request_line = bytes.min(URI_MAX);
        self
    }

    /// Maximum size of a request's head in bytes, from the request line to the empty line. Default: 16 KiB. A larger
    /// head is answered with 431.
    pub fn max_head_size(mut self, bytes: usize) -> HttpOptions {
        self.head.head = bytes;
        self
    }

    /// Maximum number of header lines in a request, up to 24,000. Default: 100. A request with more is answered with
    /// 431.
    pub fn max_headers(mut self, lines: usize) -> HttpOptions {
        // A `HeaderMap` panics at a slightly higher number.
        self.head.headers = lines.min(24_000);
        self
    }

    /// Maximum size of a request's body in bytes. Default: 64 KiB. A larger body is answered with 413, and the
    /// connection closes. The whole body is kept in memory.
    ///
    /// Unlike in ReactPHP, a larger body does not reach the handler as an empty one.
    pub fn max_body_size(mut self, bytes: usize) -> HttpOptions {
        self.max_body_size = bytes;
        self
    }

    /// Sets the body limit of each request separately, instead of [`max_body_size`](HttpOptions::max_body_size). The
    /// closure gets the request before any of its body is read, and returns the limit in bytes. It can decide by path,
    /// headers or address. 0 refuses any body.
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

    /// Sets a closure that makes the server's own error pages. The server sends them for requests that are
    /// malformed, too large or too slow, for handlers that fail, and for connections that exceed a limit. The closure
    /// gets the error and the default page, and returns the page to send. It can add CORS headers, for example,
    /// without which a browser hides a 413 from its page.
    ///
    /// For a failed handler the closure gets the page as the middlewares have changed it. It does not get pages of a
    /// [`WebSocketMiddleware`] and of the app. The body must be bytes. If the closure panics, or its page cannot be
    /// sent, the default page is sent, and the `error` event fires.
    ///
    /// [`WebSocketMiddleware`]: crate::WebSocketMiddleware
    ///
    /// ```
    /// use react_websocket::{HttpError, HttpOptions, Response};
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

    /// Maximum number of open connections of the server, including upgraded ones. Default: the process's soft limit of
    /// open files, less 64 or 5 %, whichever is more. A further connection is answered with 503 and `Retry-After`.
    /// `None` sets no limit.
    ///
    /// If the soft limit is so low that the reserve would take half of it, the default is `None`: connections then wait
    /// to be accepted.
    pub fn max_connections(mut self, connections: impl Into<Option<usize>>) -> HttpOptions {
        self.connections.max_connections = connections.into();
        self
    }

    /// Maximum number of connections that have not sent a complete request head yet. Default: 1,024. When a further
    /// connection arrives, one of them is closed without a response: the oldest that has sent nothing, or else the
    /// oldest of all. The statistics count it as [refused](crate::HttpStats::refused).
    ///
    /// If more than a sixteenth of them come from one address, one of these is closed instead, so that a flood from one
    /// address displaces no other client. [`max_connections_per_ip`](HttpOptions::max_connections_per_ip) explains what
    /// counts as one address.
    pub fn max_pending_handshakes(mut self, connections: impl Into<Option<usize>>) -> HttpOptions {
        self.connections.max_pending = connections.into();
        self
    }

    /// Maximum number of open connections from one address. Default: off, since many people share an address. A further
    /// connection is answered with 429.
    ///
    /// The addresses of an IPv6 network of 64 bits count as one, since a client with one of them usually has all of
    /// them. An IPv4 address is the same in IPv4 and mapped into IPv6 (`::ffff:192.0.2.1`).
    ///
    /// The limit is checked when a connection is accepted, before its first request. So it counts the socket's own
    /// addresses. [Trusted proxies](HttpOptions::trusted_proxies) are not counted: each has the connections of many
    /// clients, and can limit them itself.
    pub fn max_connections_per_ip(mut self, connections: impl Into<Option<u32>>) -> HttpOptions {
        self.connections.max_per_ip = connections.into();
        self
    }

    /// The proxies whose description of the client's request is trusted. Default: none, since a client can write any
    /// such header itself.
    ///
    /// They decide the `remote_address` of [requests](crate::ServerRequest::remote_address) and of
    /// [connections](crate::WebSocketConnection::remote_address), and the request's
    /// [`scheme`](crate::ServerRequest::scheme) and [`host`](crate::ServerRequest::host).
    ///
    /// With this option, all connections over a Unix socket count as those of a proxy. The permissions of its file
    /// decide which programs can connect. A stream that is served without an address does not count as a proxy.
    pub fn trusted_proxies(mut self, proxies: impl Into<Option<TrustedProxies>>) -> HttpOptions {
        self.trusted_proxies = proxies.into();
        self
    }

    /// How long a graceful shutdown waits for connections to end before it cuts them. Default: 10 s.
    ///
    /// Connections without a request end at once. A client that does not read its response, or an event stream without
    /// an end, holds up the shutdown for the whole time. See the `shutdown` event of a
    /// [`BodyStream`](crate::BodyStream), and [`Listening::terminate`](crate::Listening::terminate) for test suites.
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

    /// Returns the most memory that one connection can take while it speaks HTTP, in bytes. The sum has a
    /// head, the bytes read ahead, the body that is being received, the bytes of a [`BodyStream`](crate::BodyStream),
    /// and 8 KiB for everything else. A response's own bytes come on top, and so do larger bodies under
    /// [`max_body_size_for`](HttpOptions::max_body_size_for). TLS adds at most 160 KiB, see
    /// `docs/tls.md`. For a WebSocket see
    /// [`WebSocketOptions::worst_case_bytes`](crate::WebSocketOptions).
    pub fn worst_case_bytes(&self) -> usize {
        let head = self.head.head.saturating_add(32 * 1024);
        let body = self.max_body_size.saturating_mul(2);
        head.saturating_add(body).saturating_add(2 * HARD_LIMIT).saturating_add(8 * 1024)
    }

    /// Returns the network under which a connection is counted: an IPv4 address, or the /64 of an IPv6 address. A
    /// client with one address of a /64 usually has all of them (RFC 4291 §2.5.4, RFC 6177). `None` for a trusted
    /// proxy, which has the connections of many clients.
    pub(crate) fn network_of(&self, address: IpAddr) -> Option<IpAddr> {
        if self.trusted_proxies.as_ref().is_some_and(|proxies| proxies.contains(address)) {
            return None;
        }
        Some(match address {
            IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)).into(),
            address => address,
        })
    }

    /// Returns the client of a request with these headers on this stream. If a trusted proxy has sent the request, also
    /// returns the proxy's description of it.
    pub(crate) fn client_of(&self, headers: &HeaderMap, stream: &Stream) -> (Option<SocketAddr>, Option<Forwarding>) {
        match &self.trusted_proxies {
            Some(proxies) => proxies.client(headers, stream),
            None => (stream.remote, None),
        }
    }

    /// Returns the maximum size of a request's body in bytes.
    ///
    /// # Errors
    /// [`HttpError::Handler`] if the app's closure panics.
    pub(crate) fn body_limit(&self, request: &ServerRequest) -> Result<usize, HttpError> {
        match self.max_body_size_for.as_ref().and_then(Hook::get) {
            Some(limit) => contain(|| Ok(limit(request))).map_err(HttpError::Handler),
            None => Ok(self.max_body_size),
        }
    }

    /// Returns the page to send for an error, and the error of the app's closure if it failed. The page is the app's if
    /// it can be sent, else the default page.
    pub(crate) fn page_for(&self, error: &HttpError, page: Response) -> (Response, Option<HttpError>) {
        let Some(make) = self.error_page.as_ref().and_then(Hook::get) else { return (page, None) };
        match contain(|| make(error, page).into_page()) {
            Ok(page) => (page, None),
            Err(failed) => {
                (Response::for_error(error).unwrap_or_else(|| Response::new(500)), Some(HttpError::Handler(failed)))
            }
        }
    }
}
