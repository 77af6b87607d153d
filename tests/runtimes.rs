//! Several runtimes in a process: what the crate spawns runs where the connections run.

mod support;

use react_websocket::handlers::Next;
use react_websocket::{HttpServer, Response, ServerRequest, WebSocketConnection, WebSocketMiddleware};
use support::*;
use tokio::sync::mpsc;
use tokio::time::{Duration, timeout};

/// A middleware abandons a handshake in a runtime of its own, which is not driven afterwards.
#[tokio::test]
async fn asynchronous_error_listeners_of_a_handshake_run_to_their_end_wherever_it_is_given_up() {
    let websocket = WebSocketMiddleware::new();
    websocket.on("connection", |_: WebSocketConnection| std::future::pending::<()>());
    let (tell, mut told) = mpsc::unbounded_channel();
    websocket.on("error", move |connection: WebSocketConnection| {
        let tell = tell.clone();
        async move {
            tokio::task::yield_now().await;
            let _ = tell.send(connection.error().unwrap().to_string());
        }
    });
    let (keep, kept) = std::sync::mpsc::channel();
    let gives_up = move |request: ServerRequest, next: Next| {
        let answer = next.run(request);
        let giving_up = std::thread::spawn(move || {
            let own = tokio::runtime::Builder::new_current_thread().build().unwrap();
            own.block_on(async { drop(answer) });
            own
        });
        keep.send(giving_up.join().unwrap()).unwrap();
        Response::new(503)
    };
    let http = HttpServer::new((gives_up, websocket, router));
    let (mut peer, _) = Peer::serve(&http);
    assert_eq!(peer.ask(HANDSHAKE).await.status(), 503);
    let error = timeout(Duration::from_secs(30), told.recv()).await.expect("the listener goes on").unwrap();
    assert_eq!(error, "nobody waits for the decision any more");
    tokio::task::spawn_blocking(|| drop(kept)).await.unwrap();
}
