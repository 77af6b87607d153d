//! Listening sockets, named as ReactPHP names them.

mod acceptor;
mod address;
mod error;
mod options;
mod proxied;
mod proxies;
mod proxy_protocol;
mod server;
mod tcp;
#[cfg(unix)]
mod unix_path;

pub(crate) use acceptor::Acceptor;
pub use error::SocketError;
pub use options::SocketOptions;
pub(crate) use proxied::{NoHeader, ProxyHeader};
pub use proxies::{ProxyProtocol, ProxyProtocolFailure};
pub use server::SocketServer;
