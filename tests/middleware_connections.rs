//! The open connections of a `WebSocketMiddleware`: `connections`, `write_all` and `close_all`.

mod support;

use std::sync::{Arc, Mutex};

use react_websocket::{HttpServer, WebSocketConnection, WebSocketMiddleware, WebSocketOptions, cork};
use support::streams::{BINARY, PING, SIZES, TEXT, closing, frames, limits, noise, options, read_slowly, whole};
use support::*;

// ------------------------------------------------------------------------------------------------ the middleware's connections

struct Crowd {
    websocket: WebSocketMiddleware,
    http: HttpServer,
}

fn crowd(options: WebSocketOptions) -> Crowd {
    let websocket = WebSocketMiddleware::new().with_options(options);
    Crowd { http: HttpServer::new((websocket.clone(), router)), websocket }
}

#[tokio::test(start_paused = true)]
async fn the_middleware_knows_its_open_connections() {
    let Crowd { websocket, http } = crowd(options());
    let in_close = Arc::new(Mutex::new(Vec::new()));
    websocket.on("connection", {
        let (in_close, clients) = (in_close.clone(), websocket.clone());
        move |connection: WebSocketConnection| {
            let (in_close, clients) = (in_close.clone(), clients.clone());
            in_close.lock().unwrap().push(clients.len());
            connection.on("close", move || in_close.lock().unwrap().push(clients.len()));
        }
    });
    assert!(websocket.is_empty() && websocket.connections().is_empty());
    let (first, _) = Peer::open_in_memory(&http).await;
    let (second, _) = Peer::open_in_memory(&http).await;
    settle().await;
    assert_eq!((websocket.len(), websocket.is_empty()), (2, false));
    let snapshot = websocket.connections();
    assert_eq!(snapshot.len(), 2);
    assert_ne!(snapshot[0], snapshot[1]);
    // A rejected handshake makes no connection.
    let (mut refused, _) = Peer::serve(&http);
    assert_eq!(refused.ask(HANDSHAKE.replace("13", "12")).await.status(), 426);
    assert_eq!(websocket.len(), 2);
    drop(first);
    settle().await;
    assert_eq!(websocket.len(), 1);
    assert_eq!(snapshot.iter().filter(|connection| connection.is_writable()).count(), 1, "the snapshot stays as it is");
    drop(second);
    settle().await;
    assert!(websocket.is_empty());
    assert_eq!(*in_close.lock().unwrap(), [0, 1, 1, 0], "from when the 101 has left to before `close`");
}

#[tokio::test(start_paused = true)]
async fn write_all_reaches_every_open_connection_once_without_waiting() {
    let Crowd { websocket, http } = crowd(limits(100, 1_000));
    websocket.on("connection", {
        let everybody = websocket.clone();
        move |connection: WebSocketConnection| {
            let everybody = everybody.clone();
            connection.on("text", move |text: &str| {
                everybody.write_all(text);
                everybody.write_all_binary(text);
            });
        }
    });
    let mut peers = Vec::new();
    for _ in 0..5 {
        peers.push(Peer::open_in_memory(&http).await.0);
    }
    // It takes 64 bytes and reads nothing.
    let (mut slow, _) = Peer::serve_with_capacity(&http, 64);
    slow.shake_hands().await;
    settle().await;
    websocket.write_all("from outside");
    peers[0].send(text("from a listener")).await;
    for peer in &mut peers {
        assert_eq!(peer.text().await, "from outside");
        assert_eq!(peer.text().await, "from a listener");
        assert_eq!(peer.frame().await, Some(whole(BINARY, "from a listener")));
    }
    for n in 0..100 {
        websocket.write_all(format!("{n} {}", "x".repeat(50)));
        for peer in &mut peers {
            assert!(peer.text().await.starts_with(&format!("{n} ")));
        }
    }
    // The slow connection has reached its own hard limit. The others have not.
    settle().await;
    let open = websocket.connections();
    assert_eq!(open.iter().filter(|connection| connection.is_writable()).count(), 5);
    assert_eq!(slow.text().await, "from outside");
    assert_eq!(slow.text().await, "from a listener");
    assert_eq!(frames(&mut slow).await.last(), Some(&closing(1013, "reading too slowly")));
    for peer in &mut peers {
        peer.send(close(1000, "")).await;
        assert_eq!(frames(peer).await, [closing(1000, "")]);
    }
}

