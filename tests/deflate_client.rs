//! Compression on a client's connection (RFC 7692): the offer, the response, and messages in both directions.
#![cfg(all(feature = "deflate", feature = "client"))]

mod compressed;
mod support;

use compressed::*;
use react_websocket::client::{ConnectError, Connector};
use react_websocket::options::Compression;
use react_websocket::protocol::deflate::Direction;
use react_websocket::{WebSocketConnection, WebSocketOptions};
use support::client::{RawServer, header};
use support::*;
use tokio::io::{DuplexStream, duplex};

fn connector(compression: impl Into<Option<Compression>>) -> Connector {
    Connector::new().with_options(WebSocketOptions::new().compression(compression))
}

/// Connects to a server that answers the offer with `response`. Returns the offer.
async fn connect(
    connector: &Connector,
    response: &str,
    log: &Log,
) -> (Result<WebSocketConnection, ConnectError>, RawServer<DuplexStream>, Option<String>) {
    let (ours, theirs) = duplex(1 << 20);
    let mut server = RawServer::new(theirs);
    let more = if response.is_empty() { String::new() } else { format!("Sec-WebSocket-Extensions: {response}\r\n") };
    let watched = log.clone();
    let connecting =
        connector.connect_on(ours, "ws://h/", move |connection: WebSocketConnection| watched.watch(connection));
    let (connected, head) = tokio::join!(connecting, server.accept_with(&more, b""));
    (connected, server, header(&head, "Sec-WebSocket-Extensions").map(str::to_owned))
}

#[tokio::test(start_paused = true)]
async fn nothing_is_offered_by_default() {
    let log = Log::default();
    let (connected, _server, offer) = connect(&connector(None), "", &log).await;
    assert!(connected.is_ok() && offer.is_none());
    let (connected, _server, _) = connect(&connector(None), "permessage-deflate", &log).await;
    assert!(matches!(connected, Err(ConnectError::Handshake(_))), "it was not offered (RFC 6455 section 4.1)");
}

/// RFC 7692 section 5.1.
#[tokio::test(start_paused = true)]
async fn a_response_that_does_not_fit_the_offer_fails() {
    for response in [
        "permessage-deflate",
        "permessage-deflate; server_no_context_takeover; x",
        "permessage-deflate; server_no_context_takeover, permessage-deflate",
        "permessage-deflate; server_no_context_takeover; client_max_window_bits",
        "x-webkit-deflate-frame",
        "permessage-deflate;",
    ] {
        let connector = connector(Compression::new());
        let (connected, _server, _) = connect(&connector, response, &Log::default()).await;
        let error = connected.expect_err(response);
        assert_eq!(error.cause(), "handshake", "{response}");
        assert!(react_websocket::errors::report(&error).to_string().contains(response), "{error}");
    }
}

/// A server that declines: messages are plain, and RSV1 is a violation.
#[tokio::test(start_paused = true)]
async fn a_server_may_decline() {
    let log = Log::default();
    let (connected, mut server, offer) = connect(&connector(Compression::new()), "", &log).await;
    assert_eq!(offer.as_deref(), Some("permessage-deflate; server_no_context_takeover; client_max_window_bits=12"));
    connected.unwrap().write(words(50));
    assert_eq!(server.text().await, words(50));
    server.send(&server_frame(0xC1, HELLO)).await;
    settle().await;
    assert!(log.take().iter().any(|event| event.starts_with("error 1002 ")));
}

