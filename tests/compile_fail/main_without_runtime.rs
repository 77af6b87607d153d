use react_websocket::{Error, SocketServer};

async fn main() -> Result<(), Error> {
    let _socket = SocketServer::new("127.0.0.1:8000")?;
    Ok(())
}
