//! yawc, with hyper for the handshake.
//!
//! usage: peer_yawc PORT [--mode broadcast] [--style forward] [--workers N]
#![forbid(unsafe_code)]

use futures_util::StreamExt;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use react_websocket_bench::peer::Peer;
use yawc::{Frame, Options, WebSocket};

fn main() -> std::io::Result<()> {
    Peer::accept(|stream, peer: Peer<Frame>| async move {
        let service = service_fn(move |request: hyper::Request<Incoming>| {
            let peer = peer.clone();
            async move {
                let options = Options::default().with_utf8().with_limits(4 << 20, 8 << 20);
                let (response, upgrade) = WebSocket::upgrade_with_options(request, options)?;
                tokio::spawn(async move {
                    if let Ok(socket) = upgrade.await {
                        // Its stream ends at an error.
                        peer.serve(socket.map(Ok)).await;
                    }
                });
                Ok::<_, yawc::WebSocketError>(response)
            }
        });
        let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).with_upgrades().await;
    })
}
