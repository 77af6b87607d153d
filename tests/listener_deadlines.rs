//! `close_timeout`: the peer has it to answer our Close, and then listeners of `error` and `close` have it to end.

mod support;

use std::time::Duration;

use react_websocket::{HttpServer, WebSocketConnection, WebSocketMiddleware, WebSocketOptions};
use support::*;
use tokio::time::{Instant, sleep, timeout};

const LIMIT: Duration = Duration::from_secs(3);

/// A server whose connections have two asynchronous listeners of `event`: one that ends just in time, and one that never does.
fn server(event: &'static str, log: &Log) -> HttpServer {
    let options = WebSocketOptions::new().ping_interval(None).close_timeout(LIMIT);
    let websocket = WebSocketMiddleware::new().with_options(options);
    let log = log.clone();
    websocket.on("connection", move |connection: WebSocketConnection| {
        connection.on("text", move || connection.close());
        let (begins, ends) = (log.clone(), log.clone());
        connection.on(event, async move || {
            begins.add("begins");
            sleep(LIMIT - Duration::from_millis(200)).await;
            begins.add("ends");
        });
        connection.on(event, async move || {
            ends.add("the other begins");
            std::future::pending::<()>().await;
        });
    });
    HttpServer::new((websocket, router))
}

#[tokio::test(start_paused = true)]
async fn listeners_of_close_have_the_close_timeout_after_the_peer() {
    let (log, start) = (Log::default(), Instant::now());
    let (mut peer, serving) = Peer::open_in_memory(&server("close", &log)).await;
    peer.send(text("close")).await;
    sleep(LIMIT - Duration::from_millis(100)).await;
    assert_eq!(log.take(), [""; 0], "the peer may still answer");
    timeout(Duration::from_secs(30), serving).await.expect("the end");
    assert_eq!(log.take(), ["begins", "ends", "the other begins"]);
    let took = start.elapsed();
    assert!(took >= 2 * LIMIT && took < 2 * LIMIT + Duration::from_millis(200), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn listeners_of_error_have_as_much_time_as_the_peer_has_to_leave() {
    let (log, start) = (Log::default(), Instant::now());
    let (mut peer, serving) = Peer::open_in_memory(&server("error", &log)).await;
    peer.send(server_frame(0x81, "not masked")).await;
    timeout(Duration::from_secs(30), serving).await.expect("the end");
    assert_eq!(log.take(), ["begins", "ends", "the other begins"]);
    let took = start.elapsed();
    assert!(took >= LIMIT && took < LIMIT + Duration::from_millis(200), "{took:?}");
}
