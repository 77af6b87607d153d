//! The server announces who is online. A client that does not answer heartbeats is closed.
//!
//! `presence.php` is the same app in PHP. Run this one and connect twice, for example
//! `npx wscat -c 'ws://127.0.0.1:8080/?name=Ann'`

use react_websocket::{
    Error, HttpServer, Loop, Response, ServerRequest, SocketServer, WebSocketConnection, WebSocketMiddleware,
};
use serde_json::json;
use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::time::Instant;

/// Time between two heartbeats, and the longest silence of a client: two missed heartbeats and a
/// little more.
const HEARTBEAT: Duration = Duration::from_secs(20);
const SILENCE: Duration = Duration::from_secs(45);

/// When a connection last sent something. It is attached to the connection.
struct LastSeen(Instant);

pub async fn serve(socket: SocketServer) -> Result<(), Error> {
    let people = Arc::new(People::default());

    let websocket = WebSocketMiddleware::new();
    websocket.on("connection", move |connection: WebSocketConnection| {
        let query = connection.query_params();
        people.enter(connection, query.get("name").unwrap_or("somebody"));
        connection.set(LastSeen(Instant::now()));

        let timer = Loop::add_periodic_timer(HEARTBEAT, move || {
            if connection.get::<LastSeen>().is_some_and(|last_seen| last_seen.0.elapsed() > SILENCE) {
                connection.close_with(4000, "no heartbeat");
            } else {
                connection.write(json!({"type": "ping"}).to_string());
            }
        });

        // Any message is a sign of life. A client that has nothing to say answers {"type":"pong"}.
        connection.on("text", move |_text: &str| connection.set(LastSeen(Instant::now())));

        let people = people.clone();
        connection.on("close", move || {
            Loop::cancel_timer(timer);
            people.leave(connection);
        });
    });

    let router = |_request: ServerRequest| Response::plaintext("Connect with a WebSocket\n");

    let http = HttpServer::new((websocket, router));
    http.listen(socket).await
}

type Names = HashMap<WebSocketConnection, String>;

/// The people who are online, each with one connection or several.
#[derive(Default)]
struct People {
    names: Mutex<Names>,
}

impl People {
    fn enter(&self, connection: WebSocketConnection, name: &str) {
        // One lock from the list to the insertion, so that a new client misses no announcement.
        let mut names = self.names.lock().unwrap();
        let online = online(&names);
        connection.write(json!({"type": "online", "names": online}).to_string());
        if !online.contains(name) {
            announce(&names, "entered", name);
        }
        names.insert(connection, name.to_owned());
    }

    fn leave(&self, connection: WebSocketConnection) {
        let mut names = self.names.lock().unwrap();
        let Some(name) = names.remove(&connection) else { return };
        if !online(&names).contains(&*name) {
            announce(&names, "left", &name);
        }
    }
}

fn announce(names: &Names, kind: &str, name: &str) {
    for connection in names.keys() {
        connection.write(json!({"type": kind, "name": name}).to_string());
    }
}

fn online(names: &Names) -> BTreeSet<&str> {
    names.values().map(String::as_str).collect()
}

#[tokio::main]
async fn main() -> Result<(), Error> {
    let address = std::env::args().nth(1).unwrap_or("127.0.0.1:8080".to_owned());
    let socket = SocketServer::new(address)?;
    println!("Listening on {}", socket.address());
    serve(socket).await
}
