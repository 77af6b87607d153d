use std::net::SocketAddr;

use super::proxy_protocol::Malformed;
use crate::runtime::networks::Networks;

/// The proxies that send a header of the PROXY protocol, the argument of
/// [`SocketOptions::proxy_protocol`](crate::SocketOptions::proxy_protocol).
///
/// HAProxy (`send-proxy`, `send-proxy-v2`), nginx (`proxy_protocol on` of a stream server) and load
/// balancers for TCP put this header in front of each connection. The header has the client's
/// address. The server reads versions 1 and 2. A header from an address that is not a proxy's is
/// malformed HTTP, or a malformed TLS handshake, so clients cannot send a header.
///
/// ```
/// use react_websocket::options::ProxyProtocol;
/// use react_websocket::{SocketOptions, SocketServer};
///
/// # fn main() -> Result<(), react_websocket::errors::SocketError> {
/// let options = SocketOptions::new().proxy_protocol(ProxyProtocol::required(["10.0.0.0/8"]));
/// let socket = SocketServer::with_options("127.0.0.1:0", options)?;
/// # Ok(())
/// # }
/// ```
#[must_use = "it is for `SocketOptions::proxy_protocol`"]
#[derive(Clone, Debug)]
pub struct ProxyProtocol {
    networks: Networks,
    pub(super) is_required: bool,
}

impl ProxyProtocol {
    /// Requires a header on each connection from these networks. A network is written as
    /// `10.0.0.0/8` or `fd00::/8`, and a single address without a prefix length. Every connection to
    /// a Unix socket counts as a proxy's.
    ///
    /// # Panics
    /// If an entry is not a network.
    #[track_caller]
    pub fn required<S: AsRef<str>>(networks: impl IntoIterator<Item = S>) -> ProxyProtocol {
        ProxyProtocol { networks: Networks::parse(networks), is_required: true }
    }

    /// Like [`required`](ProxyProtocol::required), but accepts connections without a header, for
    /// example of health checks. Use `optional` only if the proxies send a header for each client:
    /// otherwise a client behind a proxy could send a header of its own.
    ///
    /// # Panics
    /// If an entry is not a network.
    #[track_caller]
    pub fn optional<S: AsRef<str>>(networks: impl IntoIterator<Item = S>) -> ProxyProtocol {
        ProxyProtocol { networks: Networks::parse(networks), is_required: false }
    }

    /// Returns whether a connection from this address may begin with a header. `None`: from a Unix
    /// socket.
    pub(super) fn trusts(&self, remote: Option<SocketAddr>) -> bool {
        remote.is_none_or(|remote| self.networks.contains(remote.ip()))
    }
}

/// Why a connection of a proxy was refused: part of
/// [`SocketError::ProxyProtocol`](crate::errors::SocketError::ProxyProtocol).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProxyProtocolFailure {
    /// The connection does not begin with a header, and one is required.
    #[error("no header of the PROXY protocol")]
    Missing,
    /// The header violates the specification.
    #[error("malformed header of the PROXY protocol")]
    Malformed,
    /// The header exceeds 107 bytes in version 1, or 16 bytes and 4 KiB in version 2.
    #[error("header of the PROXY protocol is too long")]
    TooLong,
}

impl From<Malformed> for ProxyProtocolFailure {
    fn from(malformed: Malformed) -> ProxyProtocolFailure {
        match malformed {
            Malformed::Syntax => ProxyProtocolFailure::Malformed,
            Malformed::TooLong => ProxyProtocolFailure::TooLong,
        }
    }
}
