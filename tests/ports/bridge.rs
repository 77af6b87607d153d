//! The port `bridge`: WebSockets in front of a TCP service.

#[path = "../../examples/ports/bridge.rs"]
#[allow(dead_code, reason = "its `main` listens on a socket")]
mod example;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

#[cfg(unix)]
use react_websocket::{Error, SocketServer};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

use crate::page::{Page, in_time};
use crate::start;
use crate::support::{HANDSHAKE, Peer, close, connect_with_little_room, let_all_run, text};

/// A bridge, and the service behind it.
async fn bridge() -> (SocketAddr, TcpListener) {
    let service = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let target = service.local_addr().expect("an address").to_string();
    (start(|socket| example::serve(socket, target)), service)
}

/// A client, and its connection at the service.
async fn connect(address: SocketAddr, service: &TcpListener) -> (Page, BufReader<TcpStream>) {
    let (page, accepted) = tokio::join!(Page::open(address, "/"), service.accept());
    (page, BufReader::new(accepted.expect("a connection").0))
}

async fn line(service: &mut BufReader<TcpStream>) -> String {
    let mut line = String::new();
    service.read_line(&mut line).await.expect("a line");
    line
}

#[tokio::test]
async fn messages_become_lines_and_lines_become_messages() {
    in_time(async {
        let (address, service) = bridge().await;
        let (mut ann, mut for_ann) = connect(address, &service).await;
        let (mut ben, mut for_ben) = connect(address, &service).await;
        ben.send("I am Ben").await;
        ann.send("I am Ann").await;
        ann.send("").await;
        assert_eq!(line(&mut for_ann).await, "I am Ann\n");
        assert_eq!(line(&mut for_ann).await, "\n");
        assert_eq!(line(&mut for_ben).await, "I am Ben\n");

        for_ben.write_all(b"Hello Ben\n").await.unwrap();
        for piece in ["Hello A", "nn\r\n\nT", "ea?\nno line end"] {
            for_ann.write_all(piece.as_bytes()).await.unwrap();
        }
        drop(for_ann);
        for text in ["Hello Ann", "", "Tea?", "no line end"] {
            assert_eq!(ann.next_text().await, text);
        }
        assert_eq!(ann.next_close().await, (1000, "the service has ended".to_owned()));
        assert_eq!(ben.next_text().await, "Hello Ben");
    })
    .await;
}

#[tokio::test]
async fn the_end_of_either_side_reaches_the_other() {
    in_time(async {
        let (address, service) = bridge().await;

        // The service has crashed.
        let (mut page, crashing) = connect(address, &service).await;
        crashing.into_inner().set_zero_linger().unwrap();
        assert_eq!(page.next_close().await, (1011, "the service has failed".to_owned()));

        // The service sends what is no text (RFC 6455 section 8.1).
        let (mut page, mut wrong) = connect(address, &service).await;
        wrong.write_all(b"\xFF\n").await.unwrap();
        assert_eq!(page.next_close().await, (1011, "the service has failed".to_owned()));

        // A client closes, violates the protocol, or disconnects. Its message before that is passed on.
        for (end, code) in [(close(1000, "bye"), Some(1000)), (vec![0x81, 1, b'a'], Some(1002)), (vec![], None)] {
            let (mut page, mut connection) = connect(address, &service).await;
            page.peer.send([text("QUIT"), end].concat()).await;
            assert_eq!(line(&mut connection).await, "QUIT\n");
            if let Some(code) = code {
                assert_eq!(page.next_close().await.0, code);
            }
            drop(page);
            assert_eq!(line(&mut connection).await, "", "the end");
            // The bridge has dropped the connection, so a write fails. These bytes are no complete line.
            while connection.write_all(b"still here").await.is_ok() {
                tokio::task::yield_now().await;
            }
        }
    })
    .await;
}

#[tokio::test]
async fn a_client_is_refused_if_the_service_is_not_there() {
    in_time(async {
        let (address, service) = bridge().await;
        drop(service);
        let answer = Peer::connect(address).await.ask(HANDSHAKE).await;
        assert_eq!((answer.status(), answer.text()), (502, "The service is not there\n"));
    })
    .await;
}

const LINES: usize = 400;

fn numbered(number: usize) -> String {
    format!("{number} {}", "x".repeat(60_000))
}

/// Waits until a number no longer grows while all tasks can run. Returns the number.
async fn at_rest(number: &AtomicUsize) -> usize {
    loop {
        let before = number.load(Ordering::Relaxed);
        let_all_run().await;
        if number.load(Ordering::Relaxed) == before {
            return before;
        }
    }
}

