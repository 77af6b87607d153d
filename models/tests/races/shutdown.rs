//! A server's end, while clients connect, shake hands and talk.

use std::net::TcpListener;
use std::sync::OnceLock;
use std::time::Duration;

use react_websocket::{
    HttpServer, Listening, Response, ServerRequest, SocketServer, WebSocketConnection, WebSocketMiddleware,
    WebSocketOptions,
};
use shuttle::future::{block_on, spawn};
use shuttle::thread;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{self, TcpStream};
use tokio::time;

use super::{Notes, check, peer, seen};

const HANDSHAKE: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

/// Enough for a handshake and its answer.
const WIDE: usize = 1000;

struct Server {
    websocket: WebSocketMiddleware,
    listening: Listening,
    events: Notes<(&'static str, WebSocketConnection)>,
}

fn listen() -> Server {
    /// The server needs a socket, though no client ever connects to it.
    static SOCKET: OnceLock<TcpListener> = OnceLock::new();
    let socket = SOCKET.get_or_init(|| TcpListener::bind("127.0.0.1:0").expect("a port"));
    let socket = SocketServer::from(socket.try_clone().expect("another descriptor"));

    let events = Notes::new();
    let websocket = WebSocketMiddleware::new().with_options(WebSocketOptions::new().ping_interval(None));
    let begun = events.clone();
    websocket.on("connection", move |connection: WebSocketConnection| {
        begun.note(("connection", connection));
        let ended = begun.clone();
        connection.on("close", move || ended.note(("close", connection)));
    });
    let router = |_: ServerRequest| Response::plaintext("");
    let listening = HttpServer::new((websocket.clone(), router)).listen(socket);
    Server { websocket, listening, events }
}

impl Server {
    /// Asserts that each `connection` had its `close`, and that no connection is left.
    fn assert_over(&self) {
        let events = self.events.all();
        let of = |name| events.iter().filter(|event| event.0 == name).map(|event| event.1).collect::<Vec<_>>();
        let (mut begun, mut ended) = (of("connection"), of("close"));
        begun.sort_by_key(WebSocketConnection::id);
        ended.sort_by_key(WebSocketConnection::id);
        assert_eq!(begun, ended, "{events:?}");
        assert_eq!((self.websocket.len(), self.websocket.connections()), (0, vec![]));
        assert!(net::connect(WIDE).is_none(), "nobody listens");
    }
}

/// What became of a client.
#[derive(Debug, PartialEq, Eq)]
enum Fate {
    /// No server listened, or the connection was closed before it was answered.
    Unanswered,
    /// It was a WebSocket, and got this Close; `None` if it was cut.
    Upgraded(Option<u16>),
}

/// Connects and shakes hands.
async fn shake_hands() -> Option<TcpStream> {
    let mut stream = net::connect(WIDE)?;
    stream.write_all(HANDSHAKE).await.ok()?;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    assert!(head.starts_with(b"HTTP/1.1 101"), "{}", String::from_utf8_lossy(&head));
    Some(stream)
}

async fn client() -> Fate {
    match shake_hands().await {
        Some(stream) => Fate::Upgraded(peer::read_to_end(stream).await.1),
        None => Fate::Unanswered,
    }
}

#[test]
fn all_who_were_admitted_are_closed_when_the_server_is() {
    check(3, || {
        let server = listen();
        let clients = [(); 2].map(|()| spawn(client()));
        let closing = thread::spawn({
            let listening = server.listening.clone();
            move || block_on(listening.close())
        });
        for client in clients {
            let fate = block_on(client).expect("no panic");
            assert!(matches!(fate, Fate::Unanswered | Fate::Upgraded(Some(1001))), "{fate:?}");
            seen(if fate == Fate::Unanswered { "unanswered" } else { "upgraded" });
        }
        closing.join().expect("no panic");
        server.assert_over();
    });
}

#[test]
fn who_has_said_nothing_is_let_go_when_the_server_is_closed() {
    check(3, || {
        let server = listen();
        let silent = spawn(async {
            let Some(mut stream) = net::connect(WIDE) else { return };
            // Time stands still: no deadline lets it go.
            let told = stream.read_to_end(&mut Vec::new()).await;
            assert!(told.is_ok_and(|bytes| bytes == 0));
        });
        let closing = thread::spawn({
            let listening = server.listening.clone();
            move || block_on(listening.close())
        });
        block_on(silent).expect("no panic");
        closing.join().expect("no panic");
        server.assert_over();
    });
}

#[test]
fn whoever_does_not_go_is_cut_when_the_grace_is_over() {
    check(3, || {
        let server = listen();
        let mut rude = block_on(spawn(shake_hands())).expect("no panic").expect("somebody listens");
        let polite = block_on(spawn(shake_hands())).expect("no panic").expect("somebody listens");
        let late = spawn(client());
        let rude = spawn(async move {
            // It does not answer the Close.
            let _ = rude.read_to_end(&mut Vec::new()).await;
            Fate::Upgraded(None)
        });
        let polite = spawn(async move { Fate::Upgraded(peer::read_to_end(polite).await.1) });
        let closing = server.listening.close();
        // Time passes as it likes, and enough of it in the end.
        let over = spawn(closing);
        while !over.is_finished() {
            time::pass(Duration::from_secs(4));
            thread::yield_now();
        }
        for client in [rude, polite, late] {
            let fate = block_on(client).expect("no panic");
            assert!(matches!(fate, Fate::Unanswered | Fate::Upgraded(None | Some(1001))), "{fate:?}");
            seen(match fate {
                Fate::Unanswered => "unanswered",
                Fate::Upgraded(None) => "cut",
                Fate::Upgraded(Some(_)) => "told",
            });
        }
        server.assert_over();
    });
}

#[test]
fn a_server_that_is_closed_twice_at_once_ends_once_for_all_who_wait() {
    check(2, || {
        let server = listen();
        let client = spawn(client());
        let closing = [(); 2].map(|()| {
            let listening = server.listening.clone();
            thread::spawn(move || block_on(listening.close()))
        });
        let waiting = spawn({
            let listening = server.listening.clone();
            async move { listening.await.is_ok() }
        });
        closing.into_iter().for_each(|thread| thread.join().expect("no panic"));
        assert!(block_on(waiting).expect("no panic"));
        server.assert_over();
        let fate = block_on(client).expect("no panic");
        assert!(matches!(fate, Fate::Unanswered | Fate::Upgraded(Some(1001))), "{fate:?}");
    });
}
