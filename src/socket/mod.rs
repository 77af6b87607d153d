//! Listening sockets, named as ReactPHP names them.

mod acceptor;
mod address;
mod error;
mod server;
#[cfg(unix)]
mod unix_path;

pub(crate) use acceptor::Acceptor;
pub use error::SocketError;
pub use server::{SocketOptions, SocketServer};
