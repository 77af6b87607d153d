//! The end of a client's connection, on the wire and in its events (RFC 6455 sections 5.1, 5.5.1 and 7).
#![cfg(feature = "client")]

mod support;

use std::time::Duration;

use react_websocket::WebSocketOptions;
use react_websocket::client::{ConnectError, Connector};
use support::client::{Failing, RawServer, in_memory};
use support::{frame, server_frame, settle, while_time_passes};
use tokio::time::Instant;

fn close(code: u16, reason: &str) -> Vec<u8> {
    server_frame(0x88, [&code.to_be_bytes(), reason.as_bytes()].concat())
}

/// RFC 6455 section 5.1: a client closes a connection if it detects a masked frame.
#[tokio::test(start_paused = true)]
async fn a_masked_frame_fails_the_connection_with_1002() {
    for first in [0x81, 0x82, 0x01, 0x88, 0x89, 0x8A] {
        for size in [usize::MAX, 1, 2] {
            let (_connection, mut server, log) = in_memory(WebSocketOptions::new()).await;
            let bytes = [server_frame(0x81, "before"), frame(first, "masked"), server_frame(0x81, "after")].concat();
            for piece in bytes.chunks(size) {
                server.send(piece).await;
                settle().await;
            }
            assert_eq!(server.closed().await, (Some(1002), "masked frame".into()), "{first:x} by {size}");
            // RFC 6455 section 7.1.7: the client ends its side, and reads until the server ends the other.
            assert!(server.ended().await);
            assert_eq!(log.take(), ["text before", "error 1002 masked frame"], "{first:x} by {size}");
            drop(server);
            settle().await;
            assert_eq!(log.take(), ["close 1002 masked frame"]);
        }
    }
}

