#[cfg(feature = "__tls")]
use crate::tls::Tls;

/// The options of a [`SocketServer`](crate::SocketServer).
///
/// ```
/// use react_websocket::{SocketOptions, SocketServer};
///
/// # fn main() -> Result<(), react_websocket::SocketError> {
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
            #[cfg(feature = "__tls")]
            tls: None,
        }
    }

    /// Maximum number of connections that wait to be accepted. Default: 4,096, which Linux allows
    /// by default, so that a burst of clients that reconnect after a restart is not refused. The
    /// system may have a lower limit of its own (`somaxconn`).
    pub fn backlog(mut self, connections: u32) -> SocketOptions {
        self.backlog = i32::try_from(connections).unwrap_or(i32::MAX);
        self
    }

    /// Lets several sockets listen on the same port (`SO_REUSEPORT`). The system spreads
    /// connections over them: one runtime for each core. Only Unix has it.
    ///
    /// Default: off, so that a second server on the port by accident is an error.
    pub fn reuse_port(mut self, on: bool) -> SocketOptions {
        self.reuse_port = on;
        self
    }

    /// Whether a socket on an IPv6 address takes IPv6 clients only (`IPV6_V6ONLY`, RFC 3493 section
    /// 5.3).
    ///
    /// It makes a difference for `[::]`, all addresses. With `false` that socket takes IPv4 clients
    /// too, whose addresses are then like `::ffff:192.0.2.1`. With `true` another socket can listen
    /// on `0.0.0.0` with the same port. Sockets on IPv4 addresses ignore it.
    ///
    /// Default: what the system is set to. That is `false` on Linux, unless `net.ipv6.bindv6only`
    /// is set, and `true` on Windows and OpenBSD.
    pub fn ipv6_only(mut self, on: bool) -> SocketOptions {
        self.ipv6_only = Some(on);
        self
    }

    /// The permissions of the file of a Unix socket, such as `0o660`. To connect, a client needs
    /// write permission. The file has them before the first client can connect. The umask does not
    /// change them. Only Unix has it.
    ///
    /// Default: all permissions that the umask of the process leaves.
    ///
    /// # Panics
    /// If `mode` exceeds `0o777`, as a number that was meant to be octal does.
    #[track_caller]
    pub fn unix_mode(mut self, mode: u32) -> SocketOptions {
        assert!(mode <= 0o777, "unix_mode({mode}) is 0o{mode:o} in octal, which exceeds 0o777: write 0o660 for rw-rw----");
        self.unix_mode = Some(mode);
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
