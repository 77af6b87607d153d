//! The groups of a manager in a cluster.

use std::num::NonZeroU64;
use std::sync::{Arc, Weak};

use parking_lot::RwLockReadGuard;
use tokio::time::sleep;

use super::event::GroupEvent;
use super::handle::ConnectionGroup;
use super::manager::GroupManager;
use super::registry::Registry;
use super::slot::State;
use crate::cluster::{Backplane, Content, HEARTBEAT, Health, MemberId, Node, NodeId, Receiver, Sink, Subject};
use crate::protocol::Opcode;
use crate::websocket::{Message, WebSocketConnection, broadcast_to_group, cork};

/// # Clusters
///
/// A manager with a backplane is a node of a cluster. Writes to its groups reach the members on all
/// nodes, see [`cluster`](crate::cluster).
impl GroupManager {
    /// Joins the groups of this manager with those of all other managers on the same message bus.
    /// This starts a task on the present tokio runtime.
    ///
    /// Call this method once, before the first connection joins a group. Clones are the same
    /// manager, also clones that were made before.
    ///
    /// ```
    /// use react_websocket::GroupManager;
    /// use react_websocket::cluster::LocalBus;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// let bus = LocalBus::new();
    /// let groups = GroupManager::new().with_backplane(bus.node("shop"));
    /// groups.write("news", "to all members on all nodes");
    /// # }
    /// ```
    ///
    /// # Panics
    /// Outside of a tokio runtime. If the manager already has a backplane or groups.
    #[track_caller]
    pub fn with_backplane(self, backplane: impl Backplane) -> GroupManager {
        assert!(self.is_empty(), "a manager gets its backplane before it has groups");
        let node = Arc::new(Node::new(self.node_id(), Box::new(backplane)));
        assert!(self.registry.node.set(node.clone()).is_ok(), "the manager already has a backplane");
        let registry = Arc::downgrade(&self.registry);
        node.start(Sink::new(registry.clone()));
        tokio::spawn(keep_alive(registry));
        self
    }

    /// Returns the id of this node.
    pub fn node_id(&self) -> NodeId {
        *self.registry.id.get_or_init(NodeId::random)
    }

    /// Returns the id of a connection of this process in the whole cluster, for
    /// [`write_except`](GroupManager::write_except).
    pub fn member_id(&self, connection: WebSocketConnection) -> MemberId {
        MemberId { node: self.node_id(), connection: connection.id() }
    }

    /// Returns the other nodes that are up. A node that leaves by
    /// [`close_backplane`](GroupManager::close_backplane) is gone at once. A node that has died, or
    /// that the bus no longer reaches, is gone after 15 to 20 seconds.
    pub fn nodes(&self) -> Vec<NodeId> {
        self.registry.node.get().map(|node| node.peers()).unwrap_or_default()
    }

    /// Returns whether the message bus is up, and how far behind this node is. `None` without a
    /// backplane.
    pub fn backplane_health(&self) -> Option<Health> {
        self.registry.node.get().map(|node| node.health())
    }

    /// Leaves the cluster: announces the last messages and the end of this node, sends all queued
    /// messages, and disconnects. The groups of this process go on without the other nodes.
    ///
    /// Call this method at the end of a server, after [`Listening::close`](crate::Listening::close).
    pub async fn close_backplane(&self) {
        let Some(closed) = self.registry.node.get().map(|node| node.close()) else { return };
        closed.await;
    }

    /// Sends a text or binary message to all members of the group of this name, like
    /// [`write`](GroupManager::write).
    pub fn write_message(&self, name: &str, message: &Message) {
        match message {
            Message::Text(text) => self.write(name, text),
            Message::Binary(bytes) => self.write_binary(name, bytes),
        }
    }

