use crate::http::UpgradedConnections;
use crate::sync::atomic::Ordering;
use crate::websocket::state::handle::WebSocketConnection;
use crate::websocket::state::shared::Connections;
use crate::websocket::state::slot::{Slot, State};
use crate::websocket::stats::{Traffic, WebSocketStats};

impl Connections {
    pub(crate) fn insert(&self, connection: WebSocketConnection) {
        self.stats.lock().accepted += 1;
        self.slots.insert(connection.index(), ());
        self.open.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a connection as ended, before it emits `close`.
    pub(crate) fn count_end(&self, connection: WebSocketConnection, cause: &'static str) {
        let has_ended = connection.lock().is_none_or(|mut state| std::mem::replace(&mut state.has_ended, true));
        if !has_ended {
            self.open.fetch_sub(1, Ordering::Relaxed);
            *self.stats.lock().closed.entry(cause).or_default() += 1;
        }
    }

    pub(crate) fn remove(&self, connection: WebSocketConnection) {
        let mut stats = self.stats.lock();
        if self.slots.remove(&connection.index()).is_some() {
            stats.add(&connection.traffic());
        }
    }

    /// A handshake was refused.
    pub(crate) fn refused(&self, cause: &'static str) {
        *self.stats.lock().refused.entry(cause).or_default() += 1;
    }

    /// A request looked like a handshake and was not an upgrade.
    pub(crate) fn not_upgraded(&self, cause: &'static str) {
        *self.stats.lock().not_upgraded.entry(cause).or_default() += 1;
    }

    /// Listeners have occupied their thread for too long.
    pub(crate) fn count_slow_turn(&self) {
        self.stats.lock().slow_listeners += 1;
    }

    /// A listener does not return.
    pub(crate) fn count_stuck_listener(&self) {
        self.stats.lock().stuck_listeners += 1;
    }

    pub(crate) fn stats(&self) -> WebSocketStats {
        let counted = self.stats.lock();
        let mut stats = counted.clone();
        for connection in self.those(|_| true) {
            stats.add(&connection.traffic());
            stats.unsent = stats.unsent.saturating_add(connection.buffered_amount());
        }
        drop(counted);
        stats.open = self.len();
        stats
    }

    pub(crate) fn len(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    pub(crate) fn snapshot(&self) -> Vec<WebSocketConnection> {
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
            Box::new(move || connection.close_for_shutdown())
        };
        self.of(lifetime).into_iter().map(goodbye).collect()
    }

    fn terminate(&self, lifetime: u64) {
        self.of(lifetime).iter().for_each(WebSocketConnection::cut);
    }
}

impl WebSocketConnection {
    /// Returns what the connection has sent and received so far.
    pub(crate) fn traffic(&self) -> Traffic {
        let Some(mut state) = self.lock() else { return Traffic::default() };
        let received = &self.slot().received;
        Traffic {
            messages_in: received.messages(),
            messages_out: state.messages_out,
            bytes_in: received.bytes(),
            bytes_out: state.outbox.written(),
            dropped: state.cold_if_any().map_or(0, |cold| cold.dropped),
            #[cfg(feature = "deflate")]
            deflated: state.deflate.as_ref().map_or_else(Default::default, |deflate| deflate.traffic),
        }
    }
}
