//! Compressed messages on a server's connection (RFC 7692): received, sent, and mixed with others.
#![cfg(feature = "deflate")]

mod compressed;
mod support;

use std::sync::mpsc;
use std::task::Poll;
use std::time::Duration;

use compressed::*;
use react_websocket::options::Compression;
use react_websocket::protocol::deflate::Direction;
use react_websocket::{HttpServer, WebSocketConnection, WebSocketMiddleware, WebSocketOptions};
use support::*;
use tokio::io::DuplexStream;

/// A server that notes all events.
struct Server {
    http: HttpServer,
    log: Log,
    websocket: WebSocketMiddleware,
    opened: mpsc::Receiver<WebSocketConnection>,
}

impl Server {
    fn new(options: WebSocketOptions) -> Server {
        let (log, websocket) = (Log::default(), WebSocketMiddleware::new().with_options(options));
        let (open, opened) = mpsc::channel();
        websocket.on("connection", {
            let log = log.clone();
            move |connection: WebSocketConnection| {
                log.watch(connection);
                open.send(connection).is_ok()
            }
        });
        Server { http: HttpServer::new((websocket.clone(), router)), log, websocket, opened }
    }

    /// Opens a connection that offers permessage-deflate with these parameters.
    async fn open(&self, parameters: &str) -> (Peer<DuplexStream>, WebSocketConnection) {
        let offer = format!("\r\nSec-WebSocket-Extensions: permessage-deflate{parameters}\r\n\r\n");
        let (mut peer, _serving) = Peer::serve(&self.http);
        let answer = peer.ask(HANDSHAKE.replacen("\r\n\r\n", &offer, 1)).await;
        assert!(answer.header("Sec-WebSocket-Extensions").is_some(), "{}", answer.head);
        (peer, self.opened.try_recv().expect("a connection"))
    }
}

fn options() -> WebSocketOptions {
    WebSocketOptions::new().compression(Compression::new())
}

fn with_peer_window() -> WebSocketOptions {
    WebSocketOptions::new().compression(Compression::new().peer_window(32 * 1024))
}

