use react_websocket::WebSocketConnection;
use react_websocket::errors::BoxError;

fn register(connection: WebSocketConnection) {
    connection.on("text", |text: &str| -> Result<(), BoxError> {
        if text.is_empty() {
            return Err("empty");
        }
        Ok(())
    });
}

fn main() {}
