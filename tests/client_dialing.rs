//! How a client gets to its server: addresses, TCP, proxies, and the timeout of each phase.
#![cfg(feature = "client")]

mod support;

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use react_websocket::client::{ConnectError, ConnectPhase, Connector, Proxy, ResponseError, connect};
use react_websocket::{WebSocketConnection, WebSocketMiddleware};
use support::client::{RawServer, header, proxy};
use support::{listen, router, server_frame};
#[cfg(unix)]
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};

fn nothing(_: WebSocketConnection) {}

fn echo() -> WebSocketMiddleware {
    let websocket = WebSocketMiddleware::new();
    websocket.on("connection", |connection: WebSocketConnection| {
        connection.on("text", move |text: &str| connection.write(text));
    });
    websocket
}

/// An address that nobody listens on.
async fn free_address() -> std::net::SocketAddr {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap()
}

#[tokio::test]
async fn a_name_is_looked_up_and_an_ipv6_address_is_not() {
    let (address, _listening) = listen((echo(), router));
    let connection = connect(format!("ws://localhost:{}/", address.port()), nothing).await.unwrap();
    assert_eq!(connection.remote_address(), Some(address), "[::1] is not listened on");
    connection.close();

    let Ok(listener) = TcpListener::bind("[::1]:0").await else { return };
    let address = listener.local_addr().unwrap();
    let accepting = async {
        let mut server = RawServer::new(listener.accept().await.unwrap().0);
        server.accept().await
    };
    let (connection, head) = tokio::join!(connect(format!("ws://{address}/"), nothing), accepting);
    assert_eq!(connection.unwrap().remote_address(), Some(address));
    assert_eq!(header(&head, "Host"), Some(&*address.to_string()));
}

#[tokio::test]
async fn an_address_that_refuses_and_a_name_without_address() {
    let address = free_address().await;
    let failed = connect(format!("ws://{address}/"), nothing).await.unwrap_err();
    assert_eq!(failed.to_string(), format!("no connection to {address}"));
    assert!(failed.source().unwrap().to_string().contains("refused"));
    assert!(matches!(failed, ConnectError::Connect { address: failed, .. } if failed == address));

    let failed = connect("ws://no-such-host.invalid/", nothing).await.unwrap_err();
    assert_eq!(failed.to_string(), "no address of \"no-such-host.invalid\"");
    assert!(failed.source().is_some());
}

/// A listener whose queue is full drops SYNs, so that a connection is neither accepted nor refused.
#[tokio::test]
async fn a_tcp_connection_that_takes_too_long() {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(1).unwrap();
    let address = listener.local_addr().unwrap();
    let mut fillers = Vec::new();
    for _ in 0..16 {
        let filler = tokio::time::timeout(Duration::from_millis(100), TcpStream::connect(address)).await;
        if filler.is_err() {
            break;
        }
        fillers.push(filler);
    }
    let limit = Duration::from_millis(300);
    let failed = Connector::new().timeout(limit).connect(format!("ws://{address}/"), nothing).await.unwrap_err();
    let ConnectError::Timeout { limit: reported, phase: ConnectPhase::Connect } = failed else { panic!("{failed:?}") };
    assert_eq!(reported, limit);
}

#[tokio::test]
async fn a_proxy_opens_a_tunnel() {
    let (address, _listening) = listen((echo(), router));
    let (through, mut requests) = proxy("HTTP/1.1 200 Connection established\r\nX: y\r\n\r\n").await;
    let connector = Connector::new().proxy(Proxy::http(format!("http://me:secret@{through}")).unwrap());
    let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
    let connecting = connector.connect(format!("ws://{address}/"), move |connection: WebSocketConnection| {
        connection.on("text", move |text: &str| tell.send(text.to_owned()).is_ok());
        connection.write("through the tunnel");
    });
    let connection = connecting.await.unwrap();
    assert_eq!(told.recv().await.as_deref(), Some("through the tunnel"));
    assert_eq!(connection.remote_address(), Some(through));
    let request = requests.recv().await.unwrap();
    assert_eq!(request.lines().next(), Some(&*format!("CONNECT {address} HTTP/1.1")));
    assert_eq!(header(&request, "Host"), Some(&*address.to_string()));
    assert_eq!(header(&request, "Proxy-Authorization"), Some("Basic bWU6c2VjcmV0"));
}

