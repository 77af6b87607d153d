//! A WebSocket client with the callbacks of the server: `\Ratchet\Client\connect` of ReactPHP's Pawl.
//!
//! ```no_run
//! use react_websocket::WebSocketConnection;
//! use react_websocket::client::connect;
//!
//! # async fn run() -> Result<(), react_websocket::client::ConnectError> {
//! let connection = connect("ws://127.0.0.1:8000/chat", |connection: WebSocketConnection| {
//!     connection.on("text", |text: &str| println!("{text}"));
//!     connection.write("hello");
//! })
//! .await?;
//! # let _ = connection;
//! # Ok(())
//! # }
//! ```
//!
//! [`connect`] opens one connection with the default settings, a [`Connector`] has settings and counts what it
//! opens. A connection is the [`WebSocketConnection`](crate::WebSocketConnection) of the server, with the same
//! events, limits, timeouts and groups. The guide `docs/client.md` has more.

mod body;
mod connector;
mod dial;
mod ending;
mod error;
mod exchange;
#[cfg(feature = "deflate")]
mod extensions;
mod handshake;
mod proxy;
mod response_head;
mod secure;
mod url;

#[cfg(feature = "testing")]
pub(crate) use body::ResponseBody;
pub use connector::{Connector, connect};
pub use error::{ConnectError, ConnectPhase, ResponseError, UrlError};
#[cfg(feature = "testing")]
pub(crate) use exchange::Exchange;
pub use proxy::Proxy;
#[cfg(feature = "testing")]
pub(crate) use response_head::BodyLength;
#[cfg(feature = "testing")]
pub(crate) use url::Url;
