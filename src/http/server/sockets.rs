use crate::socket::SocketServer;

/// The sockets that an [`HttpServer`](crate::HttpServer) listens on: one [`SocketServer`] or
/// several.
#[derive(Debug)]
pub struct Sockets(pub(super) Vec<SocketServer>);

impl From<SocketServer> for Sockets {
    fn from(socket: SocketServer) -> Sockets {
        Sockets(vec![socket])
    }
}

impl From<Vec<SocketServer>> for Sockets {
    fn from(sockets: Vec<SocketServer>) -> Sockets {
        Sockets(sockets)
    }
}

impl<const N: usize> From<[SocketServer; N]> for Sockets {
    fn from(sockets: [SocketServer; N]) -> Sockets {
        Sockets(sockets.into())
    }
}
