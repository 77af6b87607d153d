//! The app on a port of its own: REST by raw bytes, WebSockets by the client of the crate.

use std::net::SocketAddr;

use react_websocket::WebSocketConnection;
use react_websocket::client::connect;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

struct Server {
    address: SocketAddr,
    signal: oneshot::Sender<()>,
    serving: JoinHandle<std::io::Result<()>>,
}

async fn start() -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (signal, is_signalled) = oneshot::channel::<()>();
    let serving = tokio::spawn(react_websocket_axum_example::serve(listener, async { drop(is_signalled.await) }));
    Server { address, signal, serving }
}

/// Sends a request on a connection of its own. Returns the response.
async fn ask(address: SocketAddr, line: &str, body: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let length = body.len();
    let request = format!("{line} HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut response = String::new();
    stream.read_to_string(&mut response).await.unwrap();
    response
}

/// Connects a WebSocket, whose texts and end are sent to the receiver.
async fn watch(address: SocketAddr) -> (WebSocketConnection, mpsc::UnboundedReceiver<String>) {
    let (send, received) = mpsc::unbounded_channel();
    let opened = connect(format!("ws://{address}/live"), move |connection: WebSocketConnection| {
        let texts = send.clone();
        connection.on("text", move |text: &str| texts.send(text.to_owned()).is_ok());
        connection.on("close", move |code: u16| send.send(format!("closed with {code}")).is_ok());
    });
    (opened.await.unwrap(), received)
}

#[tokio::test]
async fn notes_of_routes_and_of_websockets_reach_everybody() {
    let Server { address, signal, serving } = start().await;
    assert!(ask(address, "POST /notes", "first").await.starts_with("HTTP/1.1 201 "));
    let (one, mut seen_by_one) = watch(address).await;
    assert_eq!(seen_by_one.recv().await.unwrap(), "first");
    let (_two, mut seen_by_two) = watch(address).await;
    assert_eq!(seen_by_two.recv().await.unwrap(), "first");

    one.write("second");
    assert_eq!(seen_by_one.recv().await.unwrap(), "second");
    assert_eq!(seen_by_two.recv().await.unwrap(), "second");
    ask(address, "POST /notes", "third").await;
    assert_eq!(seen_by_one.recv().await.unwrap(), "third");
    assert!(ask(address, "GET /notes", "").await.ends_with(r#"["first","second","third"]"#));

    signal.send(()).unwrap();
    serving.await.unwrap().unwrap();
    assert_eq!(seen_by_one.recv().await.unwrap(), "closed with 1001");
    assert_eq!(seen_by_two.recv().await.unwrap(), "third");
    assert_eq!(seen_by_two.recv().await.unwrap(), "closed with 1001");
}

#[tokio::test]
async fn a_plain_request_for_the_websocket_gets_a_426() {
    // If the signal were dropped, the server would end.
    let server = start().await;
    let response = ask(server.address, "GET /live", "").await;
    assert!(response.starts_with("HTTP/1.1 426 ") && response.contains("upgrade: websocket"), "{response}");
}
