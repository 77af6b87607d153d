//! What deadlines cost in memory.

mod support;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use react_websocket::{HttpServer, SocketServer, WebSocketConnection, WebSocketMiddleware, WebSocketOptions};
use support::{HANDSHAKE, close, router};

/// Visitors that come one after the other, shake hands and leave with a Close.
fn visit(address: SocketAddr, visitors: usize) {
    for _ in 0..visitors {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.write_all(HANDSHAKE.as_bytes()).unwrap();
        let (mut head, mut byte) = (Vec::new(), [0]);
        while !head.ends_with(b"\r\n\r\n") {
            stream.read_exact(&mut byte).unwrap();
            head.push(byte[0]);
        }
        stream.write_all(&close(1000, "")).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        assert_eq!(answer, [0x88, 2, 3, 232]);
    }
}

/// However far their deadlines are.
#[test]
fn a_connection_that_has_ended_keeps_no_memory() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let options = WebSocketOptions::new().max_lifetime(Some(Duration::from_secs(86_400)));
    let websocket = WebSocketMiddleware::new().with_options(options);
    let (ended, mut ends) = tokio::sync::mpsc::unbounded_channel();
    websocket.on("connection", move |connection: WebSocketConnection| {
        let ended = ended.clone();
        connection.on("close", move || ended.send(()).is_ok());
    });
    let listening =
        runtime.block_on(async { HttpServer::new((websocket, router)).listen(SocketServer::new("127.0.0.1:0").unwrap()) });
    let address = listening.local_addresses()[0];
    let mut serve = |visitors| {
        let peer = std::thread::spawn(move || visit(address, visitors));
        let serving = allocation_counter::measure(|| {
            runtime.block_on(async {
                for _ in 0..visitors {
                    ends.recv().await.unwrap();
                }
            });
        });
        peer.join().unwrap();
        serving.bytes_current
    };
    // Capacity that is kept to be used again.
    serve(200);
    let kept = serve(2000);
    assert!(kept < 4 * 2000, "{kept} bytes");
}
