use react_websocket::WebSocketConnection;
use serde_json::json;

fn greet(connection: WebSocketConnection) {
    connection.write(json!({"type": "hello"}));
}

fn main() {}
