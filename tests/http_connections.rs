//! HTTP connections: pipelining (RFC 9112 section 9.3.2), half-closed clients, resets, and the end of the server.

mod support;

use std::future::pending;
use std::sync::{Arc, Mutex};

use react_websocket::errors::HttpError;
use react_websocket::{HttpOptions, HttpServer, Response, ServerRequest};
use support::http::{
    CLOSED, GET, Guard, Said, errors, millis, ok, ok_with, play, say, say_byte_by_byte, seconds, seconds_since, shown,
    someday, soon, streaming, tell, telling,
};
use support::{Log, Peer, listen_with};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep, timeout};

// Pipelining (RFC 9112 section 9.3.2).

/// Pipelining (RFC 9112 section 9.3.2).
#[tokio::test(start_paused = true)]
async fn pipelined_requests_are_answered_one_at_a_time_and_in_order() {
    let log = Log::default();
    let noting = log.clone();
    let http = HttpServer::new(move |request: ServerRequest| {
        let log = noting.clone();
        async move {
            log.add(format_args!("begin {}", request.target()));
            // The first takes longest, so any that overtake would be seen.
            sleep(millis(if request.path() == "/0" { 5000 } else { 10 })).await;
            log.add(format_args!("end {}", request.target()));
            tell(request)
        }
    });
    let get = |path| format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n");
    let post = "POST /1 HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody";
    let expected = [ok("GET /0 "), ok("POST /1 body"), ok("GET /2 "), ok("GET /3 ")].concat();
    let in_order =
        ["begin /0", "end /0", "begin /1", "end /1", "begin /2", "end /2", "begin /3", "end /3"].map(String::from);
    // All in one segment, and the later ones while the first is pending: ReactPHP loses those.
    let at_once = get("/0") + post + &get("/2") + &get("/3");
    assert_eq!(say(&http, &at_once).await.text, expected);
    assert_eq!(log.take(), in_order);
    let script = [(0, get("/0")), (1000, post.into()), (2000, get("/2")), (6000, get("/3"))];
    assert_eq!(play(&http, 1 << 20, &script).await.text, expected);
    assert_eq!(log.take(), in_order);
    assert_eq!(say_byte_by_byte(&http, &at_once).await.text, expected);
}

/// After `Connection: close` further requests are ignored (RFC 9112 section 9.6).
#[tokio::test(start_paused = true)]
async fn nothing_is_answered_behind_a_request_that_is_the_last() {
    let http = telling();
    let last = GET.replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n");
    let text = ok_with("Content-Type: text/plain; charset=utf-8\n", "Connection: close\n", "GET / ");
    assert_eq!(say(&http, last + GET).await, Said { text, end: CLOSED });
}

#[tokio::test(start_paused = true)]
async fn a_client_that_pipelines_without_end_is_not_read_without_end() {
    let (go, wait) = oneshot::channel::<()>();
    let wait = Arc::new(Mutex::new(Some(wait)));
    let http = HttpServer::new(move |request: ServerRequest| {
        let wait = wait.lock().unwrap().take();
        async move {
            if let Some(wait) = wait {
                wait.await.unwrap();
            }
            tell(request)
        }
    });
    let http = http.with_options(HttpOptions::new().max_keep_alive_requests(u32::MAX));
    let (client, server) = tokio::io::duplex(1000);
    let _serving = http.serve(server);
    let (mut read, mut write) = tokio::io::split(client);
    let count = 10_000;
    let mut taken = 0;
    let stuck = timeout(seconds(1), async {
        let all = GET.repeat(count).into_bytes();
        while taken < all.len() {
            taken += write.write(&all[taken..]).await.unwrap();
        }
    });
    stuck.await.expect_err("the server stops reading");
    assert!(taken < 32 << 10, "{taken} bytes were read ahead");
    // Nothing of it is lost.
    go.send(()).unwrap();
    let all = GET.repeat(count).into_bytes();
    let write_rest = async {
        write.write_all(&all[taken..]).await.unwrap();
        write.shutdown().await.unwrap();
    };
    let read_all = async {
        let mut said = Vec::new();
        read.read_to_end(&mut said).await.unwrap();
        said
    };
    let ((), said) = tokio::join!(write_rest, read_all);
    assert_eq!(String::from_utf8(said).unwrap().matches("HTTP/1.1 200 OK").count(), count);
}

// Half-closed clients, and clients that leave.

