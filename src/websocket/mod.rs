//! WebSocket connections with callbacks, on top of HTTP's upgrade.

mod connection;
mod driver;
mod error;
mod handshake;
mod message;
mod middleware;
mod options;
mod state;
mod stats;

#[cfg(models)]
pub(crate) use self::{driver::Driver, state::shared::Shared, state::slot::Slot};
pub use connection::into_listener::IntoListener;
pub use connection::message_writer::{BinaryPayload, MessageWriter, Payload, TextPayload};
pub use error::{Closed, ConnectionError, HandshakeError};
#[cfg(feature = "client")]
pub(crate) use handshake::opening::Opening;
pub use message::{Message, Text};
pub use middleware::{IntoMiddlewareListener, WebSocketMiddleware};
pub use options::WebSocketOptions;
#[cfg(feature = "deflate")]
pub use options::compression::Compression;
pub use options::origins::Origins;
pub use options::verify::{IntoVerdict, IntoVerifier};
pub(crate) use state::cork::broadcast_to_group;
pub use state::cork::cork;
#[cfg(all(feature = "client", feature = "deflate"))]
pub(crate) use state::deflate::Agreement;
pub use state::event::ConnectionListener;
pub use state::handle::WebSocketConnection;
pub use state::held::SlowMemberPolicy;
pub(crate) use state::order::Order;
#[cfg(feature = "client")]
pub(crate) use state::shared::Shared;
pub(crate) use state::slot::SlotGuard;
pub use stats::WebSocketStats;
