//! soketto.
//!
//! usage: peer_soketto PORT [--mode broadcast] [--workers N]
#![forbid(unsafe_code)]

use bytes::Bytes;
use react_websocket_bench::peer::{Peer, answer};
use soketto::Data;
use soketto::connection::{Error, Receiver, Sender};
use soketto::handshake::Server;
use soketto::handshake::server::Response;
use tokio::io::{BufReader, BufWriter};
use tokio::net::TcpStream;
use tokio_util::compat::{Compat, TokioAsyncReadCompatExt};

type Socket = Compat<BufReader<BufWriter<TcpStream>>>;

fn main() -> std::io::Result<()> {
    Peer::accept(|stream, peer: Peer<Bytes>| async move {
        let mut server = Server::new(BufReader::new(BufWriter::new(stream)).compat());
        let Ok(request) = server.receive_request().await else { return };
        let accept = Response::Accept { key: request.key(), protocol: None };
        if server.send_response(&accept).await.is_ok() {
            let (sender, receiver) = server.into_builder().finish();
            // Its error is the connection's end.
            let _ = match peer.everybody() {
                Some(everybody) => share(sender, receiver, everybody.clone()).await,
                None => echo(sender, receiver).await,
            };
        }
    })
}

async fn echo(mut sender: Sender<Socket>, mut receiver: Receiver<Socket>) -> Result<(), Error> {
    let mut message = Vec::new();
    loop {
        message.clear();
        match receiver.receive_data(&mut message).await? {
            Data::Binary(_) => sender.send_binary_mut(&mut message).await?,
            Data::Text(_) => match std::str::from_utf8(&message) {
                Ok(text) => sender.send_text(text).await?,
                Err(_) => return Ok(()),
            },
        }
        sender.flush().await?;
    }
}

/// Receiving cannot be interrupted, so sending has a task of its own.
async fn share(
    mut sender: Sender<Socket>,
    mut receiver: Receiver<Socket>,
    everybody: tokio::sync::broadcast::Sender<Bytes>,
) -> Result<(), Error> {
    let mut others = everybody.subscribe();
    let sending = tokio::spawn(async move {
        while let Ok(message) = others.recv().await {
            sender.send_text(&*String::from_utf8_lossy(&message)).await?;
            sender.flush().await?;
        }
        Ok::<_, Error>(())
    });
    let mut message = Vec::new();
    while receiver.receive_data(&mut message).await.is_ok() {
        answer(&Bytes::copy_from_slice(&message), &everybody);
        message.clear();
    }
    sending.abort();
    Ok(())
}
