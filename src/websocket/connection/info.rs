use std::error::Error;
use std::net::SocketAddr;
use std::sync::Arc;

use crate::emitter::BoxError;
use crate::runtime::trace;
use crate::websocket::error::ConnectionError;
use crate::websocket::state::handle::WebSocketConnection;

/// # Facts
impl WebSocketConnection {
    /// Returns the peer's address: the client's, or on a client's connection the address of the
    /// server or of its proxy. Returns `None` after `close`, and for a Unix socket or a stream
    /// without addresses.
    ///
    /// Behind [trusted proxies](crate::HttpOptions::trusted_proxies) this is the address that the
    /// proxies wrote. The proxy's own address is [the request's
    /// `peer_address`](crate::ServerRequest::peer_address).
    pub fn remote_address(&self) -> Option<SocketAddr> {
        self.lock()?.remote.get()
    }

    /// Returns the address of this end. Returns `None` in the same cases as
    /// [`remote_address`](WebSocketConnection::remote_address).
    pub fn local_address(&self) -> Option<SocketAddr> {
        self.lock()?.local.as_deref().copied()
    }

    /// Returns how many messages of groups this connection has missed because it was a slow
    /// consumer. The [policy](crate::options::SlowMemberPolicy) of a group decides whether messages
    /// are dropped.
    pub fn dropped(&self) -> u64 {
        self.lock().and_then(|mut state| Some(state.cold_if_any()?.dropped)).unwrap_or(0)
    }

    /// Returns the error that ended the connection, or `None`. Listeners of the connection's
    /// `error` and `close`, and of the middleware's `error`, can read it.
    pub fn error(&self) -> Option<ConnectionError> {
        self.lock()?.cold_if_any()?.error.clone()
    }
}

/// What groups need of a connection.
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
