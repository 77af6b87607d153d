use react_websocket::WebSocketConnection;
use std::rc::Rc;

fn register(connection: WebSocketConnection) {
    let name = Rc::new("ann");
    connection.on("text", move |text: &str| println!("{name}: {text}"));
}

fn main() {}
