use std::fmt;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use crate::http::lifecycle::{Phase, Shutdown};
use crate::socket::SocketError;

/// A server that listens: what [`HttpServer::listen`](crate::HttpServer::listen) returns. Clones are the same.
///
/// Dropping it stops nothing. Awaiting it waits until the server has been [closed](Listening::close) and all has ended, or until
/// the runtime that serves it is gone; any runtime may await it. Its output is the error if a socket could not be served, else
/// `Ok(())`.
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

    /// Ends the server gracefully: nothing more is accepted, HTTP requests under way are answered, WebSockets get a Close
    /// with 1001, and what has not ended within [`shutdown_grace`](crate::HttpOptions::shutdown_grace) is cut.
    ///
    /// Connections without a request end at once. A response whose client does not read it takes the whole grace, and so does a
    /// [`BodyStream`](crate::BodyStream) that does not end: its event `shutdown` is where it can.
    ///
    /// It ends what this [`listen`](crate::HttpServer::listen) began. Others of the same server go on, and so do connections that
    /// were given to [`serve`](crate::HttpServer::serve), which are closed by their own [`Serving`].
    ///
    /// This begins at once; the future, which need not be awaited, is ready when it is over and no task is left. Closing
    /// again is no harm.
    pub fn close(&self) -> Closing {
        closing(&self.inner.shutdown, self.inner.limits)
    }

    /// Ends the server now: whatever is under way is cut. For tests, which do not want to wait for a grace, and for a second
    /// Ctrl-C.
    ///
    /// It may follow [`close`](Listening::close), whose grace is then over. The future is that of [`close`](Listening::close).
    pub fn terminate(&self) -> Closing {
        terminating(&self.inner.shutdown)
    }

    /// Waits until the end of the server begins, by [`close`](Listening::close) or [`terminate`](Listening::terminate), or because
    /// its runtime is gone.
    ///
    /// This is for what runs beside the server and would hold up its end: a handler that waits long for news, a worker.
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

    /// The addresses listened on, in the order of the sockets. Unix sockets have none.
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

/// One connection that is served: what [`HttpServer::serve`](crate::HttpServer::serve) returns. Ready when it has ended.
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

    /// Ends the connection gracefully, as [`Listening::close`] does with all that it has accepted.
    pub fn close(&self) -> Closing {
        closing(&self.shutdown, self.limits)
    }

    /// Ends the connection now, as [`Listening::terminate`].
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
