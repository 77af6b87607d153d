//! The port `presence`: announcements and heartbeats.

#[path = "../../examples/ports/presence.rs"]
#[allow(dead_code, reason = "its `main` listens on a socket")]
mod example;

use serde_json::{Value, json};
use tokio::time::Instant;

use crate::page::{Page, in_time};
use crate::start;
use crate::support::{Frozen, while_time_passes};

async fn enter(address: std::net::SocketAddr, name: &str) -> (Page, Value) {
    let mut page = Page::open(address, &format!("/?name={name}")).await;
    let online = page.next_json().await;
    assert_eq!(online["type"], "online");
    (page, online["names"].clone())
}

/// A new client gets the list of people, and the others get the change.
#[tokio::test]
async fn people_are_announced_once_however_many_connections_they_have() {
    in_time(async {
        let address = start(example::serve);
        let (mut ann, online) = enter(address, "Ann").await;
        assert_eq!(online, json!([]));
        let (ben, online) = enter(address, "Ben").await;
        assert_eq!(online, json!(["Ann"]));
        assert_eq!(ann.next_json().await, json!({"type": "entered", "name": "Ben"}));

        let (again, online) = enter(address, "Ben").await;
        assert_eq!(online, json!(["Ann", "Ben"]));
        again.close().await;
        let (cleo, _) = enter(address, "Cleo").await;
        assert_eq!(ann.next_json().await, json!({"type": "entered", "name": "Cleo"}), "nothing about Ben");

        ben.close().await;
        assert_eq!(ann.next_json().await, json!({"type": "left", "name": "Ben"}));
        // A connection that is lost without a Close frame.
        drop(cleo);
        assert_eq!(ann.next_json().await, json!({"type": "left", "name": "Cleo"}));
    })
    .await;
}

/// Ben's browser answers the pings of the protocol (RFC 6455 section 5.5.2), but his page does not answer heartbeats.
#[tokio::test(start_paused = true)]
async fn a_client_that_misses_its_heartbeats_is_closed() {
    let frozen = Frozen::new();
    while_time_passes(async {
        let address = start(example::serve);
        let ((mut ann, _), (mut ben, _)) = (enter(address, "Ann").await, enter(address, "Ben").await);
        ann.next_json().await;
        for _ in 0..2 {
            Page::pass(20, &mut [&mut ann, &mut ben]).await;
            assert_eq!(ann.next_json().await, json!({"type": "ping"}));
            assert_eq!(ben.next_json().await, json!({"type": "ping"}));
            ann.send(r#"{"type": "pong"}"#).await;
            ann.catch_up().await;
        }
        Page::pass(20, &mut [&mut ann, &mut ben]).await;
        assert_eq!(ann.next_json().await, json!({"type": "ping"}));
        assert_eq!(ben.next_close().await, (4000, "no heartbeat".to_owned()));
        assert_eq!(ann.next_json().await, json!({"type": "left", "name": "Ben"}));

        // Ann is alive, and gets on with her heartbeats.
        ann.send("hello").await;
        Page::pass(40, &mut [&mut ann]).await;
        assert_eq!(ann.next_json().await, json!({"type": "ping"}));
        ann.close().await;
    })
    .await;
    drop(frozen);
    // Timers of the server itself may still be pending for a while.
    for _ in 0..100 {
        if !time_passes().await {
            return;
        }
    }
    panic!("a timer is left");
}

/// Whether a timer is pending: while nothing else is to do, paused time passes until the next timer.
async fn time_passes() -> bool {
    let start = Instant::now();
    for _ in 0..50 {
        let (answer, answered) = tokio::sync::oneshot::channel();
        std::thread::spawn(move || answer.send(()));
        answered.await.expect("an answer");
    }
    Instant::now() > start
}
