//! A chat with rooms. The router serves the page, and each room is a group.
//!
//! Run it, open http://127.0.0.1:8000/ in two windows, and write messages. `?room=` and `?name=` in
//! the address choose the room and your name.

use react_websocket::{
    Error, GroupManager, HttpServer, Response, ServerRequest, SocketServer, WebSocketConnection, WebSocketMiddleware,
};

/// The name of a client, attached to its connection.
struct Name(String);

fn name_of(connection: WebSocketConnection) -> String {
    connection.get::<Name>().map_or_else(|| "somebody".to_owned(), |name| name.0.clone())
}

#[tokio::main]
async fn main() -> Result<(), Error> {
    let socket = SocketServer::new("127.0.0.1:8000")?;
    println!("http://127.0.0.1:8000/");
    server().listen(socket).await
}

/// The server, which the tests in `tests/examples_chat.rs` use without a socket.
pub fn server() -> HttpServer {
    let groups = GroupManager::new();
    groups.on("create", |room| {
        println!("{} is open", room.name());
        room.on("join", move |member| {
            room.write(format!("{} has come, there are {} here", name_of(member), room.len()));
        });
        room.on("leave", move |member| room.write(format!("{} has left", name_of(member))));
    });
    groups.on("destroy", |room| println!("{} is closed", room.name()));

    let websocket = WebSocketMiddleware::new().with_path("/chat").with_group_manager(groups);
    websocket.on("connection", |connection: WebSocketConnection| {
        let query = connection.request().map(|request| request.query_params()).unwrap_or_default();
        connection.set(Name(query.get("name").unwrap_or("somebody").to_owned()));
        connection.on("text", move |text: &str| {
            if let Some(room) = connection.group() {
                room.write(format!("{}: {text}", name_of(connection)));
            }
        });
        connection.set_group(Some(query.get("room").unwrap_or("lobby")))
    });

    let router = |request: ServerRequest| match request.path() {
        "/" => Response::html(PAGE),
        _ => Response::plaintext("There is nothing here").with_status(404),
    };

    HttpServer::new((websocket, router))
}

const PAGE: &str = r#"<!doctype html>
<meta charset="utf-8"><title>Chat</title>
<form><input autofocus autocomplete="off" placeholder="Say something"></form><pre></pre>
<script>
const [form, input, log] = ["form", "input", "pre"].map((name) => document.querySelector(name));
const say = (line) => log.prepend(line + "\n");
const socket = new WebSocket(`ws://${location.host}/chat${location.search}`);
socket.onmessage = (event) => say(event.data);
socket.onclose = (event) => say(`closed: ${event.code} ${event.reason}`);
form.onsubmit = (event) => { event.preventDefault(); socket.send(input.value); input.value = ""; };
</script>
"#;
