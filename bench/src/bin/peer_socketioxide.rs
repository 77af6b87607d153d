//! socketioxide on axum. Its clients speak Socket.IO: the load generator does with `LOAD_SOCKETIO=yes`.
//!
//! usage: peer_socketioxide PORT [--workers N]
#![forbid(unsafe_code)]

use axum::Router;
use axum::serve::ListenerExt;
use react_websocket_bench::{Arguments, block_on};
use socketioxide::SocketIo;
use socketioxide::extract::{Data, SocketRef};
use tokio::net::TcpListener;

fn main() -> std::io::Result<()> {
    let arguments = Arguments::of(&["workers"]);
    block_on(arguments.value("workers", 1), async {
        let (layer, io) = SocketIo::new_layer();
        io.ns("/", async |socket: SocketRef| {
            socket.on("message", async |socket: SocketRef, Data(text): Data<String>| {
                // An error ends the connection, and no other code needs to know it.
                let _ = socket.emit("message", &text);
            });
        });
        let listener = TcpListener::bind(arguments.address()).await?.tap_io(|stream| drop(stream.set_nodelay(true)));
        axum::serve(listener, Router::new().layer(layer)).await
    })
}
