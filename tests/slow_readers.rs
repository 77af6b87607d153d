//! Healthy clients that read slowly are served. Clients that have stopped reading are closed.
//!
//! Only on Linux does the server know how many bytes a client has acknowledged.
#![cfg(target_os = "linux")]

mod support;

use std::future::Future;
use std::time::Duration;

use react_websocket::{HttpServer, Response, ServerRequest, SocketServer};
use support::*;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::advance;

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
const PIECE: usize = 64 * 1024;

/// More than the system keeps for any client.
const HUGE: usize = 32 << 20;

/// A net under tests whose time stands still.
async fn in_real_time<F: Future>(future: F) -> F::Output {
    while_time_passes(future).await
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn errors(http: &HttpServer) -> Log {
    let log = Log::default();
    let noting = log.clone();
    http.on("error", move |error| noting.add(error));
    log
}

async fn skip<S: AsyncRead + Unpin>(stream: &mut S, bytes: usize) {
    stream.read_exact(&mut vec![0; bytes]).await.expect("the server goes on");
}

/// Reads a little, and again after almost all of the write timeout, several times. Then it reads no more.
async fn read_slowly_then_not_at_all<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S, log: &Log) -> S {
    stream.write_all(GET.as_bytes()).await.unwrap();
    for _ in 0..5 {
        skip(&mut stream, PIECE).await;
        let_all_run().await;
        advance(seconds(29)).await;
        let_all_run().await;
        assert_eq!(log.take(), [""; 0], "it reads");
    }
    let mut waited = 0;
    while log.take() != ["the client took nothing of the response within 30s"] {
        advance(seconds(1)).await;
        let_all_run().await;
        waited += 1;
        assert!(waited < 100, "it does not read any more");
    }
    assert!(waited >= 2, "it has its time again");
    stream
}

/// `write_timeout` counts from what the client has acknowledged last. That the system takes something more of the response is
/// no measure: it does when a third of its own buffer, of some megabytes, is free.
#[tokio::test(start_paused = true)]
async fn a_client_that_reads_a_little_in_each_write_timeout_is_served_over_tcp() {
    let _frozen = Frozen::new();
    in_real_time(async {
        let http = HttpServer::new(|_: ServerRequest| Response::new(200).with_body(vec![b'a'; HUGE]));
        let log = errors(&http);
        let (address, _listening) = listen_with(http);
        read_slowly_then_not_at_all(connect_with_little_room(address).await, &log).await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_client_that_reads_a_little_in_each_write_timeout_is_served_over_a_unix_socket() {
    let _frozen = Frozen::new();
    in_real_time(async {
        let http = HttpServer::new(|_: ServerRequest| Response::new(200).with_body(vec![b'a'; HUGE]));
        let log = errors(&http);
        let path = std::env::temp_dir().join(format!("rws-slow-{}", std::process::id()));
        let _listening = http.listen(SocketServer::new(format!("unix://{}", path.display())).unwrap());
        read_slowly_then_not_at_all(tokio::net::UnixStream::connect(&path).await.unwrap(), &log).await;
    })
    .await;
}

/// A server that closes continues to read until the client has received the last response (RFC 9112
/// section 9.6). Unread bytes would cause a reset, which would discard the rest of the response.
#[tokio::test(start_paused = true)]
async fn the_last_response_arrives_whole_however_slowly_it_is_read_and_whatever_the_client_still_sends() {
    const SIZE: usize = 1 << 20;
    let _frozen = Frozen::new();
    in_real_time(async {
        let http = HttpServer::new(|_: ServerRequest| Response::new(200).with_body(vec![b'a'; SIZE]));
        let (address, _listening) = listen_with(http);
        let mut peer = Peer::new(connect_with_little_room(address).await);
        peer.send(GET.replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n")).await;
        peer.head().await;
        for _ in 0..SIZE / PIECE {
            peer.exactly(PIECE).await;
            for _ in 0..4 {
                peer.send(GET).await;
                let_all_run().await;
                advance(seconds(1)).await;
            }
        }
        assert!(peer.ended().await);
    })
    .await;
}
