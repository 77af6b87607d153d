use react_websocket::WebSocketConnection;

struct Chat;

impl Chat {
    fn on_open(&self, connection: WebSocketConnection) {
        connection.on("text", self.on_message);
    }

    fn on_message(&self, text: &str) {
        println!("{text}");
    }
}

fn main() {
    let _ = Chat::on_open;
}
