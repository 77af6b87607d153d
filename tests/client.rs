//! A client's connection: its handshake, its listener, and what both ends say to each other.
#![cfg(feature = "client")]

mod support;

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use react_websocket::client::{ConnectError, ConnectPhase, Connector, connect};
use react_websocket::{
    GroupManager, HttpServer, Message, WebSocketConnection, WebSocketMiddleware, WebSocketOptions, cork,
};
use support::client::{RawServer, in_memory};
use support::{Log, listen, router, server_frame, settle, websockets};
use tokio::io::duplex;
use tokio::net::TcpListener;

/// Echoes everything.
fn echo(connection: WebSocketConnection) {
    connection.on("message", move |message: Message| connection.write_message(&message));
}

#[tokio::test]
async fn a_client_and_a_server_of_this_crate_talk() {
    let (address, listening) = listen((
        {
            let websocket = WebSocketMiddleware::new();
            websocket.on("connection", echo);
            websocket
        },
        router,
    ));
    let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
    let connection = connect(format!("ws://{address}/"), move |connection: WebSocketConnection| {
        connection.on("message", move |message: Message| tell.send(message).is_ok());
        connection.write("first");
    })
    .await
    .unwrap();
    assert_eq!(connection.remote_address(), Some(address));
    assert!(connection.local_address().is_some_and(|local| local != address));
    connection.write_binary(vec![7; 300_000]);
    let mut report = connection.begin_text();
    report.write("in ");
    connection.write("behind");
    report.write("pieces");
    report.end();
    connection.send("last").await.unwrap();
    let expected = ["first".into(), vec![7; 300_000].into(), "in pieces".into(), "behind".into(), "last".into()];
    for message in expected {
        assert_eq!(told.recv().await, Some(message));
    }
    let closed = Arc::new(tokio::sync::Notify::new());
    connection.on("close", {
        let closed = closed.clone();
        move |code: u16, reason: &str| {
            assert_eq!((code, reason), (4000, "bye"));
            closed.notify_one();
        }
    });
    connection.close_with(4000, "bye");
    closed.notified().await;
    listening.close().await;
}

/// RFC 6455 section 4.1: what the listener writes follows the handshake, and what the server sends with its 101
/// comes after the listener.
#[tokio::test(start_paused = true)]
async fn the_listener_runs_between_the_101_and_the_bytes_behind_it() {
    let (ours, theirs) = duplex(1 << 16);
    let (mut server, log) = (RawServer::new(theirs), Log::default());
    let noted = log.clone();
    let connector = Connector::new();
    let connecting = connector.connect_on(ours, "ws://example.com/a?b", async move |connection: WebSocketConnection| {
        noted.add("begins");
        noted.watch(connection);
        connection.write("one");
        tokio::time::sleep(Duration::from_secs(3)).await;
        connection.write("two");
        noted.add("ends");
        Ok::<_, std::io::Error>(())
    });
    let behind = [server_frame(0x81, "early"), server_frame(0x89, "ping"), server_frame(0x81, "still early")].concat();
    let (connection, head) = tokio::join!(connecting, server.accept_with("", &behind));
    let connection = connection.unwrap();
    assert!(head.starts_with("GET /a?b HTTP/1.1\r\nHost: example.com\r\n"), "{head}");
    let request = connection.request().unwrap();
    assert_eq!((request.target(), request.host()), ("/a?b", None), "it is reduced");
    settle().await;
    assert_eq!(log.take(), ["begins", "ends", "text early", "ping 4", "text still early"]);
    assert_eq!((server.text().await, server.text().await), ("one".into(), "two".into()));
    assert_eq!(server.frame().await.unwrap().first, 0x8A);
}

