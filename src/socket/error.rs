use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use super::proxies::ProxyProtocolFailure;

/// An error of a [`SocketServer`](crate::SocketServer).
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SocketError {
    /// The address is malformed.
    #[error("invalid address {uri:?}: give a port, host:port, tcp://host:port, tls://host:port or unix:///path")]
    InvalidAddress {
        /// The address as it was given.
        uri: String,
    },
    /// The socket could not be created, or its address could not be determined.
    #[error("cannot listen on {uri}")]
    Listen {
        /// The address.
        uri: String,
        /// The system's error.
        source: Arc<io::Error>,
    },
    /// A `tls://` address needs the feature `tls` or `tls-ring` of this crate.
    #[error("cannot listen on {uri}: enable the feature `tls` of the crate react-websocket")]
    TlsNotEnabled {
        /// The address.
        uri: String,
    },
    /// A `tls://` address needs a certificate: [`SocketOptions::tls`](crate::SocketOptions::tls).
    #[cfg(feature = "__tls")]
    #[error("no certificate for {uri}: set it with `SocketOptions::tls`")]
    NoCertificate {
        /// The address.
        uri: String,
    },
    /// The options have a certificate, but the address does not begin with `tls://`, so that it would
    /// not be used.
    #[cfg(feature = "__tls")]
    #[error("address {uri:?} is not of TLS, but has a certificate: write \"tls://host:port\"")]
    UnusedCertificate {
        /// The address.
        uri: String,
    },
    /// A TLS handshake failed, and its connection is closed. The socket continues.
    #[cfg(feature = "__tls")]
    #[error("TLS handshake with {} failed: {reason}", remote.map_or_else(|| "a client".to_owned(), |remote| remote.to_string()))]
    Tls {
        /// The address of the client.
        remote: Option<SocketAddr>,
        /// Why it failed.
        reason: crate::tls::HandshakeFailure,
        /// The error of rustls, if it has one.
        source: Option<crate::tls::rustls::Error>,
    },
    /// A connection of a proxy has no valid header of the PROXY protocol, and is closed without a
    /// response. The socket continues.
    #[error("connection of {} refused: {reason}", remote.map_or_else(|| "a proxy".to_owned(), |remote| remote.to_string()))]
    ProxyProtocol {
        /// The address of the proxy. `None` for a Unix socket.
        remote: Option<SocketAddr>,
        /// Why the connection was refused.
        reason: ProxyProtocolFailure,
    },
    /// The system could not accept a connection, because descriptors or memory are exhausted. The
    /// socket tries again and continues to accept.
    #[error("cannot accept a connection")]
    Accept {
        /// The system's error.
        source: Arc<io::Error>,
    },
}
