//! Helpers of the tests of timeouts and rates, in paused time.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::{Frame, Pair, frame, settle};
use react_websocket::{Text, WebSocketOptions};
use tokio::io::DuplexStream;
use tokio::sync::Notify;
use tokio::time::{Instant, advance};

/// How late a deadline may be met. The runtime's own timers round up to a whole millisecond.
pub const LATE: Duration = Duration::from_millis(50 + 1);

pub const PING: u8 = 9;

pub const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

pub const fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// Nothing is timed but what a test sets.
pub fn no_timeouts() -> WebSocketOptions {
    WebSocketOptions::new().ping_interval(None).pong_timeout(None).write_timeout(None)
}

#[track_caller]
pub fn assert_on_time(took: Duration, limit: Duration) {
    assert!(took >= limit, "too early: {took:?} of {limit:?}");
    assert!(took <= limit + LATE, "too late: {took:?} of {limit:?}");
}

pub type InMemory = Pair<DuplexStream>;

/// The next frame, which is a ping.
pub async fn pinged(pair: &mut InMemory) -> Instant {
    let frame = pair.peer.frame().await.expect("a ping");
    assert_eq!(frame, Frame { fin: true, opcode: PING, payload: vec![] });
    Instant::now()
}

/// Reads until the server lets the connection go.
pub async fn ended(pair: &mut InMemory) -> Instant {
    pair.peer.rest().await;
    let end = Instant::now();
    settle().await;
    end
}

/// Answers pings for so long, and says how many.
pub async fn live(pair: &mut InMemory, time: Duration) -> u32 {
    let end = Instant::now() + time;
    let mut pings = 0;
    while let Ok(frame) = tokio::time::timeout_at(end, pair.peer.frame()).await {
        let frame = frame.expect("the connection lives");
        assert_eq!(frame.opcode, PING, "{frame:?}");
        pair.peer.send(masked_pong()).await;
        pings += 1;
    }
    pings
}

/// Has a deadline pass, and bytes arrive when the clock has woken the connection's task and that has not had its turn.
pub async fn send_behind_the_clock(mut pair: InMemory, deadline: Duration, bytes: Vec<u8>) -> InMemory {
    advance(deadline + LATE).await;
    // The clock is the next that has a turn, then this task, then those that the clock has woken.
    tokio::spawn(async move {
        pair.peer.send(bytes).await;
        pair
    })
    .await
    .unwrap()
}

pub fn masked_pong() -> Vec<u8> {
    frame(0x8A, "")
}

/// A listener of `text` that waits until the test wakes it, and records the texts that it received.
pub fn slow_listener(pair: &InMemory) -> (Arc<Notify>, Arc<Mutex<Vec<Text>>>) {
    let (go_on, texts) = (Arc::new(Notify::new()), Arc::new(Mutex::new(Vec::new())));
    let (gate, told) = (go_on.clone(), texts.clone());
    pair.connection.on("text", move |text: Text| {
        let (gate, told) = (gate.clone(), told.clone());
        async move {
            let is_first = told.lock().unwrap().is_empty();
            told.lock().unwrap().push(text);
            if is_first {
                gate.notified().await;
            }
        }
    });
    (go_on, texts)
}
