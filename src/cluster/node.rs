use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::{Mutex, RwLock};
use tokio::time::Instant;

use super::backplane::{Backplane, Health, PublishError, Sink, Subject};
use super::counts::Counts;
use super::id::{MemberId, NodeId};
use super::interest::Interest;
use super::log::Log;
use super::peers::Peers;
use super::stream::{Admission, Outgoing};
use super::wire::{self, Body, Frame, OVERHEAD_MAX, Position};
use crate::protocol::close;
use crate::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// A manager's part of a cluster: what it sends, and what it has received.
///
/// Locks are taken in one order: the map, a stream or a subscription of it, and then the peers. A
/// writer no longer holds the map when it locks its stream. Under all of them
/// the adapter is called, which calls nothing back.
pub(crate) struct Node {
    id: NodeId,
    backplane: Box<dyn Backplane>,
    max_message: usize,
    /// The number of streams that were begun.
    streams: AtomicU64,
    outgoing: RwLock<HashMap<Box<str>, Arc<Mutex<Outgoing>>>>,
    outgoing_control: Mutex<Outgoing>,
    interests: RwLock<HashMap<Box<str>, Mutex<Interest>>>,
    control: Mutex<Interest>,
    peers: Mutex<Peers>,
    is_closed: AtomicBool,
    pub(crate) counts: Counts,
    log: Mutex<Log>,
}

