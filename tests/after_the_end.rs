//! Listeners and data that come when their object has ended, or is about to end, are dropped. Nothing keeps them.

mod support;

use std::sync::Arc;

use react_websocket::{
    EventEmitter, GroupManager, HttpServer, Response, WebSocketConnection, WebSocketMiddleware, WebSocketOptions,
};
use support::*;

/// Registers a listener that holds the token for each event of a connection, and attaches the token.
fn listen(connection: WebSocketConnection, token: &Arc<()>) {
    for event in ["text", "binary", "message", "ping", "pong", "drain", "end", "error", "close"] {
        let (on, once) = (token.clone(), token.clone());
        connection.on(event, move || drop(on.clone()));
        connection.once(event, move || drop(once.clone()));
    }
    connection.set(token.clone());
}

fn options() -> WebSocketOptions {
    WebSocketOptions::new().ping_interval(None)
}

#[tokio::test(start_paused = true)]
async fn a_connection_keeps_no_listener_that_comes_in_its_close_listeners_or_later() {
    let token = Arc::new(());
    let pair = Pair::in_memory(options()).await;
    let (connection, held) = (pair.connection, token.clone());
    connection.on("close", move || listen(connection, &held));
    drop(pair.peer);
    settle().await;
    assert_eq!(Arc::strong_count(&token), 1);
    listen(connection, &token);
    assert_eq!(Arc::strong_count(&token), 1);
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_is_refused_keeps_no_listener_whenever_it_comes() {
    let token = Arc::new(());
    let websocket = WebSocketMiddleware::new().with_options(options());
    let (seen, connections) = std::sync::mpsc::channel();
    let (early, late) = (Arc::downgrade(&token), Arc::downgrade(&token));
    websocket.on("connection", move |connection: WebSocketConnection| {
        listen(connection, &early.upgrade().unwrap());
        connection.reject(Response::new(403));
        seen.send(connection).is_ok()
    });
    websocket.on("error", move |connection: WebSocketConnection| listen(connection, &late.upgrade().unwrap()));
    let (mut peer, _) = Peer::serve(&HttpServer::new((websocket, router)));
    assert_eq!(peer.ask(HANDSHAKE).await.status(), 403);
    settle().await;
    assert_eq!(Arc::strong_count(&token), 1);
    listen(connections.recv().unwrap(), &token);
    assert_eq!(Arc::strong_count(&token), 1);
}

#[tokio::test(start_paused = true)]
async fn a_group_keeps_no_listener_that_comes_when_it_ends_or_later() {
    let (token, groups) = (Arc::new(()), GroupManager::new());
    let pair = Pair::in_memory(options()).await;
    let group = groups.join("a", pair.connection).unwrap();
    let listen = move |token: &Arc<()>| {
        for event in ["join", "leave", "drop"] {
            let (on, once) = (token.clone(), token.clone());
            group.on(event, move |_| drop(on.clone()));
            group.once(event, move |_| drop(once.clone()));
        }
    };
    listen(&token);
    let held = Arc::downgrade(&token);
    groups.on("destroy", move |_| listen(&held.upgrade().unwrap()));
    assert!(group.remove(pair.connection));
    assert_eq!(Arc::strong_count(&token), 1);
    listen(&token);
    assert_eq!(Arc::strong_count(&token), 1);
}

/// Joining makes a connection leave its groups when it ends. After its end nothing would.
#[tokio::test(start_paused = true)]
async fn a_connection_that_has_ended_gets_into_no_group_and_leaves_nothing_in_one() {
    let (token, groups) = (Arc::new(()), GroupManager::new());
    let pair = Pair::in_memory(options()).await;
    let (connection, last) = (pair.connection, groups.clone());
    connection.on("close", move || _ = last.join("at its end", connection));
    drop(pair.peer);
    settle().await;
    assert!(groups.join("later", connection).is_err());
    assert!(!connection.set(token.clone()));
    assert_eq!((groups.len(), Arc::strong_count(&token)), (0, 1));
}

#[test]
fn an_emitter_or_manager_that_is_dropped_drops_its_listeners_and_what_was_emitted() {
    let token = Arc::new(());
    let (emitter, groups) = (EventEmitter::<Arc<()>>::new(), GroupManager::new());
    let websocket = WebSocketMiddleware::new();
    for _ in 0..2 {
        let held = || token.clone();
        let (a, b, c, d) = (held(), held(), held(), held());
        emitter.on("data", move |_| drop(a.clone()));
        emitter.once("other", move |_| drop(b.clone()));
        groups.on("create", move |_| drop(c.clone()));
        websocket.on("connection", move |_| drop(d.clone()));
    }
    emitter.emit("data", token.clone());
    emitter.emit("other", token.clone());
    drop((emitter, groups, websocket));
    assert_eq!(Arc::strong_count(&token), 1);
}
