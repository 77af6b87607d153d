//! Chat over a set of connections. Each message goes to all clients except its sender.
//!
//! `chat.php` is the same app in PHP. Run this one and connect twice, for example
//! `npx wscat -c 'ws://127.0.0.1:8080/?name=Ann'`

use react_websocket::{Error, HttpServer, Response, ServerRequest, SocketServer, WebSocketConnection, WebSocketMiddleware};
use std::collections::HashMap;
use std::sync::{Arc, Mutex};

type Clients = HashMap<WebSocketConnection, String>;

pub async fn serve(socket: SocketServer) -> Result<(), Error> {
    // The clients and their names.
    let shared = Arc::new(Mutex::new(Clients::new()));

    let websocket = WebSocketMiddleware::new();
    websocket.on("connection", move |connection: WebSocketConnection| {
        let query = connection.query_params();
        let name = query.get("name").unwrap_or_default().to_owned();
        // One lock for the check and the insertion: two clients may ask for one name at the same time.
        let mut clients = shared.lock().unwrap();
        if name.is_empty() || clients.values().any(|taken| *taken == name) {
            connection.write(format!("The name \"{name}\" cannot be used"));
            connection.close();
            return;
        }
        broadcast(&clients, connection, &format!("{name} joined"));
        clients.insert(connection, name.clone());
        connection.write(format!("Here: {}", names(&clients).join(", ")));

        connection.on("text", {
            let (shared, name) = (shared.clone(), name.clone());
            move |text: &str| broadcast(&shared.lock().unwrap(), connection, &format!("{name}: {text}"))
        });

        connection.on("close", {
            let shared = shared.clone();
            move || {
                let mut clients = shared.lock().unwrap();
                clients.remove(&connection);
                broadcast(&clients, connection, &format!("{name} left"));
            }
        });
    });

    let router = |_request: ServerRequest| Response::plaintext("Connect with a WebSocket\n");

    let http = HttpServer::new((websocket, router));
    http.listen(socket).await
}

fn broadcast(clients: &Clients, sender: WebSocketConnection, text: &str) {
    for client in clients.keys() {
        if *client != sender {
            client.write(text);
        }
    }
}

fn names(clients: &Clients) -> Vec<&str> {
    let mut names: Vec<_> = clients.values().map(String::as_str).collect();
    names.sort();
    names
}

#[tokio::main]
async fn main() -> Result<(), Error> {
    let address = std::env::args().nth(1).unwrap_or("127.0.0.1:8080".to_owned());
    let socket = SocketServer::new(address)?;
    println!("Listening on {}", socket.address());
    serve(socket).await
}
