#![deny(warnings)]

use react_websocket::WebSocketConnection;

fn join(connection: WebSocketConnection) {
    connection.set_group(Some("lobby"));
}

fn main() {
    let _ = join;
}