#[tokio::test(start_paused = true)]
async fn messages_are_compressed_in_both_directions_within_the_agreed_windows() {
    let usual = "permessage-deflate; server_no_context_takeover";
    let wide = || Compression::new().window(32 * 1024).peer_window(32 * 1024);
    let bits = |takeover, bits| Direction { takeover, bits };
    let mut cases = vec![
        (Compression::new(), usual.to_owned(), bits(false, 15), Some(bits(true, 12))),
        (Compression::new(), format!("{usual}; client_max_window_bits=9"), bits(false, 15), Some(bits(true, 9))),
        (Compression::new(), format!("{usual}; client_no_context_takeover"), bits(false, 15), Some(bits(false, 12))),
        // The compressor cannot do it, so that messages are sent plain.
        (Compression::new(), format!("{usual}; client_max_window_bits=8"), bits(false, 15), None),
        (Compression::new().window(None), usual.to_owned(), bits(false, 15), Some(bits(false, 12))),
        (wide(), "permessage-deflate".to_owned(), bits(true, 15), Some(bits(true, 15))),
    ];
    for size in 9..=15 {
        let response = format!("permessage-deflate; server_max_window_bits={size}; client_max_window_bits={size}");
        cases.push((wide(), response, bits(true, size), Some(bits(true, size))));
    }
    for (compression, response, sends, receives) in cases {
        let log = Log::default();
        let connector = connector(compression);
        let (connected, mut server, _) = connect(&connector, &response, &log).await;
        let connection = connected.unwrap();
        let mut codec = Codec::new(sends, receives.unwrap_or(ALONE));
        let (mut packed, mut unpacked) = (0, 0);
        for count in [50, 40, 2_000, 45, 3] {
            connection.write(words(count));
            let frame = server.frame().await.unwrap();
            let is_packed =
                receives.is_some_and(|direction| words(count).len() >= if direction.takeover { 64 } else { 256 });
            assert_eq!(frame.first, if is_packed { 0xC1 } else { 0x81 }, "{response}: {count}");
            if is_packed {
                packed += frame.payload.len() as u64;
                unpacked += words(count).len() as u64;
            }
            let received = if is_packed { codec.unpack(&frame.payload) } else { frame.payload };
            assert!(received == words(count).as_bytes(), "{response}: {count}");
            server.send(&[server_frame(0xC1, codec.pack(words(count + 1))), server_frame(0x82, "plain")].concat()).await;
            settle().await;
            assert!(log.take() == [format!("text {}", words(count + 1)), "binary 5".into()], "{response}: {count}");
        }
        assert_eq!((connector.stats().compressed_out, connector.stats().uncompressed_out), (packed, unpacked));
    }
}

/// A client in a group gets a form of its own, since it masks each message with its own key.
#[tokio::test(start_paused = true)]
async fn a_broadcast_to_a_client_is_compressed_and_masked() {
    let groups = react_websocket::GroupManager::new();
    let connector = connector(Compression::new()).with_group_manager(groups.clone());
    let response = "permessage-deflate; server_no_context_takeover";
    let (connected, mut server, _) = connect(&connector, response, &Log::default()).await;
    connected.unwrap().set_group(Some("all")).unwrap();
    let group = groups.get("all").expect("it has a member");
    let mut codec = Codec::new(ALONE, TAKEOVER);
    for count in [50, 3, 60, 50] {
        group.write(words(count));
        let frame = server.frame().await.unwrap();
        let is_packed = count > 3;
        assert_eq!(frame.first, if is_packed { 0xC1 } else { 0x81 });
        let received = if is_packed { codec.unpack(&frame.payload) } else { frame.payload };
        assert!(received == words(count).as_bytes(), "{count}");
    }
}

/// Both ends of the crate, with all combinations of windows.
#[tokio::test(start_paused = true)]
async fn a_client_and_a_server_understand_each_other() {
    let windows = [None, Some(512), Some(4096), Some(32 * 1024)];
    for (server_window, client_window) in windows.iter().flat_map(|one| windows.map(|other| (*one, other))) {
        for (server_peer, client_peer) in [(None, None), (Some(32 * 1024), Some(32 * 1024)), (Some(512), Some(1024))] {
            let (log, options) = (Log::default(), WebSocketOptions::new());
            let of = |window, peer| Compression::new().window(window).peer_window(peer);
            let websocket = react_websocket::WebSocketMiddleware::new()
                .with_options(options.clone().compression(of(server_window, server_peer)));
            websocket.on("connection", |connection: WebSocketConnection| {
                connection.on("text", move |text: &str| connection.write(text));
            });
            let http = react_websocket::HttpServer::new((websocket.clone(), router));
            let (ours, theirs) = duplex(1 << 20);
            let _serving = http.serve(theirs);
            let connector = Connector::new().with_options(options.compression(of(client_window, client_peer)));
            let watched = log.clone();
            let connection = connector.connect_on(ours, "ws://h/", move |connection: WebSocketConnection| {
                watched.watch(connection);
            });
            let connection = connection.await.unwrap();
            for count in [50, 40, 1_500, 45, 1] {
                connection.write(words(count));
                settle().await;
                assert!(log.take() == [format!("text {}", words(count))], "{server_window:?} {client_window:?}: {count}");
            }
            let (ours, theirs) = (connector.stats(), websocket.stats());
            assert!(ours.compressed_out > 0 && ours.compressed_out < ours.uncompressed_out / 2);
            assert_eq!((ours.compressed_out, ours.compressed_in), (theirs.compressed_in, theirs.compressed_out));
            assert_eq!(ours.uncompressed_out, theirs.uncompressed_in);
        }
    }
}
