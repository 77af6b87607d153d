use std::io;
use std::sync::Arc;

/// An error of a [`SocketServer`](crate::SocketServer).
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SocketError {
    /// The address is malformed.
    #[error("invalid address {uri:?}: give a port, host:port, tcp://host:port or unix:///path")]
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
    /// The system could not accept a connection, because descriptors or memory are exhausted. The
    /// socket tries again and continues to accept.
    #[error("cannot accept a connection")]
    Accept {
        /// The system's error.
        source: Arc<io::Error>,
    },
}
