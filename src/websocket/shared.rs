use std::any::Any;
use std::sync::Arc;

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

/// The open connections of a middleware, each with the number of the lifetime it was accepted in.
#[derive(Default)]
pub(super) struct Connections {
    open: DashMap<WebSocketConnection, u64>,
    /// Those whose `close` listeners are waited for.
    ending: DashMap<WebSocketConnection, u64>,
}

impl Connections {
    pub(super) fn insert(&self, connection: WebSocketConnection, lifetime: u64) {
        self.open.insert(connection, lifetime);
    }

    pub(super) fn begin_to_end(&self, connection: WebSocketConnection) {
        if let Some((_, lifetime)) = self.open.remove(&connection) {
            self.ending.insert(connection, lifetime);
        }
    }

    pub(super) fn remove(&self, connection: WebSocketConnection) {
        self.open.remove(&connection);
        self.ending.remove(&connection);
    }

    pub(super) fn len(&self) -> usize {
        self.open.len()
    }

    pub(super) fn snapshot(&self) -> Vec<WebSocketConnection> {
        self.open.iter().map(|entry| *entry.key()).collect()
    }

    fn of(&self, lifetime: u64) -> Vec<WebSocketConnection> {
        let all = self.open.iter().chain(self.ending.iter());
        all.filter(|entry| *entry.value() == lifetime).map(|entry| *entry.key()).collect()
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
