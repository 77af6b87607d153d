//! The end of an HTTP connection: a client that is still sending receives the response, and no
//! connection lingers for ever (RFC 9112 section 9.6).

mod support;

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::time::Duration;

use react_websocket::{HttpOptions, HttpServer, Response, ServerRequest};
use support::*;
use tokio::time::{Instant, sleep, timeout};

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

/// A net under tests over sockets, which would hang otherwise.
async fn in_time<F: Future>(future: F) -> F::Output {
    timeout(Duration::from_secs(30), future).await.expect("in time")
}

/// Sends all of it, as undici, Node's `http.request` and Python's `http.client` do, and reads then. A blocking client: what it
/// cannot send it waits with.
async fn send_all_then_read(address: SocketAddr, head: &str, body: usize) -> std::io::Result<String> {
    let head = head.to_owned();
    tokio::task::spawn_blocking(move || {
        let mut stream = std::net::TcpStream::connect(address)?;
        stream.write_all(head.as_bytes())?;
        stream.write_all(&vec![b'a'; body])?;
        let mut said = String::new();
        stream.read_to_string(&mut said)?;
        Ok(said)
    })
    .await
    .unwrap()
}

/// RFC 9112 section 9.6: a reset would take the answer from a client that has not read it yet.
#[tokio::test]
async fn a_client_that_sends_five_megabytes_before_it_reads_gets_its_413() {
    let (address, _listening) = listen(router);
    let size = 5_000_000;
    for framing in [format!("Content-Length: {size}\r\n\r\n"), "Transfer-Encoding: chunked\r\n\r\n4C4B40\r\n".to_owned()] {
        let head = format!("POST / HTTP/1.1\r\nHost: a\r\n{framing}");
        let said = in_time(send_all_then_read(address, &head, size)).await.expect("no reset");
        assert!(said.starts_with("HTTP/1.1 413 ") && said.ends_with("Error 413: Payload Too Large"), "{said}");
    }
}

#[tokio::test]
async fn a_client_that_there_is_no_room_for_gets_its_503_although_it_sends_first() {
    let http = HttpServer::new(router).with_options(HttpOptions::new().max_connections(0));
    let (address, _listening) = listen_with(http);
    let head = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5000000\r\n\r\n";
    let said = in_time(send_all_then_read(address, head, 5_000_000)).await.expect("no reset");
    assert!(said.starts_with("HTTP/1.1 503 "), "{said}");
}

/// After how long the server lets go of a client that sends a byte at each interval after its answer.
async fn let_go_after(http: &HttpServer, every: Duration) -> Duration {
    let (mut peer, serving) = Peer::serve(http);
    peer.send("\0").await;
    let start = Instant::now();
    assert_eq!(peer.answer().await.status(), 400);
    let dripping = tokio::spawn(async move {
        loop {
            sleep(every).await;
            let _ = tokio::io::AsyncWriteExt::write_all(&mut peer.stream, b"a").await;
        }
    });
    while_time_passes(serving).await;
    dripping.abort();
    start.elapsed()
}

#[tokio::test(start_paused = true)]
async fn a_client_that_falls_silent_is_dropped_after_five_seconds_and_a_dripping_client_after_a_minute() {
    let seconds = Duration::from_secs;
    let http = HttpServer::new(router);
    assert_eq!(let_go_after(&http, seconds(3600)).await, seconds(5));
    assert_eq!(let_go_after(&http, seconds(4)).await, seconds(60));
}

#[tokio::test(start_paused = true)]
async fn these_times_can_be_set() {
    let seconds = Duration::from_secs;
    let options = HttpOptions::new().linger(seconds(3)).max_linger_time(seconds(20)).max_linger_bytes(10);
    let http = HttpServer::new(router).with_options(options);
    assert_eq!(let_go_after(&http, seconds(3600)).await, seconds(3));
    assert_eq!(let_go_after(&http, seconds(2) + Duration::from_millis(500)).await, seconds(20));
    assert_eq!(let_go_after(&http, seconds(1)).await, seconds(10), "the tenth byte is the last");
}

#[tokio::test(start_paused = true)]
async fn the_answer_is_complete_at_once() {
    for request in ["\0", "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"] {
        let (mut peer, _serving) = Peer::serve(&HttpServer::new(router));
        let start = Instant::now();
        peer.send(request).await;
        assert!(peer.rest().await.starts_with(b"HTTP/1.1 "));
        assert_eq!(start.elapsed(), Duration::ZERO, "{request:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_has_read_its_response_and_leaves_is_dropped_at_once() {
    let (mut peer, serving) = Peer::serve(&HttpServer::new(router));
    peer.send("\0").await;
    let start = Instant::now();
    assert_eq!(peer.answer().await.status(), 400);
    drop(peer);
    while_time_passes(serving).await;
    assert_eq!(start.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn no_more_than_sixteen_mebibytes_are_read_for_nothing() {
    let http = HttpServer::new(|_: ServerRequest| Response::new(200));
    for (more, is_let_go) in [((16 << 20) - 1, false), (16 << 20, true)] {
        let (mut peer, serving) = Peer::serve(&http);
        peer.send(GET.replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n")).await;
        assert_eq!(peer.answer().await.status(), 200);
        peer.send(vec![b'a'; more]).await;
        let start = Instant::now();
        while_time_passes(serving).await;
        assert_eq!(start.elapsed() == Duration::ZERO, is_let_go, "{more}: {:?}", start.elapsed());
    }
}
