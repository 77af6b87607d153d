//! Counters: of WebSockets, HTTP servers and group managers.

mod support;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use react_websocket::options::Origins;
use react_websocket::stats::WebSocketStats;
use react_websocket::{
    GroupManager, HttpOptions, HttpServer, Response, ServerRequest, WebSocketConnection, WebSocketMiddleware,
    WebSocketOptions,
};
use support::{HANDSHAKE, Pair, Peer, close, frame, listen_with, router, settle, text, while_time_passes};
use tokio::io::{AsyncWriteExt, DuplexStream};

const WEBSITE: &str = "GET / HTTP/1.1\r\nHost: example.com\r\n\r\n";

/// A server whose connections do what their message says.
fn server(options: WebSocketOptions) -> (WebSocketMiddleware, HttpServer) {
    let websocket = WebSocketMiddleware::new().with_options(options);
    websocket.on("connection", |connection: WebSocketConnection| {
        if connection.request().is_some_and(|request| request.path() == "/rejected") {
            connection.reject(Response::new(401));
        }
        connection.on("text", move |text: &str| match text {
            "close" => connection.close(),
            "panic" => panic!("a listener that panics"),
            "block" => {
                let begun = Instant::now();
                while begun.elapsed() < Duration::from_millis(60) {}
            }
            text => drop(connection.write(text)),
        });
    });
    let http = HttpServer::new((websocket.clone(), router));
    (websocket, http)
}

async fn open(http: &HttpServer) -> Peer<DuplexStream> {
    let (mut peer, _) = Peer::serve(http);
    peer.shake_hands().await;
    peer
}

fn causes(counted: &BTreeMap<&'static str, u64>) -> Vec<(&'static str, u64)> {
    counted.iter().map(|(cause, count)| (*cause, *count)).collect()
}

#[tokio::test]
async fn sent_and_received_messages_are_counted_while_connections_are_open_and_after() {
    let (websocket, http) = server(WebSocketOptions::new());
    assert_eq!(websocket.stats(), WebSocketStats::default());
    let (mut one, mut two) = (open(&http).await, open(&http).await);
    one.send([text("hello"), frame(0x82, [0; 300]), frame(0x89, "ping")].concat()).await;
    assert_eq!(one.text().await, "hello");
    one.frame().await;
    two.send([frame(0x01, "a"), frame(0x80, "b")].concat()).await;
    assert_eq!(two.text().await, "ab");
    let (received, sent) = (text("hello").len() + 8 + 300 + frame(0x89, "ping").len() + 2 * 7, 7 + 6 + 4);
    for is_open in [true, false] {
        let stats = websocket.stats();
        assert_eq!((stats.open, stats.accepted), (if is_open { 2 } else { 0 }, 2));
        assert_eq!((stats.messages_in, stats.messages_out), (3, 2), "open: {is_open}");
        let said = if is_open { 0 } else { 2 };
        assert_eq!((stats.bytes_in, stats.bytes_out), ((received + said * 6) as u64, (sent + said * 2) as u64));
        for peer in [&mut one, &mut two] {
            if is_open {
                peer.send(frame(0x88, "")).await;
                peer.closed().await;
            }
        }
        settle().await;
    }
}

#[tokio::test]
async fn every_way_to_write_a_message_is_counted_once_and_control_frames_are_not() {
    let groups = GroupManager::new();
    let websocket = WebSocketMiddleware::new().with_group_manager(groups.clone());
    let big = "x".repeat(100_000);
    let expected = big.clone();
    websocket.on("connection", move |connection: WebSocketConnection| {
        let big = big.clone();
        connection.on("text", async move |_: &str| {
            connection.write("1");
            connection.write_binary("2");
            let _ = connection.send("3").await;
            connection.write(&big);
            let mut writer = connection.begin_text();
            writer.write("4");
            connection.write("behind");
            writer.write("5");
            writer.end();
            connection.ping("");
            let _ = connection.set_group(Some("all"));
            connection.group().into_iter().for_each(|group| group.write("6"));
        });
    });
    let http = HttpServer::new((websocket.clone(), router));
    let mut peer = open(&http).await;
    peer.send(text("go")).await;
    let mut frames = 0;
    loop {
        let frame = peer.frame().await.expect("a frame");
        frames += usize::from(frame.opcode != 0x9);
        assert!(frame.payload.len() < 10 || frame.payload == expected.as_bytes());
        if frame.payload == b"6" {
            break;
        }
    }
    assert_eq!(frames, 9, "seven messages, one of them in three frames");
    assert_eq!(websocket.stats().messages_out, 7);
    peer.send(close(1000, "")).await;
    peer.closed().await;
}

