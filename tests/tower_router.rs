//! A tower service as the router of our own server.
#![cfg(feature = "hyper")]

mod support;

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use http_body::{Body, Frame};
use http_body_util::{BodyExt, Full};
use react_websocket::errors::{BoxError, report};
use react_websocket::hyper::tower_router;
use react_websocket::{Bytes, HttpServer, ServerRequest, WebSocketConnection, WebSocketMiddleware};
use support::handshake::with;
use support::{Log, Peer, let_all_run, settle, text};
use tokio::sync::{Semaphore, mpsc};
use tower_service::Service;

type Request = ::http::Request<Full<Bytes>>;
type Answered<B> = Result<::http::Response<B>, BoxError>;

/// A service whose responses are made by a closure.
#[derive(Clone)]
struct ByClosure<F>(F);

impl<F, R, B> Service<Request> for ByClosure<F>
where
    F: Fn(Request) -> R,
    R: Future<Output = Answered<B>> + Send + 'static,
{
    type Response = ::http::Response<B>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Answered<B>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request) -> Self::Future {
        Box::pin((self.0)(request))
    }
}

/// A body whose frames a test sends.
struct Channel(mpsc::UnboundedReceiver<Result<Frame<Bytes>, BoxError>>);

type Frames = mpsc::UnboundedSender<Result<Frame<Bytes>, BoxError>>;

impl Body for Channel {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        self.0.poll_recv(cx)
    }
}

fn data(bytes: &'static str) -> Result<Frame<Bytes>, BoxError> {
    Ok(Frame::data(bytes.into()))
}

/// A server whose responses have the body that the test sends, and the log of its `error` event.
fn streaming() -> (HttpServer, mpsc::UnboundedReceiver<Frames>, Log) {
    let (opened, open) = mpsc::unbounded_channel();
    let http = HttpServer::new(tower_router(ByClosure(move |_: Request| {
        let (frames, body) = mpsc::unbounded_channel();
        opened.send(frames).unwrap();
        async { Ok(::http::Response::new(Channel(body))) }
    })));
    let log = Log::default();
    let noted = log.clone();
    http.on("error", move |error| noted.add(report(error)));
    (http, open, log)
}

const GET: &str = "GET / HTTP/1.1\r\nHost: example.com\r\n\r\n";