    /// Sends a text message to all members of the group of this name except `member`. The member may
    /// be a connection of another node.
    ///
    /// ```
    /// use react_websocket::cluster::MemberId;
    /// use react_websocket::{GroupManager, WebSocketConnection};
    ///
    /// fn serve(groups: GroupManager, connection: WebSocketConnection) {
    ///     let member: MemberId = groups.member_id(connection);
    ///     connection.on("text", move |text: &str| groups.write_except("news", member, text));
    /// }
    /// ```
    pub fn write_except(&self, name: &str, member: MemberId, text: impl AsRef<str>) {
        self.registry.send(name, Content::Text { text: text.as_ref(), except: Some(member) });
    }

    /// Sends a binary message to all members of the group of this name except `member`, like
    /// [`write_except`](GroupManager::write_except).
    pub fn write_binary_except(&self, name: &str, member: MemberId, bytes: impl AsRef<[u8]>) {
        self.registry.send(name, Content::Binary { bytes: bytes.as_ref(), except: Some(member) });
    }

    /// [Closes](WebSocketConnection::close_with) all members of the group of this name, on all
    /// nodes. The reason comes before the code, as in ReactPHP.
    pub fn close_group(&self, name: &str, reason: impl AsRef<str>, code: u16) {
        self.registry.send(name, Content::close_all(code, reason.as_ref()));
    }
}

/// Calls what is due at regular intervals, until the manager is dropped or has left the cluster.
async fn keep_alive(registry: Weak<Registry>) {
    loop {
        match registry.upgrade().and_then(|registry| registry.node.get().cloned()) {
            Some(node) if !node.is_closed() => node.tick(),
            _ => return,
        }
        sleep(HEARTBEAT).await;
    }
}

impl Registry {
    /// Sends to the members of a group here, if it exists, and on all other nodes.
    fn send(&self, name: &str, content: Content<'_>) {
        let group = self.groups.get(name).map(|group| *group);
        if !group.is_some_and(|group| group.send(content, self.except_here(content))) {
            self.send_elsewhere(name, content);
        }
    }

    /// Sends to the members of a group that does not exist here.
    #[cold]
    pub(super) fn send_elsewhere(&self, name: &str, content: Content<'_>) {
        if let Some(node) = self.node.get() {
            node.publish(Subject::Group(name), content, || {});
        }
    }

    /// Closes the members of all groups on all other nodes.
    pub(super) fn close_elsewhere(&self, code: u16, reason: &str) {
        if let Some(node) = self.node.get() {
            node.publish(Subject::Control, Content::close_all(code, reason), || {});
        }
    }

    /// The excluded connection, if it is one of this process.
    fn except_here(&self, content: Content<'_>) -> Option<WebSocketConnection> {
        match content {
            Content::Text { except: Some(member), .. } | Content::Binary { except: Some(member), .. } => {
                let is_here = self.id.get() == Some(&member.node);
                // Handles are equal if their numbers are.
                let number = NonZeroU64::new(member.connection).filter(|_| is_here);
                number.map(|number| WebSocketConnection::new(u32::MAX, number))
            }
            _ => None,
        }
    }
}

impl Receiver for Registry {
    fn receive(&self, subject: Subject<'_>, message: &[u8]) {
        let Some(node) = self.node.get().filter(|node| !node.is_closed()) else { return };
        let Some(received) = node.accept(subject, message) else { return };
        let Subject::Group(name) = subject else {
            node.counts.lost.add(received.missing);
            if let Some(Content::CloseAll { code, reason }) = received.content {
                node.counts.delivered.add(1);
                let groups: Vec<_> = self.groups.iter().map(|group| *group).collect();
                groups.iter().for_each(|group| group.close_here(code, reason));
            }
            return;
        };
        // The last member has left, and the subscription has not ended yet.
        let Some(group) = self.groups.get(name).map(|group| *group) else { return };
        if received.missing > 0 {
            node.counts.lost.add(received.missing);
            group.push_gap(received.missing);
            self.emit_pending();
        }
        if let Some(content) = received.content {
            node.counts.delivered.add(1);
            group.send_here(content, self.except_here(content));
        }
    }

    fn connected(&self) {
        if let Some(node) = self.node.get() {
            node.reconnected();
        }
    }

