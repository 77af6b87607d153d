use react_websocket::SocketServer;

#[tokio::main]
async fn main() {
    let _socket = SocketServer::new("127.0.0.1:8000")?;
}
