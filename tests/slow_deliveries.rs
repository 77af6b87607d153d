//! What follows a response begins when the client has acknowledged it, and not when the system has taken it.
//!
//! What a client has acknowledged is known on Linux.
#![cfg(target_os = "linux")]

mod support;

use std::time::Duration;

use react_websocket::{BodyStream, HttpOptions, HttpServer, Response, ServerRequest};
use support::*;
use tokio::net::TcpStream;
use tokio::time::{advance, sleep};

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
const PIECE: usize = 64 * 1024;

/// The system takes all of it at once.
const SIZE: usize = 8 * PIECE;

/// `/` answers with a body of [`SIZE`], `/late` 20 s later with a short one, anything else with the size of the request's body.
async fn answer(request: ServerRequest) -> Response {
    match request.path() {
        "/" => Response::new(200).with_body(vec![b'a'; SIZE]),
        "/late" => {
            sleep(Duration::from_secs(20)).await;
            Response::plaintext("late")
        }
        _ => Response::plaintext(request.body().len().to_string()),
    }
}

fn server() -> (HttpServer, Log) {
    let http = HttpServer::new(answer).with_options(HttpOptions::new().shutdown_grace(Duration::from_secs(300)));
    let log = Log::default();
    let noting = log.clone();
    http.on("error", move |error| noting.add(error));
    (http, log)
}

/// Lets this number of seconds pass.
async fn pass(seconds: u64) {
    for _ in 0..seconds {
        let_all_run().await;
        advance(Duration::from_secs(1)).await;
    }
    let_all_run().await;
}

/// A client that has sent this, and reads the body of [`SIZE`] that it gets first: a piece every 10 s, all but the last.
async fn read_slowly(http: HttpServer, requests: &str) -> Peer<TcpStream> {
    let (address, _listening) = listen_with(http);
    let mut peer = Peer::new(connect_with_little_room(address).await);
    peer.send(requests).await;
    peer.head().await;
    for _ in 1..SIZE / PIECE {
        peer.exactly(PIECE).await;
        pass(10).await;
    }
    peer
}

