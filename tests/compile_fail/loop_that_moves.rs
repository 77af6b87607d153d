use react_websocket::WebSocketConnection;
use std::collections::HashSet;

struct Chat {
    clients: HashSet<WebSocketConnection>,
}

impl Chat {
    fn write_all(&self, text: &str) {
        for client in self.clients {
            client.write(text);
        }
    }
}

fn main() {
    let _ = Chat::write_all;
}