/// A message or a close to members.
#[derive(Clone, Copy)]
pub(crate) enum Content<'a> {
    Text { text: &'a str, except: Option<MemberId> },
    Binary { bytes: &'a [u8], except: Option<MemberId> },
    CloseAll { code: u16, reason: &'a str },
}

/// A message of another node. `missing` messages before it were lost. A mark has no content.
pub(crate) struct Received<'a> {
    pub(crate) missing: u64,
    pub(crate) content: Option<Content<'a>>,
}

impl Node {
    pub(crate) fn new(id: NodeId, backplane: Box<dyn Backplane>) -> Node {
        Node {
            id,
            max_message: backplane.max_message(),
            backplane,
            streams: AtomicU64::new(1),
            outgoing: RwLock::default(),
            outgoing_control: Mutex::new(Outgoing::begin(1)),
            interests: RwLock::default(),
            control: Mutex::new(Interest::begin(Instant::now())),
            peers: Mutex::default(),
            is_closed: AtomicBool::new(false),
            counts: Counts::default(),
            log: Mutex::default(),
        }
    }

    pub(crate) fn start(&self, sink: Sink) {
        self.backplane.start(sink);
        self.backplane.subscribe(Subject::Control);
    }

    pub(crate) fn health(&self) -> Health {
        self.backplane.health()
    }

    /// The other nodes that are up.
    pub(crate) fn peers(&self) -> Vec<NodeId> {
        self.peers.lock().up()
    }

    /// Subscribes to a group, since a first member joins.
    pub(crate) fn interested(&self, name: &str) {
        match self.interests.write().entry(name.into()) {
            Entry::Occupied(entry) => entry.get().lock().resume(),
            Entry::Vacant(entry) => {
                entry.insert(Mutex::new(Interest::begin(Instant::now())));
                self.backplane.subscribe(Subject::Group(name));
            }
        }
    }

    /// Notes that the last member of a group has left.
    pub(crate) fn uninterested(&self, name: &str) {
        if let Some(interest) = self.interests.read().get(name) {
            interest.lock().pause();
        }
    }

    /// Sends a message to the members here, by `local`, and to those on all other nodes. Members get
    /// the messages of this node in the same order everywhere. The caller may hold the lock of the
    /// group, but `local` must not take it.
    pub(crate) fn publish(&self, subject: Subject<'_>, content: Content<'_>, local: impl FnOnce()) {
        self.with_stream(subject, |outgoing| {
            local();
            let at = outgoing.next();
            let is_published = self.send(subject, content.at(at)).is_ok();
            let count = if is_published { &self.counts.published } else { &self.counts.unpublished };
            count.add(1);
        });
    }

    fn with_stream(&self, subject: Subject<'_>, work: impl FnOnce(&mut Outgoing)) {
        let Subject::Group(name) = subject else { return work(&mut self.outgoing_control.lock()) };
        let mut known = self.outgoing.read().get(name).cloned();
        loop {
            let stream = known.take().unwrap_or_else(|| self.begin_stream(name));
            let mut outgoing = stream.lock();
            if !outgoing.is_forgotten {
                return work(&mut outgoing);
            }
        }
    }

    /// Returns the stream of a group. Begins a stream if the group has none.
    fn begin_stream(&self, name: &str) -> Arc<Mutex<Outgoing>> {
        let mut streams = self.outgoing.write();
        if let Some(stream) = streams.get(name).filter(|stream| !stream.lock().is_forgotten) {
            return stream.clone();
        }
        let number = self.streams.fetch_add(1, Ordering::Relaxed) + 1;
        let stream = Arc::new(Mutex::new(Outgoing::begin(number)));
        streams.insert(name.into(), stream.clone());
        stream
    }

    fn send(&self, subject: Subject<'_>, body: Body<'_>) -> Result<(), PublishError> {
        let size = match body {
            Body::Text { text, .. } => text.len(),
            Body::Binary { bytes, .. } => bytes.len(),
            _ => 0,
        };
        if size.saturating_add(OVERHEAD_MAX) > self.max_message {
            return Err(PublishError::Full);
        }
        if self.is_closed() {
            return Err(PublishError::Down);
        }
        self.send_last(subject, body)
    }

    /// Sends a message, also while the node leaves.
    fn send_last(&self, subject: Subject<'_>, body: Body<'_>) -> Result<(), PublishError> {
        self.backplane.publish(subject, Bytes::from(wire::encode(&Frame { node: self.id, body })))
    }

    /// Checks a message of the bus. Returns what is to be done for members, if anything.
    pub(crate) fn accept<'a>(&self, subject: Subject<'_>, message: &'a [u8]) -> Option<Received<'a>> {
        if message.len() > self.max_message {
            return self.refuse();
        }
        let Ok(Frame { node, body }) = wire::parse(message) else { return self.refuse() };
        if node == self.id {
            return None;
        }
        match (subject, body) {
            (Subject::Control, Body::Alive { streams }) => self.accept_alive(node, streams),
            (Subject::Control, Body::Bye) => {
                self.peers.lock().bye(node);
                None
            }
            (_, Body::Mark { at }) => self.admit(subject, node, at, None),
            (_, Body::CloseAll { at, code, reason }) => {
                self.admit(subject, node, at, Some(Content::CloseAll { code, reason }))
            }
            (Subject::Group(_), Body::Text { at, except, text }) => {
                self.admit(subject, node, at, Some(Content::Text { text, except }))
            }
            (Subject::Group(_), Body::Binary { at, except, bytes }) => {
                self.admit(subject, node, at, Some(Content::Binary { bytes, except }))
            }
            _ => self.refuse(),
        }
    }

    fn accept_alive(&self, node: NodeId, streams: u64) -> Option<Received<'static>> {
        let is_new = self.peers.lock().alive(node, streams, Instant::now());
        match is_new {
            // The new node learns of this one at once.
            Some(true) => self.show_alive(),
            Some(false) => {}
            None => return self.refuse(),
        }
        None
    }

    fn admit<'a>(
        &self,
        subject: Subject<'_>,
        node: NodeId,
        at: Position,
        content: Option<Content<'a>>,
    ) -> Option<Received<'a>> {
        let (now, is_mark) = (Instant::now(), content.is_none());
        let from_start = |since| self.peers.lock().began_after(node, at.stream, since);
        let admission = match subject {
            Subject::Control => self.control.lock().admit(node, at, is_mark, now, from_start),
            // Without a subscription this is a message that was still on its way.
            Subject::Group(name) => self.interests.read().get(name)?.lock().admit(node, at, is_mark, now, from_start),
        };
        match admission {
            Some(Admission::New { missing }) => Some(Received { missing, content }),
            Some(Admission::Repeated) => {
                self.counts.repeated.add(u64::from(!is_mark));
                None
            }
            None => self.refuse(),
        }
    }

    fn refuse<T>(&self) -> Option<T> {
        self.counts.refused.add(1);
        None
    }

    /// Announces all last messages again, since some may have been lost while the bus was down.
    pub(crate) fn reconnected(&self) {
        self.outgoing.read().values().for_each(|stream| stream.lock().repeat_marks());
        self.outgoing_control.lock().repeat_marks();
        self.show_alive();
    }

    fn show_alive(&self) {
        let streams = self.streams.load(Ordering::Relaxed);
        // If it is dropped, the next one follows soon.
        let _ = self.send(Subject::Control, Body::Alive { streams });
    }

    /// Does what is due at regular intervals.
    pub(crate) fn tick(&self) {
        let now = Instant::now();
        let mark = |subject: Subject<'_>, at| self.send(subject, Body::Mark { at }).is_ok();
        self.show_alive();
        let mut has_forgotten = false;
        for (name, stream) in &*self.outgoing.read() {
            let mut outgoing = stream.lock();
            outgoing.is_forgotten = outgoing.tick(|at| mark(Subject::Group(name), at));
            has_forgotten |= outgoing.is_forgotten;
        }
        if has_forgotten {
            self.outgoing.write().retain(|_, stream| !stream.lock().is_forgotten);
        }
        self.outgoing_control.lock().tick(|at| mark(Subject::Control, at));
        self.interests.write().retain(|name, interest| {
            let is_needed = interest.lock().tick(now);
            if !is_needed {
                self.backplane.unsubscribe(Subject::Group(name));
            }
            is_needed
        });
        self.control.lock().tick(now);
        let silent = self.peers.lock().tick(now);
        self.log.lock().tick(&self.counts, self.health().is_up, silent);
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.is_closed.load(Ordering::Relaxed)
    }

    /// Leaves the cluster, after announcing the last messages. Returns what disconnects.
    pub(crate) fn close(&self) -> impl Future<Output = ()> + Send + 'static {
        if !self.is_closed.swap(true, Ordering::Relaxed) {
            for (name, stream) in &*self.outgoing.read() {
                let at = stream.lock().last;
                let _ = self.send_last(Subject::Group(name), Body::Mark { at });
            }
            let _ = self.send_last(Subject::Control, Body::Bye);
        }
        self.backplane.close()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if !self.is_closed() {
            let _ = self.send(Subject::Control, Body::Bye);
        }
    }
}

impl<'a> Content<'a> {
    /// With the code and the reason that are sent in the Close frame.
    pub(crate) fn close_all(code: u16, reason: &'a str) -> Content<'a> {
        Content::CloseAll { code: close::sendable(code), reason: close::sendable_reason(reason) }
    }

    fn at(self, at: Position) -> Body<'a> {
        match self {
            Content::Text { text, except } => Body::Text { at, except, text },
            Content::Binary { bytes, except } => Body::Binary { at, except, bytes },
            Content::CloseAll { code, reason } => Body::CloseAll { at, code, reason },
        }
    }
}
