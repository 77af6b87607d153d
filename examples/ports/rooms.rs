//! Rooms as groups. All clients see a room open and close; its members see who joins and leaves.
//!
//! `rooms.php` is the same app in PHP. Run this one, connect twice, for example with
//! `npx wscat -c 'ws://127.0.0.1:8080/?name=Ann'`, and send `join tea`, then `say hello`.

use react_websocket::{
    Error, GroupManager, HttpServer, Response, ServerRequest, SocketServer, WebSocketConnection, WebSocketMiddleware,
};

pub async fn serve(socket: SocketServer) -> Result<(), Error> {
    let groups = GroupManager::new();
    let websocket = WebSocketMiddleware::new().with_group_manager(groups.clone());

    let clients = websocket.clone();
    groups.on("create", move |room| {
        clients.write_all(format!("{} is open", room.name()));
        room.on("join", move |member| {
            room.write_all(format!("{} joins {}", name_of(member), room.name()));
        });
        room.on("leave", move |member| {
            room.write_all(format!("{} leaves {}", name_of(member), room.name()));
        });
    });
    let clients = websocket.clone();
    groups.on("destroy", move |room| {
        clients.write_all(format!("{} is closed", room.name()));
    });

    websocket.on("connection", move |connection: WebSocketConnection| {
        let query = connection.query_params();
        connection.set(Name(query.get("name").unwrap_or("anonymous").to_owned()));

        let rooms = groups.clone();
        connection.on("text", move |text: &str| {
            let (command, rest) = text.split_once(' ').unwrap_or((text, ""));
            let name = name_of(connection);
            match command {
                "join" => {
                    if let Err(error) = connection.set_group(Some(rest)) {
                        connection.write(error.to_string());
                    }
                }
                "leave" => {
                    let _ = connection.set_group(None);
                }
                "say" => {
                    if let Some(room) = connection.group() {
                        room.write_all(format!("{name}: {rest}"));
                    } else {
                        connection.write("join a room first");
                    }
                }
                "tell" => {
                    let (room, rest) = rest.split_once(' ').unwrap_or((rest, ""));
                    if let Some(room) = rooms.get(room) {
                        room.write_all(format!("{name} calls: {rest}"));
                    } else {
                        connection.write(format!("there is no room {room}"));
                    }
                }
                _ => {
                    connection.write(format!("unknown command: {command}"));
                }
            }
        });
    });

    let router = |_request: ServerRequest| Response::plaintext("Connect with a WebSocket\n");

    let http = HttpServer::new((websocket, router));
    http.listen(socket).await
}

struct Name(String);

fn name_of(connection: WebSocketConnection) -> String {
    connection.get::<Name>().map(|name| name.0.clone()).unwrap_or_default()
}

#[tokio::main]
async fn main() -> Result<(), Error> {
    let address = std::env::args().nth(1).unwrap_or("127.0.0.1:8080".to_owned());
    let socket = SocketServer::new(address)?;
    println!("Listening on {}", socket.address());
    serve(socket).await
}
