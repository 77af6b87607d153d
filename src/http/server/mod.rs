//! Servers as an app holds them, and the tasks of their connections.

mod app_stream;
mod connection_task;
mod handle;
mod http_server;
mod proxied;
mod sockets;

#[cfg(any(feature = "client", feature = "hyper"))]
pub(crate) use app_stream::AppStream;
#[cfg(any(feature = "client", feature = "hyper"))]
pub(crate) use connection_task::spawn_upgraded;
pub use handle::{Closing, Listening, Serving};
pub use http_server::HttpServer;
pub use sockets::Sockets;
