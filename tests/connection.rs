//! The life of a connection, over a real socket and in memory.

mod support;

use react_websocket::WebSocketConnection;
use support::*;

#[tokio::test]
async fn messages_are_echoed_and_the_close_handshake_is_answered() {
    let log = Log::default();
    let watched = log.clone();
    let (address, listening) = listen_with(websockets(move |connection| {
        watched.watch(connection);
        connection.on("text", move |text: &str| connection.write(text));
        connection.on("binary", move |bytes: &[u8]| connection.write_binary(bytes));
    }));
    let mut peer = Peer::open(address).await;
    peer.send(text("hello")).await;
    assert_eq!(peer.text().await, "hello");
    peer.send(frame(0x82, vec![7; 100_000])).await;
    assert_eq!(peer.frame().await.unwrap().payload, vec![7; 100_000]);
    peer.send(frame(0x89, "are you there")).await;
    assert_eq!(peer.frame().await, Some(Frame { fin: true, opcode: 10, payload: b"are you there".to_vec() }));
    peer.send(close(4001, "bye")).await;
    // The reason is echoed with the code (RFC 6455 §5.5.1: the received status code is typically echoed), as in PHP.
    assert_eq!(peer.closed().await, (Some(4001), "bye".into()));
    assert!(peer.ended().await);
    listening.close().await;
    assert_eq!(log.take(), ["text hello", "binary 100000", "ping 13", "end", "close 4001 bye"]);
}

#[tokio::test(start_paused = true)]
async fn in_memory_the_same_holds() {
    let log = Log::default();
    let watched = log.clone();
    let http = websockets(move |connection| {
        watched.watch(connection);
        connection.on("text", |connection: &WebSocketConnection, text: &str| connection.write(text));
    });
    let (mut peer, serving) = Peer::open_in_memory(&http).await;
    peer.send([text("a"), text("b")].concat()).await;
    assert_eq!((peer.text().await, peer.text().await), ("a".into(), "b".into()));
    peer.send(close(1000, "")).await;
    assert_eq!(peer.closed().await, (Some(1000), String::new()));
    assert!(peer.ended().await);
    serving.await;
    assert_eq!(log.take(), ["text a", "text b", "end", "close 1000 "]);
}
