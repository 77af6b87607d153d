//! Writing over TLS from anywhere: order, backpressure and slow peers, counted in plaintext.
#![cfg(feature = "__tls")]

mod support;

use std::sync::mpsc::Receiver;
use std::time::Duration;

use react_websocket::{
    GroupManager, HttpServer, Listening, WebSocketConnection, WebSocketMiddleware, WebSocketOptions, cork,
};
use rustls::{ClientConfig, SupportedProtocolVersion, version};
use support::tls::{AWS_LC, Authority, RING, listen_tls};
use support::{Log, Peer, close, frame, router, text};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// Both ends of a connection over TLS.
struct Ends {
    connection: WebSocketConnection,
    peer: Peer<TlsStream<TcpStream>>,
    log: Log,
    _listening: Listening,
}

fn server(options: WebSocketOptions) -> (HttpServer, Log, Receiver<WebSocketConnection>) {
    let (log, (open, opened)) = (Log::default(), std::sync::mpsc::channel());
    let (watched, websocket) = (log.clone(), WebSocketMiddleware::new().with_options(options));
    websocket.on("connection", move |connection: WebSocketConnection| {
        watched.watch(connection);
        open.send(connection).is_ok()
    });
    (HttpServer::new((websocket, router)), log, opened)
}

/// `little_room`: the client's system has little room for what it does not read.
async fn open_with(options: WebSocketOptions, version: &'static SupportedProtocolVersion, little_room: bool) -> Ends {
    let authority = Authority::new();
    let (http, log, opened) = server(options);
    let provider = if version == &version::TLS13 { RING } else { AWS_LC };
    let (address, listening) = listen_tls(&http, &authority.issue(&["localhost"]).tls_of(provider()));
    let socket = TcpSocket::new_v4().unwrap();
    if little_room {
        socket.set_recv_buffer_size(4 * 1024).unwrap();
    }
    let stream = socket.connect(address).await.unwrap();
    let config: ClientConfig = authority.client_of(version, suite_of(version));
    let name = "localhost".try_into().unwrap();
    let stream = TlsConnector::from(std::sync::Arc::new(config)).connect(name, stream).await.unwrap();
    let mut peer = Peer::new(stream);
    peer.shake_hands().await;
    Ends { connection: opened.try_recv().unwrap(), peer, log, _listening: listening }
}

fn suite_of(version: &'static SupportedProtocolVersion) -> rustls::SupportedCipherSuite {
    let is_fitting = |suite: &rustls::SupportedCipherSuite| {
        suite.version() == version && !format!("{:?}", suite.suite()).contains("ECDHE_RSA")
    };
    AWS_LC().cipher_suites.into_iter().find(is_fitting).unwrap()
}

