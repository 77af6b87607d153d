//! A `ListenerId` names a listener of one object. Another object has none of that name (Évenement's `removeListener`, which
//! compares closures, removes nothing there either).

mod support;

use react_websocket::body::BodyWriter;
use react_websocket::listeners::ListenerId;
use react_websocket::{
    BodyStream, EventEmitter, GroupManager, HttpServer, SocketServer, WebSocketConnection, WebSocketMiddleware,
    WebSocketOptions,
};
use support::*;

/// Something that has listeners of one event.
trait Emits {
    fn on(&self) -> ListenerId;
    fn remove(&self, id: ListenerId);
    fn count(&self) -> usize;
}

macro_rules! emits {
    ($type:ty: $event:literal, $listener:expr) => {
        impl Emits for $type {
            fn on(&self) -> ListenerId {
                <$type>::on(self, $event, $listener)
            }

            fn remove(&self, id: ListenerId) {
                self.remove_listener(id);
            }

            fn count(&self) -> usize {
                self.listener_count($event)
            }
        }
    };
}
emits!(WebSocketConnection: "text", || {});
emits!(WebSocketMiddleware: "connection", |_| {});
emits!(EventEmitter<u32>: "data", |_| {});
emits!(GroupManager: "create", |_| {});
emits!(react_websocket::ConnectionGroup: "join", |_| {});
emits!(BodyWriter: "close", || {});
emits!(HttpServer: "error", |_| {});
emits!(SocketServer: "error", |_| {});

#[tokio::test(start_paused = true)]
async fn an_id_removes_no_listener_of_another_object() {
    let mut pairs = Vec::new();
    for _ in 0..2 {
        pairs.push(Pair::in_memory(WebSocketOptions::new()).await);
    }
    let groups = GroupManager::new();
    let group = |name: usize| groups.join(name.to_string(), pairs[name].connection).unwrap();
    let connection = |n: usize| -> Box<dyn Emits> {
        pairs[n].connection.remove_all_listeners(None);
        Box::new(pairs[n].connection)
    };
    let streams = [BodyStream::new(), BodyStream::new()];
    let kinds: [[Box<dyn Emits>; 2]; 8] = [
        [connection(0), connection(1)],
        [Box::new(WebSocketMiddleware::new()), Box::new(WebSocketMiddleware::new())],
        [Box::new(EventEmitter::<u32>::new()), Box::new(EventEmitter::<u32>::new())],
        [Box::new(GroupManager::new()), Box::new(GroupManager::new())],
        [Box::new(group(0)), Box::new(group(1))],
        [Box::new(streams[0].writer()), Box::new(streams[1].writer())],
        [Box::new(HttpServer::new(router)), Box::new(HttpServer::new(router))],
        [Box::new(SocketServer::new("127.0.0.1:0").unwrap()), Box::new(SocketServer::new("127.0.0.1:0").unwrap())],
    ];
    let all: Vec<_> = kinds.iter().flatten().collect();
    let ids: Vec<_> = all.iter().map(|emitter| emitter.on()).collect();
    for (place, emitter) in all.iter().enumerate() {
        for (other, id) in ids.iter().enumerate() {
            if other != place {
                emitter.remove(*id);
            }
        }
        assert_eq!(emitter.count(), 1, "number {place}");
        emitter.remove(ids[place]);
        assert_eq!(emitter.count(), 0, "number {place}");
        emitter.remove(ids[place]);
    }
}

#[tokio::test(start_paused = true)]
async fn an_id_of_an_object_that_is_gone_removes_nothing() {
    let pair = Pair::in_memory(WebSocketOptions::new()).await;
    let gone = Pair::in_memory(WebSocketOptions::new()).await;
    gone.connection.terminate();
    settle().await;
    let late = gone.connection.on("text", || {});
    pair.connection.remove_all_listeners(None);
    let id = pair.connection.on("text", || {});
    assert_ne!(late, id);
    pair.connection.remove_listener(late);
    assert_eq!(pair.connection.listener_count("text"), 1);
}
