use std::collections::{HashSet, VecDeque};
use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use super::backplane::{Backplane, Health, PublishError, Sink, Subject};

/// A message bus within one process: it joins several managers, for example one of each core, or
/// those of a test. A clone is the same bus.
///
/// ```
/// use react_websocket::GroupManager;
/// use react_websocket::cluster::LocalBus;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let bus = LocalBus::new();
/// let first = GroupManager::new().with_backplane(bus.node("shop"));
/// let second = GroupManager::new().with_backplane(bus.node("shop"));
/// // Reaches the members of the group "news" of both managers.
/// first.write("news", "hello");
/// # let _ = second;
/// # }
/// ```
#[derive(Clone, Default)]
pub struct LocalBus {
    /// While it is locked, a message is added to the queues of all nodes. So all nodes get all
    /// messages in one order.
    nodes: Arc<Mutex<Vec<Weak<Inner>>>>,
}

/// A node of a [`LocalBus`]. A clone is the same node. Tests keep a clone, and cause faults with it.
#[derive(Clone)]
pub struct LocalBackplane {
    inner: Arc<Inner>,
}

struct Inner {
    bus: LocalBus,
    prefix: Box<str>,
    state: Mutex<State>,
    /// Wakes the task that delivers.
    changed: Arc<Notify>,
}

#[derive(Default)]
struct State {
    sink: Option<Sink>,
    queue: VecDeque<Queued>,
    groups: HashSet<Box<str>>,
    has_control: bool,
    is_closed: bool,
    faults: Faults,
}

#[derive(Default)]
struct Faults {
    is_cut: bool,
    is_frozen: bool,
    delay: Duration,
    losses: u64,
    repeats: u64,
}

struct Queued {
    due: Instant,
    /// The name of the group, or `None` for the control subject.
    group: Option<Box<str>>,
    message: Bytes,
}

/// Maximum number of messages that wait for their delivery. A node that is so far behind loses
/// messages.
const QUEUE_MAX: usize = 16 * 1024;

/// After this number of messages other tasks have their turn.
const TURN: usize = 64;

impl LocalBus {
    /// Creates a bus without nodes.
    pub fn new() -> LocalBus {
        LocalBus::default()
    }

    /// Creates a node. Only nodes with the same prefix reach each other.
    pub fn node(&self, prefix: &str) -> LocalBackplane {
        let inner =
            Arc::new(Inner { bus: self.clone(), prefix: prefix.into(), state: Mutex::default(), changed: Arc::default() });
        let mut nodes = self.nodes.lock();
        nodes.retain(|node| node.strong_count() > 0);
        nodes.push(Arc::downgrade(&inner));
        drop(nodes);
        LocalBackplane { inner }
    }

    /// Publishes any bytes, as another program that uses the same broker may do.
    pub fn inject(&self, prefix: &str, subject: Subject<'_>, message: impl Into<Bytes>) {
        let message = message.into();
        // Dropped outside of the lock, since they may be the last ones.
        let nodes: Vec<Arc<Inner>> = {
            let nodes = self.nodes.lock();
            let reached: Vec<_> = nodes.iter().filter_map(Weak::upgrade).collect();
            reached.iter().filter(|node| *node.prefix == *prefix).for_each(|node| node.push(subject, &message));
            reached
        };
        drop(nodes);
    }
}

/// # Faults
impl LocalBackplane {
    /// Cuts the node off: the bus is down, and messages in both directions are lost.
    pub fn cut(&self) {
        self.inner.state.lock().faults.is_cut = true;
    }

    /// Connects the node again after [`cut`](LocalBackplane::cut).
    pub fn heal(&self) {
        let mut state = self.inner.state.lock();
        state.faults.is_cut = false;
        let sink = state.sink.clone();
        drop(state);
        if let Some(sink) = sink {
            sink.connected();
        }
    }

    /// Delivers nothing until [`thaw`](LocalBackplane::thaw). Messages to the node are queued. When
    /// 16,384 messages are queued, further messages are lost.
    pub fn freeze(&self) {
        self.inner.state.lock().faults.is_frozen = true;
    }

    /// Delivers the messages that were queued since [`freeze`](LocalBackplane::freeze).
    pub fn thaw(&self) {
        self.inner.state.lock().faults.is_frozen = false;
        self.inner.changed.notify_one();
    }

    /// Delivers each further message to the node after this time. Default: at once.
    pub fn set_delay(&self, delay: Duration) {
        self.inner.state.lock().faults.delay = delay;
    }

