use std::pin::Pin;

use super::permit::ConnectionPermit;
use crate::runtime::stream::Stream;

/// The protocol that a connection continues with after a 101. HTTP knows nothing else of it.
pub(crate) trait Upgrade: Send {
    /// Starts the protocol after the 101 has left. The future is the rest of the connection's life.
    ///
    /// If an upgrade is dropped without this call, the 101 did not leave.
    fn start(self: Box<Self>, upgraded: Upgraded) -> Pin<Box<dyn Future<Output = ()> + Send>>;
}

/// What an upgrade gets from the server.
pub(crate) struct Upgraded {
    pub(crate) stream: Stream,
    /// Bytes that arrived behind the request, and belong to the new protocol.
    pub(crate) read_ahead: Vec<u8>,
    pub(crate) permit: ConnectionPermit,
}