#[tokio::test(start_paused = true)]
async fn the_request_is_whole_in_the_listener_and_kept_on_demand() {
    for (options, kept) in [
        (WebSocketOptions::new(), None),
        (WebSocketOptions::new().keep_headers(["x-token"]), Some("t")),
        (WebSocketOptions::new().keep_request(true), Some("t")),
    ] {
        let connector = Connector::new().with_options(options).header("X-Token", "t").unwrap();
        let (ours, theirs) = duplex(1 << 16);
        let mut server = RawServer::new(theirs);
        let connecting = connector.connect_on(ours, "ws://h:8000/p", |connection: WebSocketConnection| {
            let request = connection.request().unwrap();
            assert_eq!((request.host(), request.header("X-Token")), (Some("h:8000"), Some("t")));
            assert!(!connection.reject(react_websocket::Response::new(400)), "it is too late for that");
        });
        let connection = tokio::join!(connecting, server.accept()).0.unwrap();
        let request = connection.request().unwrap();
        assert_eq!((request.path(), request.header("X-Token")), ("/p", kept));
    }
}

#[tokio::test(start_paused = true)]
async fn a_listener_that_fails_is_an_error_and_the_server_gets_1011() {
    for fails in [|| -> Result<(), String> { Err("no".into()) }, || panic!("no")] {
        let (ours, theirs) = duplex(1 << 16);
        let mut server = RawServer::new(theirs);
        let (connector, log) = (Connector::new(), Log::default());
        let noted = log.clone();
        let connecting = connector.connect_on(ours, "ws://h/", move |connection: WebSocketConnection| {
            noted.watch(connection);
            connection.write("unsent");
            fails()
        });
        let (failed, _) = tokio::join!(connecting, server.accept());
        let failed = failed.unwrap_err();
        assert_eq!(failed.to_string(), "the `connection` listener failed");
        assert_eq!(std::error::Error::source(&failed).unwrap().to_string(), "no");
        assert_eq!(server.closed().await, (Some(1011), "internal error".into()));
        assert!(server.ended().await);
        assert_eq!(log.take(), [""; 0], "no event of a connection that was never opened");
        assert_eq!(connector.stats().refused, [("listener", 1)].into());
        assert_eq!(connector.connections(), []);
    }
}

/// RFC 6455 sections 5.3 and 10.3: each frame has a key of its own.
#[tokio::test(start_paused = true)]
async fn no_two_frames_have_the_same_mask() {
    let (connection, mut server, _) = in_memory(WebSocketOptions::new()).await;
    let group = GroupManager::new().join("all", connection).unwrap();
    cork(|| {
        for number in 0..1000 {
            match number % 5 {
                0 => connection.write("same"),
                1 => connection.ping("same"),
                2 => connection.write_binary(vec![0; 70_000]),
                3 => {
                    group.write("same");
                    true
                }
                _ => {
                    let mut message = connection.begin_text();
                    message.write("sa");
                    connection.write("same");
                    message.write("me");
                    message.end()
                }
            };
            // 200 large messages exceed the hard limit together.
            if number % 5 == 2 {
                connection.write_binary(b"");
            }
            if number >= 100 {
                break;
            }
        }
    });
    let mut keys = HashSet::new();
    let mut frames = 0;
    connection.end();
    loop {
        let frame = server.frame().await.unwrap();
        frames += 1;
        keys.insert(frame.key);
        match frame.first {
            0x88 => break,
            0x82 => assert!(frame.payload.iter().all(|byte| *byte == 0)),
            0x81 | 0x89 => assert_eq!(frame.payload, b"same"),
            _ => {}
        }
    }
    assert!(frames > 150, "{frames}");
    // Two of 200 random keys are equal once in 200,000 runs.
    assert!(keys.len() + 1 >= frames, "{} keys of {frames} frames", keys.len());
}

#[tokio::test(start_paused = true)]
async fn a_group_has_clients_and_servers() {
    let groups = GroupManager::new();
    let joined = groups.clone();
    let http = websockets(move |connection| _ = joined.join("all", connection).unwrap());
    let (ours, theirs) = duplex(1 << 16);
    let _serving = http.serve(theirs);
    let log = Log::default();
    let watched = log.clone();
    let connector = Connector::new();
    let client = connector.connect_on(ours, "ws://h/", move |connection: WebSocketConnection| watched.watch(connection));
    let _client = client.await.unwrap();
    let (outgoing, mut server, _) = in_memory(WebSocketOptions::new()).await;
    let group = groups.join("all", outgoing).unwrap();
    settle().await;
    assert_eq!(group.len(), 2);
    group.write("news");
    group.write_binary([1, 2, 3]);
    settle().await;
    assert_eq!(log.take(), ["text news", "binary 3"]);
    assert_eq!(server.text().await, "news");
    assert_eq!(server.frame().await.unwrap().payload, [1, 2, 3]);
    group.close_all("over", 4001);
    assert_eq!(server.closed().await, (Some(4001), "over".into()));
}

