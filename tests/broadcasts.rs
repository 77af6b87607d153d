//! Broadcasts: one order for all members, whoever writes, and on whichever runtime.

mod support;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};
use std::thread::JoinHandle;
use std::time::Duration;

use react_websocket::options::SlowMemberPolicy;
use react_websocket::{
    ConnectionGroup, GroupManager, HttpServer, SocketServer, WebSocketConnection, WebSocketMiddleware, WebSocketOptions,
};
use support::*;
use tokio::io::DuplexStream;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::timeout;

/// A server whose connections are members of one group, and whose peers are connected.
struct Room<S> {
    websocket: WebSocketMiddleware,
    group: ConnectionGroup,
    connections: Vec<WebSocketConnection>,
    peers: Vec<Peer<S>>,
}

/// A server, its middleware, and its connections as they come, each of which is put into the group `room`.
fn server(
    groups: GroupManager,
    options: WebSocketOptions,
) -> (HttpServer, WebSocketMiddleware, mpsc::UnboundedReceiver<WebSocketConnection>) {
    let options = options.ping_interval(None);
    let websocket = WebSocketMiddleware::new().with_options(options).with_group_manager(groups);
    let (open, opened) = mpsc::unbounded_channel();
    websocket.on("connection", move |connection: WebSocketConnection| {
        let _ = open.send(connection);
        connection.set_group(Some("room"))
    });
    (HttpServer::new((websocket.clone(), router)), websocket, opened)
}

impl Room<TcpStream> {
    async fn over_tcp(options: WebSocketOptions, members: usize) -> Room<TcpStream> {
        let (http, websocket, mut opened) = server(GroupManager::new(), options);
        let socket = SocketServer::new("127.0.0.1:0").unwrap();
        let address: SocketAddr = socket.local_address().unwrap();
        http.listen(socket);
        let (mut connections, mut peers) = (Vec::new(), Vec::new());
        for _ in 0..members {
            peers.push(Peer::open(address).await);
            connections.push(opened.recv().await.unwrap());
        }
        // A connection is counted when its task goes on behind the 101, which the peer may have read before.
        while websocket.len() < members {
            tokio::task::yield_now().await;
        }
        let group = connections[0].group().unwrap();
        Room { websocket, group, connections, peers }
    }
}

impl Room<DuplexStream> {
    /// A room in memory. At most `capacity` bytes are in flight to each member.
    async fn in_memory(options: WebSocketOptions, members: usize, capacity: usize) -> Room<DuplexStream> {
        Room::in_memory_of(GroupManager::new(), options, members, capacity).await
    }

    async fn in_memory_of(
        groups: GroupManager,
        options: WebSocketOptions,
        members: usize,
        capacity: usize,
    ) -> Room<DuplexStream> {
        let (http, websocket, mut opened) = server(groups, options);
        let (mut connections, mut peers) = (Vec::new(), Vec::new());
        for _ in 0..members {
            let (mut peer, _) = Peer::serve_with_capacity(&http, capacity);
            peer.shake_hands().await;
            connections.push(opened.recv().await.unwrap());
            peers.push(peer);
        }
        let group = connections[0].group().unwrap();
        Room { websocket, group, connections, peers }
    }
}

/// Has each of three threads call `write` for the numbers up to `count`, all at the same time.
fn race(count: usize, write: impl Fn(&str) + Clone + Send + 'static) -> [JoinHandle<()>; 3] {
    let begin = Arc::new(Barrier::new(3));
    [0, 1, 2].map(|thread| {
        let (begin, write) = (begin.clone(), write.clone());
        std::thread::spawn(move || {
            begin.wait();
            (0..count).for_each(|number| write(&format!("{thread} {number}")));
        })
    })
}

/// The next `count` messages of each peer.
async fn texts<S>(peers: &mut [Peer<S>], count: usize) -> Vec<Vec<String>>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    let mut all = Vec::new();
    for peer in peers {
        let mut texts = Vec::new();
        while texts.len() < count {
            texts.push(timeout(Duration::from_secs(30), peer.text()).await.expect("one more message"));
        }
        all.push(texts);
    }
    all
}

