//! A response that is cut never looks complete, and a graceful end is visible to the client (RFC
//! 9112 section 8).

mod support;

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use react_websocket::body::BodyWriter;
use react_websocket::{BodyStream, HttpOptions, HttpServer, Response, ServerRequest};
use support::*;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, DuplexStream, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::timeout;

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
const GET_1_0: &str = "GET / HTTP/1.0\r\n\r\n";

async fn in_time<F: Future>(future: F) -> F::Output {
    timeout(Duration::from_secs(30), future).await.expect("in time")
}

/// A server whose responses are streams, which come with each request.
fn streaming() -> (HttpServer, mpsc::UnboundedReceiver<BodyWriter>) {
    let (tell, streams) = mpsc::unbounded_channel();
    let http = HttpServer::new(move |_: ServerRequest| {
        let stream = BodyStream::new();
        tell.send(stream.writer()).unwrap();
        Response::new(200).with_body(stream)
    });
    (http, streams)
}

/// Asks as an HTTP/1.0 client, for whom the body ends with the connection, and reads half of what it gets.
async fn read_half(peer: &mut Peer<TcpStream>, stream: &BodyWriter) {
    peer.head().await;
    stream.write("half");
    assert_eq!(in_time(peer.exactly(4)).await, b"half");
}

async fn assert_is_reset(peer: &mut Peer<TcpStream>, what: &str) {
    let mut rest = Vec::new();
    let end = in_time(peer.stream.read_to_end(&mut rest)).await;
    assert_eq!(end.map_err(|error| error.kind()), Err(io::ErrorKind::ConnectionReset), "{what}");
}

/// Writes more than the system takes of it for a client that does not read, and waits for the end.
async fn write_until_closed(stream: BodyWriter) {
    let (tell, told) = tokio::sync::oneshot::channel();
    let mut tell = Some(tell);
    stream.on("close", move || tell.take().is_some_and(|tell| tell.send(()).is_ok()));
    while stream.buffered_amount() < 1 << 20 && stream.is_writable() {
        stream.write(vec![b'a'; 64 * 1024]);
        tokio::task::yield_now().await;
    }
    in_time(told).await.unwrap();
}

/// RFC 9112 section 8: nothing else tells an HTTP/1.0 client, or a proxy that speaks 1.0, that something is missing.
#[tokio::test]
async fn a_body_that_ends_with_the_connection_ends_with_a_reset_when_it_is_cut() {
    for what in ["the app closes it", "its last writer is dropped", "the server ends", "the client takes nothing"] {
        let (http, mut streams) = streaming();
        let options = HttpOptions::new().shutdown_grace(Duration::from_millis(1));
        let http = http.with_options(options.write_timeout(Duration::from_millis(100)));
        let (address, listening) = listen_with(http);
        let mut peer = Peer::connect(address).await;
        peer.send(GET_1_0).await;
        let stream = in_time(streams.recv()).await.unwrap();
        read_half(&mut peer, &stream).await;
        match what {
            "the app closes it" => stream.close(),
            "its last writer is dropped" => drop(stream),
            "the server ends" => in_time(listening.close()).await,
            _ => write_until_closed(stream).await,
        }
        assert_is_reset(&mut peer, what).await;
    }
}

/// What the system holds for it, perhaps for minutes, is megabytes.
#[tokio::test]
async fn a_client_that_reads_nothing_of_any_response_is_reset() {
    for request in [GET, GET_1_0] {
        let http = HttpServer::new(|_: ServerRequest| Response::new(200).with_body(vec![b'a'; 32 << 20]));
        let http = http.with_options(HttpOptions::new().write_timeout(Duration::from_millis(100)));
        let (tell, mut told) = mpsc::unbounded_channel();
        http.on("error", move |error| tell.send(error.to_string()).is_ok());
        let (address, _listening) = listen_with(http);
        let mut peer = Peer::connect(address).await;
        peer.send(request).await;
        assert!(in_time(told.recv()).await.unwrap().starts_with("the client took nothing of the response"));
        assert_is_reset(&mut peer, request).await;
    }
}

#[test]
fn such_a_body_ends_with_a_reset_when_its_runtime_is_dropped() {
    let runtime = || tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let servers = runtime();
    let (http, mut streams) = streaming();
    let (address, _listening) = servers.block_on(async { listen_with(http) });
    runtime().block_on(async {
        let mut peer = Peer::connect(address).await;
        peer.send(GET_1_0).await;
        let stream = in_time(streams.recv()).await.unwrap();
        read_half(&mut peer, &stream).await;
        servers.shutdown_background();
        assert_is_reset(&mut peer, "its runtime is dropped").await;
    });
}

