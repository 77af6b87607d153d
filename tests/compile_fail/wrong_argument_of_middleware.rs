use react_websocket::WebSocketMiddleware;

fn register(websocket: WebSocketMiddleware) {
    websocket.on("connection", |text: &str| println!("{text}"));
}

fn main() {}
