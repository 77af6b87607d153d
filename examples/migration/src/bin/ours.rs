//! The chat with this crate. usage: ours ADDRESS
use react_websocket::{
    Error, GroupManager, HttpServer, Loop, Response, ServerRequest, Signal, SocketServer, WebSocketConnection,
    WebSocketMiddleware, WebSocketOptions,
};

#[tokio::main]
async fn main() -> Result<(), Error> {
    let websocket = WebSocketMiddleware::new()
        .with_path("/ws")
        .with_options(WebSocketOptions::new().max_message_size(64 * 1024))
        .with_group_manager(GroupManager::new());
    websocket.on("connection", |connection: WebSocketConnection| {
        connection.on("text", move |text: &str| {
            if let Some(room) = connection.group() {
                room.write_except(connection, text);
            }
        });
        let query = connection.query_params();
        connection.set_group(Some(query.get("room").unwrap_or("lobby")))
    });

    let http = HttpServer::new((websocket, |_: ServerRequest| Response::new(404)));
    let address = std::env::args().nth(1).unwrap_or("127.0.0.1:8000".to_owned());
    let listening = http.listen(SocketServer::new(address)?);
    for signal in [Signal::INT, Signal::TERM] {
        let server = listening.clone();
        Loop::add_signal(signal, move || {
            server.close();
        })?;
    }
    println!("listening on {:?}", listening.local_addresses());
    listening.await
}
