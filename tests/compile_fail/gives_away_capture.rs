use react_websocket::WebSocketConnection;

fn register(connection: WebSocketConnection) {
    let name = String::from("ann");
    connection.on("text", move |_text: &str| drop(name));
}

fn main() {}
