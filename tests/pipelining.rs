//! Pipelined requests (RFC 9112 section 9.3.2): their responses are sent together and in order.

mod support;

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use react_websocket::handlers::ResponseFuture;
use react_websocket::{BodyStream, HttpOptions, HttpServer, Response, ServerRequest, WebSocketMiddleware};
use support::*;
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf, duplex};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, timeout};

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n")
}

/// The server's end of a connection. It counts the writes.
struct Counted(DuplexStream, Arc<AtomicUsize>);

impl AsyncRead for Counted {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for Counted {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.1.fetch_add(1, Ordering::Relaxed);
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

/// A peer, and the number of the server's writes to it.
fn counted(http: &HttpServer) -> (Peer<DuplexStream>, Arc<AtomicUsize>) {
    let (ours, theirs) = duplex(1 << 20);
    let writes = Arc::default();
    http.serve(Counted(theirs, Arc::clone(&writes)));
    (Peer::new(ours), writes)
}

fn echo(request: ServerRequest) -> Response {
    Response::plaintext(request.path().to_owned())
}

#[tokio::test(start_paused = true)]
async fn responses_to_requests_of_one_read_leave_with_one_write_and_in_order() {
    let (mut peer, writes) = counted(&HttpServer::new(echo));
    peer.send((0..16).map(|number| get(&format!("/{number}"))).collect::<String>()).await;
    for number in 0..16 {
        assert_eq!(peer.answer().await.text(), format!("/{number}"));
    }
    assert_eq!(writes.load(Ordering::Relaxed), 1);
}

#[tokio::test(start_paused = true)]
async fn a_response_does_not_wait_for_the_rest_of_the_next_head_or_body() {
    for begun in ["G", "GET /2 HTTP/1.1\r\nHost: a\r\n", "POST /2 HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nab"] {
        let (mut peer, _) = counted(&HttpServer::new(echo));
        peer.send(get("/1") + begun).await;
        let start = Instant::now();
        assert_eq!(peer.answer().await.text(), "/1", "{begun:?}");
        assert_eq!(start.elapsed(), Duration::ZERO, "{begun:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_response_does_not_wait_for_a_handler_that_waits() {
    let go = Arc::new(Notify::new());
    let wait = go.clone();
    let router = move |request: ServerRequest| -> ResponseFuture {
        let wait = wait.clone();
        if request.path() == "/slow" {
            return ResponseFuture::new(async move {
                wait.notified().await;
                Response::plaintext("slow")
            });
        }
        echo(request).into()
    };
    let (mut peer, writes) = counted(&HttpServer::new(router));
    peer.send(get("/1") + &get("/slow") + &get("/3")).await;
    assert_eq!(peer.answer().await.text(), "/1");
    go.notify_one();
    assert_eq!(peer.answer().await.text(), "slow");
    assert_eq!(peer.answer().await.text(), "/3");
    assert_eq!(writes.load(Ordering::Relaxed), 2, "the last two left together");
}

#[tokio::test(start_paused = true)]
async fn responses_of_all_kinds_keep_their_order() {
    let router = |request: ServerRequest| match request.path() {
        "/stream" => {
            let stream = BodyStream::new();
            stream.write("stream");
            stream.end();
            Response::plaintext(stream)
        }
        "/large" => Response::plaintext("x".repeat(100_000)),
        "/failed" => panic!("as it is meant to be"),
        _ => echo(request),
    };
    let http = HttpServer::new((WebSocketMiddleware::new(), router));
    http.on("error", |_| {});
    let (mut peer, _) = counted(&http);
    let paths = ["/1", "/stream", "/2", "/large", "/3"];
    peer.send(paths.map(get).concat() + "POST /4 HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nab" + HANDSHAKE).await;
    for text in ["/1", "stream", "/2", &"x".repeat(100_000), "/3", "/4"] {
        let answer = peer.answer().await;
        let body = answer.text().to_owned();
        assert!(body.contains(text), "{:.40} and not {text:.40}", body);
    }
    assert!(peer.head().await.starts_with("HTTP/1.1 101 "));

    let (mut peer, _) = counted(&http);
    peer.send(get("/1") + &get("/failed") + &get("/never")).await;
    assert_eq!(peer.answer().await.text(), "/1");
    assert_eq!(peer.answer().await.status(), 500);
    assert!(peer.ended().await);

    let (mut peer, _) = counted(&http);
    peer.send(get("/1") + "GET / HTTP/9.9\r\n\r\n").await;
    assert_eq!(peer.answer().await.text(), "/1");
    assert_eq!(peer.answer().await.status(), 505);
    assert!(peer.ended().await);
}

/// The buffered responses are bounded by 64 KiB, and one response more.
#[tokio::test(start_paused = true)]
async fn a_client_that_does_not_read_has_few_responses_made_for_it() {
    let made = Arc::new(AtomicUsize::new(0));
    let count = made.clone();
    let router = move |_: ServerRequest| {
        count.fetch_add(1, Ordering::Relaxed);
        Response::plaintext("x".repeat(8 * 1024))
    };
    let http = HttpServer::new(router).with_options(HttpOptions::new().max_keep_alive_requests(u32::MAX));
    let (ours, theirs) = duplex(16 * 1024);
    http.serve(theirs);
    let mut peer = Peer::new(ours);
    peer.send(get("/").repeat(500)).await;
    sleep(Duration::from_secs(1)).await;
    let made = made.load(Ordering::Relaxed);
    assert!((8..=12).contains(&made), "{made}");
}

#[tokio::test]
async fn a_client_that_pipelines_many_requests_does_not_keep_others_waiting() {
    let made = Arc::new(AtomicUsize::new(0));
    let count = made.clone();
    let router = move |_: ServerRequest| {
        count.fetch_add(1, Ordering::Relaxed);
        Response::new(204)
    };
    let (mut peer, _) = counted(&HttpServer::new(router));
    peer.send("GET / HTTP/1.1\r\nHost:a\r\n\r\n".repeat(300)).await;
    // As another task of the thread sees it.
    let mut most = 0;
    let mut before = 0;
    while before < 300 {
        tokio::task::yield_now().await;
        let now = made.load(Ordering::Relaxed);
        most = most.max(now - before);
        before = now;
    }
    assert!(most <= 64, "{most} requests in one turn");
}

/// The alarm of an earlier wait neither ends a later one too early nor lets it last longer.
#[tokio::test(start_paused = true)]
async fn a_connection_is_kept_for_its_timeout_after_the_last_response() {
    for (timeout, pause) in [(30_000, 700), (30_000, 20_000), (1_000, 900), (300, 200)]
        .map(|(timeout, pause)| (Duration::from_millis(timeout), Duration::from_millis(pause)))
    {
        let options = HttpOptions::new().keep_alive_timeout(timeout);
        let (mut peer, _) = counted(&HttpServer::new(echo).with_options(options));
        for _ in 0..5 {
            assert_eq!(peer.ask(get("/")).await.status(), 200);
            sleep(pause).await;
        }
        let start = Instant::now();
        assert!(peer.ended().await);
        let after = start.elapsed() + pause;
        assert!(timeout <= after && after <= timeout + Duration::from_millis(60), "{after:?} instead of {timeout:?}");
    }
}

/// The server's clock has a resolution, and requests come at any time.
#[tokio::test(start_paused = true)]
async fn a_connection_is_closed_after_its_timeout_whenever_its_last_request_came() {
    for (before, behind) in [(0, 0), (1, 999), (500, 600), (900, 200), (999, 1)] {
        let (mut peer, _) = counted(&HttpServer::new(echo));
        tokio::time::advance(Duration::from_micros(before)).await;
        let start = Instant::now();
        assert_eq!(peer.ask(get("/")).await.status(), 200);
        // Timers are rounded to milliseconds of the runtime, so the alarm rings at another fraction of one.
        tokio::time::advance(Duration::from_micros(behind)).await;
        assert!(timeout(Duration::from_secs(3600), peer.ended()).await.expect("the server closes the connection"));
        let lasted = start.elapsed();
        let limit = Duration::from_secs(30);
        assert!(limit <= lasted && lasted <= limit + Duration::from_millis(60), "{lasted:?}");
    }
}