#[tokio::test]
async fn such_a_body_ends_in_order_when_it_is_complete() {
    let (http, mut streams) = streaming();
    let (address, _listening) = listen_with(http);
    let mut peer = Peer::connect(address).await;
    peer.send(GET_1_0).await;
    let stream = in_time(streams.recv()).await.unwrap();
    read_half(&mut peer, &stream).await;
    stream.end_with("the rest");
    let mut rest = String::new();
    in_time(peer.stream.read_to_string(&mut rest)).await.expect("an end as usual");
    assert_eq!(rest, "the rest");
}

/// All of it is in the system when the server lets go of the connection, as it does at once after the client's FIN.
#[tokio::test]
async fn such_a_body_is_complete_for_a_client_that_reads_it_late() {
    const SIZE: usize = 1 << 20;
    let (http, mut streams) = streaming();
    let (address, _listening) = listen_with(http.clone());
    let mut peer = Peer::connect(address).await;
    peer.send(GET_1_0).await;
    tokio::io::AsyncWriteExt::shutdown(&mut peer.stream).await.unwrap();
    let stream = in_time(streams.recv()).await.unwrap();
    stream.end_with(vec![b'a'; SIZE]);
    in_time(async {
        while http.stats().open > 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    peer.head().await;
    let mut rest = Vec::new();
    in_time(peer.stream.read_to_end(&mut rest)).await.expect("an end as usual");
    assert!(rest.len() > SIZE / 2, "{}", rest.len());
}

/// A stream as TLS is one: its `poll_shutdown` says that nothing more comes (close_notify), and a connection that ends without
/// is one that was cut.
struct Tls {
    inner: DuplexStream,
    shutdowns: Arc<AtomicUsize>,
}

impl AsyncRead for Tls {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(cx, buf)
    }
}

impl AsyncWrite for Tls {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.shutdowns.fetch_add(1, Ordering::Relaxed);
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

/// A client over such a stream, its server's end, and whether that was said.
fn serve_tls(http: &HttpServer) -> (Peer<DuplexStream>, react_websocket::shutdown::Serving, impl Fn() -> bool + use<>) {
    let (client, server) = tokio::io::duplex(1 << 20);
    let shutdowns = Arc::new(AtomicUsize::new(0));
    let said = shutdowns.clone();
    let serving = http.serve(Tls { inner: server, shutdowns });
    (Peer::new(client), serving, move || said.load(Ordering::Relaxed) > 0)
}

/// RFC 8446 section 6.1.
#[tokio::test(start_paused = true)]
async fn over_tls_each_graceful_end_sends_close_notify() {
    let close = GET.replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n");
    let (limited, plain) = (HttpOptions::new().max_connections(0), HttpOptions::new());
    let evicting = HttpOptions::new().max_pending_handshakes(0);
    for (what, options, request, is_closed_by_server, leaves) in [
        ("after Connection: close", plain.clone(), &*close, false, false),
        ("after the keep-alive timeout", plain.clone(), GET, false, false),
        ("after the header timeout, nothing having come", plain.clone(), "", false, false),
        ("after the header timeout", plain.clone(), "GET", false, false),
        ("after an error page", plain.clone(), "\0", false, false),
        ("where there is no room", limited, "", false, false),
        ("where there are too many that have not asked", evicting, "", false, false),
        ("when the server ends", plain.clone(), GET, true, false),
        ("when the server ends before the client has asked", plain.clone(), "", true, false),
        ("when the client has said its end", plain, GET, false, true),
    ] {
        let (mut peer, serving, is_said) = serve_tls(&HttpServer::new(router).with_options(options));
        peer.send(request).await;
        settle().await;
        if is_closed_by_server {
            drop(serving.close());
        }
        if leaves {
            tokio::io::AsyncWriteExt::shutdown(&mut peer.stream).await.unwrap();
        }
        while_time_passes(serving).await;
        assert!(is_said(), "{what}");
    }
}

#[tokio::test(start_paused = true)]
async fn over_tls_a_cut_is_no_end_in_order() {
    for request in [GET, GET_1_0] {
        let (http, mut streams) = streaming();
        let (mut peer, serving, is_said) = serve_tls(&http);
        peer.send(request).await;
        let stream = streams.recv().await.unwrap();
        stream.write("half");
        settle().await;
        stream.close();
        while_time_passes(serving).await;
        assert!(!is_said(), "{request}");
    }
}
