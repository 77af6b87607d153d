//! Nodes of a cluster on any bus, for tests in paused time.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use react_websocket::cluster::{Backplane, NodeId, Subject};
use react_websocket::stats::GroupStats;
use react_websocket::{GroupManager, WebSocketConnection};
use tokio::io::DuplexStream;
use tokio::time::sleep;

use crate::support::groups::Server;
use crate::support::{Peer, settle};

/// A message bus that the suite can test.
pub trait Bus: Sized {
    type Node: Backplane + Faults + Clone;

    fn start() -> Self;
    fn node(&self, prefix: &str) -> Self::Node;
    /// Publishes any bytes, as a foreign program.
    fn inject(&self, prefix: &str, subject: Subject<'_>, message: &[u8]);
}

/// The faults that a bus can have at one node.
pub trait Faults {
    /// The node loses its connection, with everything in both directions.
    fn cut(&self);
    fn heal(&self);
    /// The next messages to the node are lost without notice.
    fn lose(&self, messages: u64);
    /// The next messages to the node arrive twice.
    fn repeat(&self, messages: u64);
    /// The groups that the node has subscribed to.
    fn subscriptions(&self) -> Vec<String>;
}

/// A node: a server with connections in memory.
pub struct Node<B: Bus> {
    pub server: Server,
    pub groups: GroupManager,
    pub backplane: B::Node,
    /// The `gap` events: the name of the group, and the number of messages.
    pub gaps: Arc<Mutex<Vec<(String, u64)>>>,
}

impl<B: Bus> Node<B> {
    pub fn new(bus: &B, prefix: &str) -> Node<B> {
        let (server, backplane, gaps) = (Server::new(), bus.node(prefix), Arc::new(Mutex::new(Vec::new())));
        let groups = server.groups.clone().with_backplane(backplane.clone());
        let reported = gaps.clone();
        groups.on("create", move |group| {
            let reported = reported.clone();
            group.on_gap(move |messages| reported.lock().unwrap().push((group.name().to_string(), messages)));
        });
        Node { server, groups, backplane, gaps }
    }

    /// Opens a connection that joins these groups.
    pub async fn member(&mut self, groups: &[&str]) -> (WebSocketConnection, Peer<DuplexStream>) {
        let opened = self.server.open("member").await;
        for group in groups {
            self.groups.join(*group, opened.0).unwrap();
        }
        opened
    }

    pub fn id(&self) -> NodeId {
        self.groups.node_id()
    }

    pub fn stats(&self) -> GroupStats {
        self.groups.stats()
    }

    pub fn take_gaps(&self) -> Vec<(String, u64)> {
        std::mem::take(&mut self.gaps.lock().unwrap())
    }
}

/// Nodes on one bus that know each other.
pub async fn nodes<B: Bus>(bus: &B, count: usize) -> Vec<Node<B>> {
    let nodes: Vec<_> = (0..count).map(|_| Node::new(bus, "shop")).collect();
    settle().await;
    nodes
}

/// The time after which a loss in a new group is noticed: documented in docs/cluster.md.
pub async fn until_losses_count() {
    sleep(Duration::from_secs(11)).await;
}

/// All messages that a peer has received so far, in order.
pub async fn received(peer: &mut Peer<DuplexStream>, connection: WebSocketConnection) -> Vec<String> {
    settle().await;
    connection.write("end of what was received");
    let mut texts = Vec::new();
    loop {
        let text = peer.text().await;
        if text == "end of what was received" {
            return texts;
        }
        texts.push(text);
    }
}
