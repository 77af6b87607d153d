use std::io;
use std::sync::Arc;

/// An error of the system about a server's socket.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SocketError {
    /// No server can listen on the address.
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
    /// The system could not accept a connection, for lack of descriptors or memory. Accepting goes
    /// on when it can.
    #[error("cannot accept a connection")]
    Accept {
        /// The system's error.
        source: Arc<io::Error>,
    },
}