/// A name, what the peer sends, and the events.
type Case = (&'static str, Vec<u8>, Vec<String>);

/// RFC 7692 sections 6, 6.2, 7.2.2 and 7.2.3.
#[tokio::test(start_paused = true)]
async fn compressed_and_plain_messages_are_delivered_in_order() {
    let mut codec = Codec::new(TAKEOVER, ALONE);
    let long = words(9_000);
    let cases: Vec<Case> = vec![
        ("a text", frame(0xC1, HELLO), vec!["text Hello".into()]),
        ("a binary message", frame(0xC2, HELLO), vec!["binary 5".into()]),
        (
            "the window, and a plain message that is no part of it",
            [frame(0xC1, HELLO), text("plain"), frame(0xC1, AGAIN)].concat(),
            vec!["text Hello".into(), "text plain".into(), "text Hello".into()],
        ),
        (
            "fragments, a ping in between; only the first has RSV1",
            [frame(0x41, &HELLO[..3]), frame(0x89, "p"), frame(0x00, ""), frame(0x80, &HELLO[3..])].concat(),
            vec!["ping 1".into(), "text Hello".into()],
        ),
        ("an empty message", frame(0xC1, [0]), vec!["text ".into()]),
        ("an empty message without a byte", frame(0xC2, []), vec!["binary 0".into()]),
        (
            "a final block",
            [frame(0xC1, [0xF3, 0x48, 0xCD, 0xC9, 0xC9, 0x07, 0x00, 0x00]), frame(0xC1, AGAIN)].concat(),
            vec!["text Hello".into(), "text Hello".into()],
        ),
        ("a long text", frame(0xC1, codec.pack(&long)), vec![format!("text {long}")]),
        (
            "plain fragments",
            [frame(0x01, "a"), frame(0x80, "b"), frame(0xC1, HELLO)].concat(),
            vec!["text ab".into(), "text Hello".into()],
        ),
    ];
    let server = Server::new(with_peer_window());
    for (name, sent, events) in cases {
        for size in [usize::MAX, 1, 7, 5_000] {
            if size < 100 && sent.len() > 10_000 {
                continue;
            }
            let (mut peer, _) = server.open("; client_max_window_bits").await;
            for piece in sent.chunks(size) {
                peer.send(piece).await;
                if size < usize::MAX {
                    settle().await;
                }
            }
            settle().await;
            assert!(server.log.take() == events, "{name} in pieces of {size}");
            drop(peer);
            settle().await;
            assert_eq!(server.log.take(), ["close 1006 "], "{name} in pieces of {size}");
        }
    }
}

/// RFC 7692 sections 6.1 and 7.2.2, RFC 6455 sections 5.2 and 8.1: 1002, 1007, 1009.
#[tokio::test(start_paused = true)]
async fn violations_fail_the_connection() {
    let mut codec = Codec::new(ALONE, ALONE);
    let mut not_utf8 = vec![b'a'; 300];
    not_utf8[200] = 0xFF;
    for (name, sent, code) in [
        ("RSV1 in a ping", frame(0xC9, "p"), 1002),
        ("RSV1 in a Close", frame(0xC8, ""), 1002),
        ("RSV1 in a continuation", [frame(0x41, HELLO), frame(0xC0, HELLO)].concat(), 1002),
        ("RSV1 in a continuation of a plain message", [frame(0x01, "a"), frame(0xC0, HELLO)].concat(), 1002),
        ("RSV2", frame(0xA1, HELLO), 1002),
        ("RSV1 and RSV3", frame(0xD1, HELLO), 1002),
        ("a compressed message inside of a message", [frame(0x01, "a"), frame(0xC1, HELLO)].concat(), 1002),
        ("not DEFLATE", frame(0xC1, [0x06, 0xFF]), 1007),
        ("an early end", frame(0xC1, &HELLO[..4]), 1007),
        ("an early end in fragments", [frame(0x41, &HELLO[..2]), frame(0x80, &HELLO[2..4])].concat(), 1007),
        ("no context takeover", [frame(0xC1, HELLO), frame(0xC1, AGAIN)].concat(), 1007),
        ("text that is not UTF-8", frame(0xC1, codec.pack(&not_utf8)), 1007),
        ("a character that is cut", frame(0xC1, codec.pack("é".repeat(100) + "é").split_off(0)), 0),
        ("one byte too much", frame(0xC2, codec.pack(vec![b'a'; 1001])), 1009),
        ("far too much", frame(0xC2, codec.pack(vec![b'a'; 8 << 20])), 1009),
        (
            "far too much in fragments",
            {
                let bomb = codec.pack(vec![b'a'; 1 << 20]);
                [frame(0x42, &bomb[..500]), frame(0x80, &bomb[500..])].concat()
            },
            1009,
        ),
        ("too much, compressed", frame(0xC2, vec![0; 1128]), 1009),
    ] {
        let server = Server::new(options().max_message_size(1000));
        let (mut peer, _) = server.open("").await;
        peer.send(&sent).await;
        settle().await;
        let events = server.log.take();
        if code == 0 {
            assert_eq!(events.len(), 1, "{name}");
            continue;
        }
        loop {
            let frame = peer.frame().await.unwrap_or_else(|| panic!("{name}: no Close"));
            if frame.opcode == 8 {
                assert_eq!(frame.payload[..2], u16::to_be_bytes(code), "{name}");
                break;
            }
        }
        let errors = events.iter().filter(|event| event.starts_with(&format!("error {code} "))).count();
        assert_eq!(errors, 1, "{name}: {events:?}");
    }
}

/// Without an agreement RSV1 is a violation (RFC 6455 section 5.2).
#[tokio::test(start_paused = true)]
async fn without_an_agreement_a_compressed_message_fails() {
    let server = Server::new(options());
    let (mut peer, _serving) = Peer::open_in_memory(&server.http).await;
    peer.send(frame(0xC1, HELLO)).await;
    assert_eq!(peer.closed().await.0, Some(1002));
}

/// A message of exactly the limit, whose compressed form may be a little larger.
#[tokio::test(start_paused = true)]
async fn the_limit_is_that_of_the_message_and_not_of_its_payload() {
    let server = Server::new(options().max_message_size(1000).max_frame_size(1000));
    let (mut peer, _) = server.open("").await;
    let stored = |bytes: &[u8]| {
        let length = (bytes.len() as u16).to_le_bytes();
        [&[0][..], &length, &length.map(|byte| !byte), bytes, &[0]].concat()
    };
    peer.send(frame(0xC2, stored(&noise(1000)))).await;
    settle().await;
    assert_eq!(server.log.take(), ["binary 1000"]);
    let payload = stored(&noise(1000));
    peer.send([frame(0x42, &payload[..3]), frame(0x80, &payload[3..])].concat()).await;
    settle().await;
    assert_eq!(server.log.take(), ["binary 1000"], "in fragments");
    peer.send(frame(0xC2, stored(&noise(1001)))).await;
    assert_eq!(peer.closed().await.0, Some(1009));
}

/// Pings behind a compressed message are answered while a listener of it is running.
#[tokio::test(start_paused = true)]
async fn a_ping_behind_a_compressed_message_is_answered_at_once() {
    let websocket = WebSocketMiddleware::new().with_options(options());
    websocket.on("connection", |connection: WebSocketConnection| {
        connection.on("text", async |_: &str| tokio::time::sleep(Duration::from_secs(3600)).await);
    });
    let http = HttpServer::new((websocket, router));
    let (mut peer, _serving) = Peer::serve(&http);
    let offer = "\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n";
    peer.ask(HANDSHAKE.replacen("\r\n\r\n", offer, 1)).await;
    peer.send([frame(0xC1, HELLO), frame(0x41, &HELLO[..2]), frame(0x80, &HELLO[2..]), frame(0x89, "now")].concat()).await;
    let pong = peer.frame().await.expect("a pong");
    assert_eq!((pong.opcode, &pong.payload[..]), (0xA, &b"now"[..]));
}

/// RFC 7692 section 6.1: a message is compressed or not, and RSV1 says which.
#[tokio::test(start_paused = true)]
async fn messages_are_sent_compressed_if_that_makes_them_smaller() {
    for (window, parameters) in
        [(None, ""), (Some(512), ""), (Some(4096), "; server_max_window_bits=15"), (Some(32768), "")]
    {
        let server = Server::new(WebSocketOptions::new().compression(Compression::new().window(window)));
        let (mut peer, connection) = server.open(parameters).await;
        let bits = window.map_or(15, |window: usize| window.ilog2() as u8);
        let mut codec = Codec::new(ALONE, Direction { takeover: window.is_some(), bits });
        for round in 0..3 {
            for message in [words(4), words(20), words(1_000), words(9_000)] {
                connection.write(&message);
                let frame = peer.frame().await.unwrap();
                let is_short = message.len() < if window.is_some() { 64 } else { 256 };
                assert_eq!((frame.fin, frame.opcode), (true, if is_short { 1 } else { 0x41 }), "{}", message.len());
                let received = if is_short { frame.payload } else { codec.unpack(&frame.payload) };
                assert!(received == message.as_bytes(), "{} in round {round}", message.len());
            }
            connection.write_binary(noise(5_000));
            let frame = peer.frame().await.unwrap();
            assert_eq!((frame.opcode, frame.payload), (2, noise(5_000)), "not smaller");
            connection.ping("ping");
            assert_eq!(peer.frame().await.unwrap().opcode, 9);
            let mut writer = connection.begin_text();
            writer.write(words(100));
            connection.write(words(50));
            writer.end();
            let opcodes = [peer.frame().await.unwrap().opcode, peer.frame().await.unwrap().opcode];
            assert_eq!(opcodes, [1, 0], "written in pieces");
            assert_eq!(peer.text().await, words(50), "waited for a message in pieces");
        }
    }
}

/// RFC 7692 section 7.1.2.1: no distance is larger than the agreed window.
#[tokio::test(start_paused = true)]
async fn a_window_that_the_client_demands_is_kept() {
    let server = Server::new(WebSocketOptions::new().compression(Compression::new().window(32 * 1024)));
    for bits in 9..=15 {
        let (mut peer, connection) = server.open(&format!("; server_max_window_bits={bits}")).await;
        let mut codec = Codec::new(ALONE, Direction { takeover: true, bits });
        for count in [3, 40, 300, 2_000, 10, 300] {
            let message = words(count);
            connection.write(&message);
            let frame = peer.frame().await.unwrap();
            let received = if frame.opcode == 1 { frame.payload } else { codec.unpack(&frame.payload) };
            assert!(received == message.as_bytes(), "{bits} bits, {count}");
        }
    }
}

/// A second message refers to the first, and is much smaller.
#[tokio::test(start_paused = true)]
async fn a_window_makes_messages_smaller_and_its_memory_has_a_limit() {
    let lengths = async |compression: Compression| {
        let server = Server::new(WebSocketOptions::new().compression(compression));
        let (mut peer, connection) = server.open("").await;
        let mut lengths = Vec::new();
        for _ in 0..2 {
            connection.write(words(50));
            lengths.push(peer.frame().await.unwrap().payload.len());
        }
        lengths
    };
    let with = lengths(Compression::new()).await;
    assert!(with[1] < with[0] / 4, "{with:?}");
    let without = lengths(Compression::new().window(None)).await;
    assert_eq!(without[0], without[1]);
    let limited = lengths(Compression::new().window_memory(100)).await;
    assert_eq!(limited, without, "the window was forgotten");
}

/// What a few bytes become counts for the turn, so that other connections have their turns.
#[tokio::test(start_paused = true)]
async fn what_messages_become_counts_for_the_turn() {
    let server = Server::new(options().turn_budget(1_000, 256 * 1024));
    let mut codec = Codec::new(ALONE, ALONE);
    let packed = frame(0xC2, codec.pack(vec![b'a'; 200_000]));
    let (mut peer, _) = server.open("").await;
    let log = server.log.clone();
    // Another task, which has its turn after each of the connection's.
    let observer = tokio::spawn(async move {
        let mut counts = Vec::new();
        while counts.iter().sum::<usize>() < 4 {
            let mut has_yielded = false;
            std::future::poll_fn(|cx| {
                cx.waker().wake_by_ref();
                if std::mem::replace(&mut has_yielded, true) { Poll::Ready(()) } else { Poll::Pending }
            })
            .await;
            counts.extend(Some(log.take().len()).filter(|count| *count > 0));
        }
        counts
    });
    peer.send(packed.repeat(4)).await;
    let counts = observer.await.unwrap();
    assert_eq!(counts, [2, 2]);
}

#[tokio::test(start_paused = true)]
async fn the_counters_have_the_bytes_before_and_after() {
    let server = Server::new(options());
    let (mut peer, connection) = server.open("").await;
    peer.send([frame(0xC1, HELLO), text("plain"), frame(0x41, &HELLO[..3]), frame(0x80, &HELLO[3..])].concat()).await;
    connection.write(words(50));
    connection.write("plain");
    let packed = peer.frame().await.unwrap().payload.len() as u64;
    peer.text().await;
    for _ in 0..2 {
        let stats = server.websocket.stats();
        assert_eq!((stats.compressed_in, stats.uncompressed_in), (14, 10));
        assert_eq!((stats.compressed_out, stats.uncompressed_out), (packed, words(50).len() as u64));
        connection.terminate();
        settle().await;
    }
}

/// A message that a `connection` listener writes before the 101 is compressed too.
#[tokio::test(start_paused = true)]
async fn a_message_before_the_101_is_compressed() {
    let websocket = WebSocketMiddleware::new().with_options(options());
    websocket.on("connection", |connection: WebSocketConnection| connection.write(words(50)));
    let http = HttpServer::new((websocket, router));
    let (mut peer, _serving) = Peer::serve(&http);
    peer.ask(HANDSHAKE.replacen("\r\n\r\n", "\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n", 1)).await;
    let frame = peer.frame().await.unwrap();
    assert_eq!(frame.opcode, 0x41);
    assert_eq!(Codec::new(ALONE, TAKEOVER).unpack(&frame.payload), words(50).as_bytes());
}
