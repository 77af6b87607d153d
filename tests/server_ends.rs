//! How one learns that a server ends, and how it is ended at once.

mod support;

use std::future::pending;
use std::sync::mpsc;
use std::time::Duration;

use react_websocket::{
    HttpOptions, HttpServer, Listening, Response, ServerRequest, SocketServer, WebSocketConnection, WebSocketMiddleware,
    WebSocketOptions,
};
use support::*;
use tokio::runtime::{Builder, Runtime};
use tokio::time::{Instant, sleep, timeout};

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

async fn in_time<F: Future>(future: F) -> F::Output {
    timeout(Duration::from_secs(30), future).await.expect("in time")
}

fn runtime() -> Runtime {
    Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()
}

/// A server whose router never answers.
fn stuck() -> HttpServer {
    HttpServer::new(|_: ServerRequest| async { pending::<Response>().await })
}

async fn until_it_is_asked(http: &HttpServer) {
    while http.stats().requests == 0 {
        tokio::task::yield_now().await;
    }
}

// Dropping a runtime ends its servers. A future in another runtime that waits for such an end
// completes.

#[test]
fn a_listening_ends_with_its_runtime() {
    for begins_to_end in [false, true] {
        let servers = runtime();
        let (listening, _peer) = servers.block_on(async {
            let http = stuck();
            let (address, listening) = listen_with(http.clone());
            let mut peer = Peer::connect(address).await;
            peer.send(GET).await;
            until_it_is_asked(&http).await;
            (listening, peer)
        });
        if begins_to_end {
            drop(listening.close());
        }
        let (waiting, waits) = mpsc::channel();
        let others = std::thread::spawn(move || {
            Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
                let mut ended = listening.clone().into_future();
                // It has been polled before the runtime goes.
                assert!(timeout(Duration::from_millis(1), &mut ended).await.is_err());
                waiting.send(()).unwrap();
                in_time(ended).await.unwrap();
                in_time(listening.closing()).await;
                in_time(listening.close()).await;
            });
        });
        waits.recv().unwrap();
        drop(servers);
        others.join().unwrap();
    }
}

#[test]
fn a_serving_ends_with_its_runtime() {
    for begins_to_end in [false, true] {
        let servers = runtime();
        let (serving, _peer) = servers.block_on(async {
            let http = stuck();
            let (mut peer, serving) = Peer::serve(&http);
            peer.send(GET).await;
            until_it_is_asked(&http).await;
            (serving, peer)
        });
        let closing = begins_to_end.then(|| serving.close());
        let (waiting, waits) = mpsc::channel();
        let others = std::thread::spawn(move || {
            Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
                waiting.send(()).unwrap();
                in_time(serving).await;
                if let Some(closing) = closing {
                    in_time(closing).await;
                }
            });
        });
        waits.recv().unwrap();
        drop(servers);
        others.join().unwrap();
    }
}

#[tokio::test]
async fn a_listening_of_no_sockets_is_over_when_it_is_closed() {
    let listening = HttpServer::new(router).listen(Vec::<SocketServer>::new());
    let mut ended = listening.clone().into_future();
    assert!(timeout(Duration::from_millis(1), &mut ended).await.is_err());
    in_time(listening.close()).await;
    in_time(ended).await.unwrap();
}

// At once.

#[tokio::test]
async fn terminate_cuts_pending_work() {
    in_time(async {
        let (open, mut opened) = tokio::sync::mpsc::unbounded_channel();
        // It waits for its peer's Close as long as it may.
        let options = WebSocketOptions::new().close_timeout(Duration::from_secs(3600));
        let websocket = WebSocketMiddleware::new().with_options(options);
        websocket.on("connection", move |connection: WebSocketConnection| open.send(connection).is_ok());
        let http = HttpServer::new((websocket.clone(), |_: ServerRequest| async { pending::<Response>().await }));
        let http = http.with_options(HttpOptions::new().shutdown_grace(Duration::from_secs(3600)));
        for is_closing in [false, true] {
            let (address, listening) = listen_with(http.clone());
            let mut waiting = Peer::connect(address).await;
            waiting.send(GET).await;
            let _websocket = Peer::open(address).await;
            opened.recv().await.unwrap();
            while http.stats().pending > 0 {
                tokio::task::yield_now().await;
            }
            let closing = is_closing.then(|| listening.close());
            listening.terminate().await;
            assert!(waiting.ended().await);
            assert_eq!((websocket.len(), http.stats().open), (0, 0));
            if let Some(closing) = closing {
                closing.await;
            }
            listening.await.unwrap();
        }
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_serving_can_be_terminated_too() {
    let (mut peer, serving) = Peer::serve(&stuck());
    peer.send(GET).await;
    settle().await;
    let start = Instant::now();
    serving.terminate().await;
    assert!(peer.ended().await);
    serving.await;
    assert_eq!(start.elapsed(), Duration::ZERO);
}

// Work beside the server.

#[tokio::test(start_paused = true)]
async fn closing_is_ready_when_the_end_begins() {
    let http = HttpServer::new(|_: ServerRequest| Response::new(200));
    for end in [Listening::close, Listening::terminate] {
        let listening = http.listen(SocketServer::new("127.0.0.1:0").unwrap());
        let mut closing = Box::pin(listening.closing());
        assert!(timeout(Duration::from_secs(3600), &mut closing).await.is_err());
        drop(end(&listening));
        closing.await;
        listening.closing().await;
    }
}

/// A handler of a long poll, which waits until there is news.
#[tokio::test]
async fn a_handler_that_knows_of_the_end_does_not_hold_it_up() {
    in_time(async {
        let server: std::sync::Arc<std::sync::OnceLock<Listening>> = Default::default();
        let known = server.clone();
        let http = HttpServer::new(move |_: ServerRequest| {
            let closing = known.get().map(Listening::closing);
            async move {
                tokio::select! {
                    () = sleep(Duration::from_secs(3600)) => Response::plaintext("news"),
                    () = closing.unwrap() => Response::new(204),
                }
            }
        });
        let (address, listening) = listen_with(http.clone());
        server.set(listening.clone()).unwrap();
        let mut peer = Peer::connect(address).await;
        peer.send(GET).await;
        until_it_is_asked(&http).await;
        let closing = listening.close();
        assert_eq!(peer.answer().await.status(), 204);
        drop(peer);
        closing.await;
    })
    .await;
}
