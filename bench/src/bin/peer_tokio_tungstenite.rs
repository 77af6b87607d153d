//! tokio-tungstenite.
//!
//! usage: peer_tokio_tungstenite PORT [--mode broadcast] [--style forward] [--workers N]
#![forbid(unsafe_code)]

use react_websocket_bench::peer::Peer;
use tokio_tungstenite::accept_async;

fn main() -> std::io::Result<()> {
    Peer::accept(|stream, peer| async move {
        if let Ok(socket) = accept_async(stream).await {
            peer.serve(socket).await;
        }
    })
}