#[tokio::test]
async fn a_client_that_sends_its_fin_with_the_request_gets_its_answer() {
    let http = HttpServer::new(|request: ServerRequest| async move {
        // Long enough for the FIN to be there.
        sleep(millis(20)).await;
        tell(request)
    });
    let log = errors(&http);
    let (address, _listening) = listen_with(http);
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(GET.as_bytes()).await.unwrap();
    stream.shutdown().await.unwrap();
    let mut said = Vec::new();
    soon(stream.read_to_end(&mut said)).await.unwrap();
    let text = shown(&said);
    assert!(text.starts_with("HTTP/1.1 200 OK\n") && text.ends_with("\n\nGET / "), "{text}");
    assert_eq!(log.take(), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn a_half_closed_client_gets_the_answers_to_all_that_it_has_asked() {
    for (pause, requests) in [(0, 1), (4_900, 1), (0, 3), (1_600, 3)] {
        let http = HttpServer::new(move |request: ServerRequest| async move {
            if pause > 0 {
                sleep(millis(pause)).await;
            }
            tell(request)
        });
        let log = errors(&http);
        let (mut peer, serving) = Peer::serve(&http);
        peer.send(GET.repeat(requests)).await;
        peer.stream.shutdown().await.unwrap();
        let said = shown(&peer.rest().await);
        assert_eq!(said.matches("HTTP/1.1 200 OK\n").count(), requests, "{pause} ms each: {said}");
        someday(serving).await;
        assert_eq!(log.take(), [""; 0]);
    }
}

/// A server whose router never answers, and tells when it begins and when it is dropped.
fn never_answering() -> (HttpServer, Log, mpsc::UnboundedReceiver<()>) {
    let log = Log::default();
    let noting = log.clone();
    let (begin, has_begun) = mpsc::unbounded_channel();
    let http = HttpServer::new(move |_: ServerRequest| {
        begin.send(()).unwrap();
        let guard = Guard(noting.clone(), "dropped");
        async move {
            let _guard = guard;
            pending::<Response>().await
        }
    });
    let noting = log.clone();
    http.on("error", move |error| {
        assert!(matches!(error, HttpError::ClientLeft) && error.status().is_none());
        noting.add(error);
    });
    (http, log, has_begun)
}

#[tokio::test(start_paused = true)]
async fn a_fin_may_mean_that_the_client_has_left_so_the_answer_has_a_little_time_left() {
    for (options, end) in [(HttpOptions::new(), 5.0), (HttpOptions::new().half_close_timeout(seconds(7)), 7.0)] {
        let (http, log, _begun) = never_answering();
        let http = http.with_options(options);
        let (mut peer, serving) = Peer::serve(&http);
        peer.send(GET).await;
        sleep(seconds(60)).await;
        assert_eq!(log.take(), [""; 0], "a client that waits is waited for");
        let start = Instant::now();
        peer.stream.shutdown().await.unwrap();
        assert!(peer.ended().await, "there is nothing to say");
        assert_eq!(seconds_since(start), end);
        someday(serving).await;
        assert_eq!(log.take(), ["dropped", "the client left before the answer"]);
    }
}

#[tokio::test]
async fn a_reset_cancels_the_answer_at_once() {
    let (http, log, mut has_begun) = never_answering();
    // A FIN would be waited out for an hour.
    let http = http.with_options(HttpOptions::new().half_close_timeout(seconds(3600)));
    let (left, mut has_left) = mpsc::unbounded_channel();
    http.on("error", move |_| left.send(()));
    let (address, _listening) = listen_with(http);
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(GET.as_bytes()).await.unwrap();
    soon(has_begun.recv()).await.unwrap();
    stream.set_zero_linger().unwrap();
    drop(stream);
    soon(has_left.recv()).await.unwrap();
    assert_eq!(log.take(), ["dropped", "the client left before the answer"]);
}

// The end of the server.

#[tokio::test(start_paused = true)]
async fn a_server_that_ends_answers_pending_requests_and_no_others() {
    let http = HttpServer::new(|request: ServerRequest| async move {
        sleep(seconds(5)).await;
        tell(request)
    });
    let start = Instant::now();
    let (mut idle, idle_serving) = Peer::serve(&http);
    let (mut used, used_serving) = Peer::serve(&http);
    used.ask(GET).await;
    let (mut busy, busy_serving) = Peer::serve(&http);
    busy.send(GET.repeat(2)).await;
    sleep(seconds(1)).await;
    let closing = [idle_serving.close(), used_serving.close(), busy_serving.close()];
    assert!(idle.ended().await && used.ended().await, "without a word");
    assert_eq!(seconds_since(start), 6.0, "and at once");
    let text = ok_with("Content-Type: text/plain; charset=utf-8\n", "Connection: close\n", "GET / ");
    assert_eq!(shown(&busy.rest().await), text);
    assert_eq!(seconds_since(start), 10.0);
    drop(busy);
    for closing in closing {
        closing.await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_ends_cuts_responses_that_do_not_end_in_time() {
    let (http, log, mut has_begun) = never_answering();
    let (mut waiting, serving) = Peer::serve(&http);
    waiting.send(GET).await;
    has_begun.recv().await.unwrap();
    let start = Instant::now();
    serving.close().await;
    assert_eq!(seconds_since(start), 10.0);
    assert!(waiting.ended().await);
    assert_eq!(log.take(), ["dropped"]);

    let (http, mut streams, log) = streaming(200, &[]);
    let (mut peer, serving) = Peer::serve(&http);
    peer.send(GET).await;
    peer.head().await;
    let stream = streams.recv().await.unwrap();
    serving.close().await;
    assert_eq!((peer.rest().await, log.take()), (vec![], vec!["close".to_owned()]));
    assert!(!stream.is_writable());
}
