//! `once` takes closures that can be called once (`FnOnce`): they give away what they captured, which cannot be cloned.

mod support;

use std::sync::mpsc::{Sender, channel};

use react_websocket::errors::{ConnectionError, report};
use react_websocket::{
    BodyStream, Bytes, EventEmitter, GroupManager, HttpServer, Message, Response, ServerRequest, Text, WebSocketConnection,
    WebSocketOptions,
};
use support::{Pair, Peer, frame, text};

/// A value that is given away once. It reports that, and the arguments of the call.
struct Gift {
    name: &'static str,
    to: Sender<String>,
}

fn give(gift: Gift, with: impl std::fmt::Display) {
    gift.to.send(format!("{} {with}", gift.name)).unwrap();
}

fn bytes(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// Évenement's `once`.
#[tokio::test(start_paused = true)]
async fn a_closure_for_once_is_called_once_and_owns_what_it_captured() {
    let (to, given) = channel();
    let gift = |name| Gift { name, to: to.clone() };
    let Pair { connection: c, mut peer, .. } = Pair::in_memory(WebSocketOptions::new().auto_pong(false)).await;
    macro_rules! once {
        ($($event:literal $name:literal: |$gift:ident| $listener:expr;)+) => {$({
            let $gift = gift($name);
            c.once($event, $listener);
        })+};
    }
    once! {
        "text" "1": |g| move |text: &str| give(g, text);
        "text" "2": |g| move |text: Text| give(g, text);
        "text" "3": |g| move |_: &WebSocketConnection, text: &str| give(g, text);
        "text" "4": |g| move || give(g, "nothing");
        "text" "5": |g| async move |text: &str| give(g, text);
        "text" "6": |g| move |text: Text| async move { give(g, text) };
        "text" "7": |g| async move |_: &WebSocketConnection, text: &str| give(g, text);
        "text" "8": |g| async move |_: WebSocketConnection, text: Text| give(g, text);
        "text" "9": |g| async move || { tokio::task::yield_now().await; give(g, "nothing") };
        "message" "10": |g| move |message: Message| give(g, bytes(message.as_bytes()));
        "message" "11": |g| async move |message: Message| give(g, bytes(message.as_bytes()));
        "binary" "12": |g| move |binary: &[u8]| give(g, bytes(binary));
        "binary" "13": |g| move |binary: Bytes| give(g, bytes(&binary));
        "binary" "14": |g| async move |binary: &[u8]| give(g, bytes(binary));
        "ping" "15": |g| move |ping: &[u8]| give(g, bytes(ping));
        "error" "16": |g| move |reason: Option<&str>, code: Option<u16>| give(g, format!("{} {}", reason.unwrap(), code.unwrap()));
        "error" "17": |g| async move |error: ConnectionError| give(g, error);
        "close" "18": |g| move |code: u16, reason: &str| give(g, format!("{code} {reason}"));
        "close" "19": |g| async move |code: u16, reason: Text| give(g, format!("{code} {reason}"));
    }
    for _ in 0..2 {
        peer.send([text("t"), frame(0x82, "b"), frame(0x89, "p")].concat()).await;
        support::settle().await;
    }
    peer.send(frame(0xC1, "")).await;
    support::settle().await;
    drop(peer);
    support::settle().await;
    let all: Vec<_> = given.try_iter().collect();
    let expected = [
        "1 t",
        "2 t",
        "3 t",
        "4 nothing",
        "5 t",
        "6 t",
        "7 t",
        "8 t",
        "9 nothing",
        "10 t",
        "11 t",
        "12 b",
        "13 b",
        "14 b",
        "15 p",
        "16 reserved bits 0b100 without an extension 1002",
        "17 reserved bits 0b100 without an extension",
        "18 1002 reserved bits 0b100 without an extension",
        "19 1002 reserved bits 0b100 without an extension",
    ];
    assert_eq!(all, expected);
}

#[tokio::test(start_paused = true)]
async fn closures_for_once_on_shared_objects_are_called_once_too() {
    let (to, given) = channel();
    let gift = |name| Gift { name, to: to.clone() };
    let emitter = EventEmitter::new();
    let g = gift("emitter");
    emitter.once("data", move |data: &u32| give(g, data));
    emitter.emit("data", 1);
    emitter.emit("data", 2);

    let groups = GroupManager::new();
    let (g, inner) = (gift("create"), gift("join"));
    groups.once("create", move |group| {
        give(g, group.name());
        group.once("join", move |member| give(inner, member.id() > 0));
    });
    let Pair { connection, .. } = Pair::in_memory(WebSocketOptions::new()).await;
    groups.join("a", connection).unwrap();
    groups.join("b", connection).unwrap();

    let stream = BodyStream::new();
    let g = gift("close");
    stream.once("close", move || give(g, "body"));
    stream.close();

    let http = HttpServer::new(|_: ServerRequest| Err::<Response, _>("no"));
    let g = gift("error");
    assert!(http.try_once("error", move |error| give(g, report(error))).is_ok());
    assert!(http.try_once("no such event", |_| {}).is_err());
    for _ in 0..2 {
        let (mut peer, _) = Peer::serve(&http);
        assert_eq!(peer.ask("GET / HTTP/1.1\r\nHost: example.com\r\n\r\n").await.status(), 500);
    }
    let all: Vec<_> = given.try_iter().collect();
    assert_eq!(all, ["emitter 1", "create a", "join true", "close body", "error the request handler failed: no"]);
}
