//! Events: what fires when, with what, in which order, and what listeners may do.

#[path = "events/asynchronous.rs"]
mod asynchronous;
#[path = "events/contract.rs"]
mod contract;
#[path = "events/emitters.rs"]
mod emitters;
#[path = "events/failures.rs"]
mod failures;
#[path = "events/handles.rs"]
mod handles;
#[path = "events/names.rs"]
mod names;
#[path = "events/registration.rs"]
mod registration;
#[path = "events/shapes.rs"]
mod shapes;
mod support;

use std::collections::HashSet;
use std::hash::Hash;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use react_websocket::errors::{ConnectionError, ListenerError};
use react_websocket::handlers::Next;
use react_websocket::listeners::ListenerId;
use react_websocket::shutdown::Serving;
use react_websocket::{
    BodyStream, EventEmitter, GroupManager, HttpServer, Message, Response, ServerRequest, SocketServer, Text,
    WebSocketConnection, WebSocketMiddleware, WebSocketOptions,
};
use support::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::sync::{Notify, mpsc};
use tokio::time::{sleep, timeout};

/// A log that closures can take without cloning it.
fn log() -> &'static Log {
    Box::leak(Box::default())
}

/// A connection in memory, both ends of it.
struct Case {
    peer: Peer<DuplexStream>,
    serving: Serving,
    connection: WebSocketConnection,
    log: &'static Log,
}

/// Opens a connection whose listeners `set_up` registers.
async fn open(set_up: impl Fn(WebSocketConnection, &'static Log) + Send + Sync + 'static) -> Case {
    open_with(WebSocketOptions::new(), 1 << 20, set_up).await
}

/// Opens a connection with these options. At most `capacity` bytes are in flight.
async fn open_with(
    options: WebSocketOptions,
    capacity: usize,
    set_up: impl Fn(WebSocketConnection, &'static Log) + Send + Sync + 'static,
) -> Case {
    let (log, opened) = (log(), Arc::new(OnceLock::new()));
    let websocket = WebSocketMiddleware::new().with_options(options);
    let handle = opened.clone();
    websocket.on("connection", move |connection: WebSocketConnection| {
        handle.set(connection).expect("one connection");
        set_up(connection, log);
    });
    let (mut peer, serving) = Peer::serve_with_capacity(&HttpServer::new((websocket, router)), capacity);
    peer.shake_hands().await;
    let connection = *opened.get().expect("a connection");
    Case { peer, serving, connection, log }
}

/// Paused time passes only when every task waits.
async fn settle() {
    sleep(Duration::from_millis(1)).await;
}

async fn pass(millis: u64) {
    sleep(Duration::from_millis(millis)).await;
}

impl Case {
    /// Sends these bytes, and returns the log after all their consequences.
    async fn hears(&mut self, bytes: impl AsRef<[u8]>) -> Vec<String> {
        self.peer.send(bytes).await;
        settle().await;
        self.log.take()
    }

    /// The peer is gone without a word.
    fn leave(&mut self) {
        self.peer = Peer::new(tokio::io::duplex(1).0);
    }

    /// The peer closes, and the connection ends.
    async fn finish(mut self) -> Vec<String> {
        let noted = self.hears(close(1000, "")).await;
        self.serving.await;
        noted
    }
}

/// Notes all events, `message` too.
fn watch(connection: WebSocketConnection, log: &'static Log) {
    log.watch(connection);
    connection.on("message", move |message: Message| match message {
        Message::Text(text) => log.add(format_args!("message text {text}")),
        Message::Binary(bytes) => log.add(format_args!("message binary {}", bytes.len())),
    });
}

const PING: u8 = 0x89;
const PONG: u8 = 0x8A;
const BINARY: u8 = 0x82;

/// A frame that breaks RFC 6455: it is not masked.
const UNMASKED: &[u8] = &[0x81, 1, b'a'];

/// What happens to a connection.
enum Step {
    Feed(Vec<u8>),
    /// The peer says that it sends nothing more, and still reads.
    Fin,
    /// The peer is gone.
    Leave,
    Call(fn(WebSocketConnection)),
    Pass(u64),
    ShutDown,
}
use Step::{Call, Feed, Fin, Leave, Pass, ShutDown};
