use react_websocket::WebSocketConnection;

fn register(connection: WebSocketConnection) {
    connection.on("text", |text| println!("{text}"));
}

fn main() {}
