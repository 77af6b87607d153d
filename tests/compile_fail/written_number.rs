use react_websocket::WebSocketConnection;

fn count(connection: WebSocketConnection, count: u32) {
    connection.write(count);
}

fn main() {}
