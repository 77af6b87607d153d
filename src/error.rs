use std::future::IntoFuture;
use std::io;
use std::pin::Pin;

#[cfg(feature = "client")]
use crate::client::ConnectError;
use crate::emitter::ListenerError;
use crate::groups::GroupError;
use crate::http::{HttpError, Listening};
use crate::socket::SocketError;
use crate::websocket::{Closed, ConnectionError};

/// Any error of this crate, for `?` in a `main` function. The methods of this crate return the
/// single errors.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The server could not listen on a socket.
    #[error(transparent)]
    Socket(#[from] SocketError),
    /// An HTTP request failed.
    #[error(transparent)]
    Http(#[from] HttpError),
    /// A handshake was refused, or a WebSocket connection failed.
    #[error(transparent)]
    Connection(#[from] ConnectionError),
    /// A client has not opened a connection.
    #[cfg(feature = "client")]
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// A connection accepts no more messages.
    #[error(transparent)]
    Closed(#[from] Closed),
    /// A connection could not join a group.
    #[error(transparent)]
    Group(#[from] GroupError),
    /// A listener could not be registered.
    #[error(transparent)]
    Listener(#[from] ListenerError),
    /// Another call to the operating system failed.
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl IntoFuture for Listening {
    type Output = Result<(), Error>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move { Ok(self.over().await?) })
    }
}
