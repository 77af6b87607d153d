use react_websocket::WebSocketConnection;

fn register(connection: WebSocketConnection) {
    connection.on("text", |n: u32| println!("{n}"));
}

fn main() {}
