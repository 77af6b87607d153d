//! A server that sends the time to all clients once a second. It also sends each message of a
//! client to all clients.
//!
//! Run it and connect with several clients, for example `npx wscat -c ws://127.0.0.1:8000/` or a browser's console:
//! `new WebSocket("ws://127.0.0.1:8000/").onmessage = (event) => console.log(event.data)`

use react_websocket::{
    Error, HttpServer, Loop, Response, ServerRequest, SocketServer, WebSocketConnection, WebSocketMiddleware,
};
use std::time::{SystemTime, UNIX_EPOCH};

#[tokio::main]
async fn main() -> Result<(), Error> {
    let websocket = WebSocketMiddleware::new();

    let everybody = websocket.clone();
    websocket.on("connection", move |connection: WebSocketConnection| {
        let everybody = everybody.clone();
        // The message is encoded once, however many connections there are. It leaves for all of
        // them at the end of this turn. A slow consumer delays no other client.
        connection.on("text", move |text: &str| everybody.write_all(text));
    });

    let everybody = websocket.clone();
    Loop::add_periodic_timer(1.0, move || {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        everybody.write_all(format!("it is {now}, and there are {} of us", everybody.len()));
    });

    let router = |_request: ServerRequest| Response::plaintext("Connect with a WebSocket");

    let http = HttpServer::new((websocket, router));
    let socket = SocketServer::new("127.0.0.1:8000")?;
    println!("ws://127.0.0.1:8000/");
    http.listen(socket).await
}
