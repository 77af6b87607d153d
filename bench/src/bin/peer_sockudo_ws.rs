//! sockudo-ws.
//!
//! usage: peer_sockudo_ws PORT [--mode broadcast] [--style forward] [--workers N]
#![forbid(unsafe_code)]

use react_websocket_bench::peer::Peer;
use sockudo_ws::handshake::{build_response, generate_accept_key, parse_request};
use sockudo_ws::{Config, WebSocketStream};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

fn main() -> std::io::Result<()> {
    Peer::accept(|stream, peer| async move {
        if let Some(stream) = handshake(stream).await {
            peer.serve(WebSocketStream::server(stream, Config::default())).await;
        }
    })
}

/// As its examples do it.
async fn handshake(mut stream: TcpStream) -> Option<TcpStream> {
    let mut head = bytes::BytesMut::with_capacity(4096);
    while stream.read_buf(&mut head).await.ok()? > 0 {
        if let Some((request, _)) = parse_request(&head).ok()? {
            let response = build_response(&generate_accept_key(request.key), None, None);
            stream.write_all(&response).await.ok()?;
            return Some(stream);
        }
    }
    None
}
