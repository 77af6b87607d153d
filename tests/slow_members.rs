//! Slow members of groups (`SlowMemberPolicy`): what is held for them takes bounded memory.

mod support;

use react_websocket::options::SlowMemberPolicy;
use react_websocket::{ConnectionGroup, GroupManager, HttpServer, WebSocketMiddleware, WebSocketOptions};
use support::*;
use tokio::io::DuplexStream;
use tokio::sync::mpsc;

const SOFT_LIMIT: usize = 64 * 1024;

/// A member of so many groups that reads nothing, and has more unsent than the soft limit.
async fn slow_member(groups: usize) -> (Vec<ConnectionGroup>, Peer<DuplexStream>) {
    let manager = GroupManager::new();
    let options = WebSocketOptions::new().ping_interval(None).write_buffer_soft_limit(SOFT_LIMIT);
    let websocket = WebSocketMiddleware::new().with_options(options);
    let (open, mut opened) = mpsc::unbounded_channel();
    websocket.on("connection", move |connection| {
        let _ = open.send(connection);
    });
    let (peer, _) = Peer::open_in_memory(&HttpServer::new((websocket, router))).await;
    let connection = opened.recv().await.unwrap();
    let groups = (0..groups).map(|number| {
        let group = manager.join(number.to_string(), connection).unwrap();
        group.set_slow_member_policy(SlowMemberPolicy::DropOldest);
        group
    });
    let groups = groups.collect();
    // More than is in flight in memory.
    while connection.buffered_amount() < SOFT_LIMIT {
        connection.write("x".repeat(SOFT_LIMIT));
        settle().await;
    }
    (groups, peer)
}

#[tokio::test(start_paused = true)]
async fn messages_of_a_byte_are_held_in_little_more_memory_than_the_soft_limit() {
    for (count, bound) in [(1, SOFT_LIMIT), (2, 3 * SOFT_LIMIT), (100, 3 * SOFT_LIMIT)] {
        let (groups, _peer) = slow_member(count).await;
        let counted = allocation_counter::measure(|| {
            for number in 0..100_000 {
                groups[number % count].write("x");
            }
        });
        let dropped: u64 = groups.iter().map(ConnectionGroup::dropped).sum();
        assert!(dropped > 90_000, "{dropped}");
        assert!(counted.bytes_max < bound as u64, "{count} groups: {} bytes", counted.bytes_max);
    }
}

#[tokio::test(start_paused = true)]
async fn messages_of_a_kilobyte_are_held_in_little_more_memory_than_the_soft_limit() {
    let (groups, _peer) = slow_member(2).await;
    let text = "x".repeat(1024);
    let counted = allocation_counter::measure(|| {
        for number in 0..10_000 {
            groups[number % 2].write(&text);
        }
    });
    assert!(counted.bytes_max < 3 * SOFT_LIMIT as u64, "{} bytes", counted.bytes_max);
}
