//! The ports of PHP apps in `examples/ports`, each over real sockets: what their clients read, in order.

mod page;
#[path = "../support/mod.rs"]
mod support;

mod bridge;
mod chat;
mod commands;
mod presence;
#[cfg(feature = "json")]
mod push;
mod rooms;
mod site;

use std::net::SocketAddr;

use react_websocket::{Error, SocketServer};
use support::Peer;
use support::handshake::{NEEDED, request};
use tokio::net::TcpStream;

/// A client of an app.
pub type Client = Peer<TcpStream>;

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

/// Opens a WebSocket: `target` is a path and a query.
pub async fn open(address: SocketAddr, target: &str) -> Client {
    open_with(address, target, &[]).await
}

/// Opens a WebSocket, with more lines in the request.
pub async fn open_with(address: SocketAddr, target: &str, lines: &[&str]) -> Client {
    let mut client = Client::connect(address).await;
    client.send(handshake(target, lines)).await;
    let head = client.head().await;
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    client
}

/// The request that opens a WebSocket.
pub fn handshake(target: &str, lines: &[&str]) -> String {
    request(&format!("GET {target} HTTP/1.1"), &[&NEEDED, lines].concat())
}

/// Checks that a client reads these messages, and no others between them.
pub async fn expect(client: &mut Client, messages: &[&str]) {
    for message in messages {
        assert_eq!(client.text().await, *message);
    }
}
