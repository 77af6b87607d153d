use react_websocket::WebSocketConnection;

fn join(connection: WebSocketConnection) {
    let _ = connection.set_group("lobby");
}

fn main() {}
