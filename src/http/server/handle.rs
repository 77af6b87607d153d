use std::fmt;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use crate::http::lifecycle::{Phase, Shutdown};
use crate::socket::SocketError;

/// A handle of a listening server, which [`HttpServer::listen`](crate::HttpServer::listen) returns.
/// A clone is a handle of the same server.
///
/// Dropping the handle does not stop the server. Awaiting it waits until the server has been
/// [closed](Listening::close) and everything has ended, or until the server's runtime has ended.
/// Any runtime may await it. The output is `Ok(())`, or the error if the server could not listen on
/// a socket.
#[derive(Clone)]
pub struct Listening {
    inner: Arc<Inner>,
}

struct Inner {
    shutdown: Arc<Shutdown>,
    failed: Option<SocketError>,
    addresses: Vec<SocketAddr>,
    /// How long the end may take, and over how long it is spread.
    limits: (Duration, Duration),
}

impl Listening {
    pub(crate) fn new(
        shutdown: Arc<Shutdown>,
        failed: Option<SocketError>,
        addresses: Vec<SocketAddr>,
        limits: (Duration, Duration),
    ) -> Listening {
        let is_dead = failed.is_some();
        let inner = Inner { shutdown, failed, addresses, limits };
        let listening = Listening { inner: Arc::new(inner) };
        if is_dead {
            listening.close();
        }
        listening
    }

    /// Shuts the server down gracefully: it stops accepting, answers pending HTTP requests, and
    /// closes WebSockets with 1001. After [`shutdown_grace`](crate::HttpOptions::shutdown_grace) it
    /// drops all connections that are still open.
    ///
    /// Connections without a request end at once. If a client does not read its response, or a
    /// [`BodyStream`](crate::BodyStream) does not end, the shutdown takes the whole grace period.
    /// End a stream in its `shutdown` event.
    ///
    /// `close` affects only the sockets and connections of this
    /// [`listen`](crate::HttpServer::listen). Other calls of `listen` on the same server go on.
    /// Connections that were passed to [`serve`](crate::HttpServer::serve) also go on; their own
    /// [`Serving`] closes them.
    ///
    /// The shutdown begins at once, also if the returned future is not awaited. The future is ready
    /// when the shutdown has ended and no task is left. Calling `close` again does nothing.
    pub fn close(&self) -> Closing {
        closing(&self.inner.shutdown, self.inner.limits)
    }

    /// Ends the server at once: drops all connections and tasks. Use it in tests, which should not
    /// wait for a grace period, and for a second Ctrl-C.
    ///
    /// After [`close`](Listening::close) this ends the grace period. The returned future is ready
    /// when no task is left.
    pub fn terminate(&self) -> Closing {
        terminating(&self.inner.shutdown)
    }

    /// Waits until the shutdown of the server begins: by [`close`](Listening::close), by
    /// [`terminate`](Listening::terminate), or because its runtime has ended.
    ///
    /// This is for code that would otherwise delay the shutdown: a handler that waits for a long
    /// time, or a worker task.
    ///
    /// ```
    /// use react_websocket::{HttpServer, Listening, Response, ServerRequest, SocketServer};
    /// use std::sync::{Arc, OnceLock};
    ///
    /// # async fn next_news() -> String { String::new() }
    /// # async fn run() -> Result<(), react_websocket::Error> {
    /// let server: Arc<OnceLock<Listening>> = Arc::default();
    /// let known = server.clone();
    /// let http = HttpServer::new(move |_request: ServerRequest| {
    ///     let closing = known.get().map(Listening::closing);
    ///     async move {
    ///         let Some(closing) = closing else { return Response::new(503) };
    ///         tokio::select! {
    ///             news = next_news() => Response::plaintext(news),
    ///             () = closing => Response::new(204),
    ///         }
    ///     }
    /// });
    /// let listening = server.get_or_init(|| http.listen(SocketServer::new("127.0.0.1:0").expect("a port")));
    /// # Ok(())
    /// # }
    /// ```
    pub fn closing(&self) -> impl Future<Output = ()> + Send + use<> {
        self.inner.shutdown.reached(Phase::Closing)
    }

    /// Returns the addresses of the listening sockets, in the order of the sockets. Unix sockets
    /// have no address.
    pub fn local_addresses(&self) -> &[SocketAddr] {
        &self.inner.addresses
    }

    /// Waits until the server is over, and says why if it never began.
    pub(crate) async fn over(&self) -> Result<(), SocketError> {
        self.inner.shutdown.reached(Phase::Finished).await;
        self.inner.failed.clone().map_or(Ok(()), Err)
    }
}

impl fmt::Debug for Listening {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listening").field("local_addresses", &self.local_addresses()).finish_non_exhaustive()
    }
}

/// A handle of one served connection, which [`HttpServer::serve`](crate::HttpServer::serve)
/// returns. Awaiting it waits until the connection has ended.
pub struct Serving {
    shutdown: Arc<Shutdown>,
    limits: (Duration, Duration),
    ended: Pin<Box<dyn Future<Output = ()> + Send>>,
}

impl Serving {
    pub(crate) fn new(shutdown: Arc<Shutdown>, limits: (Duration, Duration)) -> Serving {
        let waiting = shutdown.clone();
        Serving { shutdown, limits, ended: Box::pin(async move { waiting.wait_for_tasks().await }) }
    }

    /// Ends the connection gracefully, like [`Listening::close`].
    pub fn close(&self) -> Closing {
        closing(&self.shutdown, self.limits)
    }

    /// Ends the connection at once, like [`Listening::terminate`].
    pub fn terminate(&self) -> Closing {
        terminating(&self.shutdown)
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

fn closing(shutdown: &Arc<Shutdown>, (grace, spread): (Duration, Duration)) -> Closing {
    shutdown.close(grace, spread);
    Closing(Box::pin(shutdown.reached(Phase::Finished)))
}

fn terminating(shutdown: &Arc<Shutdown>) -> Closing {
    shutdown.terminate();
    Closing(Box::pin(shutdown.reached(Phase::Finished)))
}

/// A future that is ready when a shutdown has ended. The shutdown also runs if the future is not
/// awaited.
pub struct Closing(Pin<Box<dyn Future<Output = ()> + Send>>);

impl Closing {
    #[cfg(feature = "hyper")]
    pub(crate) fn new(ended: impl Future<Output = ()> + Send + 'static) -> Closing {
        Closing(Box::pin(ended))
    }
}

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
