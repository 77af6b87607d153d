use react_websocket::{Message, WebSocketConnection};

fn register(connection: WebSocketConnection) {
    connection.on("message", move |message: Message| connection.write(message));
}

fn main() {}
