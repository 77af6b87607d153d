use std::time::Duration;

use super::parser::URI_MAX;
use super::proxies::TrustedProxies;
use super::scanner::HeadLimits;

/// The limits and timeouts of an [`HttpServer`](crate::HttpServer).
///
/// Those that are an `Option` can be switched off with `None`.
///
/// ```
/// use react_websocket::HttpOptions;
/// use std::time::Duration;
///
/// let options = HttpOptions::new().max_body_size(1 << 20).header_timeout(Duration::from_secs(5));
/// ```
#[derive(Clone, Debug)]
pub struct HttpOptions {
    pub(super) header_timeout: Option<Duration>,
    pub(super) body_timeout: Option<Duration>,
    pub(super) write_timeout: Option<Duration>,
    pub(super) keep_alive_timeout: Duration,
    pub(super) max_keep_alive_requests: u32,
    pub(super) linger: Duration,
    pub(super) head: HeadLimits,
    pub(super) max_body_size: usize,
    pub(super) max_connections: Option<usize>,
    pub(super) max_pending_handshakes: Option<usize>,
    pub(super) max_connections_per_ip: Option<u32>,
    pub(super) trusted_proxies: Option<TrustedProxies>,
    pub(super) shutdown_grace: Duration,
    pub(super) shutdown_spread: Duration,
}

impl Default for HttpOptions {
    fn default() -> Self {
        HttpOptions::new()
    }
}

impl HttpOptions {
    /// The defaults, as the methods tell them.
    pub fn new() -> HttpOptions {
        HttpOptions {
            header_timeout: Some(Duration::from_secs(10)),
            body_timeout: Some(Duration::from_secs(10)),
            write_timeout: Some(Duration::from_secs(30)),
            keep_alive_timeout: Duration::from_secs(30),
            max_keep_alive_requests: 1000,
            linger: Duration::from_secs(1),
            head: HeadLimits { request_line: 8 * 1024, head: 16 * 1024, headers: 100 },
            max_body_size: 64 * 1024,
            max_connections: default_max_connections(),
            max_pending_handshakes: Some(1024),
            max_connections_per_ip: None,
            trusted_proxies: None,
            shutdown_grace: Duration::from_secs(10),
            shutdown_spread: Duration::ZERO,
        }
    }

    /// How long a client may take for a request's head, in all, from when its connection is accepted or, on a connection
    /// that is used again, from the head's first byte. Past it: 408 and the end; just the end if nothing came. 10 s.
    ///
    /// One deadline, not one for every read: a client that sends a byte now and then is not waited for.
    pub fn header_timeout(mut self, timeout: impl Into<Option<Duration>>) -> HttpOptions {
        self.header_timeout = timeout.into();
        self
    }

    /// How long a request's body may make no progress. Past it: 408 and the end. 10 s.
    pub fn body_timeout(mut self, timeout: impl Into<Option<Duration>>) -> HttpOptions {
        self.body_timeout = timeout.into();
        self
    }

    /// How long a client may take nothing of a response that is being sent. Past it: the end. 30 s.
    pub fn write_timeout(mut self, timeout: impl Into<Option<Duration>>) -> HttpOptions {
        self.write_timeout = timeout.into();
        self
    }

    /// How long a connection is kept for another request. 30 s.
    pub fn keep_alive_timeout(mut self, timeout: Duration) -> HttpOptions {
        self.keep_alive_timeout = timeout;
        self
    }

    /// How many requests one connection may carry; the last is answered with `Connection: close`. 1,000, so that a
    /// connection does not stay with one of several servers for ever.
    pub fn max_keep_alive_requests(mut self, requests: u32) -> HttpOptions {
        self.max_keep_alive_requests = requests;
        self
    }

    /// How long a connection that the server ends is read on, at most 64 KiB, so that the client gets to read the answer
    /// instead of a reset; and how long a router may still take, or a stream pause, when the client has sent a FIN, which may
    /// mean that it waits for the answer, or that it has left. 1 s.
    pub fn linger(mut self, time: Duration) -> HttpOptions {
        self.linger = time;
        self
    }

    /// Bytes in a request line. Default: 8 KiB. A longer one is answered with 414.
    ///
    /// More than 65,534 bytes count as 65,534: a longer target is no [`Uri`](crate::Uri). The
    /// target's bytes beyond ASCII count three times there, as they are percent-encoded.
    pub fn max_request_line(mut self, bytes: usize) -> HttpOptions {
        self.head.request_line = bytes.min(URI_MAX);
        self
    }

