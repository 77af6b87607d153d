use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Weak};

use bytes::Bytes;

/// A connection to a message bus, which joins the groups of several processes: pass it to
/// [`GroupManager::with_backplane`](crate::GroupManager::with_backplane).
///
/// An adapter implements this trait for a broker. [`LocalBus`](super::LocalBus) is the adapter for
/// one process.
///
/// # Rules for adapters
///
/// * **Nothing blocks.** The manager calls these methods under its locks, on the threads of
///   connections. An adapter enqueues the work for a task of its own. Its queues are bounded.
/// * **No method of the [`Sink`] is called from within a method of this trait**, except from the
///   future of `close`. The manager may call these methods from within the sink.
/// * **Order.** The messages of one node on one subject are delivered in the order of `publish`. For
///   one subject, one thread at a time calls [`Sink::deliver`].
/// * **At most once.** A message that cannot be delivered is dropped. The manager numbers the
///   messages, finds out on the other nodes which messages are missing, and drops repeated messages.
///   It also drops messages that come back to their own node.
/// * **Reconnects.** The adapter reconnects by itself, subscribes to all subjects again, and calls
///   [`Sink::connected`].
/// * **Prefix.** The adapter puts a prefix before each subject, so that several apps can share a
///   broker. The name of a group may have any characters, which the adapter encodes.
///
/// ```
/// use std::pin::Pin;
///
/// use react_websocket::Bytes;
/// use react_websocket::cluster::{Backplane, Health, PublishError, Sink, Subject};
/// use tokio::sync::mpsc;
///
/// /// What the task of the adapter does. It owns the connection to the broker.
/// enum Command {
///     Deliver(Sink),
///     Subscribe(String),
///     Unsubscribe(String),
///     Publish(String, Bytes),
///     Close,
/// }
///
/// struct BrokerBackplane {
///     commands: mpsc::Sender<Command>,
/// }
///
/// fn channel(subject: Subject<'_>) -> String {
///     match subject {
///         Subject::Group(name) => format!("shop:group:{name}"),
///         Subject::Control => "shop:control".to_owned(),
///     }
/// }
///
/// impl Backplane for BrokerBackplane {
///     fn start(&self, sink: Sink) {
///         let _ = self.commands.try_send(Command::Deliver(sink));
///     }
///
///     // A real adapter notes its subscriptions, since it has to repeat them.
///     fn subscribe(&self, subject: Subject<'_>) {
///         let _ = self.commands.try_send(Command::Subscribe(channel(subject)));
///     }
///
///     fn unsubscribe(&self, subject: Subject<'_>) {
///         let _ = self.commands.try_send(Command::Unsubscribe(channel(subject)));
///     }
///
///     fn publish(&self, subject: Subject<'_>, message: Bytes) -> Result<(), PublishError> {
///         let command = Command::Publish(channel(subject), message);
///         self.commands.try_send(command).map_err(|error| match error {
///             mpsc::error::TrySendError::Full(_) => PublishError::Full,
///             mpsc::error::TrySendError::Closed(_) => PublishError::Down,
///         })
///     }
///
///     fn health(&self) -> Health {
///         Health::new(!self.commands.is_closed(), self.commands.max_capacity() - self.commands.capacity())
///     }
///
///     fn close(&self) -> Pin<Box<dyn Future<Output = ()> + Send>> {
///         let commands = self.commands.clone();
///         Box::pin(async move {
///             let _ = commands.send(Command::Close).await;
///             // The task closes the channel when it has sent everything.
///             commands.closed().await;
///         })
///     }
/// }
/// ```
pub trait Backplane: Send + Sync + 'static {
    /// Begins to deliver messages into `sink`. The manager calls this method once, before all other
    /// methods except [`max_message`](Backplane::max_message).
    fn start(&self, sink: Sink);

    /// Subscribes to a subject. The manager subscribes to the control subject at its start, and to a
    /// group when its first member joins.
    fn subscribe(&self, subject: Subject<'_>);

    /// Ends a subscription. The manager calls this method some seconds after the last member of the
    /// group has left.
    fn unsubscribe(&self, subject: Subject<'_>);

    /// Enqueues a message to all nodes that have subscribed to this subject.
    ///
    /// # Errors
    /// If the message was dropped.
    fn publish(&self, subject: Subject<'_>, message: Bytes) -> Result<(), PublishError>;

    /// Returns whether the bus is up, and how far behind this node is.
    fn health(&self) -> Health;

    /// Sends all queued messages, and disconnects. A later `publish` returns
    /// [`PublishError::Down`].
    fn close(&self) -> Pin<Box<dyn Future<Output = ()> + Send>>;

    /// Returns the maximum size of a message, in bytes. Larger messages are neither published nor
    /// accepted. Default: 1 MiB.
    fn max_message(&self) -> usize {
        1 << 20
    }
}

/// What a message is published to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Subject<'a> {
    /// The group of this name.
    Group(&'a str),
    /// All nodes.
    Control,
}

/// The reason why a message was not published.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PublishError {
    /// The bus is down, or the adapter has been closed.
    #[error("the message bus is down")]
    Down,
    /// The adapter's queue is full.
    #[error("the queue to the message bus is full")]
    Full,
}

/// The health of a message bus, see
/// [`GroupManager::backplane_health`](crate::GroupManager::backplane_health).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Health {
    /// The node is connected to the bus.
    pub is_up: bool,
    /// The number of messages that wait in the adapter to be published or delivered.
    pub queued: usize,
}