#[tokio::test(start_paused = true)]
async fn a_request_reaches_the_service_with_everything_and_its_response_the_client() {
    let log = Log::default();
    let noted = log.clone();
    let http = HttpServer::new(tower_router(ByClosure(move |request: Request| {
        let known = request.extensions().get::<ServerRequest>().unwrap();
        let (head, address) =
            (format!("{} {} {:?}", request.method(), request.uri(), request.version()), known.remote_address());
        noted.add(format_args!("{head} {:?} {:?}", request.headers()["x-test"], address));
        async move {
            let body = request.into_body().collect().await.unwrap().to_bytes();
            let response = ::http::Response::builder().status(201).header("X-One", "1").header("X-One", "2");
            Ok(response.body(Full::new(body)).unwrap())
        }
    })));
    let (ours, theirs) = tokio::io::duplex(1 << 20);
    let _serving = http.serve_with_addresses(theirs, Some("192.0.2.1:7".parse().unwrap()), None);
    let mut peer = Peer::new(ours);
    let answer = peer.ask("POST /a?b=c HTTP/1.1\r\nHost: h\r\nX-Test: yes\r\nContent-Length: 5\r\n\r\nhello").await;
    assert_eq!((answer.status(), answer.text()), (201, "hello"));
    assert_eq!(answer.header_names().iter().filter(|name| name.eq_ignore_ascii_case("X-One")).count(), 2);
    assert_eq!(answer.header("Content-Length"), Some("5"), "a body that is complete at once is not streamed");
    assert_eq!(log.take(), [r#"POST /a?b=c HTTP/1.1 "yes" Some(192.0.2.1:7)"#]);
}

#[tokio::test(start_paused = true)]
async fn websockets_are_beside_the_service() {
    let websocket = WebSocketMiddleware::new();
    websocket.on("connection", |connection: WebSocketConnection| {
        connection.on("text", move |text: &str| connection.write(text));
    });
    let service = ByClosure(async |_: Request| Ok(::http::Response::new(Full::<Bytes>::from("page"))));
    let http = HttpServer::new((websocket, tower_router(service)));
    let (mut peer, _serving) = Peer::serve(&http);
    assert_eq!(peer.ask(GET).await.text(), "page");
    assert_eq!(peer.ask(with(&[])).await.status(), 101);
    peer.send(text("hello")).await;
    assert_eq!(peer.text().await, "hello");
}

#[tokio::test(start_paused = true)]
async fn a_body_is_sent_while_it_is_made_and_its_trailers_are_dropped() {
    let (http, mut open, log) = streaming();
    let (mut peer, _serving) = Peer::serve(&http);
    peer.send(GET).await;
    let head = peer.head().await;
    assert!(head.contains("Transfer-Encoding: chunked"), "{head}");
    let frames = open.recv().await.unwrap();
    for word in ["one", "four"] {
        frames.send(data(word)).unwrap();
        assert_eq!(peer.line().await, word.len().to_string());
        assert_eq!(peer.line().await, word);
    }
    let trailers = ::http::HeaderMap::from_iter([("x-sum".parse().unwrap(), "1".parse().unwrap())]);
    frames.send(Ok(Frame::trailers(trailers))).unwrap();
    drop(frames);
    assert_eq!((peer.line().await, peer.line().await), ("0".into(), String::new()));
    assert_eq!(log.take(), [""; 0]);
    peer.send(GET.replace("GET", "HEAD")).await;
    assert!(peer.head().await.starts_with("HTTP/1.1 200 "), "the connection goes on");
}

/// RFC 9112 section 8: an incomplete body must not look complete.
#[tokio::test(start_paused = true)]
async fn an_error_in_the_middle_cuts_the_body_and_the_server_reports_it() {
    let (http, mut open, log) = streaming();
    let (mut peer, _serving) = Peer::serve(&http);
    peer.send(GET).await;
    let frames = open.recv().await.unwrap();
    frames.send(data("part")).unwrap();
    settle().await;
    frames.send(Err("the disk is gone".into())).unwrap();
    let rest = String::from_utf8(peer.rest().await).unwrap();
    assert!(rest.ends_with("\r\n4\r\npart\r\n"), "no last chunk: {rest}");
    assert_eq!(log.take(), ["the request handler failed: the disk is gone"]);
}

#[tokio::test(start_paused = true)]
async fn an_error_before_the_first_byte_is_a_500() {
    let http = HttpServer::new(tower_router(ByClosure(async |_: Request| {
        let (frames, body) = mpsc::unbounded_channel();
        frames.send(Err("no disk".into())).unwrap();
        Ok(::http::Response::new(Channel(body)))
    })));
    let (mut peer, _serving) = Peer::serve(&http);
    assert_eq!(peer.ask(GET).await.status(), 500);
}

#[tokio::test(start_paused = true)]
async fn an_error_of_the_service_is_a_500_and_an_error_event() {
    let http =
        HttpServer::new(tower_router(ByClosure(async |_: Request| Err::<::http::Response<Full<Bytes>>, _>("no".into()))));
    let log = Log::default();
    let noted = log.clone();
    http.on("error", move |error| noted.add(report(error)));
    let (mut peer, _serving) = Peer::serve(&http);
    let answer = peer.ask(GET).await;
    assert_eq!((answer.status(), answer.text()), (500, "Error 500: Internal Server Error"));
    assert_eq!(log.take(), ["the request handler failed: no"]);
}

/// A body without an end, which counts what is taken of it.
struct Endless(Arc<AtomicUsize>);

impl Body for Endless {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        self.0.fetch_add(16 * 1024, Ordering::Relaxed);
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(&[0; 16 * 1024])))))
    }
}

impl Drop for Endless {
    fn drop(&mut self) {
        self.0.store(0, Ordering::Relaxed);
    }
}

/// The soft limit of a body stream is 64 KiB.
#[tokio::test(start_paused = true)]
async fn a_client_that_does_not_read_stops_the_body_and_one_that_leaves_drops_it() {
    let taken = Arc::new(AtomicUsize::new(0));
    let counted = taken.clone();
    let http = HttpServer::new(tower_router(ByClosure(move |_: Request| {
        let body = Endless(counted.clone());
        async { Ok(::http::Response::new(body)) }
    })));
    let (mut peer, _serving) = Peer::serve_with_capacity(&http, 1024);
    peer.send(GET).await;
    let_all_run().await;
    let before = taken.load(Ordering::Relaxed);
    assert!((64 * 1024..=256 * 1024).contains(&before), "{before}");
    peer.exactly(1 << 20).await;
    let_all_run().await;
    let after = taken.load(Ordering::Relaxed);
    assert!((1 << 20..=(1 << 20) + 256 * 1024).contains(&after), "{after}");
    drop(peer);
    settle().await;
    assert_eq!(taken.load(Ordering::Relaxed), 0, "dropped");
}

