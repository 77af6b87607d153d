use react_websocket::WebSocketConnection;

fn register(connection: WebSocketConnection) {
    connection.on_text(|bytes: &[u8]| println!("{}", bytes.len()));
}

fn main() {}
