use react_websocket::WebSocketConnection;

fn greet(connection: WebSocketConnection) {
    if connection.group() {
        connection.write("hello");
    }
}

fn main() {}
