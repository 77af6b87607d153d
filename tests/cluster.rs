//! Groups across several nodes: the conformance suite of message buses, run on `LocalBus`.

mod support;

#[path = "cluster/accounting.rs"]
mod accounting;
#[path = "cluster/conformance.rs"]
mod conformance;
#[path = "cluster/nodes.rs"]
mod nodes;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::RecvTimeoutError;

use nodes::{Bus, Faults, Node};
use react_websocket::GroupManager;
use react_websocket::cluster::{LocalBackplane, LocalBus, Subject};

impl Bus for LocalBus {
    type Node = LocalBackplane;

    fn start() -> LocalBus {
        LocalBus::new()
    }

    fn node(&self, prefix: &str) -> LocalBackplane {
        LocalBus::node(self, prefix)
    }

    fn inject(&self, prefix: &str, subject: Subject<'_>, message: &[u8]) {
        LocalBus::inject(self, prefix, subject, message.to_vec());
    }
}

impl Faults for LocalBackplane {
    fn cut(&self) {
        LocalBackplane::cut(self);
    }

    fn heal(&self) {
        LocalBackplane::heal(self);
    }

    fn lose(&self, messages: u64) {
        LocalBackplane::lose(self, messages);
    }

    fn repeat(&self, messages: u64) {
        LocalBackplane::repeat(self, messages);
    }

    fn subscriptions(&self) -> Vec<String> {
        LocalBackplane::subscriptions(self)
    }
}

conformance!(LocalBus);

/// Several threads write, while the group comes and goes on their own node. The members on the other
/// node get the messages of each writer in order, and all of them in one order.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn threads_that_write_and_join_keep_the_order() {
    const MESSAGES: usize = 2_000;
    let bus = LocalBus::new();
    let (mut here, mut there) = (Node::new(&bus, "shop"), Node::new(&bus, "shop"));
    let (_first, mut first) = there.member(&["a"]).await;
    let (_second, mut second) = there.member(&["a"]).await;
    let (flapping, _peer) = here.member(&[]).await;
    let is_over = Arc::new(AtomicBool::new(false));
    let (groups, over) = (here.groups.clone(), is_over.clone());
    let flaps = std::thread::spawn(move || {
        while !over.load(Ordering::Relaxed) {
            groups.join("a", flapping).unwrap();
            groups.leave("a", flapping);
        }
    });
    let writers: Vec<_> = (0..3)
        .map(|writer| {
            let groups = here.groups.clone();
            std::thread::spawn(move || {
                (0..MESSAGES).for_each(|message| groups.write("a", format!("{writer} {message}")));
            })
        })
        .collect();
    let mut next: HashMap<String, usize> = HashMap::new();
    for _ in 0..3 * MESSAGES {
        let text = first.text().await;
        assert_eq!(text, second.text().await);
        let (writer, message) = text.split_once(' ').unwrap();
        let next = next.entry(writer.to_owned()).or_default();
        assert_eq!(message.parse(), Ok(*next));
        *next += 1;
    }
    is_over.store(true, Ordering::Relaxed);
    writers.into_iter().chain([flaps]).for_each(|thread| thread.join().unwrap());
    let stats = there.stats();
    assert_eq!((stats.lost, stats.repeated, stats.delivered), (0, 0, 3 * MESSAGES as u64));
}

#[tokio::test]
#[should_panic = "a manager gets its backplane before it has groups"]
async fn a_backplane_comes_before_the_groups() {
    let bus = LocalBus::new();
    let mut node = Node::new(&bus, "shop");
    let _member = node.member(&["a"]).await;
    node.groups.clone().with_backplane(bus.node("shop"));
}

#[tokio::test]
#[should_panic = "the manager already has a backplane"]
async fn a_manager_has_one_backplane() {
    let bus = LocalBus::new();
    GroupManager::new().with_backplane(bus.node("shop")).with_backplane(bus.node("shop"));
}

/// A node that does not read loses messages, and blocks no other node. Its losses are counted.
#[tokio::test(start_paused = true)]
async fn a_frozen_node_delays_nobody_and_counts_what_exceeds_its_queue() {
    const MESSAGES: u64 = 20_000;
    let bus = LocalBus::new();
    let mut nodes = nodes::nodes(&bus, 3).await;
    let (_slow, _slow_peer) = nodes[1].member(&["a"]).await;
    let (_other, mut other) = nodes[2].member(&["a"]).await;
    nodes[0].groups.write("a", "0");
    assert_eq!(other.text().await, "0");
    nodes[1].backplane.freeze();
    for message in 1..MESSAGES {
        nodes[0].groups.write("a", message.to_string());
        if message % 100 == 0 {
            support::settle().await;
        }
    }
    for message in 1..MESSAGES {
        assert_eq!(other.text().await, message.to_string());
    }
    assert_eq!(nodes[1].groups.backplane_health().map(|health| health.queued), Some(16 * 1024));
    nodes[1].backplane.thaw();
    tokio::time::sleep(std::time::Duration::from_secs(11)).await;
    let stats = nodes[1].stats();
    assert_eq!(stats.delivered + stats.lost, MESSAGES);
    assert!(stats.lost >= MESSAGES - 1 - 16 * 1024, "{stats:?}");
}

/// A delay changes neither the order nor the content.
#[tokio::test(start_paused = true)]
async fn a_slow_bus_delivers_later() {
    let bus = LocalBus::new();
    let mut nodes = nodes::nodes(&bus, 2).await;
    let (connection, mut peer) = nodes[1].member(&["a"]).await;
    nodes[1].backplane.set_delay(std::time::Duration::from_secs(1));
    let start = tokio::time::Instant::now();
    nodes[0].groups.write("a", "1");
    nodes[0].groups.write("a", "2");
    assert!(nodes::received(&mut peer, connection).await.is_empty());
    assert_eq!((peer.text().await, peer.text().await), ("1".to_owned(), "2".to_owned()));
    assert!((1_000..1_010).contains(&start.elapsed().as_millis()), "both have waited at the same time");
}

/// Writers, `close_all`, and members that join and leave at the same time: no thread waits forever.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn closing_and_writing_and_joining_at_the_same_time_ends() {
    // Threads that wait for each other block the runtime too.
    let (over, is_over) = std::sync::mpsc::channel::<()>();
    std::thread::spawn(move || {
        if is_over.recv_timeout(std::time::Duration::from_secs(60)) == Err(RecvTimeoutError::Timeout) {
            eprintln!("closing_and_writing_and_joining_at_the_same_time_ends: threads wait for each other");
            std::process::exit(101);
        }
    });
    let bus = LocalBus::new();
    let mut node = Node::new(&bus, "shop");
    for _ in 0..10 {
        let (first, _first_peer) = node.member(&["a"]).await;
        let (second, _second_peer) = node.member(&[]).await;
        let groups = node.groups.clone();
        let work = |work: Box<dyn Fn(&GroupManager) + Send>| {
            let (groups, (over, is_over)) = (groups.clone(), tokio::sync::oneshot::channel());
            std::thread::spawn(move || {
                (0..3_000).for_each(|_| work(&groups));
                over.send(())
            });
            is_over
        };
        let tasks = [
            work(Box::new(|groups| groups.write("a", "hello"))),
            work(Box::new(|groups| groups.write("a", "hello"))),
            work(Box::new(|groups| groups.close_group("a", "", 1000))),
            work(Box::new(move |groups| {
                let _ = groups.join("a", second);
                groups.leave("a", second);
            })),
        ];
        for task in tasks {
            task.await.unwrap();
        }
        first.close();
    }
    drop(over);
}
