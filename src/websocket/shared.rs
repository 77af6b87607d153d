use std::any::Any;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use dashmap::DashMap;
use parking_lot::Mutex;

use super::connection::WebSocketConnection;
use super::cork::Order;
use super::options::WebSocketOptions;
use super::slot::{Slot, State};
use super::stats::WebSocketStats;
use super::verify::Verifier;
use crate::emitter::ConcurrentListeners;
use crate::http::UpgradedConnections;
use crate::protocol::close_code;
use crate::runtime::clock::Coarse;
use crate::runtime::trace;

/// What all connections of a middleware share.
#[derive(Clone, Default)]
pub(crate) struct Shared {
    pub(crate) options: WebSocketOptions,
    /// The paths it is for; all if there are none.
    pub(super) paths: Vec<String>,
    /// Asked about each handshake, before there is a connection.
    pub(super) verify: Option<Verifier>,
    pub(super) listeners: Arc<ConcurrentListeners<WebSocketConnection>>,
    pub(super) connections: Arc<Connections>,
    /// What a higher layer needs to find from a connection: its group manager.
    pub(crate) extension: Option<Arc<dyn Any + Send + Sync>>,
}

impl Shared {
    /// Listeners have kept their thread since then.
    #[inline]
    pub(super) fn note_time(&self, begun: Coarse) {
        if begun.is_over(self.options.slow_listener_warning) {
            self.connections.were_slow();
            trace::slow_listener();
        }
    }
}

/// The connections of a middleware.
#[derive(Default)]
pub(super) struct Connections {
    /// Their slots, which they keep as long as they are here. Also of those that have ended, as long as their `close` listeners
    /// are waited for.
    slots: DashMap<u32, ()>,
    open: AtomicUsize,
    /// Of what is written to all of them.
    pub(super) order: Order,
    /// What has been, without what the connections that are there have sent and received, which they know.
    ///
    /// A connection is taken from `slots` under this lock, so that whoever sums up meets it here or there.
    stats: Mutex<WebSocketStats>,
}

impl Connections {
    pub(super) fn insert(&self, connection: WebSocketConnection) {
        self.stats.lock().accepted += 1;
        self.slots.insert(connection.index(), ());
        self.open.fetch_add(1, Ordering::Relaxed);
    }

    /// It has ended, and is about to say so.
    pub(super) fn begin_to_end(&self, connection: WebSocketConnection, cause: &'static str) {
        let has_ended = connection.lock().is_none_or(|mut state| std::mem::replace(&mut state.has_ended, true));
        if !has_ended {
            self.open.fetch_sub(1, Ordering::Relaxed);
            *self.stats.lock().closed.entry(cause).or_default() += 1;
        }
    }

    pub(super) fn remove(&self, connection: WebSocketConnection) {
        let mut stats = self.stats.lock();
        if self.slots.remove(&connection.index()).is_some() {
            stats.add(&connection.traffic());
        }
    }

    /// A handshake was refused.
    pub(super) fn refused(&self, cause: &'static str) {
        *self.stats.lock().refused.entry(cause).or_default() += 1;
    }

    /// A request looked like a handshake and was not an upgrade.
    pub(super) fn not_upgraded(&self, cause: &'static str) {
        *self.stats.lock().not_upgraded.entry(cause).or_default() += 1;
    }

    /// Listeners have kept their thread too long.
    pub(super) fn were_slow(&self) {
        self.stats.lock().slow_listeners += 1;
    }

    /// A listener does not return.
    pub(super) fn has_stuck_listener(&self) {
        self.stats.lock().stuck_listeners += 1;
    }

    pub(super) fn stats(&self) -> WebSocketStats {
        let counted = self.stats.lock();
        let mut stats = counted.clone();
        self.those(|_| true).iter().for_each(|connection| stats.add(&connection.traffic()));
        drop(counted);
        stats.open = self.len();
        stats
    }

    pub(super) fn len(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    pub(super) fn snapshot(&self) -> Vec<WebSocketConnection> {
        self.those(|state| !state.has_ended)
    }

    fn of(&self, lifetime: u64) -> Vec<WebSocketConnection> {
        self.those(|state| state.lifetime.as_ref().is_some_and(|its| its.number() == lifetime))
    }

    fn those(&self, which: impl Fn(&State) -> bool) -> Vec<WebSocketConnection> {
        self.slots.iter().filter_map(|entry| Slot::owner(*entry.key(), &which)).collect()
    }
}

impl UpgradedConnections for Connections {
    fn close_gracefully(&self, lifetime: u64) -> Vec<Box<dyn FnOnce() + Send>> {
        let goodbye = |connection: WebSocketConnection| -> Box<dyn FnOnce() + Send> {
            Box::new(move || connection.close_with(close_code::GOING_AWAY, "server shutdown"))
        };
        self.of(lifetime).into_iter().map(goodbye).collect()
    }

    fn terminate(&self, lifetime: u64) {
        self.of(lifetime).iter().for_each(WebSocketConnection::cut);
    }
}
