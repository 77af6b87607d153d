//! WebSocket connections with callbacks, on top of HTTP's upgrade.

mod buffers;
mod connection;
mod cork;
mod deadlines;
mod delivery;
mod driver;
mod error;
mod event;
mod handshake;
mod inbox;
mod lag;
mod message;
mod middleware;
mod options;
mod origins;
mod outbox;
mod shared;
mod slot;
mod writer;

pub use connection::WebSocketConnection;
pub(crate) use cork::broadcast_to_group;
pub use cork::cork;
pub use error::{Closed, ConnectionError, HandshakeError};
pub use event::{ConnectionListener, IntoListener};
pub use lag::SlowMemberPolicy;
pub use message::{Message, Text};
pub use middleware::WebSocketMiddleware;
pub use options::WebSocketOptions;
pub use origins::Origins;
pub use writer::{BinaryPayload, MessageWriter, Payload, TextPayload};
