//! A bridge between WebSockets and a TCP service that speaks in lines. Each client has a TCP
//! connection of its own. Each message becomes a line, and each line becomes a message. A side that
//! reads slowly slows the other side down.
//!
//! `bridge.php` is the same app in PHP. Run a service, for example `nc -l -k 7000`, then run this
//! bridge and connect with `npx wscat -c ws://127.0.0.1:8080/`

use react_websocket::{
    Error, HttpServer, Loop, Response, ServerRequest, Signal, SocketServer, WebSocketConnection, WebSocketMiddleware,
};
use std::io;
use std::sync::Arc;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::net::tcp::OwnedReadHalf;
use tokio::sync::Mutex;

pub async fn serve(socket: SocketServer, address: String) -> Result<(), Error> {
    let websocket = WebSocketMiddleware::new();
    // The handshake and the client's messages wait until the service is connected.
    websocket.on("connection", async move |client: WebSocketConnection| match TcpStream::connect(&address).await {
        Ok(service) => bridge(client, service),
        Err(error) => {
            eprintln!("{address}: {error}");
            client.reject(Response::plaintext("The service is not there\n").with_status(502));
        }
    });

    let router = |_request: ServerRequest| Response::plaintext("Connect with a WebSocket\n");

    let http = HttpServer::new((websocket, router));
    let listening = http.listen(socket);

    let server = listening.clone();
    // Stops listening, and closes the clients with 1001. `serve` returns when all have ended.
    Loop::add_signal(Signal::TERM, async move || server.close().await)?;
    listening.await
}

/// Passes on lines and messages until one side ends.
fn bridge(client: WebSocketConnection, service: TcpStream) {
    let (from_service, to_service) = service.into_split();
    let reading = tokio::spawn(async move {
        match send_lines(client, from_service).await {
            Ok(()) => client.close_with(1000, "the service has ended"),
            Err(error) => {
                eprintln!("{error}");
                client.close_with(1011, "the service has failed");
            }
        }
    });

    let to_service = Arc::new(Mutex::new(to_service));
    // The client's next message waits until this line is written. An error fails the client with 1011.
    client.on("text", async move |text: &str| to_service.lock().await.write_all(format!("{text}\n").as_bytes()).await);
    // All listeners are dropped after `close`, and with them the writing half: the service gets a FIN.
    client.on("close", move || reading.abort());
}

/// Sends each line of the service to the client.
async fn send_lines(client: WebSocketConnection, service: OwnedReadHalf) -> io::Result<()> {
    let mut lines = BufReader::new(service).lines();
    while let Some(line) = lines.next_line().await? {
        // Waits while the client reads slowly. During this time the service is not read.
        if client.send(line).await.is_err() {
            break;
        }
    }
    Ok(())
}

#[tokio::main]
async fn main() -> Result<(), Error> {
    let mut arguments = std::env::args().skip(1);
    let socket = SocketServer::new(arguments.next().unwrap_or("127.0.0.1:8080".to_owned()))?;
    println!("Listening on {}", socket.address());
    serve(socket, arguments.next().unwrap_or("127.0.0.1:7000".to_owned())).await
}