#[tokio::test(start_paused = true)]
async fn the_keep_alive_timeout_begins_when_the_response_has_been_acknowledged() {
    let _frozen = Frozen::new();
    while_time_passes(async {
        let (http, log) = server();
        let mut peer = read_slowly(http, GET).await;
        peer.exactly(PIECE).await;
        pass(29).await;
        assert_eq!(peer.ask("GET /a HTTP/1.1\r\nHost: a\r\n\r\n").await.text(), "0");
        pass(31).await;
        assert!(peer.ended().await);
        assert_eq!(log.take(), [""; 0]);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_client_that_stops_reading_a_response_that_the_system_has_taken_is_found_by_the_write_timeout() {
    let _frozen = Frozen::new();
    while_time_passes(async {
        // The connection is about to be kept alive, or to end.
        for more in ["", "Connection: close\r\n"] {
            let (http, log) = server();
            let peer = read_slowly(http, &format!("GET / HTTP/1.1\r\nHost: a\r\n{more}\r\n")).await;
            let mut waited = 0;
            while log.take() != ["the client took nothing of the response within 30s"] {
                pass(1).await;
                waited += 1;
                assert!(waited < 100, "it does not read any more");
            }
            assert!(waited >= 19, "it has its time after what it has read last");
            drop(peer);
        }
    })
    .await;
}

/// Without that a client of server-sent events behind a dead link is kept until the system gives up, after a quarter of an hour.
#[tokio::test(start_paused = true)]
async fn a_client_that_acknowledges_nothing_of_a_quiet_stream_is_found_by_the_write_timeout() {
    let _frozen = Frozen::new();
    while_time_passes(async {
        let streams = Log::default();
        let closed = streams.clone();
        let http = HttpServer::new(move |_: ServerRequest| {
            let (stream, closed) = (BodyStream::new(), closed.clone());
            stream.on("close", move || closed.add("close"));
            let writer = stream.writer();
            tokio::spawn(async move {
                writer.write(vec![b'a'; SIZE]);
                loop {
                    sleep(Duration::from_secs(7)).await;
                    writer.write("event");
                }
            });
            Response::new(200).with_body(stream)
        });
        let log = Log::default();
        let noting = log.clone();
        http.on("error", move |error| noting.add(error));
        let (address, _listening) = listen_with(http);
        let mut peer = Peer::new(connect_with_little_room(address).await);
        peer.send(GET).await;
        peer.head().await;
        peer.line().await;
        for _ in 0..4 {
            peer.exactly(PIECE).await;
            pass(28).await;
            assert_eq!((log.take(), streams.take()), (vec![], vec![]), "it reads");
        }
        let mut waited = 0;
        while log.take() != ["the client took nothing of the response within 30s"] {
            pass(1).await;
            waited += 1;
            assert!(waited < 100, "it does not read any more");
        }
        assert_eq!(streams.take(), ["close"]);
    })
    .await;
}

/// RFC 9110 section 10.1.1: a client may wait for the 100 before it sends the body.
#[tokio::test(start_paused = true)]
async fn a_body_is_waited_for_when_the_100_has_been_acknowledged() {
    let _frozen = Frozen::new();
    while_time_passes(async {
        let (http, log) = server();
        let post = "POST /a HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n";
        let mut peer = read_slowly(http, &format!("{GET}{post}")).await;
        peer.exactly(PIECE).await;
        assert!(peer.head().await.starts_with("HTTP/1.1 100 "));
        pass(9).await;
        assert_eq!(peer.ask("hello").await.text(), "5");
        assert_eq!(log.take(), [""; 0]);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_client_that_has_sent_a_fin_has_not_left_while_it_takes_the_response_before() {
    let _frozen = Frozen::new();
    while_time_passes(async {
        let (http, log) = server();
        let (address, _listening) = listen_with(http);
        let mut peer = Peer::new(connect_with_little_room(address).await);
        peer.send(format!("{GET}GET /late HTTP/1.1\r\nHost: a\r\n\r\n")).await;
        socket2::SockRef::from(&peer.stream).shutdown(std::net::Shutdown::Write).unwrap();
        peer.head().await;
        for _ in 0..SIZE / PIECE {
            peer.exactly(PIECE).await;
            pass(3).await;
        }
        assert_eq!(peer.answer().await.text(), "late");
        assert!(peer.ended().await);
        assert_eq!(log.take(), [""; 0]);
    })
    .await;
}

/// RFC 9112 section 9.6: what the server does not read is answered with a reset, which takes the rest from the client.
#[tokio::test(start_paused = true)]
async fn an_error_page_is_lingered_for_as_long_as_the_response_before_is_under_way() {
    let _frozen = Frozen::new();
    while_time_passes(async {
        let (http, log) = server();
        let post = "POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 5000000\r\n\r\n";
        let mut peer = read_slowly(http, &format!("{GET}{post}")).await;
        peer.send(vec![b'a'; 1000]).await;
        assert_eq!(log.take(), ["body of more than 65536 bytes"]);
        let_all_run().await;
        peer.exactly(PIECE).await;
        assert_eq!(peer.answer().await.status(), 413);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_waits_for_a_response_that_is_under_way() {
    let _frozen = Frozen::new();
    while_time_passes(async {
        let (http, _log) = server();
        let (address, listening) = listen_with(http);
        let mut peer = Peer::new(connect_with_little_room(address).await);
        peer.send(GET).await;
        peer.head().await;
        pass(2).await;
        let mut closing = std::pin::pin!(tokio::spawn(listening.close()));
        for _ in 0..SIZE / PIECE {
            pass(10).await;
            assert!(!closing.is_finished());
            peer.exactly(PIECE).await;
        }
        pass(2).await;
        closing.as_mut().await.unwrap();
        assert!(peer.ended().await);
    })
    .await;
}

/// RFC 6455 section 7.1.2: a peer that reads slowly comes to our Close after all that was written before it.
async fn reads_before_our_close(room: usize, size: usize, seconds: u64) {
    let log = Log::default();
    let watched = log.clone();
    let http = websockets(move |connection| {
        watched.watch(connection);
        connection.on("pong", move || {
            connection.write_binary(vec![b'a'; size]);
            connection.close_with(4001, "over");
        });
    });
    let (address, _listening) = listen_with(http);
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(room as u32).unwrap();
    let mut peer = Peer::new(socket.connect(address).await.unwrap());
    peer.shake_hands().await;
    peer.send(frame(0x8A, "")).await;
    let_all_run().await;
    log.take();
    pass(seconds).await;
    assert_eq!(log.take(), [""; 0]);
    assert_eq!(peer.frame().await.unwrap().payload.len(), size);
    assert_eq!(peer.closed().await, (Some(4001), "over".to_owned()));
    peer.send(close(4001, "over")).await;
    assert!(peer.ended().await);
    let_all_run().await;
    assert_eq!(log.take(), ["close 4001 over"]);
}

#[tokio::test(start_paused = true)]
async fn a_peer_whose_system_has_our_close_has_the_time_to_read_what_is_before_it() {
    let _frozen = Frozen::new();
    // 10 s, and one for each 8 KiB.
    while_time_passes(reads_before_our_close(1 << 20, 2 * PIECE, 25)).await;
}

#[tokio::test(start_paused = true)]
async fn a_peer_whose_system_has_no_room_for_our_close_has_the_write_timeout() {
    let _frozen = Frozen::new();
    while_time_passes(reads_before_our_close(4 * 1024, SIZE, 28)).await;
}
