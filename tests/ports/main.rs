//! The ports of PHP apps in `examples/ports`, each over real sockets: what their clients read, in order.

mod page;
#[path = "../support/mod.rs"]
mod support;

mod bridge;
mod presence;
#[cfg(feature = "json")]
mod push;

use std::net::SocketAddr;

use react_websocket::{Error, SocketServer};

/// Runs an app on a free port, until the test ends.
pub fn start<F>(serve: impl FnOnce(SocketServer) -> F) -> SocketAddr
where
    F: Future<Output = Result<(), Error>> + Send + 'static,
{
    let socket = SocketServer::new("127.0.0.1:0").expect("a port");
    let address = socket.local_address().expect("an address");
    tokio::spawn(serve(socket));
    address
}