    fn unpublished(&self, messages: u64) {
        if let Some(node) = self.node.get() {
            node.counts.unpublished.add(messages);
        }
    }

    fn refused(&self, messages: u64) {
        if let Some(node) = self.node.get() {
            node.counts.refused.add(messages);
        }
    }
}

impl ConnectionGroup {
    /// Sends to the members here and on all other nodes. Returns whether the group exists.
    fn send(&self, content: Content<'_>, except: Option<WebSocketConnection>) -> bool {
        match content {
            Content::Text { text, .. } => self.broadcast_as(Opcode::Text, text.as_bytes(), except, Some(content)),
            Content::Binary { bytes, .. } => self.broadcast_as(Opcode::Binary, bytes, except, Some(content)),
            Content::CloseAll { code, reason } => self.close_everywhere(code, reason),
        }
    }

    /// Sends to the members here only.
    fn send_here(&self, content: Content<'_>, except: Option<WebSocketConnection>) {
        match content {
            Content::Text { text, .. } => _ = self.broadcast_as(Opcode::Text, text.as_bytes(), except, None),
            Content::Binary { bytes, .. } => _ = self.broadcast_as(Opcode::Binary, bytes, except, None),
            Content::CloseAll { code, reason } => self.close_here(code, reason),
        }
    }

    fn broadcast_as(
        &self,
        opcode: Opcode,
        payload: &[u8],
        except: Option<WebSocketConnection>,
        elsewhere: Option<Content<'_>>,
    ) -> bool {
        cork(|| {
            let Some(state) = self.read() else { return false };
            self.broadcast_with(state, opcode, payload, except, elsewhere);
            true
        })
    }

    /// Broadcasts here and on all other nodes.
    #[inline(never)]
    pub(super) fn broadcast_everywhere(
        &self,
        state: RwLockReadGuard<'static, State>,
        opcode: Opcode,
        payload: &[u8],
        except: Option<WebSocketConnection>,
    ) {
        // The excluded member is a connection of this process, which no other node has.
        let content = match (opcode, str::from_utf8(payload)) {
            (Opcode::Text, Ok(text)) => Content::Text { text, except: None },
            _ => Content::Binary { bytes: payload, except: None },
        };
        self.broadcast_with(state, opcode, payload, except, Some(content));
    }

    fn broadcast_with(
        &self,
        state: RwLockReadGuard<'static, State>,
        opcode: Opcode,
        payload: &[u8],
        except: Option<WebSocketConnection>,
        elsewhere: Option<Content<'_>>,
    ) {
        let registry = state.registry.clone();
        let node = registry.as_ref().and_then(|registry| registry.node.get());
        let mut missed = Vec::new();
        // Not shared with the broadcast without a backplane, into which the compiler inlines it.
        let mut here = || {
            let members = state.members.iter().copied().filter(|member| Some(*member) != except);
            let (order, number) = (&self.slot().order, self.number.get());
            missed = broadcast_to_group(members, order, opcode, payload, number, state.policy);
        };
        match node.zip(elsewhere) {
            Some((node, content)) => node.publish(Subject::Group(&state.name), content, here),
            None => here(),
        }
        if !missed.is_empty() {
            self.report_missed(state, missed);
        }
    }

    /// Closes the members here and on all other nodes. Returns whether the group exists.
    pub(super) fn close_everywhere(&self, code: u16, reason: &str) -> bool {
        let Some((name, registry)) = self.read().map(|state| (state.name.clone(), state.registry.clone())) else {
            return false;
        };
        // Must be before the stream is locked, since writers lock the group first.
        let members = self.members();
        let close_here = || self.close_these(&members, code, reason);
        match registry.as_ref().and_then(|registry| registry.node.get()) {
            Some(node) => {
                cork(|| node.publish(Subject::Group(&name), Content::close_all(code, reason), close_here));
            }
            None => close_here(),
        }
        true
    }

    fn push_gap(&self, missing: u64) {
        if let Some(state) = self.read() {
            state.push_event(GroupEvent::Gap(*self, missing));
        }
    }
}
