use react_websocket::WebSocketConnection;

fn register(connection: WebSocketConnection) {
    connection.on_text(|text| text.len());
}

fn main() {}
