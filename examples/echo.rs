use react_websocket::{Error, HttpServer, Response, ServerRequest, SocketServer, WebSocketConnection, WebSocketMiddleware};

#[tokio::main]
async fn main() -> Result<(), Error> {
    let websocket = WebSocketMiddleware::new();
    websocket.on("connection", |connection: WebSocketConnection| {
        connection.on("text", move |text: &str| connection.write(text));
    });

    let router = |_request: ServerRequest| Response::plaintext("This is a websocket server");

    let http = HttpServer::new((websocket, router));
    let socket = SocketServer::new("0.0.0.0:8000")?;
    http.listen(socket).await
}