/// RFC 6455 section 7.1.1: after both Close frames the client waits for the server to close the TCP connection.
#[tokio::test(start_paused = true)]
async fn a_client_that_closes_waits_for_the_server_s_fin() {
    let (connection, mut server, log) = in_memory(WebSocketOptions::new()).await;
    connection.write("last");
    connection.close_with(4000, "bye");
    assert_eq!(server.text().await, "last");
    assert_eq!(server.closed().await, (Some(4000), "bye".into()));
    server.send(&close(4000, "bye")).await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(log.take(), [""; 0], "the server has not ended the connection");
    server.send(b"what follows a Close frame is dropped").await;
    settle().await;
    drop(server);
    settle().await;
    assert_eq!(log.take(), ["close 4000 bye"]);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_is_closed_answers_and_waits_for_the_server_s_fin() {
    let (connection, mut server, log) = in_memory(WebSocketOptions::new()).await;
    server.send(&[server_frame(0x81, "x"), close(4001, "server"), server_frame(0x81, "dropped")].concat()).await;
    assert_eq!(server.closed().await, (Some(4001), "server".into()));
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(log.take(), ["text x", "end"]);
    assert!(!connection.write("too late"));
    connection.pause();
    drop(server);
    settle().await;
    assert_eq!(log.take(), ["close 4001 server"], "a pause does not hide the end");
}

/// At most the close timeout. The Close frames count all the same.
#[tokio::test(start_paused = true)]
async fn a_server_that_never_ends_the_connection_is_waited_for_as_long_as_the_close_timeout() {
    for ours in [true, false] {
        let (connection, mut server, log) = in_memory(WebSocketOptions::new().close_timeout(Duration::from_secs(3))).await;
        let begun = Instant::now();
        if ours {
            connection.close_with(4000, "bye");
            server.closed().await;
            server.send(&close(4000, "bye")).await;
        } else {
            server.send(&close(4000, "bye")).await;
            server.closed().await;
        }
        assert!(server.ended().await, "the client ends it");
        assert!((2900..=3200).contains(&begun.elapsed().as_millis()), "{:?}", begun.elapsed());
        settle().await;
        assert_eq!(log.take().last().unwrap(), "close 4000 bye", "ours: {ours}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_does_not_answer_our_close_or_leaves_without_one_is_1006() {
    let (connection, mut server, log) = in_memory(WebSocketOptions::new()).await;
    let begun = Instant::now();
    connection.close();
    server.closed().await;
    assert!(server.ended().await);
    assert!((9900..=10_200).contains(&begun.elapsed().as_millis()), "{:?}", begun.elapsed());
    settle().await;
    assert_eq!(log.take(), ["close 1006 "]);

    let (_connection, server, log) = in_memory(WebSocketOptions::new()).await;
    drop(server);
    settle().await;
    assert_eq!(log.take(), ["close 1006 "]);

    let (connection, mut server, log) = in_memory(WebSocketOptions::new()).await;
    connection.terminate();
    assert!(server.ended().await);
    assert_eq!(log.take(), ["close 1006 "]);
}

/// Both ends send a Close frame at the same time: each takes the other's for the answer.
#[tokio::test(start_paused = true)]
async fn two_closes_that_cross() {
    let (connection, mut server, log) = in_memory(WebSocketOptions::new()).await;
    connection.close_with(4000, "ours");
    server.send(&close(4001, "theirs")).await;
    assert_eq!(server.closed().await, (Some(4000), "ours".into()));
    drop(server);
    settle().await;
    assert_eq!(log.take(), ["close 4000 ours"]);
}

/// A client whose listener runs while the Close and much behind it arrive keeps nothing of that.
#[tokio::test(start_paused = true)]
async fn what_follows_a_close_frame_is_not_kept_for_a_listener_that_runs() {
    let (connection, mut server, log) = in_memory(WebSocketOptions::new()).await;
    connection.on("end", async || {
        tokio::time::sleep(Duration::from_secs(2)).await;
    });
    server.send(&close(1000, "")).await;
    settle().await;
    while_time_passes(async {
        for _ in 0..1000 {
            server.send(&[0; 64 * 1024]).await;
        }
        server.closed().await;
        drop(server);
    })
    .await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(log.take(), ["end", "close 1000 "]);
}

/// RFC 6455 section 7.1.7 for each rule that a server can violate.
#[tokio::test(start_paused = true)]
async fn a_server_that_violates_the_protocol() {
    for (bytes, code) in [
        (server_frame(0xC1, "x"), 1002),
        (server_frame(0x83, "x"), 1002),
        (server_frame(0x80, "x"), 1002),
        (server_frame(0x09, "x"), 1002),
        (vec![0x81, 0x7E, 0, 5], 1002),
        (vec![0x81, 0x7F, 0x80, 0, 0, 0, 0, 0, 0, 0], 1002),
        (vec![0x89, 0x7E, 0, 126], 1002),
        (server_frame(0x81, b"\xFF"), 1007),
        (server_frame(0x88, b"\x03"), 1002),
        (close(1005, ""), 1002),
        (server_frame(0x88, b"\x03\xE8\xFF"), 1007),
    ] {
        for size in [usize::MAX, 1] {
            let (_connection, mut server, log) = in_memory(WebSocketOptions::new()).await;
            for piece in bytes.chunks(size) {
                server.send(piece).await;
                settle().await;
            }
            assert_eq!(server.closed().await.0, Some(code), "{bytes:x?} by {size}");
            assert!(log.take()[0].starts_with(&format!("error {code} ")), "{bytes:x?} by {size}");
        }
    }
}

/// All messages of a server arrive, cut anywhere.
#[tokio::test(start_paused = true)]
async fn frames_in_pieces_of_every_size() {
    let (large, medium) = (vec![b'l'; 70_000], vec![b'm'; 300]);
    let bytes = [
        server_frame(0x81, "one"),
        server_frame(0x01, "tw"),
        server_frame(0x89, "ping"),
        server_frame(0x80, "o"),
        server_frame(0x82, &medium),
        server_frame(0x82, b""),
        server_frame(0x8A, "pong"),
        server_frame(0x81, &large),
        close(1000, "end"),
    ]
    .concat();
    for size in [usize::MAX, 65_536, 1000, 7, 3, 2, 1] {
        let (_connection, mut server, log) = in_memory(WebSocketOptions::new()).await;
        while_time_passes(async {
            for piece in bytes.chunks(size) {
                server.send(piece).await;
                if size < 65_536 {
                    tokio::task::yield_now().await;
                }
            }
        })
        .await;
        settle().await;
        drop(server);
        settle().await;
        let text = format!("text {}", "l".repeat(70_000));
        let events = ["text one", "ping 4", "text two", "binary 300", "binary 0", "pong 4", &text, "end", "close 1000 end"];
        assert!(log.take() == events, "by {size}");
    }
}

/// A stream that breaks after so many bytes read or written: an error before the connection is open, `close` after.
#[tokio::test(start_paused = true)]
async fn a_stream_that_fails_at_every_byte() {
    let (mut opened, mut failed) = (0, 0);
    for limit in 0..420 {
        for reads in [true, false] {
            let (ours, theirs) = tokio::io::duplex(1 << 16);
            let mut server = RawServer::new(theirs);
            let log = support::Log::default();
            let watched = log.clone();
            let connector = Connector::new();
            let connecting = connector.connect_on(
                Failing::after(ours, if reads { limit } else { usize::MAX }, if reads { usize::MAX } else { limit }),
                "ws://example.com/",
                move |connection: react_websocket::WebSocketConnection| {
                    watched.watch(connection);
                    connection.write("a message of a client");
                },
            );
            let answering = async {
                if server.try_accept(&[server_frame(0x81, "hello"), close(1000, "")].concat()).await {
                    while server.frame().await.is_some() {}
                }
                drop(server);
            };
            let (connected, ()) = while_time_passes(async { tokio::join!(connecting, answering) }).await;
            match connected {
                Ok(_) => {
                    opened += 1;
                    tokio::time::sleep(Duration::from_secs(60)).await;
                    let events = log.take();
                    let closes = events.iter().filter(|event| event.starts_with("close ")).count();
                    assert!(closes == 1 && events.last().unwrap().starts_with("close "), "{limit} {reads}: {events:?}");
                }
                Err(error) => {
                    failed += 1;
                    assert!(matches!(error, ConnectError::Handshake(_)), "{limit} {reads}: {error:?}");
                    assert_eq!(log.take(), [""; 0]);
                }
            }
        }
    }
    assert!(opened > 100 && failed > 100, "{opened} {failed}");
}
