use react_websocket::WebSocketConnection;

fn refuse(connection: WebSocketConnection) {
    connection.close(4001, "bye");
}

fn main() {}