/// tower's contract: `call` follows a ready `poll_ready` of the same clone.
#[derive(Clone)]
struct Limited {
    permits: Arc<Semaphore>,
    is_ready: bool,
    log: Log,
}

impl Service<Request> for Limited {
    type Response = ::http::Response<Full<Bytes>>;
    type Error = BoxError;
    type Future = std::future::Ready<Answered<Full<Bytes>>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        if self.permits.is_closed() {
            return Poll::Ready(Err("closed".into()));
        }
        match self.permits.clone().try_acquire_owned() {
            Ok(permit) => {
                permit.forget();
                self.is_ready = true;
                Poll::Ready(Ok(()))
            }
            Err(_) => {
                self.log.add("waits");
                let (permits, waker) = (self.permits.clone(), cx.waker().clone());
                tokio::spawn(async move {
                    drop(permits.acquire().await);
                    waker.wake();
                });
                Poll::Pending
            }
        }
    }

    fn call(&mut self, request: Request) -> Self::Future {
        assert!(std::mem::take(&mut self.is_ready), "called without being ready");
        self.log.add(request.uri());
        std::future::ready(Ok(::http::Response::new(Full::from("page"))))
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_waits_until_the_service_is_ready() {
    let (permits, log) = (Arc::new(Semaphore::new(1)), Log::default());
    let http = HttpServer::new(tower_router(Limited { permits: permits.clone(), is_ready: false, log: log.clone() }));
    let (mut peer, _serving) = Peer::serve(&http);
    assert_eq!(peer.ask(GET).await.status(), 200);
    assert_eq!(log.take(), ["/"]);
    peer.send(GET).await;
    settle().await;
    let waited = log.take();
    assert!(!waited.is_empty() && waited.iter().all(|entry| entry == "waits"), "{waited:?}");
    permits.add_permits(1);
    assert_eq!(peer.answer().await.status(), 200);
    assert_eq!(log.take(), ["/"]);
    permits.close();
    assert_eq!(peer.ask(GET).await.status(), 500);
}

/// RFC 9110 sections 9.3.2 and 8.6: the response to a HEAD may have the length of a GET.
#[tokio::test(start_paused = true)]
async fn the_length_of_a_head_response_is_kept() {
    let http = HttpServer::new(tower_router(ByClosure(async |_: Request| {
        Ok(::http::Response::builder().header("Content-Length", "42").body(Full::<Bytes>::default()).unwrap())
    })));
    let (mut peer, _serving) = Peer::serve(&http);
    peer.send(GET.replace("GET", "HEAD")).await;
    assert!(peer.head().await.to_ascii_lowercase().contains("content-length: 42"));
}

/// A 101 of a service cannot be sent: it has no connection that it could go on with.
#[tokio::test(start_paused = true)]
async fn an_upgrade_of_the_service_is_a_500() {
    let http = HttpServer::new(tower_router(ByClosure(async |_: Request| {
        Ok(::http::Response::builder().status(101).body(Full::<Bytes>::default()).unwrap())
    })));
    let (mut peer, _serving) = Peer::serve(&http);
    assert_eq!(peer.ask(GET).await.status(), 500);
}

#[tokio::test(start_paused = true)]
async fn a_panic_of_the_service_is_a_500() {
    let http = HttpServer::new(tower_router(ByClosure(async |request: Request| {
        if request.uri().path() == "/later" {
            settle().await;
        }
        if request.method() == "GET" {
            panic!("oh");
        }
        Ok(::http::Response::new(Full::<Bytes>::default()))
    })));
    let (mut peer, _serving) = Peer::serve(&http);
    for target in ["/", "/later"] {
        let answer = peer.ask(GET.replace(" / ", &format!(" {target} "))).await;
        assert_eq!(answer.status(), 500);
        (peer, _) = Peer::serve(&http);
    }
}

#[tokio::test]
async fn a_service_is_called_without_a_socket_too() {
    let http =
        HttpServer::new(tower_router(ByClosure(async |_: Request| Ok(::http::Response::new(Full::<Bytes>::from("a"))))));
    let response = http.handle(::http::Request::get("/").body("").unwrap()).await;
    assert_eq!(response.body().as_bytes().unwrap(), "a");
}
