//! fastwebsockets, with hyper for the handshake.
//!
//! usage: peer_fastwebsockets PORT [--mode broadcast] [--workers N]
#![forbid(unsafe_code)]

use bytes::Bytes;
use fastwebsockets::{FragmentCollector, Frame, OpCode, Payload, WebSocketError, upgrade};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use react_websocket_bench::peer::{Peer, answer};
use tokio::sync::broadcast::Sender;

type Socket = FragmentCollector<TokioIo<hyper::upgrade::Upgraded>>;

fn main() -> std::io::Result<()> {
    Peer::accept(|stream, peer: Peer<Bytes>| async move {
        let service = service_fn(move |mut request: hyper::Request<Incoming>| {
            let peer = peer.clone();
            async move {
                let (response, upgrade) = upgrade::upgrade(&mut request)?;
                tokio::spawn(async move { serve(FragmentCollector::new(upgrade.await?), peer).await });
                Ok::<_, WebSocketError>(response)
            }
        });
        let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).with_upgrades().await;
    })
}

async fn serve(mut socket: Socket, peer: Peer<Bytes>) -> Result<(), WebSocketError> {
    match peer.everybody() {
        Some(everybody) => share(socket, everybody).await,
        None => loop {
            let frame = socket.read_frame().await?;
            match frame.opcode {
                OpCode::Close => return Ok(()),
                OpCode::Text | OpCode::Binary => socket.write_frame(frame).await?,
                _ => {}
            }
        },
    }
}

async fn share(mut socket: Socket, everybody: &Sender<Bytes>) -> Result<(), WebSocketError> {
    let mut others = everybody.subscribe();
    loop {
        tokio::select! {
            frame = socket.read_frame() => match frame? {
                frame if frame.opcode == OpCode::Close => return Ok(()),
                frame => answer(&Bytes::copy_from_slice(&frame.payload), everybody),
            },
            Ok(message) = others.recv() => {
                socket.write_frame(Frame::text(Payload::Borrowed(&message))).await?;
            }
        }
    }
}