    /// Bytes in a request's head, the request line and the empty line included. Past it: 431. 16 KiB.
    pub fn max_head_size(mut self, bytes: usize) -> HttpOptions {
        self.head.head = bytes;
        self
    }

    /// Header lines in a request. Past it: 431. 100; more than 24,000 cannot be.
    pub fn max_headers(mut self, lines: usize) -> HttpOptions {
        // A `HeaderMap` panics past some more.
        self.head.headers = lines.min(24_000);
        self
    }

    /// Bytes in a request's body, which is kept in memory whole. Past it: 413. 64 KiB.
    ///
    /// ReactPHP hands a larger body to the handler as an empty one; that is not copied.
    pub fn max_body_size(mut self, bytes: usize) -> HttpOptions {
        self.max_body_size = bytes;
        self
    }

    /// Open connections of the server, upgraded ones included. Past it: 503 with `Retry-After`. By default the process's
    /// soft limit of open files less 64 or 5 %, whichever is more; `None` leaves it to the system.
    ///
    /// Where that limit is so low that the reserve would eat half of it, the system is left to it by default: connections
    /// then wait to be accepted.
    pub fn max_connections(mut self, connections: impl Into<Option<usize>>) -> HttpOptions {
        self.max_connections = connections.into();
        self
    }

    /// Connections that have not sent a complete request head yet. Past it the newest is closed at once. 1,024.
    pub fn max_pending_handshakes(mut self, connections: impl Into<Option<usize>>) -> HttpOptions {
        self.max_pending_handshakes = connections.into();
        self
    }

    /// Open connections from one address. Past it: 429. Off by default, since many people share an address.
    ///
    /// It is asked when a connection is accepted, before a request tells whom it is for, so it counts the socket's own
    /// addresses. [Trusted proxies](HttpOptions::trusted_proxies) are not counted: each has the connections of many clients,
    /// and can limit them itself.
    pub fn max_connections_per_ip(mut self, connections: impl Into<Option<u32>>) -> HttpOptions {
        self.max_connections_per_ip = connections.into();
        self
    }

    /// The proxies that are believed when they describe the client's request. Default: none, since
    /// such a header is whatever a client writes into it.
    ///
    /// They decide the `remote_address` of [requests](crate::ServerRequest::remote_address) and of
    /// [connections](crate::WebSocketConnection::remote_address), and the request's
    /// [`scheme`](crate::ServerRequest::scheme) and [`host`](crate::ServerRequest::host).
    ///
    /// With this, what comes over a Unix socket is taken to come from a proxy: which programs can open it is for the rights of
    /// its file to say. A stream that is served without an address is not.
    pub fn trusted_proxies(mut self, proxies: impl Into<Option<TrustedProxies>>) -> HttpOptions {
        self.trusted_proxies = proxies.into();
        self
    }

    /// How long a graceful shutdown waits for connections to end before it cuts them. 10 s.
    pub fn shutdown_grace(mut self, time: Duration) -> HttpOptions {
        self.shutdown_grace = time;
        self
    }

    /// Over how long a time a graceful shutdown spreads its goodbyes to upgraded connections, so that they do not all come
    /// back at once. Zero. It should be shorter than [`shutdown_grace`](HttpOptions::shutdown_grace).
    pub fn shutdown_spread(mut self, time: Duration) -> HttpOptions {
        self.shutdown_spread = time;
        self
    }

    /// What one connection can take of memory at worst while it speaks HTTP, in bytes: a head, what has been read ahead, a
    /// body that is put together, what a [`BodyStream`](crate::BodyStream) holds, and 8 KiB for all else. A response's own
    /// bytes come on top, and for a WebSocket it is [`WebSocketOptions::worst_case_bytes`](crate::WebSocketOptions).
    pub fn worst_case_bytes(&self) -> usize {
        let head = self.head.head.saturating_add(32 * 1024);
        let body = self.max_body_size.saturating_mul(2);
        head.saturating_add(body).saturating_add(2 * super::body_stream::HARD_LIMIT).saturating_add(8 * 1024)
    }
}

/// The soft limit of open files, less what the rest of the program may need.
#[cfg(unix)]
fn default_max_connections() -> Option<usize> {
    let files = rustix::process::getrlimit(rustix::process::Resource::Nofile).current?;
    let files = usize::try_from(files).ok()?;
    let reserve = (files / 20).max(64);
    (files > 2 * reserve).then(|| files - reserve)
}

#[cfg(not(unix))]
fn default_max_connections() -> Option<usize> {
    None
}
