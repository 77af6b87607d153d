use react_websocket::WebSocketConnection;
use std::rc::Rc;

fn register(connection: WebSocketConnection) {
    connection.on("text", async |text: &str| {
        let shared = Rc::new(text);
        std::future::ready(()).await;
        println!("{shared}");
    });
}

fn main() {}
