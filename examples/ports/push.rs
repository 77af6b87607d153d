//! A push server. Each path is a topic. POST publishes a message. GET subscribes to the messages, as
//! server-sent events or with a WebSocket.
//!
//! `push.php` is the same app in PHP. Run this one, subscribe with
//! `curl -N http://127.0.0.1:8080/news` or `npx wscat -c ws://127.0.0.1:8080/news`, and publish with
//! `curl -d text=Hello http://127.0.0.1:8080/news`. Both apps let every client publish. On a public
//! server, check who publishes.

use react_websocket::body::BodyWriter;
use react_websocket::errors::BoxError;
use react_websocket::types::Method;
use react_websocket::{
    BodyStream, Error, EventEmitter, GroupManager, HttpServer, Response, ServerRequest, SocketServer, WebSocketConnection,
    WebSocketMiddleware,
};
use serde::Deserialize;
use serde_json::json;
use std::sync::{Arc, Mutex};

pub async fn serve(socket: SocketServer) -> Result<(), Error> {
    // A topic is a group of WebSockets. It is also an event of this emitter, with a listener for
    // each stream of server-sent events.
    let streams = EventEmitter::new();
    let topics = GroupManager::new();

    let websocket = WebSocketMiddleware::new().with_group_manager(topics.clone());
    websocket.on("connection", |connection: WebSocketConnection| {
        connection.set_group(connection.request().as_ref().map(|request| request.path()))
    });

    let router = move |request: ServerRequest| -> Result<Response, BoxError> {
        let topic = request.path();
        Ok(match *request.method() {
            Method::GET => subscribe(&streams, topic),
            Method::POST => {
                let Some(text) = text_of(&request)? else {
                    return Ok(Response::plaintext("A message has a text\n").with_status(400));
                };
                let message = json!({"text": text}).to_string();
                topics.write(topic, &message);
                streams.emit(topic, message);
                let clients = topics.get(topic).map_or(0, |group| group.len()) + streams.listener_count(topic);
                Response::json(&json!({"clients": clients})).with_status(202)
            }
            _ => Response::new(405).with_header("Allow", "GET, POST"),
        })
    };

    let http = HttpServer::new((websocket, router));
    http.listen(socket).await
}

#[derive(Deserialize)]
struct Message {
    text: String,
}

/// The text of a message, which is JSON or a form.
fn text_of(request: &ServerRequest) -> Result<Option<String>, BoxError> {
    if request.header("Content-Type").is_some_and(|kind| kind.starts_with("application/json")) {
        return Ok(Some(request.json::<Message>()?.text));
    }
    Ok(request.parsed_body()?.get("text").map(str::to_owned))
}

#[derive(Default)]
struct Reader {
    is_slow: bool,
    missed: usize,
}

/// Server-sent events. A slow client misses messages, and gets their number when it has caught up.
fn subscribe(streams: &EventEmitter<String>, topic: &str) -> Response {
    let stream = BodyStream::new();
    let shared = Arc::new(Mutex::new(Reader::default()));

    let listener = streams.on(topic, {
        let (stream, shared) = (stream.writer(), shared.clone());
        move |message: &String| {
            let mut reader = shared.lock().unwrap();
            if reader.is_slow {
                reader.missed += 1;
            } else {
                reader.is_slow = !stream.write(format!("data: {message}\n\n"));
            }
        }
    });

    stream.on("drain", move |stream: &BodyWriter| {
        let mut reader = shared.lock().unwrap();
        if reader.missed > 0 {
            stream.write(format!("event: missed\ndata: {}\n\n", reader.missed));
        }
        *reader = Reader::default();
    });

    let streams = streams.clone();
    stream.on("close", move || streams.remove_listener(listener));

    Response::new(200)
        .with_header("Content-Type", "text/event-stream")
        .with_header("Cache-Control", "no-store")
        .with_body(stream)
}

#[tokio::main]
async fn main() -> Result<(), Error> {
    let address = std::env::args().nth(1).unwrap_or("127.0.0.1:8080".to_owned());
    let socket = SocketServer::new(address)?;
    println!("Listening on {}", socket.address());
    serve(socket).await
}
