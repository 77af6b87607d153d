use std::future::IntoFuture;
use std::pin::Pin;

use crate::http::{HttpError, Listening};
use crate::socket::SocketError;

/// Any error of this crate, for `?` in a `main` function. Nothing inside of the crate uses it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A socket could not be listened on.
    #[error(transparent)]
    Socket(#[from] SocketError),
    /// An HTTP request failed.
    #[error(transparent)]
    Http(#[from] HttpError),
}

impl IntoFuture for Listening {
    type Output = Result<(), Error>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move { Ok(self.over().await?) })
    }
}