#[tokio::test(start_paused = true)]
async fn a_connector_counts_and_closes_its_connections() {
    let connector = Connector::new();
    let mut servers = Vec::new();
    let log = Log::default();
    for number in 0..3 {
        let (ours, theirs) = duplex(1 << 16);
        let mut server = RawServer::new(theirs);
        let log = log.clone();
        let connecting = connector.connect_on(ours, "ws://h/", move |connection: WebSocketConnection| {
            connection.on("close", move |code: u16, reason: &str| log.add(format_args!("{number} {code} {reason}")));
        });
        tokio::join!(connecting, server.accept()).0.unwrap();
        servers.push(server);
    }
    servers[0].send(&server_frame(0x81, "x")).await;
    settle().await;
    let stats = connector.stats();
    assert_eq!((stats.open, stats.accepted, stats.messages_in), (3, 3, 1));
    assert_eq!(connector.connections().len(), 3);
    let clone = connector.clone().timeout(Duration::from_secs(1));
    let (waiting, _theirs) = duplex(1 << 16);
    let opening = tokio::spawn(async move { clone.connect_on(waiting, "ws://h/", |_: WebSocketConnection| {}).await });
    settle().await;
    let closing = connector.close();
    assert!(matches!(opening.await.unwrap(), Err(ConnectError::Closed)), "it is given up");
    for server in &mut servers[..2] {
        assert_eq!(server.closed().await, (Some(1001), "client shutdown".into()));
        server.send(&server_frame(0x88, [0x03, 0xE9])).await;
    }
    // A client waits for the server's FIN (RFC 6455 section 7.1.1).
    let third = servers.pop().unwrap();
    drop(servers);
    let begun = tokio::time::Instant::now();
    closing.await;
    assert!((9..12).contains(&begun.elapsed().as_secs()), "the third does not answer: {:?}", begun.elapsed());
    drop(third);
    let mut ends = log.take();
    ends.sort();
    assert_eq!(ends, ["0 1001 client shutdown", "1 1001 client shutdown", "2 1006 "]);
    assert!(connector.connections().is_empty());
    let again = connector.connect("ws://127.0.0.1:1/", |_: WebSocketConnection| {}).await;
    assert!(matches!(again, Err(ConnectError::Closed)));
    let stats = connector.stats();
    assert_eq!((stats.open, stats.closed.get("client"), stats.closed.get("lost")), (0, Some(&2), Some(&1)));
    assert_eq!(stats.refused, [("closed", 2)].into());
}

#[tokio::test]
async fn dropping_the_future_gives_up_and_dropping_the_handle_does_not() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("ws://{}/", listener.local_addr().unwrap());
    let mut connecting = Box::pin(connect(&url, |_: WebSocketConnection| {}));
    let mut given_up = tokio::select! {
        _ = &mut connecting => panic!("there is no answer"),
        accepted = async {
            let mut server = RawServer::new(listener.accept().await.unwrap().0);
            server.request().await;
            server
        } => accepted,
    };
    drop(connecting);
    assert!(given_up.ended().await);

    let called = Arc::new(AtomicBool::new(false));
    let calls = called.clone();
    let connecting = connect(&url, async move |connection: WebSocketConnection| {
        calls.store(true, Ordering::Relaxed);
        connection.write("unsent");
        std::future::pending::<()>().await;
    });
    let mut connecting = Box::pin(connecting);
    let mut given_up = tokio::select! {
        _ = &mut connecting => panic!("the listener does not end"),
        accepted = async {
            let mut server = RawServer::new(listener.accept().await.unwrap().0);
            server.accept().await;
            while !called.load(Ordering::Relaxed) {
                tokio::task::yield_now().await;
            }
            server
        } => accepted,
    };
    drop(connecting);
    assert!(given_up.ended().await, "the socket is closed");

    let connecting = connect(&url, |connection: WebSocketConnection| {
        connection.on("text", move |text: &str| connection.write(text));
    });
    let accepting = async {
        let mut server = RawServer::new(listener.accept().await.unwrap().0);
        server.accept().await;
        server
    };
    let (connected, mut server) = tokio::join!(connecting, accepting);
    drop(connected);
    server.send(&server_frame(0x81, "still there")).await;
    assert_eq!(server.text().await, "still there");
}

