//! Fairness: a connection that causes many events of groups does not delay other connections.

mod support;

use std::sync::mpsc as blocking;

use react_websocket::{GroupManager, HttpServer, WebSocketConnection, WebSocketMiddleware, WebSocketOptions};
use support::*;
use tokio::time::{Duration, Instant, sleep};

/// As many events as may wait for the listeners of groups before whoever makes one more has to wait.
const CROWD: usize = 256;

/// Another thread calls listeners of groups, and has been for so long that whoever makes an event waits for it. A connection
/// that has waited gives the thread to others, however many messages of its own have arrived. If it has waited in vain it makes
/// a pause, so that events do not become more and more.
#[tokio::test(start_paused = true)]
async fn a_connection_that_waited_for_the_listeners_of_groups_lets_others_go_first_and_makes_a_pause() {
    let (log, groups, start) = (Log::default(), GroupManager::new(), Instant::now());
    let websocket = WebSocketMiddleware::new().with_options(WebSocketOptions::new().ping_interval(None));
    let (open, opened) = blocking::channel();
    let said = log.clone();
    let members = groups.clone();
    websocket.on("connection", move |connection: WebSocketConnection| {
        let (log, groups) = (said.clone(), members.clone());
        connection.on("text", move |text: &str| {
            log.add(format_args!("{text} at {}", start.elapsed().as_millis()));
            if text.starts_with("join") {
                let _ = groups.join(text, connection);
            }
        });
        open.send(connection).is_ok()
    });
    let http = HttpServer::new((websocket, router));
    let (mut busy, _) = Peer::open_in_memory(&http).await;
    let (mut other, _) = Peer::open_in_memory(&http).await;
    let (member, another) = (opened.recv().unwrap(), opened.recv().unwrap());

    let room = groups.join("room", member).unwrap();
    let ((begin, begun), (end, ended)) = (blocking::channel(), blocking::channel::<()>());
    let ended = std::sync::Mutex::new(ended);
    groups.once("create", move |_| {
        begin.send(()).unwrap();
        let _ = ended.lock().unwrap().recv();
    });
    let inside = std::thread::spawn({
        let groups = groups.clone();
        move || groups.join("long", member).unwrap()
    });
    begun.recv().unwrap();
    for _ in 0..CROWD / 2 {
        room.add(another).unwrap();
        room.remove(another);
    }

    busy.send((0..8).flat_map(|number| text(format!("join {number}"))).collect::<Vec<_>>()).await;
    other.send(text("other")).await;
    sleep(Duration::from_secs(1)).await;
    let said = log.take();
    assert!(said[0].starts_with("join 0 at") && said[1].starts_with("other at"), "{said:?}");
    let times: Vec<u64> = said.iter().map(|said| said.split(' ').next_back().unwrap().parse().unwrap()).collect();
    assert_eq!(times[0], times[1], "{said:?}");
    assert!(times[1..].windows(2).all(|pair| pair[1] >= pair[0] + 50), "{said:?}");
    drop(end);
    tokio::task::spawn_blocking(|| inside.join().unwrap()).await.unwrap();
}
