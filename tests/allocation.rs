//! Memory: a message costs none.

mod support;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Wake, Waker};

use bytes::Bytes;
use react_websocket::{
    BodyStream, HttpServer, Response, ServerRequest, SocketServer, Text, WebSocketConnection, WebSocketMiddleware,
    WebSocketOptions,
};
use support::{HANDSHAKE, Pair, frame};

/// How often the thread that serves allocates while a peer sends so many messages, in bursts, and gets an answer to each.
fn allocations(set_up: fn(WebSocketConnection), messages: usize, burst: usize) -> u64 {
    let (address, bound) = std::sync::mpsc::channel();
    let peer = std::thread::spawn(move || talk(bound.recv().unwrap(), messages, burst));
    let server = move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (end, ended) = tokio::sync::oneshot::channel();
            let end = std::sync::Mutex::new(Some(end));
            let websocket = WebSocketMiddleware::new();
            websocket.on("connection", move |connection: WebSocketConnection| {
                set_up(connection);
                let end = end.lock().unwrap().take();
                let mut end = end;
                connection.on("close", move || end.take().is_some_and(|end| end.send(()).is_ok()));
            });
            let router = |_: ServerRequest| Response::new(404);
            let listening = HttpServer::new((websocket, router)).listen(SocketServer::new("127.0.0.1:0").unwrap());
            address.send(listening.local_addresses()[0]).unwrap();
            ended.await.unwrap();
            listening.close().await;
        });
    };
    let counted = allocation_counter::measure(server);
    peer.join().unwrap();
    counted.count_total
}

/// A peer that waits for the answers to a burst before it sends the next.
fn talk(address: SocketAddr, messages: usize, burst: usize) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(HANDSHAKE.as_bytes()).unwrap();
    let mut byte = [0];
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    let payload = "a message of some length, as people write them";
    let text = frame(0x81, payload).repeat(burst);
    let mut answers = vec![0; (payload.len() + 2) * burst];
    for _ in 0..messages / burst {
        stream.write_all(&text).unwrap();
        stream.read_exact(&mut answers).unwrap();
    }
}

#[test]
fn a_message_allocates_nothing_whatever_listens_to_it() {
    type SetUp = fn(WebSocketConnection);
    let listeners: [(&str, SetUp); 6] = [
        ("a synchronous listener", |connection| {
            connection.on("text", move |text: &str| connection.write(text));
        }),
        ("one that takes the connection", |connection| {
            connection.on("text", |connection: &WebSocketConnection, text: &str| connection.write(text));
        }),
        ("one that owns the text", |connection| {
            connection.on("text", move |text: Text| connection.write(text));
        }),
        ("an asynchronous one that borrows", |connection| {
            connection.on("text", async |connection: &WebSocketConnection, text: &str| connection.write(text));
        }),
        ("an asynchronous one that owns", |connection| {
            connection.on("text", move |text: Text| async move { connection.write(text) });
        }),
        ("one that has to wait", |connection| {
            connection.on("ping", move |bytes: Bytes| bytes.is_empty());
            connection.on("text", move |text: Text| async move {
                tokio::task::yield_now().await;
                connection.write(text)
            });
        }),
    ];
    for (name, set_up) in listeners {
        for burst in [1, 16] {
            // One-time allocations happen in both runs.
            let (few, many) = (allocations(set_up, 320, burst), allocations(set_up, 3_200, burst));
            assert!(many <= few + 20, "{name}, bursts of {burst}: {few} allocations for 320 messages, {many} for 3,200");
        }
    }
}

#[test]
fn a_body_stream_of_small_pieces_takes_little_more_than_their_bytes() {
    for size in [1, 10, 100, 10_000, 100_000] {
        let piece = vec![b'a'; size];
        let counted = allocation_counter::measure(|| {
            let stream = BodyStream::new();
            while stream.buffered_amount() < 4 << 20 {
                stream.write(&piece);
            }
        });
        assert!(counted.bytes_max < (4 << 20) + 250_000, "pieces of {size}: {} bytes", counted.bytes_max);
    }
}

/// Polls so many sends, each of them by another task, and gives them up. How many bytes are left of that.
fn left_of_sends<F: Future>(count: usize, send: impl Fn() -> F) -> i64 {
    struct Nobody;
    impl Wake for Nobody {
        fn wake(self: Arc<Self>) {}
    }
    let counted = allocation_counter::measure(|| {
        for _ in 0..count {
            let waker = Waker::from(Arc::new(Nobody));
            let send = pin!(send());
            assert!(send.poll(&mut Context::from_waker(&waker)).is_pending());
        }
    });
    counted.bytes_current
}

#[tokio::test]
async fn nothing_is_kept_for_sends_that_no_longer_wait() {
    let stream = BodyStream::new();
    stream.write(vec![b'a'; 100_000]);
    assert_eq!(left_of_sends(1_000, || stream.send("a")), 0);

    let pair = Pair::in_memory(WebSocketOptions::new()).await;
    pair.connection.write("a".repeat(100_000));
    // The allocation for the first `send` stays until there is room.
    left_of_sends(1, || pair.connection.send("a"));
    assert_eq!(left_of_sends(1_000, || pair.connection.send("a")), 0);
}