impl Health {
    /// Creates a value, for adapters.
    ///
    /// ```
    /// use react_websocket::cluster::Health;
    ///
    /// assert!(Health::new(true, 0).is_up);
    /// ```
    pub fn new(is_up: bool, queued: usize) -> Health {
        Health { is_up, queued }
    }
}

/// The end of a message bus at a manager: what an adapter calls.
///
/// The bus is not trusted. [`deliver`](Sink::deliver) checks each message, and refuses a message
/// that is malformed. After the manager has been dropped, all methods do nothing.
#[derive(Clone)]
pub struct Sink(Weak<dyn Receiver>);

/// What a manager does with the calls of an adapter.
pub(crate) trait Receiver: Send + Sync {
    fn receive(&self, subject: Subject<'_>, message: &[u8]);
    fn connected(&self);
    fn unpublished(&self, messages: u64);
    fn refused(&self, messages: u64);
}

impl Sink {
    pub(crate) fn new(receiver: Weak<dyn Receiver>) -> Sink {
        Sink(receiver)
    }

    /// Delivers a message of the bus to the members of this node. This method may call listeners.
    /// It never waits for slow members.
    ///
    /// If several messages have arrived, call this method within [`cork`](crate::cork()), which
    /// saves system calls.
    pub fn deliver(&self, subject: Subject<'_>, message: &[u8]) {
        self.with(|receiver| receiver.receive(subject, message));
    }

    /// Reports that the node has connected to the bus again, and has all its subscriptions.
    pub fn connected(&self) {
        self.with(|receiver| receiver.connected());
    }

    /// Reports that the adapter has dropped messages after `publish` had accepted them.
    pub fn unpublished(&self, messages: u64) {
        self.with(|receiver| receiver.unpublished(messages));
    }

    /// Reports that the adapter has refused messages of the bus, for example because it cannot
    /// decode their subjects.
    pub fn refused(&self, messages: u64) {
        self.with(|receiver| receiver.refused(messages));
    }

    fn with(&self, work: impl FnOnce(&dyn Receiver)) {
        if let Some(receiver) = self.0.upgrade() {
            work(&*receiver);
        }
    }
}

impl fmt::Debug for Sink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sink")
    }
}

macro_rules! forward {
    ($($pointer:ident)+) => {$(
        impl<B: Backplane + ?Sized> Backplane for $pointer<B> {
            fn start(&self, sink: Sink) {
                (**self).start(sink);
            }

            fn subscribe(&self, subject: Subject<'_>) {
                (**self).subscribe(subject);
            }

            fn unsubscribe(&self, subject: Subject<'_>) {
                (**self).unsubscribe(subject);
            }

            fn publish(&self, subject: Subject<'_>, message: Bytes) -> Result<(), PublishError> {
                (**self).publish(subject, message)
            }

            fn health(&self) -> Health {
                (**self).health()
            }

            fn close(&self) -> Pin<Box<dyn Future<Output = ()> + Send>> {
                (**self).close()
            }

            fn max_message(&self) -> usize {
                (**self).max_message()
            }
        }
    )+};
}
forward!(Arc Box);
