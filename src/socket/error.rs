use std::io;
use std::sync::Arc;

/// Something that the environment refused a server's socket.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SocketError {
    /// The address is none that a server can listen on.
    #[error("invalid address {uri:?}: give a port, host:port, tcp://host:port or unix:///path")]
    InvalidAddress {
        /// What was given.
        uri: String,
    },
    /// The socket could not be made, or its address not be had.
    #[error("cannot listen on {uri}: {source}")]
    Listen {
        /// The address.
        uri: String,
        /// What the system said.
        source: Arc<io::Error>,
    },
    /// The system could not give us a connection, for lack of descriptors or memory. Accepting goes on when it can.
    #[error("cannot accept a connection: {source}")]
    Accept {
        /// What the system said.
        source: Arc<io::Error>,
    },
}
