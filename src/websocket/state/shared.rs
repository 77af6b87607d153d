use std::any::Any;
use std::sync::Arc;

use dashmap::DashMap;
use parking_lot::Mutex;

use crate::emitter::ConcurrentListeners;
use crate::protocol::Role;
use crate::runtime::clock::Coarse;
use crate::runtime::trace;
use crate::sync::atomic::AtomicUsize;
use crate::websocket::options::WebSocketOptions;
use crate::websocket::options::verify::Verifier;
use crate::websocket::state::handle::WebSocketConnection;
use crate::websocket::state::order::Order;
use crate::websocket::stats::WebSocketStats;

/// What all connections of a middleware, or of a connector, share.
#[derive(Clone, Default)]
pub(crate) struct Shared {
    /// The end of the connections that this is.
    pub(crate) role: Role,
    pub(crate) options: WebSocketOptions,
    /// The paths that the middleware serves. An empty list means all paths.
    pub(crate) paths: Vec<String>,
    /// Decides about each handshake, before there is a connection.
    pub(crate) verify: Option<Verifier>,
    pub(crate) listeners: Arc<ConcurrentListeners<WebSocketConnection>>,
    pub(crate) connections: Arc<Connections>,
    /// A value that a higher layer finds by a connection: its group manager.
    pub(crate) extension: Option<Arc<dyn Any + Send + Sync>>,
}

impl Shared {
    /// Counts listeners that have occupied their thread since `begun` for too long.
    #[inline]
    pub(crate) fn note_time(&self, begun: Coarse) {
        if begun.is_over(self.options.slow_listener_warning) {
            self.connections.count_slow_turn();
            trace::slow_listener();
        }
    }
}

/// The connections of a middleware, or of a connector.
#[derive(Default)]
pub(crate) struct Connections {
    /// The slots of the connections, which are kept as long as they are listed. Ended connections
    /// stay listed as long as their `close` listeners are pending.
    pub(crate) slots: DashMap<u32, ()>,
    pub(crate) open: AtomicUsize,
    /// The order of the messages that are written to all of them.
    pub(crate) order: Order,
    /// The counters, except for the traffic of listed connections, which have their own counters.
    ///
    /// A connection is removed from `slots` under this lock, so that a sum contains it exactly
    /// once.
    pub(crate) stats: Mutex<WebSocketStats>,
}
