use react_websocket::WebSocketConnection;

fn register(connection: WebSocketConnection) {
    connection.on("text", move |text: &str| match text {
        "hello" => connection.write("hello"),
        "bye" => connection.end(),
        _ => {}
    });
}

fn main() {}
