use std::error::Error;
use std::net::SocketAddr;
use std::sync::Arc;

use crate::emitter::BoxError;
use crate::runtime::trace;
use crate::websocket::error::ConnectionError;
use crate::websocket::state::handle::WebSocketConnection;

/// # Facts
impl WebSocketConnection {
    /// The client's address; `None` on a Unix socket or a stream without, and after `close`. Behind
    /// [trusted proxies](crate::HttpOptions::trusted_proxies) it is the one that they tell; the proxy's own is
    /// [the request's `peer_address`](crate::ServerRequest::peer_address).
    pub fn remote_address(&self) -> Option<SocketAddr> {
        self.lock()?.remote
    }

    /// The address that the peer connected to; `None` as with [`remote_address`](WebSocketConnection::remote_address).
    pub fn local_address(&self) -> Option<SocketAddr> {
        self.lock()?.local.as_deref().copied()
    }

    /// Messages of groups that this connection has missed, because it read too slowly and the group's
    /// [policy](crate::SlowMemberPolicy) is to drop them then.
    pub fn dropped(&self) -> u64 {
        self.lock().and_then(|mut state| Some(state.cold_if_any()?.dropped)).unwrap_or(0)
    }

    /// The fault that ended the connection: in listeners of `error` and `close`, and in those of the middleware's `error`.
    pub fn error(&self) -> Option<ConnectionError> {
        self.lock()?.cold_if_any()?.error.clone()
    }
}

/// What groups ask of it.
impl WebSocketConnection {
    pub(crate) fn max_group_name(&self) -> Option<usize> {
        self.shared().map(|shared| shared.options.max_group_name)
    }

    pub(crate) fn max_groups(&self) -> Option<usize> {
        self.shared().map(|shared| shared.options.max_groups_per_connection)
    }

    /// A listener that concerns this connection failed somewhere else.
    pub(crate) fn listener_failed(&self, event: &str, error: BoxError) {
        let error: Arc<dyn Error + Send + Sync> = error.into();
        if !self.fail(ConnectionError::Listener(error.clone())) {
            trace::listener_failed(event, error);
        }
    }
}