/// The client's timeouts, pings and limits are the server's.
#[tokio::test(start_paused = true)]
async fn pings_deadlines_and_limits_are_those_of_a_server() {
    let options = WebSocketOptions::new().max_message_size(10);
    let (_connection, mut server, log) = in_memory(options).await;
    let begun = tokio::time::Instant::now();
    assert_eq!(server.frame().await.unwrap().first, 0x89, "a ping");
    assert!((18..=23).contains(&begun.elapsed().as_secs()), "{:?}", begun.elapsed());
    // The server does not answer for 20 s: 1006, without a Close.
    while server.frame().await.is_some() {}
    assert_eq!(log.take(), ["error 1006 no pong within 20s", "close 1006 no pong within 20s"]);

    let options = WebSocketOptions::new().max_message_size(10);
    let (_connection, mut server, log) = in_memory(options).await;
    server.send(&server_frame(0x81, "more than ten bytes")).await;
    assert_eq!(server.closed().await.0, Some(1009));
    drop(server);
    settle().await;
    assert_eq!(log.take().len(), 2);

    let (connection, mut server, log) = in_memory(WebSocketOptions::new().write_buffer_hard_limit(100_000)).await;
    while connection.write_binary([0; 10_000]) || connection.is_writable() {}
    settle().await;
    assert!(log.take()[0].starts_with("error 1013"));
    assert_eq!(server.frame().await.unwrap().payload.len(), 10_000);
}

#[tokio::test(start_paused = true)]
async fn a_server_in_memory_answers_in_paused_time() {
    let http: HttpServer = websockets(echo);
    let (ours, theirs) = duplex(1 << 16);
    let _serving = http.serve(theirs);
    let log = Log::default();
    let watched = log.clone();
    let connector = Connector::new().timeout(Duration::from_millis(1));
    let client = connector.connect_on(ours, "ws://example.com/", move |connection: WebSocketConnection| {
        watched.watch(connection);
        connection.write("hello");
    });
    let client = client.await.unwrap();
    settle().await;
    client.close();
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(log.take(), ["text hello", "close 1000 "]);
    assert_eq!(connector.stats().closed, [("client", 1)].into());
}

#[tokio::test(start_paused = true)]
async fn a_phase_that_takes_too_long_is_named() {
    let connector = Connector::new().timeout(Duration::from_secs(4));
    let (ours, _theirs) = duplex(1 << 16);
    let failed = connector.connect_on(ours, "ws://h/", |_: WebSocketConnection| {}).await.unwrap_err();
    assert_eq!(failed.to_string(), "no connection within 4s, the WebSocket handshake has not ended");
    assert!(matches!(failed, ConnectError::Timeout { phase: ConnectPhase::Handshake, .. }));

    let (ours, theirs) = duplex(1 << 16);
    let mut server = RawServer::new(theirs);
    let connecting =
        connector.connect_on(ours, "ws://h/", async |_: WebSocketConnection| std::future::pending::<()>().await);
    let (failed, _) = tokio::join!(connecting, server.accept());
    assert!(matches!(failed, Err(ConnectError::Timeout { phase: ConnectPhase::Listener, .. })), "{failed:?}");
    assert_eq!(server.closed().await.0, Some(1011), "the server knows");

    let without = Connector::new().timeout(None);
    let (ours, _theirs) = duplex(1 << 16);
    let connecting = without.connect_on(ours, "ws://h/", |_: WebSocketConnection| {});
    assert!(tokio::time::timeout(Duration::from_secs(1_000_000), connecting).await.is_err());
}
