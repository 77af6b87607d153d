use react_websocket::WebSocketMiddleware;

fn main() {
    WebSocketMiddleware::new().on("connection", |connection| connection.write("hello"));
}
