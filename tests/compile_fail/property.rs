use react_websocket::WebSocketConnection;

fn name(mut connection: WebSocketConnection) {
    connection.user = "ann";
}

fn main() {}
