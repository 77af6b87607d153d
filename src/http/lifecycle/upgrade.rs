use std::pin::Pin;

use super::permit::ConnectionPermit;
use crate::runtime::stream::Stream;

/// What a connection goes on as after a 101. This is all that HTTP knows of it.
pub(crate) trait Upgrade: Send {
    /// The 101 has left; the future is the rest of the connection's life.
    ///
    /// If an upgrade is dropped without this, the 101 did not leave.
    fn start(self: Box<Self>, upgraded: Upgraded) -> Pin<Box<dyn Future<Output = ()> + Send>>;
}

/// What an upgrade gets from the server.
pub(crate) struct Upgraded {
    pub(crate) stream: Stream,
    /// Bytes that came behind the request, and belong to the new protocol.
    pub(crate) read_ahead: Vec<u8>,
    pub(crate) permit: ConnectionPermit,
}