/// The destination is named, and not looked up: only the proxy may know it.
#[tokio::test]
async fn a_proxy_that_refuses_or_makes_no_sense() {
    let connect = async |answer: &'static str| {
        let (through, mut requests) = proxy(answer).await;
        let connector =
            Connector::new().timeout(Duration::from_millis(500)).proxy(Proxy::http(format!("http://{through}/")).unwrap());
        let failed = connector.connect("ws://inside.invalid/secret", nothing).await.unwrap_err();
        let request = requests.recv().await.unwrap();
        assert_eq!(request, "CONNECT inside.invalid:80 HTTP/1.1\r\nHost: inside.invalid:80");
        failed
    };
    let failed = connect("HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n").await;
    assert_eq!(failed.to_string(), "the proxy refused the connection with status 407");
    assert!(matches!(failed, ConnectError::Proxy { status: 407 }));
    assert!(matches!(connect("HTTP/1.1 302 Found\r\n\r\n").await, ConnectError::Proxy { status: 302 }));
    assert!(matches!(connect("HTTP/1.1 101 Switching Protocols\r\n\r\n").await, ConnectError::Proxy { status: 101 }));
    let malformed = connect("SOCKS\r\n\r\n").await;
    assert!(matches!(malformed, ConnectError::ProxyResponse(ResponseError::Malformed)), "{malformed:?}");
    let cut = connect("HTTP/1.1 200 OK\r\n").await;
    assert!(matches!(cut, ConnectError::ProxyResponse(ResponseError::Ended)), "{cut:?}");

    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let silent = format!("http://{}", silent.local_addr().unwrap());
    let connector = Connector::new().timeout(Duration::from_millis(200)).proxy(Proxy::http(silent).unwrap());
    let failed = connector.connect("ws://inside.invalid/", nothing).await.unwrap_err();
    assert!(matches!(failed, ConnectError::Timeout { phase: ConnectPhase::Proxy, .. }), "{failed:?}");
}

/// A server that speaks raw bytes and sends a message in the same write as its 101, on a thread of its own.
fn eager_server() -> std::net::SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        use std::io::{Read, Write};
        for client in listener.incoming() {
            let mut client = client.unwrap();
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                let mut bytes = [0; 1024];
                let count = client.read(&mut bytes).unwrap();
                head.extend_from_slice(&bytes[..count]);
            }
            let head = String::from_utf8(head).unwrap();
            let switching = support::client::switching(header(&head, "Sec-WebSocket-Key").unwrap(), "");
            let frames = [server_frame(0x81, "early"), server_frame(0x88, [0x03, 0xE8])].concat();
            client.write_all(&[switching, frames].concat()).unwrap();
            // The server ends the connection first. A reset is what it would be if the answer were not read.
            client.shutdown(std::net::Shutdown::Write).unwrap();
            let _ = client.read_to_end(&mut Vec::new());
        }
    });
    address
}

/// On four threads a connection's task may run before `connect` returns. What comes with the 101 arrives all the same.
#[test]
fn nothing_that_the_server_sends_with_its_101_is_lost() {
    const TRIES: usize = 10_000;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(4).enable_all().build().unwrap();
    runtime.block_on(async {
        let (url, begun) = (format!("ws://{}/", eager_server()), Instant::now());
        let tried = Arc::new(AtomicUsize::new(0));
        let mut tasks = Vec::new();
        for _ in 0..8 {
            let (url, tried) = (url.clone(), tried.clone());
            tasks.push(tokio::spawn(async move {
                while tried.fetch_add(1, Ordering::Relaxed) < TRIES {
                    let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
                    let tell_close = tell.clone();
                    let connected = connect(&url, move |connection: WebSocketConnection| {
                        connection.on("text", move |text: &str| tell.send(text.to_owned()).is_ok());
                        connection.on("close", move |code: u16, _: &str| tell_close.send(code.to_string()).is_ok());
                    });
                    connected.await.unwrap();
                    assert_eq!(told.recv().await.as_deref(), Some("early"));
                    assert_eq!(told.recv().await.as_deref(), Some("1000"));
                }
            }));
        }
        for task in tasks {
            task.await.unwrap();
        }
        println!("{TRIES} tries in {:?}", begun.elapsed());
    });
}

/// A Unix socket, which no URL names.
#[cfg(unix)]
#[tokio::test]
async fn a_unix_socket() {
    let (ours, theirs) = tokio::net::UnixStream::pair().unwrap();
    let mut server = RawServer::new(theirs);
    let connector = Connector::new();
    let connecting = connector.connect_on(ours, "ws://localhost/", |connection: WebSocketConnection| {
        connection.on("text", move |text: &str| connection.write(text));
    });
    let connection = tokio::join!(connecting, server.accept()).0.unwrap();
    assert_eq!(connection.remote_address(), None);
    server.stream.write_all(&server_frame(0x81, "local")).await.unwrap();
    assert_eq!(server.text().await, "local");
}
