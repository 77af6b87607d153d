//! tokio-tungstenite over tokio-rustls.
//!
//! usage: peer_tokio_rustls PORT [--mode broadcast] [--style forward] [--workers N]
#![forbid(unsafe_code)]

use react_websocket_bench::peer::Peer;
use react_websocket_bench::tls;
use std::sync::Arc;
use tokio_rustls::TlsAcceptor;
use tokio_tungstenite::accept_async;

fn main() -> std::io::Result<()> {
    let provider = std::env::var("PROVIDER").unwrap_or_else(|_| "aws-lc".to_owned());
    let acceptor = TlsAcceptor::from(Arc::new(tls::config(&provider)));
    Peer::accept(move |stream, peer| {
        let acceptor = acceptor.clone();
        async move {
            if let Ok(stream) = acceptor.accept(stream).await
                && let Ok(socket) = accept_async(stream).await
            {
                peer.serve(socket).await;
            }
        }
    })
}