async fn until(what: impl Fn() -> bool) {
    for _ in 0..2_000 {
        if what() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("it never happens");
}

/// Frames of all sizes, while the peer reads nothing for a while. Everything arrives in order, and what is unsent is
/// counted in plaintext.
#[tokio::test]
async fn a_peer_that_freezes_gets_everything_in_order() {
    for version in [&version::TLS13, &version::TLS12] {
        let options = WebSocketOptions::new().write_buffer_hard_limit(64 << 20);
        let Ends { connection, mut peer, log, _listening } = open_with(options, version, true).await;
        let sizes = |round: usize| [0, 1, 125, 126, 16_384, 65_536, 100_000, 70_000][round % 8];
        let mut frames = 0;
        for round in 0..200 {
            connection.write_binary(vec![round as u8; sizes(round)]);
            frames += sizes(round) + [2, 4, 10][usize::from(sizes(round) > 125) + usize::from(sizes(round) > 65_535)];
        }
        until(|| connection.buffered_amount() > 0).await;
        tokio::time::sleep(Duration::from_millis(200)).await;
        let unsent = connection.buffered_amount();
        assert!(unsent < frames, "{unsent} of {frames}");
        assert_eq!(log.take(), [""; 0]);
        for round in 0..200 {
            let frame = peer.frame().await.expect("a frame");
            assert!(frame.payload == vec![round as u8; sizes(round)], "frame {round}");
        }
        until(|| connection.buffered_amount() == 0).await;
        assert_eq!(log.take(), ["drain"]);
        // And it goes on as before.
        peer.send(text("hello")).await;
        connection.write("there");
        assert_eq!(peer.text().await, "there");
        until(|| log.take() == ["text hello"]).await;
    }
}

/// While a write waits, the peer's own frames are read and answered, with new keys in between (RFC 8446 section 4.6.3).
#[tokio::test]
async fn key_updates_and_pings_are_answered_while_a_write_waits() {
    let options = WebSocketOptions::new().write_buffer_hard_limit(64 << 20);
    let Ends { connection, mut peer, log, .. } = open_with(options, &version::TLS13, true).await;
    for round in 0..30 {
        connection.write_binary(vec![round; 200_000]);
    }
    until(|| connection.buffered_amount() > 0).await;
    for round in 0..20 {
        peer.stream.get_mut().1.refresh_traffic_keys().unwrap();
        peer.send(frame(0x89, [round])).await;
        peer.send(text(round.to_string())).await;
    }
    let mut pongs = Vec::new();
    let mut binaries = 0;
    while binaries < 30 || pongs.last() != Some(&vec![19]) {
        let frame = peer.frame().await.expect("a frame");
        match frame.opcode {
            2 => {
                assert!(frame.payload == vec![binaries; 200_000]);
                binaries += 1;
            }
            10 => pongs.push(frame.payload),
            other => panic!("opcode {other}"),
        }
    }
    let texts: Vec<_> = log.take().into_iter().filter(|entry| entry.starts_with("text")).collect();
    assert_eq!(texts, (0..20).map(|round| format!("text {round}")).collect::<Vec<_>>());
}

/// Each thread's messages keep their order, whatever the others write, and no record is torn.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn threads_write_at_the_same_time() {
    for version in [&version::TLS13, &version::TLS12] {
        let options = WebSocketOptions::new().write_buffer_hard_limit(64 << 20);
        let Ends { connection, peer, .. } = open_with(options, version, false).await;
        const EACH: usize = 500;
        let threads: Vec<_> = (0..4u8)
            .map(|thread| {
                std::thread::spawn(move || {
                    for number in 0..EACH {
                        let mut payload = vec![thread; [3, 40, 700, 20_000, 70_000][(number + thread as usize) % 5]];
                        payload[1..3].copy_from_slice(&(number as u16).to_be_bytes());
                        match number % 3 {
                            0 => cork(|| _ = connection.write_binary(&payload)),
                            _ => _ = connection.write_binary(&payload),
                        }
                    }
                })
            })
            .collect();
        // The peer sends meanwhile, so that both halves work at the same time.
        let (read, mut write) = tokio::io::split(peer.stream);
        let sending = tokio::spawn(async move {
            for number in 0..EACH {
                write.write_all(&frame(0x82, vec![number as u8; 5_000])).await.unwrap();
            }
            write
        });
        let mut peer = Peer::new(tokio::io::join(read, tokio::io::sink()));
        let mut next = [0; 4];
        for _ in 0..4 * EACH {
            let payload = peer.frame().await.expect("a frame").payload;
            let thread = usize::from(payload[0]);
            assert_eq!(usize::from(u16::from_be_bytes([payload[1], payload[2]])), next[thread], "thread {thread}");
            assert!(payload[3..].iter().all(|byte| *byte == payload[0]));
            next[thread] += 1;
        }
        for thread in threads {
            thread.join().unwrap();
        }
        sending.await.unwrap();
    }
}

/// A broadcast is encoded once, and sealed for each member.
#[tokio::test]
async fn a_broadcast_reaches_members_with_and_without_tls() {
    let (authority, websocket) = (Authority::new(), WebSocketMiddleware::new().with_group_manager(GroupManager::new()));
    websocket.on("connection", |connection: WebSocketConnection| {
        connection.on("text", move |text: &str| {
            for number in 0..10 {
                connection.group().unwrap().write(format!("{text} {number}"));
            }
        });
        connection.set_group(Some("all"))
    });
    let http = HttpServer::new((websocket, router));
    let (address, _listening) = listen_tls(&http, &authority.issue(&["localhost"]).tls());
    let (plain, _plain_listening) = support::listen_with(http);
    let mut members = Vec::new();
    for _ in 0..5 {
        let mut peer = support::tls::connect(address, authority.client()).await.unwrap();
        peer.shake_hands().await;
        members.push(peer);
    }
    let mut one = Peer::open(plain).await;
    members[0].send(text("hello")).await;
    for number in 0..10 {
        for peer in &mut members {
            assert_eq!(peer.text().await, format!("hello {number}"));
        }
        assert_eq!(one.text().await, format!("hello {number}"));
    }
}

