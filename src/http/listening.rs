use std::fmt;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use super::lifetime::Lifetime;
use crate::socket::SocketError;

/// A server that listens: what [`HttpServer::listen`](crate::HttpServer::listen) returns. Clones are the same.
///
/// Dropping it stops nothing. Awaiting it waits until the server has been [closed](Listening::close) and all has ended:
/// its output is the error if a socket could not be served, else `Ok(())`.
#[derive(Clone)]
pub struct Listening {
    inner: Arc<Inner>,
}

struct Inner {
    lifetime: Arc<Lifetime>,
    failed: Option<SocketError>,
    addresses: Vec<SocketAddr>,
    /// How long the end may take, and over how long it is spread.
    limits: (Duration, Duration),
}

impl Listening {
    pub(super) fn new(
        lifetime: Arc<Lifetime>,
        failed: Option<SocketError>,
        addresses: Vec<SocketAddr>,
        limits: (Duration, Duration),
    ) -> Listening {
        let is_dead = failed.is_some();
        let inner = Inner { lifetime, failed, addresses, limits };
        let listening = Listening { inner: Arc::new(inner) };
        if is_dead {
            listening.close();
        }
        listening
    }

    /// Ends the server gracefully: nothing more is accepted, HTTP requests under way are answered, WebSockets get a Close
    /// with 1001, and what has not ended within [`shutdown_grace`](crate::HttpOptions::shutdown_grace) is cut.
    ///
    /// It ends what this [`listen`](crate::HttpServer::listen) began. Others of the same server go on, and so do connections that
    /// were given to [`serve`](crate::HttpServer::serve), which are closed by their own [`Serving`].
    ///
    /// This begins at once; the future, which need not be awaited, is ready when it is over and no task is left. Closing
    /// again is no harm.
    pub fn close(&self) -> Closing {
        closing(&self.inner.lifetime, self.inner.limits)
    }

    /// The addresses listened on, in the order of the sockets. Unix sockets have none.
    pub fn local_addresses(&self) -> &[SocketAddr] {
        &self.inner.addresses
    }

    /// Waits until the server is over, and says why if it never began.
    pub(crate) async fn over(&self) -> Result<(), SocketError> {
        self.inner.lifetime.over().await;
        self.inner.failed.clone().map_or(Ok(()), Err)
    }
}

impl fmt::Debug for Listening {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listening").field("local_addresses", &self.local_addresses()).finish_non_exhaustive()
    }
}

/// One connection that is served: what [`HttpServer::serve`](crate::HttpServer::serve) returns. Ready when it has ended.
pub struct Serving {
    lifetime: Arc<Lifetime>,
    limits: (Duration, Duration),
    ended: Pin<Box<dyn Future<Output = ()> + Send>>,
}

impl Serving {
    pub(super) fn new(lifetime: Arc<Lifetime>, limits: (Duration, Duration)) -> Serving {
        let waiting = lifetime.clone();
        Serving { lifetime, limits, ended: Box::pin(async move { waiting.settle().await }) }
    }

    /// Ends the connection gracefully, as [`Listening::close`] does with all that it has accepted.
    pub fn close(&self) -> Closing {
        closing(&self.lifetime, self.limits)
    }
}

impl Future for Serving {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.ended.as_mut().poll(cx)
    }
}

impl fmt::Debug for Serving {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Serving").finish_non_exhaustive()
    }
}

fn closing(lifetime: &Arc<Lifetime>, (grace, spread): (Duration, Duration)) -> Closing {
    lifetime.close(grace, spread);
    let lifetime = lifetime.clone();
    Closing(Box::pin(async move { lifetime.over().await }))
}

/// A server that is ending. It ends whether or not this is awaited.
pub struct Closing(Pin<Box<dyn Future<Output = ()> + Send>>);

impl Future for Closing {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.0.as_mut().poll(cx)
    }
}

impl fmt::Debug for Closing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Closing").finish_non_exhaustive()
    }
}
