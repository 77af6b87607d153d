use react_websocket::WebSocketConnection;
use serde_json::Value;

fn register(connection: WebSocketConnection) {
    connection.on("text", |text: &str| {
        let value: Value = serde_json::from_str(text)?;
        println!("{value}");
        Ok(())
    });
}

fn main() {}