/// Whether what two have got of the same messages came in the same order, whatever either has missed.
fn agree(one: &[String], other: &[String]) -> bool {
    let places: HashMap<&String, usize> = other.iter().zip(0..).collect();
    one.iter().filter_map(|text| places.get(text)).is_sorted()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_members_of_a_group_get_its_messages_in_one_order_whoever_writes() {
    let mut room = Room::over_tcp(WebSocketOptions::new().write_buffer_hard_limit(usize::MAX), 24).await;
    let group = room.group;
    race(300, move |text| group.write(text));
    let all = texts(&mut room.peers, 900).await;
    assert!(all.iter().all(|texts| *texts == all[0]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_connections_of_a_middleware_receive_broadcasts_in_one_order() {
    let mut room = Room::over_tcp(WebSocketOptions::new().write_buffer_hard_limit(usize::MAX), 24).await;
    let websocket = room.websocket.clone();
    race(300, move |text| websocket.write_all(text));
    let all = texts(&mut room.peers, 900).await;
    assert!(all.iter().all(|texts| *texts == all[0]));
}

#[tokio::test]
async fn a_message_to_all_except_one_reaches_all_others() {
    let mut room = Room::over_tcp(WebSocketOptions::new(), 3).await;
    let sender = room.connections[1];
    room.websocket.write_except(sender, "from 1");
    room.websocket.write_binary_except(sender, b"from 1");
    room.websocket.write_all("to all");
    for (place, peer) in room.peers.iter_mut().enumerate() {
        if place != 1 {
            assert_eq!(peer.text().await, "from 1");
            let binary = peer.frame().await.expect("a message");
            assert_eq!((binary.opcode, &*binary.payload), (2, &b"from 1"[..]));
        }
        assert_eq!(peer.text().await, "to all");
    }
    room.connections[1].terminate();
    room.websocket.write_except(sender, "it has left");
    assert_eq!(room.peers[0].text().await, "it has left");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_that_miss_messages_get_the_others_in_the_same_order() {
    for policy in [SlowMemberPolicy::DropNew, SlowMemberPolicy::DropOldest, SlowMemberPolicy::KeepLatest] {
        let mut room = Room::in_memory(WebSocketOptions::new().write_buffer_soft_limit(16 * 1024), 24, 4096).await;
        let group = room.group;
        group.set_slow_member_policy(policy);
        let writing = race(2_000, move |text| group.write(text));
        tokio::task::spawn_blocking(move || writing.into_iter().for_each(|thread| thread.join().unwrap())).await.unwrap();
        let mut all = Vec::new();
        for (peer, connection) in room.peers.iter_mut().zip(&room.connections) {
            // The messages that are held for a member are sent before its Close frame.
            connection.end_with("end");
            let mut texts = Vec::new();
            while texts.last().is_none_or(|text| text != "end") {
                texts.push(timeout(Duration::from_secs(30), peer.text()).await.expect("one more message"));
            }
            assert!(texts.len() < 6_001, "{policy:?}: nothing was missed");
            all.push(texts);
        }
        for (place, texts) in all.iter().enumerate() {
            assert!(all[..place].iter().all(|other| agree(other, texts)), "{policy:?}, member {place}");
        }
    }
}

/// How many messages each peer gets before its Close.
async fn counts_before_close(peers: &mut [Peer<TcpStream>]) -> Vec<usize> {
    let mut counts = Vec::new();
    for peer in peers {
        let mut count = 0;
        while timeout(Duration::from_secs(30), peer.frame()).await.expect("a frame").expect("a Close").opcode != 8 {
            count += 1;
        }
        counts.push(count);
    }
    counts
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_reaches_all_members_or_none_when_another_thread_closes_them_all() {
    for round in 0..30 {
        let mut room = Room::over_tcp(WebSocketOptions::new().write_buffer_hard_limit(usize::MAX), 50).await;
        let (group, websocket, members) = (room.group, room.websocket.clone(), room.connections.clone());
        let of_group = round % 2 == 0;
        let written = Arc::new(AtomicUsize::new(0));
        let so_far = written.clone();
        let closing = std::thread::spawn(move || {
            while so_far.load(Ordering::Relaxed) < 20 {
                std::thread::yield_now();
            }
            if of_group { group.close_all("", 4000) } else { websocket.close_all("", 4000) }
        });
        let websocket = room.websocket.clone();
        let writing = std::thread::spawn(move || {
            while members.iter().any(WebSocketConnection::is_writable) {
                if of_group {
                    group.write("a")
                } else {
                    websocket.write_all("a")
                }
                written.fetch_add(1, Ordering::Relaxed);
            }
        });
        let counts = counts_before_close(&mut room.peers).await;
        closing.join().unwrap();
        writing.join().unwrap();
        assert!(counts.iter().all(|count| *count == counts[0]), "{counts:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broadcast_from_a_runtime_that_is_no_longer_driven_reaches_all_members() {
    let mut room = Room::in_memory(WebSocketOptions::new(), 600, 1 << 20).await;
    let group = room.group;
    let own = std::thread::spawn(move || {
        let own = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        own.block_on(async { group.write("tick") });
        own
    });
    // It is there as long as the test, and stands still.
    let own = tokio::task::spawn_blocking(|| own.join().unwrap()).await.unwrap();
    let all = texts(&mut room.peers, 1).await;
    assert!(all.iter().all(|texts| *texts == ["tick"]));
    tokio::task::spawn_blocking(|| drop(own)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_of_a_blocked_runtime_do_not_delay_members_of_another() {
    let groups = GroupManager::new();
    let (here, there) = (groups.clone(), groups.clone());
    let standing = tokio::task::spawn_blocking(move || {
        let standing = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let room = standing.block_on(Room::in_memory_of(there, WebSocketOptions::new(), 300, 1 << 20));
        (standing, room)
    });
    let (standing, there) = standing.await.unwrap();
    let mut here = Room::in_memory_of(here, WebSocketOptions::new(), 600, 1 << 20).await;
    assert_eq!((here.group, here.group.len()), (there.group, 900));
    let group = here.group;
    tokio::task::spawn_blocking(move || group.write("tick")).await.unwrap();
    let all = texts(&mut here.peers, 1).await;
    assert!(all.iter().all(|texts| *texts == ["tick"]));
    tokio::task::spawn_blocking(|| drop((standing, there))).await.unwrap();
}

/// A flush is a system call: 256 of them take some milliseconds, after which others have their turn.
#[tokio::test]
async fn a_broadcast_is_flushed_to_256_members_and_to_the_others_by_a_task() {
    let room = Room::over_tcp(WebSocketOptions::new(), 300).await;
    let unsent = || room.connections.iter().filter(|connection| connection.buffered_amount() > 0).count();
    room.group.write("tick");
    assert_eq!(unsent(), 300 - 1 - 256, "the first that is written to is flushed in any case");
    tokio::task::yield_now().await;
    assert_eq!(unsent(), 0);
}

#[tokio::test]
async fn a_broadcast_above_the_soft_limit_is_followed_by_drain() {
    let mut room = Room::over_tcp(WebSocketOptions::new().write_buffer_soft_limit(1_000), 1).await;
    let (drained, mut drains) = mpsc::unbounded_channel();
    room.connections[0].on("drain", move || drained.send(()).is_ok());
    // The socket takes all of it at once, but more than the limit was unsent until the end of the turn.
    room.group.write("x".repeat(999));
    assert_eq!(texts(&mut room.peers, 1).await[0][0].len(), 999);
    timeout(Duration::from_secs(30), drains.recv()).await.expect("`drain`");
    // Nothing more than the limit was unsent.
    room.group.write("x".repeat(900));
    assert_eq!(texts(&mut room.peers, 1).await[0][0].len(), 900);
    tokio::task::yield_now().await;
    assert!(drains.try_recv().is_err());
}