/// The hard limit is in plaintext, and a peer above it is closed with 1013 as on TCP.
#[tokio::test]
async fn a_peer_that_does_not_read_is_closed() {
    let options = WebSocketOptions::new().write_buffer_hard_limit(100_000);
    let Ends { connection, mut peer, log, .. } = open_with(options, &version::TLS13, true).await;
    let mut accepted = 0;
    for _ in 0..10_000 {
        connection.write_binary([7; 10_000]);
        if !connection.is_writable() {
            break;
        }
        accepted += 1;
    }
    until(|| log.take().iter().any(|entry| entry.starts_with("error 1013"))).await;
    for _ in 0..accepted {
        let frame = peer.frame().await.expect("a frame");
        if frame.opcode == 8 {
            return;
        }
        assert!(frame.payload == [7; 10_000]);
    }
    assert_eq!(peer.closed().await.0, Some(1013));
}

/// Everything that was written before the end leaves before the Close and the close_notify.
#[tokio::test]
async fn what_was_written_before_the_end_arrives_before_it() {
    let options = WebSocketOptions::new().write_buffer_hard_limit(64 << 20);
    let Ends { connection, mut peer, log, .. } = open_with(options, &version::TLS13, true).await;
    for round in 0..50 {
        connection.write_binary(vec![round; 100_000]);
    }
    connection.end();
    tokio::time::sleep(Duration::from_millis(100)).await;
    for round in 0..50 {
        assert!(peer.frame().await.expect("a frame").payload == vec![round; 100_000]);
    }
    assert_eq!(peer.closed().await.0, Some(1000));
    peer.send(close(1000, "")).await;
    assert_eq!(peer.stream.read(&mut [0]).await.unwrap(), 0, "a close_notify");
    until(|| log.take().iter().any(|entry| entry.starts_with("close 1000"))).await;
}

/// A listener that answers a good record does not take the place of the alert for the record behind
/// it (RFC 8446 section 6.2).
#[tokio::test]
async fn a_forged_record_behind_a_message_that_is_answered_gets_its_alert() {
    let Ends { connection, mut peer, _listening, .. } = open_with(WebSocketOptions::new(), &version::TLS13, false).await;
    connection.on("text", move |text: &str| connection.write(text));
    let (socket, client) = peer.stream.get_mut();
    std::io::Write::write_all(&mut client.writer(), &text("before")).unwrap();
    let mut records = Vec::new();
    client.write_tls(&mut records).unwrap();
    records.extend([&[23, 3, 3, 0, 32][..], &[0; 32]].concat());
    socket.write_all(&records).await.unwrap();
    let error = peer.stream.read(&mut [0; 64]).await.unwrap_err();
    assert!(error.to_string().contains("BadRecordMac"), "{error}");
}

/// What is not TLS, in the middle of a connection: an alert, an `error` and `close` with 1006.
#[tokio::test]
async fn a_forged_record_fails_the_connection_with_an_alert() {
    let Ends { connection, mut peer, log, .. } = open_with(WebSocketOptions::new(), &version::TLS13, false).await;
    peer.send(text("before")).await;
    // Past the client's TLS.
    peer.stream.get_mut().0.write_all(&[&[23, 3, 3, 0, 32][..], &[0; 32]].concat()).await.unwrap();
    let error = peer.stream.read(&mut [0]).await.unwrap_err();
    assert!(error.to_string().contains("BadRecordMac"), "{error}");
    until(|| !connection.is_writable()).await;
    let mut entries = Vec::new();
    for _ in 0..200 {
        entries.extend(log.take());
        if entries.len() >= 3 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(entries[0], "text before");
    assert!(entries[1].starts_with("error 1006 "), "{entries:?}");
    assert!(entries[2].starts_with("close 1006 "), "{entries:?}");
}
