use std::any::Any;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use dashmap::DashMap;
use parking_lot::Mutex;

use crate::emitter::ConcurrentListeners;
use crate::runtime::clock::Coarse;
use crate::runtime::trace;
use crate::websocket::options::WebSocketOptions;
use crate::websocket::options::verify::Verifier;
use crate::websocket::state::handle::WebSocketConnection;
use crate::websocket::state::order::Order;
use crate::websocket::stats::WebSocketStats;

/// What all connections of a middleware share.
#[derive(Clone, Default)]
pub(crate) struct Shared {
    pub(crate) options: WebSocketOptions,
    /// The paths that the middleware serves. An empty list means all paths.
    pub(crate) paths: Vec<String>,
    /// Asked about each handshake, before there is a connection.
    pub(crate) verify: Option<Verifier>,
    pub(crate) listeners: Arc<ConcurrentListeners<WebSocketConnection>>,
    pub(crate) connections: Arc<Connections>,
    /// What a higher layer needs to find from a connection: its group manager.
    pub(crate) extension: Option<Arc<dyn Any + Send + Sync>>,
}

impl Shared {
    /// Listeners have kept their thread since then.
    #[inline]
    pub(crate) fn note_time(&self, begun: Coarse) {
        if begun.is_over(self.options.slow_listener_warning) {
            self.connections.were_slow();
            trace::slow_listener();
        }
    }
}

/// The connections of a middleware.
#[derive(Default)]
pub(crate) struct Connections {
    /// Their slots, which they keep as long as they are here. Also of those that have ended, as long as their `close` listeners
    /// are waited for.
    pub(crate) slots: DashMap<u32, ()>,
    pub(crate) open: AtomicUsize,
    /// Of what is written to all of them.
    pub(crate) order: Order,
    /// The counters, except for the traffic of listed connections, which have their own counters.
    ///
    /// A connection is removed from `slots` under this lock, so that a sum contains it exactly
    /// once.
    pub(crate) stats: Mutex<WebSocketStats>,
}