/// More than are flushed in one go.
#[tokio::test(start_paused = true)]
async fn write_all_reaches_a_thousand_connections_from_wherever_it_is_called() {
    let Crowd { websocket, http } = crowd(options());
    websocket.on("connection", {
        let everybody = websocket.clone();
        move |connection: WebSocketConnection| {
            let everybody = everybody.clone();
            connection.on("text", move |text: &str| everybody.write_all(text));
        }
    });
    let mut peers = Vec::new();
    for _ in 0..1_000 {
        peers.push(Peer::open_in_memory(&http).await.0);
    }
    settle().await;
    peers[0].send([text("1"), text("2")].concat()).await;
    settle().await;
    websocket.write_all("3");
    websocket.write_all("4");
    cork(|| ["5", "6"].map(|text| websocket.write_all(text)));
    let elsewhere = websocket.clone();
    std::thread::spawn(move || ["7", "8"].map(|text| elsewhere.write_all(text))).join().unwrap();
    for peer in &mut peers {
        for n in 1..=8 {
            assert_eq!(peer.text().await, n.to_string());
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_broadcast_and_a_connections_own_messages_keep_their_order() {
    let Crowd { websocket, http } = crowd(options());
    let (mut peer, _) = Peer::open_in_memory(&http).await;
    settle().await;
    let connection = websocket.connections()[0];
    let write = || {
        websocket.write_all("1");
        websocket.write_all("2");
        connection.write("3");
        websocket.write_all("4");
        connection.write("x".repeat(20_000));
        websocket.write_all("6");
        connection.ping("");
    };
    for corked in [false, true] {
        if corked {
            cork(write)
        } else {
            write()
        }
        for text in ["1", "2", "3", "4", &"x".repeat(20_000), "6"] {
            assert_eq!(peer.text().await, text);
        }
        assert_eq!(peer.frame().await, Some(whole(PING, "")));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_sockets_broadcasts_of_all_sizes_arrive_byte_for_byte() {
    let Crowd { websocket, http } = crowd(options().write_buffer_hard_limit(usize::MAX));
    let (address, _) = listen_with(http);
    let mut peers = Vec::new();
    for _ in 0..3 {
        peers.push(Peer::open(address).await);
    }
    while websocket.len() < 3 {
        tokio::task::yield_now().await;
    }
    let mut expected = Vec::new();
    for size in SIZES {
        websocket.write_all_binary(noise(size));
        websocket.write_all_binary(noise(size % 100));
        expected.extend([server_frame(0x82, noise(size)), server_frame(0x82, noise(size % 100))].concat());
    }
    for peer in &mut peers {
        let received = read_slowly(&mut peer.stream, expected.len()).await;
        assert!(received == expected);
    }
}

#[tokio::test(start_paused = true)]
async fn close_all_closes_every_open_connection_the_reason_first() {
    let Crowd { websocket, http } = crowd(options());
    let mut peers = Vec::new();
    for _ in 0..5 {
        peers.push(Peer::open_in_memory(&http).await.0);
    }
    settle().await;
    websocket.write_all("first");
    websocket.close_all("maintenance", 4002);
    websocket.close_all("again", 4003);
    websocket.write_all("too late");
    let (mut newcomer, _) = Peer::open_in_memory(&http).await;
    for peer in &mut peers {
        assert_eq!(frames(peer).await, [whole(TEXT, "first"), closing(4002, "maintenance")]);
        peer.send(close(4002, "")).await;
        assert!(peer.ended().await);
    }
    settle().await;
    assert_eq!(websocket.len(), 1, "who came later is not concerned");
    websocket.write_all("hello");
    assert_eq!(newcomer.text().await, "hello");
}
