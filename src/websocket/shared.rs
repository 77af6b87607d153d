use std::any::Any;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use dashmap::DashMap;

use super::connection::WebSocketConnection;
use super::options::WebSocketOptions;
use crate::emitter::ConcurrentListeners;
use crate::http::UpgradedConnections;
use crate::protocol::close_code;

/// What all connections of a middleware share.
#[derive(Clone, Default)]
pub(crate) struct Shared {
    pub(crate) options: WebSocketOptions,
    /// The paths it is for; all if there are none.
    pub(super) paths: Vec<String>,
    pub(super) listeners: Arc<ConcurrentListeners<WebSocketConnection>>,
    pub(super) connections: Arc<Connections>,
    /// What a higher layer needs to find from a connection: its group manager.
    pub(crate) extension: Option<Arc<dyn Any + Send + Sync>>,
}

/// The connections of a middleware, each with the number of the lifetime it was accepted in.
#[derive(Default)]
pub(super) struct Connections {
    /// Also those that have ended, as long as their `close` listeners are waited for.
    all: DashMap<WebSocketConnection, u64>,
    open: AtomicUsize,
}

impl Connections {
    pub(super) fn insert(&self, connection: WebSocketConnection, lifetime: u64) {
        self.all.insert(connection, lifetime);
        self.open.fetch_add(1, Ordering::Relaxed);
    }

    /// It has ended, and is about to say so.
    pub(super) fn begin_to_end(&self, connection: WebSocketConnection) {
        if let Some(mut state) = connection.lock()
            && !std::mem::replace(&mut state.has_ended, true)
        {
            self.open.fetch_sub(1, Ordering::Relaxed);
        }
    }

    pub(super) fn remove(&self, connection: WebSocketConnection) {
        self.all.remove(&connection);
    }

    pub(super) fn len(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    pub(super) fn snapshot(&self) -> Vec<WebSocketConnection> {
        let mut connections: Vec<WebSocketConnection> = self.all.iter().map(|entry| *entry.key()).collect();
        connections.retain(|connection| connection.lock().is_some_and(|state| !state.has_ended));
        connections
    }

    fn of(&self, lifetime: u64) -> Vec<WebSocketConnection> {
        self.all.iter().filter(|entry| *entry.value() == lifetime).map(|entry| *entry.key()).collect()
    }
}

impl UpgradedConnections for Connections {
    fn goodbyes(&self, lifetime: u64) -> Vec<Box<dyn FnOnce() + Send>> {
        let goodbye = |connection: WebSocketConnection| -> Box<dyn FnOnce() + Send> {
            Box::new(move || connection.close_with(close_code::GOING_AWAY, "server shutdown"))
        };
        self.of(lifetime).into_iter().map(goodbye).collect()
    }

    fn cut(&self, lifetime: u64) {
        self.of(lifetime).iter().for_each(WebSocketConnection::cut);
    }
}
