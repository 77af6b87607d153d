//! The memory of compression: what messages, connections and bombs cost.
#![cfg(feature = "deflate")]

mod compressed;
mod support;

use std::sync::mpsc;

use compressed::*;
use react_websocket::options::Compression;
use react_websocket::protocol::deflate::Receiver;
use react_websocket::protocol::{BufferPool, Connection, Limits, ProtocolError, Role};
use react_websocket::{HttpServer, WebSocketConnection, WebSocketMiddleware, WebSocketOptions};
use support::*;
use tokio::io::DuplexStream;

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap()
}

fn server(compression: impl Into<Option<Compression>>) -> (HttpServer, mpsc::Receiver<WebSocketConnection>) {
    let options = WebSocketOptions::new().ping_interval(None).compression(compression);
    let (websocket, (open, opened)) = (WebSocketMiddleware::new().with_options(options), mpsc::channel());
    websocket.on("connection", move |connection: WebSocketConnection| {
        connection.on("text", move |text: &str| connection.write(text));
        connection.on("binary", move |bytes: &[u8]| connection.write_binary(bytes));
        open.send(connection).is_ok()
    });
    (HttpServer::new((websocket, router)), opened)
}

/// A handshake that offers compression.
fn handshake() -> String {
    let offer = "\r\nSec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n\r\n";
    HANDSHAKE.replacen("\r\n\r\n", offer, 1)
}

/// Opens a connection that offers compression.
async fn open(http: &HttpServer) -> Peer<DuplexStream> {
    let (mut peer, _serving) = Peer::serve_with_capacity(http, 16 * 1024);
    peer.ask(handshake()).await;
    peer
}

/// Returns the allocations of so many exchanged messages, those of the test itself included.
fn allocations(compression: Compression, messages: usize) -> u64 {
    let runtime = runtime();
    let (http, _opened) = server(compression);
    let mut codec = Codec::new(ALONE, ALONE);
    let sent = [frame(0xC1, codec.pack(words(60))), frame(0xC2, codec.pack(vec![7; 3_000]))].concat();
    let counted = allocation_counter::measure(|| {
        runtime.block_on(async {
            let mut peer = open(&http).await;
            for _ in 0..messages {
                peer.send(&sent).await;
                for _ in 0..2 {
                    assert!(peer.frame().await.expect("an echo").opcode & 0x40 != 0);
                }
            }
        })
    });
    counted.count_total
}

#[test]
fn a_message_allocates_nothing_when_its_thread_is_warm() {
    for compression in [Compression::new(), Compression::new().window(None), Compression::new().peer_window(4096)] {
        allocations(compression.clone(), 20);
        // The test itself: the parts of a frame, and a buffer for what is read.
        let (few, many) = (allocations(compression.clone(), 100), allocations(compression, 1_100));
        let of_test = allocations_of_test();
        assert_eq!((many - few) / 1_000, of_test, "{few} and {many}");
    }
}

/// What the test allocates to read two messages.
fn allocations_of_test() -> u64 {
    let runtime = runtime();
    let count = |messages: usize| {
        let counted = allocation_counter::measure(|| {
            runtime.block_on(async {
                let (ours, mut theirs) = tokio::io::duplex(16 * 1024);
                let mut peer = Peer::new(ours);
                for _ in 0..messages {
                    for length in [400, 30] {
                        tokio::io::AsyncWriteExt::write_all(&mut theirs, &server_frame(0xC1, vec![0; length]))
                            .await
                            .unwrap();
                    }
                    for _ in 0..2 {
                        peer.frame().await.unwrap();
                    }
                }
            })
        });
        counted.count_total
    };
    let made =
        allocation_counter::measure(|| drop([400, 30].map(|length| server_frame(0xC1, vec![0; length])))).count_total;
    (count(1_100) - count(100)) / 1_000 - made
}

/// Returns the bytes that a connection keeps after so many messages, besides what it would keep without compression.
fn kept(compression: Compression, messages: usize) -> i64 {
    const COUNT: i64 = 20;
    let bytes = |compression: Option<Compression>| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let (http, opened) = server(compression);
        let (address, _listening) = runtime.block_on(async { listen_with(http) });
        let mut peers = Vec::with_capacity(2 * COUNT as usize);
        let mut connect = || {
            for _ in 0..COUNT {
                let peer = runtime.block_on(async {
                    let mut peer = Peer::connect(address).await;
                    peer.ask(handshake()).await;
                    let connection = opened.try_recv().expect("a connection");
                    for number in 0..messages {
                        connection.write(words(40 + number % 20));
                        peer.frame().await.expect("a message");
                    }
                    // The task has begun when it answers.
                    peer.send(frame(0x89, "")).await;
                    peer.frame().await.expect("a pong");
                    peer
                });
                // Its buffer is no part of the connection.
                peers.push(peer.stream);
            }
        };
        // What a thread keeps for all connections is there after these.
        connect();
        allocation_counter::measure(connect).bytes_current
    };
    let (with, without) = (bytes(Some(compression)), bytes(None));
    (with - without) / COUNT
}

#[test]
fn a_connection_keeps_its_window_and_little_else() {
    let silent = kept(Compression::new(), 0);
    let alone = kept(Compression::new().window(None), 40);
    let (small, usual) = (kept(Compression::new().window(512), 40), kept(Compression::new(), 40));
    println!("silent {silent}, without a window {alone}, 512 B {small}, 4 KiB {usual}");
    assert!(silent <= 154 && alone <= 154, "silent {silent}, without a window {alone}");
    assert!(small <= 512 + 205 && usual <= 4096 + 205, "512 B: {small}, 4 KiB: {usual}");
}

/// Memory grows with what has arrived, and what is made of it never exceeds the limit.
#[test]
fn a_bomb_costs_its_limit_and_no_more() {
    let mut codec = Codec::new(ALONE, ALONE);
    let bomb = codec.pack(vec![0; 8 << 20]);
    assert!(bomb.len() < 9_000, "{}", bomb.len());
    for limit in [1 << 20, 1_500_000] {
        for first in [0xC1, 0xC2] {
            let limits = Limits { max_message_size: limit, max_frame_size: limit, ..Limits::default() };
            let mut pool = BufferPool::default();
            let mut receive = |payload: &[u8]| {
                let mut connection = Connection::with_deflate(Role::Server, Receiver::new(ALONE));
                let mut bytes = frame(first, payload);
                let received = connection.receive(&mut &mut bytes[..], &limits, &mut pool).map(|event| event.is_some());
                (received, bytes.len())
            };
            assert_eq!(receive(HELLO).0, Ok(true));
            let mut received = None;
            let begun = std::time::Instant::now();
            let counted = allocation_counter::measure(|| received = Some(receive(&bomb)));
            println!("{:?}, at most {} bytes", begun.elapsed(), counted.bytes_max);
            let (received, arrived) = received.unwrap();
            assert_eq!(received, Err(ProtocolError::MessageTooLarge { length: limit as u64 + 1, limit }));
            let most = (limit + 64 * 1024 + 2 * arrived) as u64;
            assert!(counted.bytes_max <= most, "{} bytes, the limit is {limit}", counted.bytes_max);
        }
    }
}
