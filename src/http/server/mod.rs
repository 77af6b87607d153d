//! Servers, as an app holds them.

mod handle;
mod http_server;

pub use handle::{Closing, Listening, Serving};
pub(crate) use http_server::Server;
pub use http_server::{HttpServer, Sockets};
