use super::proxies::ProxyProtocol;
#[cfg(feature = "__tls")]
use crate::tls::Tls;

/// The options of a [`SocketServer`](crate::SocketServer).
///
/// ```
/// use react_websocket::{SocketOptions, SocketServer};
///
/// # fn main() -> Result<(), react_websocket::errors::SocketError> {
/// let options = SocketOptions::new().backlog(1024).ipv6_only(true);
/// let socket = SocketServer::with_options("127.0.0.1:0", options)?;
/// # Ok(())
/// # }
/// ```
#[must_use = "options are for `SocketServer::with_options`"]
#[derive(Clone, Debug)]
#[cfg_attr(not(unix), allow(dead_code, reason = "only Unix has all of them"))]
pub struct SocketOptions {
    pub(super) backlog: i32,
    pub(super) reuse_port: bool,
    pub(super) ipv6_only: Option<bool>,
    pub(super) unix_mode: Option<u32>,
    pub(super) proxy_protocol: Option<ProxyProtocol>,
    #[cfg(feature = "__tls")]
    pub(super) tls: Option<Tls>,
}

impl Default for SocketOptions {
    fn default() -> Self {
        SocketOptions::new()
    }
}

impl SocketOptions {
    /// Returns the defaults. The documentation of each method names its default.
    pub fn new() -> SocketOptions {
        SocketOptions {
            backlog: 4096,
            reuse_port: false,
            ipv6_only: None,
            unix_mode: None,
            proxy_protocol: None,
            #[cfg(feature = "__tls")]
            tls: None,
        }
    }

    /// Maximum number of connections that wait to be accepted. Default: 4,096, the default limit of
    /// Linux, so that many clients can reconnect at once after a restart. The system may have a
    /// lower limit (`somaxconn`).
    pub fn backlog(mut self, connections: u32) -> SocketOptions {
        self.backlog = i32::try_from(connections).unwrap_or(i32::MAX);
        self
    }

    /// Lets several sockets listen on the same port (`SO_REUSEPORT`). The system spreads
    /// connections over these sockets, for example over one runtime for each core. Only on Unix.
    ///
    /// Default: off, so that a second server on the same port is an error.
    pub fn reuse_port(mut self, on: bool) -> SocketOptions {
        self.reuse_port = on;
        self
    }

    /// Sets whether a socket on an IPv6 address accepts only IPv6 clients (`IPV6_V6ONLY`, RFC 3493
    /// section 5.3).
    ///
    /// The option affects `[::]`, which means all addresses. With `false` such a socket also
    /// accepts IPv4 clients, whose addresses then look like `::ffff:192.0.2.1`. With `true` another
    /// socket can listen on `0.0.0.0` with the same port. Sockets on IPv4 addresses ignore the
    /// option.
    ///
    /// Default: the setting of the system. The setting is `false` on Linux, unless
    /// `net.ipv6.bindv6only` is set, and `true` on Windows and OpenBSD.
    pub fn ipv6_only(mut self, on: bool) -> SocketOptions {
        self.ipv6_only = Some(on);
        self
    }

    /// Sets the permissions of the file of a Unix socket, such as `0o660`. To connect, a client
    /// needs write permission. The file has the permissions before the first client can connect.
    /// The umask does not change them. Only on Unix.
    ///
    /// Default: all permissions except those that the umask of the process removes.
    ///
    /// # Panics
    /// If `mode` exceeds `0o777`, for example the decimal number 660.
    #[track_caller]
    pub fn unix_mode(mut self, mode: u32) -> SocketOptions {
        assert!(mode <= 0o777, "unix_mode({mode}) is 0o{mode:o} in octal, which exceeds 0o777: write 0o660 for rw-rw----");
        self.unix_mode = Some(mode);
        self
    }

    /// Sets the proxies whose connections begin with a header of the PROXY protocol, which has the
    /// client's address. On a `tls://` socket the header precedes the TLS handshake. Default: none.
    ///
    /// A connection whose header is missing or malformed is closed without a response, and the socket
    /// emits `error` with [`SocketError::ProxyProtocol`](crate::errors::SocketError::ProxyProtocol).
    /// [`HttpOptions::header_timeout`](crate::HttpOptions::header_timeout) also limits the header.
    pub fn proxy_protocol(mut self, protocol: ProxyProtocol) -> SocketOptions {
        self.proxy_protocol = Some(protocol);
        self
    }

    /// Sets the certificate and the options of a socket on `tls://host:port`: ReactPHP's context
    /// `tls`. Default: none. A `tls://` address without it, and another address with it, are errors.
    ///
    /// Needs the feature `tls` or `tls-ring`.
    #[cfg(feature = "__tls")]
    pub fn tls(mut self, tls: Tls) -> SocketOptions {
        self.tls = Some(tls);
        self
    }
}
