use react_websocket::{Text, WebSocketConnection};
use std::rc::Rc;

fn register(connection: WebSocketConnection) {
    connection.on("text", async |text: Text| {
        let shared = Rc::new(text);
        std::future::ready(()).await;
        println!("{shared}");
    });
}

fn main() {}
