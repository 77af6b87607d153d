//! What the models need of the inside: a connection that begins without its handshake, and what is left of one.

use crate::websocket::state::handle::WebSocketConnection;
use crate::websocket::driver::Driver;
use crate::websocket::options::WebSocketOptions;
pub(crate) use crate::websocket::state::shared::Shared;
use crate::websocket::state::slot::Slot;
use crate::runtime::clock::Alarm;
use crate::groups::GroupManager;
use crate::http::Upgraded;
use crate::http::inside::{Shutdown, enter};
use crate::model::net::TcpStream;
use crate::model::sync::Arc;
use crate::runtime::stream::{Stream, Transport};

/// What the connections of a middleware share.
pub(crate) fn shared(options: WebSocketOptions, groups: &GroupManager) -> Arc<Shared> {
    Arc::new(Shared { options, extension: Some(Arc::new(groups.clone())), ..Shared::default() })
}

/// How many connections are open, and how many are listed.
pub(crate) fn count(shared: &Shared) -> (usize, usize) {
    (shared.connections.len(), shared.connections.snapshot().len())
}

/// Tells slots apart.
pub(crate) fn place(connection: WebSocketConnection) -> usize {
    std::ptr::from_ref(connection.slot()).addr()
}

/// What the clock does when a deadline of the connection has come.
pub(crate) fn ring(connection: WebSocketConnection) {
    connection.slot().ring(connection.id());
}

/// A connection on a socket. `begin` is its `connection` listener. The future is its task.
pub(crate) fn open(
    shared: &Arc<Shared>,
    lifetime: &Arc<Shutdown>,
    socket: TcpStream,
    begin: impl FnOnce(WebSocketConnection),
) -> (WebSocketConnection, impl Future<Output = ()> + Send + 'static) {
    open_on(shared, lifetime, Stream { transport: Transport::Tcp(socket), remote: None, local: None }, begin)
}

/// Opens a connection on a stream that only its task can write to.
pub(crate) fn open_stream(
    shared: &Arc<Shared>,
    lifetime: &Arc<Shutdown>,
    stream: TcpStream,
    begin: impl FnOnce(WebSocketConnection),
) -> (WebSocketConnection, impl Future<Output = ()> + Send + 'static) {
    open_on(shared, lifetime, Stream::other(stream), begin)
}

fn open_on(
    shared: &Arc<Shared>,
    lifetime: &Arc<Shutdown>,
    stream: Stream,
    begin: impl FnOnce(WebSocketConnection),
) -> (WebSocketConnection, impl Future<Output = ()> + Send + 'static) {
    let connection = Slot::open(shared.clone(), None);
    begin(connection);
    let upgraded = Upgraded { stream, read_ahead: Vec::new(), permit: enter(lifetime) };
    (connection, Driver::start(connection, shared.clone(), upgraded))
}
