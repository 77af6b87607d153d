use std::fmt;
use std::future::IntoFuture;
use std::io;
use std::pin::Pin;

#[cfg(feature = "client")]
use crate::client::ConnectError;
use crate::emitter::{ListenerError, report};
use crate::groups::GroupError;
use crate::http::{HttpError, Listening};
use crate::socket::SocketError;
use crate::websocket::{Closed, ConnectionError};

/// Any error of this crate, for `?` in a `main` function. The methods of this crate return the
/// single errors.
///
/// `Debug` prints the error with all its causes in words, like [`report`](crate::errors::report),
/// since Rust prints the error of `main` by `Debug`.
#[derive(thiserror::Error)]
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

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", report(self))
    }
}

impl IntoFuture for Listening {
    type Output = Result<(), Error>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move { Ok(self.over().await?) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_error_of_main_is_in_words() {
        let error = Error::from(SocketError::Listen {
            uri: "0.0.0.0:80".to_owned(),
            source: std::sync::Arc::new(io::ErrorKind::PermissionDenied.into()),
        });
        assert_eq!(format!("{error:?}"), "cannot listen on 0.0.0.0:80: permission denied");
    }
}
