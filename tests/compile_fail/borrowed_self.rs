use react_websocket::WebSocketConnection;

struct Chat;

impl Chat {
    fn on_open(&self, connection: WebSocketConnection) {
        connection.on("text", move |text: &str| self.on_message(connection, text));
    }

    fn on_message(&self, from: WebSocketConnection, text: &str) {
        from.write(text);
    }
}

fn main() {
    let _ = Chat::on_open;
}
