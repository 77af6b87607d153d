//! A server that uses most features, as a user would write it: echoes, rooms that members enter and
//! leave, a broadcast every second, a few routes. It counts the events that its listeners receive,
//! and answers `GET /counters` with the counts.
//!
//! usage: soak PORT [--workers N]
//!
//! Commands, as text messages: `enter ROOM`, `leave`, `say …` to all in the room. Any other message
//! is echoed. SIGTERM shuts the server down gracefully.
#![forbid(unsafe_code)]

use react_websocket::errors::GroupError;
use react_websocket::types::Method;
use react_websocket::{
    Error, GroupManager, HttpOptions, HttpServer, Loop, Response, ServerRequest, Signal, SocketServer, WebSocketConnection,
    WebSocketMiddleware, WebSocketOptions,
};
use react_websocket_bench::{Arguments, block_on};
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};
use std::alloc::System;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::oneshot;

/// Counts, so that what is forgotten is seen.
#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// What all are members of.
const EVERYBODY: &str = "everybody";

fn main() -> Result<(), Error> {
    let arguments = Arguments::of(&["workers"]);
    block_on(arguments.value("workers", 2), async {
        let counters = Arc::new(Counters::default());
        let groups = groups(&counters);
        let websocket = websocket(&groups, &counters);
        let news = groups.clone();
        let mut seconds = 0;
        Loop::add_periodic_timer(1.0, move || {
            seconds += 1;
            news.write(EVERYBODY, format!("news {seconds}"));
        });
        let router = router(websocket.clone(), groups, counters);
        let http = HttpServer::new((websocket, router)).with_options(http_options());
        let listening = http.listen(SocketServer::new(arguments.address().to_string())?);
        let (end, ended) = oneshot::channel();
        let mut end = Some(end);
        Loop::add_signal(Signal::TERM, move || end.take().is_some_and(|end| end.send(()).is_ok()))?;
        let _ = ended.await;
        listening.close().await;
        Ok(())
    })
}

/// Short, so that what a dead peer leaves behind is gone within a run.
fn websocket_options() -> WebSocketOptions {
    WebSocketOptions::new()
        .ping_interval(Duration::from_secs(10))
        .pong_timeout(Duration::from_secs(10))
        .write_timeout(Duration::from_secs(10))
        .close_timeout(Duration::from_secs(5))
        .write_buffer_hard_limit(256 * 1024)
}

fn http_options() -> HttpOptions {
    HttpOptions::new()
        .header_timeout(Duration::from_secs(5))
        .keep_alive_timeout(Duration::from_secs(5))
        .shutdown_grace(Duration::from_secs(5))
}

/// How often each event has been told.
#[derive(Default)]
struct Counters {
    connections: AtomicU64,
    closes: AtomicU64,
    errors: AtomicU64,
    creates: AtomicU64,
    destroys: AtomicU64,
    joins: AtomicU64,
    leaves: AtomicU64,
}

fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

fn groups(counters: &Arc<Counters>) -> GroupManager {
    let groups = GroupManager::new();
    let told = counters.clone();
    groups.on("create", move |group| {
        count(&told.creates);
        let (joined, left) = (told.clone(), told.clone());
        group.on("join", move |_| count(&joined.joins));
        group.on("leave", move |_| count(&left.leaves));
    });
    let told = counters.clone();
    groups.on("destroy", move |_| count(&told.destroys));
    groups
}

fn websocket(groups: &GroupManager, counters: &Arc<Counters>) -> WebSocketMiddleware {
    let websocket = WebSocketMiddleware::new().with_options(websocket_options()).with_group_manager(groups.clone());
    let (groups, told) = (groups.clone(), counters.clone());
    websocket.on("connection", move |connection: WebSocketConnection| {
        count(&told.connections);
        connection.on("text", move |text: &str| heard(connection, text));
        connection.on("binary", move |bytes: &[u8]| connection.write_binary(bytes));
        let (failed, closed) = (told.clone(), told.clone());
        connection.on("error", move || count(&failed.errors));
        connection.on("close", move || count(&closed.closes));
        groups.join(EVERYBODY, connection).map(drop)
    });
    websocket
}

/// An `Err` would end the connection.
fn heard(connection: WebSocketConnection, text: &str) -> Result<(), GroupError> {
    match text.split_once(' ').unwrap_or((text, "")) {
        ("enter", room) => connection.set_group(Some(room)),
        ("leave", "") => connection.set_group(None),
        ("say", _) => {
            if let Some(room) = connection.group() {
                room.write_except(connection, text);
            }
            Ok(())
        }
        _ => {
            connection.write(text);
            Ok(())
        }
    }
}

fn router(
    websocket: WebSocketMiddleware,
    groups: GroupManager,
    counters: Arc<Counters>,
) -> impl Fn(ServerRequest) -> Response + Send + Sync + 'static {
    move |request: ServerRequest| match (request.method(), request.path()) {
        (&Method::GET, "/") => Response::html("<!doctype html><title>Soak</title>"),
        (&Method::POST, "/") => Response::plaintext(format!("{} bytes", request.body().len())),
        (&Method::GET, "/counters") => told(&websocket, &groups, &counters),
        _ => Response::plaintext("There is nothing here").with_status(404),
    }
}

/// The counters, and what the crate and the runtime count themselves, as JSON.
fn told(websocket: &WebSocketMiddleware, groups: &GroupManager, counters: &Counters) -> Response {
    let stats = websocket.stats();
    let tasks = tokio::runtime::Handle::current().metrics().num_alive_tasks();
    let memory = ALLOCATOR.stats();
    let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    let numbers = [
        ("connections", of(&counters.connections)),
        ("closes", of(&counters.closes)),
        ("errors", of(&counters.errors)),
        ("creates", of(&counters.creates)),
        ("destroys", of(&counters.destroys)),
        ("joins", of(&counters.joins)),
        ("leaves", of(&counters.leaves)),
        ("groups", groups.len() as u64),
        ("tasks", tasks as u64),
        ("allocations", memory.allocations.saturating_sub(memory.deallocations) as u64),
        ("open", stats.open as u64),
        ("accepted", stats.accepted),
        ("messages_in", stats.messages_in),
        ("messages_out", stats.messages_out),
        ("bytes_in", stats.bytes_in),
        ("bytes_out", stats.bytes_out),
        ("slow_listeners", stats.slow_listeners),
    ];
    let numbers = numbers.map(|(name, number)| format!("\"{name}\": {number}")).join(", ");
    let (refused, closed) = (object(&stats.refused), object(&stats.closed));
    Response::plaintext(format!("{{{numbers}, \"refused\": {refused}, \"closed\": {closed}}}"))
        .with_header("Content-Type", "application/json")
}

fn object(causes: &BTreeMap<&str, u64>) -> String {
    let fields: Vec<_> = causes.iter().map(|(cause, count)| format!("\"{cause}\": {count}")).collect();
    format!("{{{}}}", fields.join(", "))
}