/// A client with more than 4 MiB of unsent bytes would be closed with 1013.
#[tokio::test]
async fn a_slow_client_slows_the_service_down() {
    in_time(async {
        let (address, service) = bridge().await;
        let (page, accepted) =
            tokio::join!(Page::open_over(connect_with_little_room(address).await, "/"), service.accept());
        let (mut page, mut connection) = (page, accepted.unwrap().0);
        let written = Arc::new(AtomicUsize::new(0));
        let counted = written.clone();
        let writing = tokio::spawn(async move {
            for number in 0..LINES {
                connection.write_all(format!("{}\n", numbered(number)).as_bytes()).await.unwrap();
                counted.fetch_add(1, Ordering::Relaxed);
            }
        });
        assert!(at_rest(&written).await < LINES, "the service waits");
        for number in 0..LINES {
            assert_eq!(page.next_text().await, numbered(number));
        }
        writing.await.unwrap();
        assert_eq!(page.next_close().await.0, 1000);
    })
    .await;
}

#[tokio::test]
async fn a_slow_service_slows_the_client_down() {
    in_time(async {
        let service = TcpSocket::new_v4().unwrap();
        service.set_recv_buffer_size(4 * 1024).unwrap();
        service.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let service = service.listen(1).unwrap();
        let target = service.local_addr().unwrap().to_string();
        let address = start(|socket| example::serve(socket, target));
        let (mut page, mut connection) = connect(address, &service).await;
        let written = Arc::new(AtomicUsize::new(0));
        let counted = written.clone();
        let writing = tokio::spawn(async move {
            for number in 0..LINES {
                page.send(&numbered(number)).await;
                counted.fetch_add(1, Ordering::Relaxed);
            }
            page
        });
        assert!(at_rest(&written).await < LINES, "the client waits");
        for number in 0..LINES {
            assert_eq!(line(&mut connection).await, format!("{}\n", numbered(number)));
        }
        writing.await.unwrap().close().await;
        assert_eq!(connection.read(&mut [0]).await.unwrap(), 0);
    })
    .await;
}

/// A signal reaches the whole process, so the bridge has a process of its own.
#[cfg(unix)]
mod shutdown {
    use std::process::Stdio;

    use rustix::process::{Pid, Signal, kill_process};
    use tokio::process::Command;

    use super::*;

    const SERVICE: &str = "PORT_BRIDGE_SERVICE";
    const LISTENING: &str = "listening on ";

    /// The bridge's process, if it was started to be that.
    ///
    /// With one thread no client is accepted before the bridge listens to the signal.
    #[tokio::test]
    #[ignore = "what the next test starts"]
    async fn process() -> Result<(), Error> {
        let Ok(service) = std::env::var(SERVICE) else { return Ok(()) };
        let socket = SocketServer::new("127.0.0.1:0")?;
        println!("{LISTENING}{}", socket.local_address().expect("an address"));
        example::serve(socket, service).await
    }

    #[tokio::test]
    async fn sigterm_closes_the_clients_with_1001_and_ends_the_process() {
        in_time(async {
            let service = TcpListener::bind("127.0.0.1:0").await.expect("a port");
            let mut process = Command::new(std::env::current_exe().unwrap())
                .args(["--exact", "bridge::shutdown::process", "--ignored", "--nocapture"])
                .env(SERVICE, service.local_addr().unwrap().to_string())
                .stdout(Stdio::piped())
                .kill_on_drop(true)
                .spawn()
                .expect("a process");
            let mut output = BufReader::new(process.stdout.take().unwrap()).lines();
            let address = loop {
                let line = output.next_line().await.unwrap().expect("the bridge says where it listens");
                if let Some((_, address)) = line.split_once(LISTENING) {
                    break address.parse().unwrap();
                }
            };

            let (mut page, mut connection) = connect(address, &service).await;
            page.send("Hello").await;
            assert_eq!(line(&mut connection).await, "Hello\n");
            let process_id = Pid::from_raw(process.id().unwrap() as i32).unwrap();
            kill_process(process_id, Signal::TERM).unwrap();
            assert_eq!(page.next_close().await, (1001, "server shutdown".to_owned()));
            assert!(page.peer.ended().await);
            assert_eq!(line(&mut connection).await, "", "the end");
            assert!(TcpStream::connect(address).await.is_err(), "nobody listens");
            assert!(process.wait().await.unwrap().success());
        })
        .await;
    }
}
