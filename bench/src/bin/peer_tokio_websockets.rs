//! tokio-websockets.
//!
//! usage: peer_tokio_websockets PORT [--mode broadcast] [--style forward] [--workers N]
#![forbid(unsafe_code)]

use react_websocket_bench::peer::Peer;
use tokio_websockets::{Config, Limits, ServerBuilder};

fn main() -> std::io::Result<()> {
    Peer::accept(|stream, peer| async move {
        // As in its own benchmark: no fragments are made of large messages.
        let server = ServerBuilder::new().config(Config::default().frame_size(usize::MAX)).limits(Limits::unlimited());
        if let Ok((_request, socket)) = server.accept(stream).await {
            peer.serve(socket).await;
        }
    })
}
