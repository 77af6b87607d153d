use react_websocket::WebSocketConnection;

fn greet(connection: WebSocketConnection) {
    connection.group().write_all("hello");
}

fn main() {}