    /// Loses the next messages to the node: this number of them.
    pub fn lose(&self, messages: u64) {
        self.inner.state.lock().faults.losses = messages;
    }

    /// Delivers each of the next messages to the node twice: this number of them.
    pub fn repeat(&self, messages: u64) {
        self.inner.state.lock().faults.repeats = messages;
    }

    /// Returns the groups that the node has subscribed to.
    pub fn subscriptions(&self) -> Vec<String> {
        let mut groups: Vec<_> = self.inner.state.lock().groups.iter().map(|name| name.to_string()).collect();
        groups.sort_unstable();
        groups
    }
}

impl Backplane for LocalBackplane {
    /// Delivers in a task of the present tokio runtime.
    fn start(&self, sink: Sink) {
        self.inner.state.lock().sink = Some(sink.clone());
        tokio::spawn(deliver(Arc::downgrade(&self.inner), self.inner.changed.clone(), sink));
    }

    fn subscribe(&self, subject: Subject<'_>) {
        let mut state = self.inner.state.lock();
        match subject {
            Subject::Control => state.has_control = true,
            Subject::Group(name) => _ = state.groups.insert(name.into()),
        }
    }

    fn unsubscribe(&self, subject: Subject<'_>) {
        let mut state = self.inner.state.lock();
        match subject {
            Subject::Control => state.has_control = false,
            Subject::Group(name) => _ = state.groups.remove(name),
        }
    }

    fn publish(&self, subject: Subject<'_>, message: Bytes) -> Result<(), PublishError> {
        if !self.health().is_up {
            return Err(PublishError::Down);
        }
        self.inner.bus.inject(&self.inner.prefix, subject, message);
        Ok(())
    }

    fn health(&self) -> Health {
        let state = self.inner.state.lock();
        Health::new(!state.faults.is_cut && !state.is_closed, state.queue.len())
    }

    fn close(&self) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        let mut state = self.inner.state.lock();
        state.is_closed = true;
        state.queue.clear();
        self.inner.changed.notify_one();
        Box::pin(std::future::ready(()))
    }
}

impl Inner {
    fn push(&self, subject: Subject<'_>, message: &Bytes) {
        let mut state = self.state.lock();
        let is_subscribed = match subject {
            Subject::Control => state.has_control,
            Subject::Group(name) => state.groups.contains(name),
        };
        if !is_subscribed || state.is_closed || state.faults.is_cut || take_one(&mut state.faults.losses) {
            return;
        }
        let (due, times) = (Instant::now() + state.faults.delay, 1 + usize::from(take_one(&mut state.faults.repeats)));
        let group = match subject {
            Subject::Control => None,
            Subject::Group(name) => Some(name),
        };
        for _ in 0..times {
            if state.queue.len() < QUEUE_MAX {
                state.queue.push_back(Queued { due, group: group.map(Box::from), message: message.clone() });
            }
        }
        self.changed.notify_one();
    }

    /// Returns the next message, if there is one.
    fn next(&self) -> Option<Queued> {
        let mut state = self.state.lock();
        if state.faults.is_frozen { None } else { state.queue.pop_front() }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        // Ends the task.
        self.changed.notify_one();
    }
}

fn take_one(count: &mut u64) -> bool {
    let is_some = *count > 0;
    *count -= u64::from(is_some);
    is_some
}

/// Delivers the messages of a node, until it is closed or dropped.
async fn deliver(node: Weak<Inner>, changed: Arc<Notify>, sink: Sink) {
    loop {
        let mut turn = 0;
        // The node is not kept while the task waits.
        while let Some(queued) = node.upgrade().and_then(|node| node.next()) {
            if queued.due > Instant::now() {
                sleep_until(queued.due).await;
            }
            sink.deliver(queued.group.as_deref().map_or(Subject::Control, Subject::Group), &queued.message);
            turn += 1;
            if turn % TURN == 0 {
                tokio::task::yield_now().await;
            }
        }
        if node.upgrade().is_none_or(|node| node.state.lock().is_closed) {
            return;
        }
        changed.notified().await;
    }
}

impl fmt::Debug for LocalBus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalBus").field("nodes", &self.nodes.lock().len()).finish()
    }
}

impl fmt::Debug for LocalBackplane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalBackplane").field("prefix", &self.inner.prefix).field("health", &self.health()).finish()
    }
}