#[tokio::test(start_paused = true)]
async fn unsent_bytes_are_those_of_the_open_connections() {
    let websocket = WebSocketMiddleware::new();
    websocket.on("connection", |connection: WebSocketConnection| {
        // A connection that has ended is there until its listeners have returned.
        connection.on("close", async || tokio::time::sleep(Duration::from_secs(1)).await);
    });
    let http = HttpServer::new((websocket.clone(), router));
    let (mut one, _) = Peer::serve_with_capacity(&http, 100);
    one.shake_hands().await;
    let (mut two, _) = Peer::serve_with_capacity(&http, 100);
    two.shake_hands().await;
    assert_eq!(websocket.stats().unsent, 0);
    // Each frame has a header of 4 bytes (RFC 6455 section 5.2), and 100 bytes are in flight.
    websocket.write_all("x".repeat(1000));
    settle().await;
    assert_eq!(websocket.stats().unsent, 2 * 904);
    one.frame().await;
    settle().await;
    assert_eq!(websocket.stats().unsent, 904);
    drop(two);
    settle().await;
    assert_eq!((websocket.stats().open, websocket.stats().unsent), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn connections_are_counted_by_the_cause_of_their_end() {
    while_time_passes(async {
        let (websocket, http) = server(WebSocketOptions::new());
        for said in [close(1000, ""), text("close"), text("panic"), vec![0xC1, 0x80]] {
            let mut peer = open(&http).await;
            peer.send(said).await;
            let (code, _) = peer.closed().await;
            // A peer that sent the first Close frame may already be gone.
            let _ = peer.stream.write_all(&close(code.unwrap_or(1000), "")).await;
            drop(peer);
            settle().await;
        }
        drop(open(&http).await);
        settle().await;
        // It says nothing, not even to pings.
        let silent = open(&http).await;
        tokio::time::sleep(Duration::from_secs(60)).await;
        drop(silent);
        settle().await;
        let stats = websocket.stats();
        let expected = [("listener", 1), ("lost", 1), ("peer", 1), ("pong_timeout", 1), ("protocol", 1), ("server", 1)];
        assert_eq!(causes(&stats.closed), expected);
        assert_eq!((stats.open, stats.accepted), (0, 6));
    })
    .await;
}

#[tokio::test]
async fn refused_handshakes_are_counted_under_their_cause() {
    let (websocket, http) = server(WebSocketOptions::new().origins(Origins::list(["https://example.com"])));
    let wrong = [
        HANDSHAKE.replace("Version: 13", "Version: 12"),
        HANDSHAKE.replace("dGhlIHNhbXBsZSBub25jZQ==", "short"),
        HANDSHAKE.replace("Host:", "Origin: https://example.org\r\nHost:"),
        HANDSHAKE.replace("GET /", "GET /rejected"),
        HANDSHAKE.replace("GET /", "GET /rejected"),
    ];
    for request in wrong {
        let (mut peer, _) = Peer::serve(&http);
        assert!(peer.ask(request).await.status() >= 400);
    }
    let stats = websocket.stats();
    assert_eq!(causes(&stats.refused), [("key", 1), ("origin", 1), ("rejected", 2), ("version", 1)]);
    assert_eq!((stats.accepted, stats.open), (0, 0));
}

#[tokio::test]
async fn listeners_that_keep_their_thread_too_long_are_counted() {
    let (websocket, http) = server(WebSocketOptions::new().slow_listener_warning(Duration::from_millis(30)));
    let mut peer = open(&http).await;
    peer.send(text("block")).await;
    peer.send(text("done")).await;
    assert_eq!(peer.text().await, "done");
    assert!(websocket.stats().slow_listeners >= 1);

    for off in [None, Some(Duration::from_secs(3600))] {
        let (websocket, http) = server(WebSocketOptions::new().slow_listener_warning(off));
        let mut peer = open(&http).await;
        peer.send([text("block"), text("done")].concat()).await;
        assert_eq!(peer.text().await, "done");
        assert_eq!(websocket.stats().slow_listeners, 0);
    }
}

/// It holds the only thread, as a listener does that waits for a lock which its own thread has.
#[test]
fn a_listener_that_does_not_return_is_counted_while_it_does_not() {
    for stuck in ["connection", "create", "join", "binary"] {
        let (release, released) = std::sync::mpsc::channel::<()>();
        let released = std::sync::Mutex::new(released);
        let wait_in = std::sync::Arc::new(move |event| {
            if event == stuck {
                let _ = released.lock().unwrap().recv_timeout(Duration::from_secs(60));
            }
        });
        let groups = GroupManager::new();
        let websocket = WebSocketMiddleware::new().with_group_manager(groups.clone());
        let wait = wait_in.clone();
        groups.on("create", move |group| {
            wait("create");
            let wait = wait.clone();
            group.on("join", move |_| wait("join"));
        });
        let stats = websocket.clone();
        websocket.on("connection", move |connection: WebSocketConnection| {
            wait_in("connection");
            let wait = wait_in.clone();
            connection.on("text", move |name: &str| connection.set_group(Some(name)).unwrap());
            connection.on("binary", move || wait("binary"));
        });
        let http = HttpServer::new((websocket, router));
        let server = std::thread::spawn(|| {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async move {
                let (mut peer, serving) = Peer::open_in_memory(&http).await;
                peer.send([text("x"), frame(0x82, "stop"), close(1000, "")].concat()).await;
                serving.await;
            });
        });
        let started = std::time::Instant::now();
        while stats.stats().stuck_listeners == 0 {
            assert!(started.elapsed() < Duration::from_secs(30), "{stuck}: it is not noticed");
            std::thread::yield_now();
        }
        drop(release);
        server.join().unwrap();
        let stats = stats.stats();
        assert_eq!((stats.stuck_listeners, stats.slow_listeners), (1, 1), "{stuck}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_counters_of_a_server_count_its_connections_and_requests() {
    while_time_passes(async {
        let failing = |request: ServerRequest| match request.path() {
            "/fails" => Err("the router failed"),
            _ => Ok(router(request)),
        };
        let options = HttpOptions::new().max_connections(2).max_pending_handshakes(1);
        let http = HttpServer::new(failing).with_options(options);
        let (mut silent, _) = Peer::serve(&http);
        settle().await;
        assert_eq!((http.stats().open, http.stats().pending), (1, 1));
        let (mut one, _) = Peer::serve(&http);
        assert!(silent.ended().await, "it makes room");
        assert_eq!(one.ask(WEBSITE).await.status(), 200);
        let (mut two, _) = Peer::serve(&http);
        assert_eq!(two.ask(WEBSITE.replace("GET /", "GET /fails")).await.status(), 500);
        let (mut full, _) = Peer::serve(&http);
        assert_eq!(full.answer().await.status(), 503);
        assert_eq!(one.ask("GET nowhere HTTP/1.1\r\nHost: a\r\n\r\n").await.status(), 400);
        drop((one, two));
        tokio::time::sleep(Duration::from_secs(5)).await;
        let (mut slow, _) = Peer::serve(&http);
        slow.send("GET").await;
        assert_eq!(slow.answer().await.status(), 408);
        tokio::time::sleep(Duration::from_secs(6)).await;
        let stats = http.stats();
        assert_eq!((stats.open, stats.pending, stats.accepted, stats.requests), (0, 0, 4, 2));
        assert_eq!(causes(&stats.refused), [("full", 1), ("pending", 1)]);
        assert_eq!(causes(&stats.errors), [("handler", 1), ("target", 1), ("timeout", 1)]);
    })
    .await;
}

#[tokio::test]
async fn the_counters_of_a_manager_count_its_groups() {
    let groups = GroupManager::new();
    let one = Pair::in_memory(WebSocketOptions::new()).await;
    let two = Pair::in_memory(WebSocketOptions::new()).await;
    let (connection, other) = (one.connection, two.connection);
    for name in ["a", "b"] {
        groups.join(name, connection).unwrap();
    }
    groups.join("a", other).unwrap();
    groups.leave("b", connection);
    let stats = groups.stats();
    assert_eq!((stats.open, stats.created, stats.destroyed), (1, 2, 1));
    assert_eq!((stats.joined, stats.left, stats.dropped), (3, 1, 0));
}

#[tokio::test]
async fn counters_never_fall_while_connections_come_and_go() {
    let (websocket, http) = server(WebSocketOptions::new());
    let (address, listening) = listen_with(http);
    let churn = tokio::spawn(async move {
        for _ in 0..100 {
            let mut peer = Peer::open(address).await;
            peer.send(text("x")).await;
            assert_eq!(peer.text().await, "x");
        }
    });
    let mut before = websocket.stats();
    while !churn.is_finished() {
        let now = websocket.stats();
        assert!(now.messages_in >= before.messages_in && now.bytes_out >= before.bytes_out);
        assert!(now.messages_out >= before.messages_out && now.bytes_in >= before.bytes_in);
        before = now;
        tokio::task::yield_now().await;
    }
    churn.await.unwrap();
    listening.close().await;
    let stats = websocket.stats();
    assert_eq!((stats.messages_in, stats.messages_out, stats.accepted), (100, 100, 100));
    assert_eq!(stats.closed.values().sum::<u64>(), 100);
}
