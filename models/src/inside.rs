//! The private parts of the crate that models use: parts that are raced alone, and connections that
//! begin without their handshake.
#![allow(missing_docs, missing_debug_implementations, reason = "only the models see this")]

use std::any::Any;
use std::net::IpAddr;
use std::num::NonZeroU64;
use std::sync::Arc;

use tokio::net::TcpStream;

use crate::emitter;
use crate::groups::GroupManager;
use crate::http::{self, Admission, ConnectionPermit, HttpOptions, Upgraded};
use crate::runtime::clock::Alarm;
use crate::runtime::stream::{Stream, Transport};
use crate::runtime::{slab, turn};
use crate::websocket::{self, Driver, Slot, WebSocketConnection, WebSocketOptions};

#[derive(Default)]
pub struct SerialQueue<T>(emitter::SerialQueue<T>);

impl<T> SerialQueue<T> {
    pub fn push(&self, job: T) {
        self.0.push(job);
    }

    pub fn drain(&self, run: impl FnMut(T)) {
        self.0.drain(run);
    }
}

pub struct Slab<T: 'static>(slab::Slab<T>);

impl<T: Default> Slab<T> {
    pub fn new() -> Slab<T> {
        Slab(slab::Slab::new())
    }

    pub fn take(&self) -> (u32, NonZeroU64) {
        self.0.take()
    }

    pub fn get(&self, index: u32) -> &T {
        self.0.get(index)
    }

    pub fn give_back(&self, index: u32) {
        self.0.give_back(index);
    }
}

pub struct Turn(turn::Turn);

impl Turn {
    pub fn begin() -> Turn {
        Turn(turn::Turn::begin())
    }

    pub fn end(self) -> Option<impl Future<Output = ()> + Send> {
        self.0.end()
    }
}

/// The admission of a server's connections.
#[derive(Clone, Default)]
pub struct Door(Arc<Admission>);

impl Door {
    /// Takes a place, until the value is dropped. Returns `None` if all places are taken.
    pub fn enter(&self, address: IpAddr, options: &HttpOptions) -> Option<Box<dyn Any + Send>> {
        match self.0.admit(options.network_of(address), &options.connections) {
            Ok(place) => Some(Box::new(place)),
            Err(_) => None,
        }
    }

    /// Waits like a connection that has not sent a request, until it has to make room.
    pub fn wait(&self, options: HttpOptions) -> impl Future<Output = ()> + Send + 'static {
        let mut pending = self.0.pend();
        std::future::poll_fn(move |cx| pending.poll_evicted(false, None, options.connections.max_pending, cx))
    }

    /// Returns the number of connections that [wait](Door::wait).
    pub fn waiting(&self) -> usize {
        self.0.stats().pending
    }
}

/// What the connections of one middleware share, without a server around it.
pub struct Shared {
    shared: Arc<websocket::Shared>,
    lifetime: Arc<http::Shutdown>,
}

impl Shared {
    pub fn new(options: WebSocketOptions, groups: &GroupManager) -> Shared {
        let extension = Some(Arc::new(groups.clone()) as Arc<_>);
        let shared = websocket::Shared { options, extension, ..websocket::Shared::default() };
        Shared { shared: Arc::new(shared), lifetime: http::Shutdown::new(false) }
    }

    /// Returns the numbers of open and of listed connections.
    pub fn count(&self) -> (usize, usize) {
        (self.shared.connections.len(), self.shared.connections.snapshot().len())
    }

    /// Opens a connection on a socket. `begin` is its `connection` listener. The future is its task.
    pub fn open(
        &self,
        socket: TcpStream,
        begin: impl FnOnce(WebSocketConnection),
    ) -> (WebSocketConnection, impl Future<Output = ()> + Send + 'static) {
        self.open_on(Stream { transport: Transport::Tcp(socket), remote: None, local: None }, begin)
    }

    /// Opens a connection on a stream that only its task can write to.
    pub fn open_stream(
        &self,
        stream: TcpStream,
        begin: impl FnOnce(WebSocketConnection),
    ) -> (WebSocketConnection, impl Future<Output = ()> + Send + 'static) {
        self.open_on(Stream::other(stream), begin)
    }

    fn open_on(
        &self,
        stream: Stream,
        begin: impl FnOnce(WebSocketConnection),
    ) -> (WebSocketConnection, impl Future<Output = ()> + Send + 'static) {
        let connection = Slot::open(self.shared.clone(), None);
        begin(connection);
        let upgraded = Upgraded { stream, read_ahead: Vec::new(), permit: self.permit() };
        (connection, Driver::start(connection, self.shared.clone(), upgraded))
    }

    /// Returns the permit of a server that has no other connection.
    fn permit(&self) -> ConnectionPermit {
        match Arc::<Admission>::default().admit(None, &HttpOptions::new().connections) {
            Ok((admitted, _)) => ConnectionPermit::new(admitted, self.lifetime.track_task()),
            Err(refusal) => panic!("an empty server refuses: {refusal:?}"),
        }
    }
}

/// Returns a number that identifies the slot of a connection.
pub fn place(connection: WebSocketConnection) -> usize {
    std::ptr::from_ref(connection.slot()).addr()
}

/// Does what the clock does at a deadline of the connection.
pub fn ring(connection: WebSocketConnection) {
    connection.slot().ring(connection.id());
}
