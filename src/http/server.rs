use std::fmt;
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};

use super::HttpError;
use super::admission::{Admission, Place};
use super::chain::IntoChain;
use super::connection::Connection;
use super::encoder::RequestLine;
use super::lifetime::{Lifetime, Member, Phase};
use super::lingering::Linger;
use super::listening::{Listening, Serving};
use super::middleware::Chain;
use super::options::HttpOptions;
use super::pending::Pending;
use super::response::Response;
use super::sending::page;
use super::stats::HttpStats;
use crate::emitter::{Contained, EventNames, SharedEmitter, listener_methods};
use crate::runtime::stream::{Stream, canonical};
use crate::runtime::trace;
use crate::runtime::turn::{Deferred, Turn};
use crate::socket::{Acceptor, SocketServer};

const EVENTS: EventNames = EventNames {
    object: "an HttpServer",
    names: &["error"],
    aliases: &[],
    hints: &[(&["request", "connection"], "requests go to the router")],
};
const ERROR: u8 = 0;

/// An HTTP/1.1 and HTTP/1.0 server: ReactPHP's `HttpServer`. Clones are the same server.
///
/// It has one event, `error`: a request got an error page, because it was malformed or because a middleware or the router
/// failed; its client left before the answer, or took nothing of it; or the app made a mistake with a
/// [`BodyStream`](crate::BodyStream). It fires once for each such request. A `connection` listener of a
/// [`WebSocketMiddleware`](crate::WebSocketMiddleware) that fails is such a failure too. Without a listener, and without the
/// feature `tracing`, failures of the app are printed to stderr, at most ten a second, and those of clients are not reported.
///
/// ```no_run
/// use react_websocket::{HttpServer, Response, ServerRequest, SocketServer};
///
/// # async fn run() -> Result<(), react_websocket::Error> {
/// let http = HttpServer::new(|_request: ServerRequest| Response::plaintext("Hello"));
/// http.on("error", |error| eprintln!("{error}"));
/// http.listen(SocketServer::new("127.0.0.1:8000")?).await
/// # }
/// ```
#[derive(Clone)]
pub struct HttpServer {
    inner: Arc<Server>,
}

/// What all connections of a server share.
pub(super) struct Server {
    pub(super) chain: Chain,
    pub(super) options: HttpOptions,
    pub(super) admission: Arc<Admission>,
    events: Arc<ServerEvents>,
}

type ServerEvents = SharedEmitter<u8, Arc<HttpError>>;

impl Server {
    pub(super) fn emit_error(&self, error: HttpError) {
        self.emit(error, false);
    }

    /// Emits `error`. `is_reported`: it has its line in the log, or its listeners elsewhere.
    pub(super) fn emit(&self, error: HttpError, is_reported: bool) {
        self.admission.counts.failed(error.cause());
        let events = &self.events;
        let by_app = matches!(error, HttpError::Handler(_));
        if !is_reported {
            trace::request_failed(error.cause(), &error, by_app, by_app && events.listeners.count(&ERROR) > 0);
        }
        events.emit(ERROR, Arc::new(error), |_, error| trace::listener_failed("error", error));
    }

    /// The page to send for an error: the app's, if it makes one. `plain`: the page that would be sent.
    pub(super) fn error_page(&self, error: &HttpError, plain: Response) -> Response {
        let (page, failed) = self.options.page_for(error, plain);
        if let Some(failed) = failed {
            self.emit_error(failed);
        }
        page
    }
}

impl HttpServer {
    /// A server whose requests pass through `handlers`: a tuple of middlewares and, last, the router; or a router alone.
    ///
    /// * A router is `|request: ServerRequest| …`.
    /// * A middleware is `|request: ServerRequest, next: Next| …`, which answers by itself or returns what
    ///   [`next.run(request)`](crate::Next::run) answers; or a [`WebSocketMiddleware`](crate::WebSocketMiddleware).
    ///
    /// Both may be asynchronous, and return a [`Response`](crate::Response) or a `Result` of one: see
    /// [`IntoAnswer`](crate::IntoAnswer). A handler that panics or returns an error is answered with a 500, and the server
    /// emits `error`. An asynchronous closure is cloned for each request, so what it captures is `Clone`, as an `Arc` is:
    ///
    /// ```
    /// use react_websocket::{HttpServer, Response, ServerRequest};
    /// use std::sync::Arc;
    ///
    /// struct App { greeting: String }
    ///
    /// impl App {
    ///     async fn greet(&self, name: &str) -> String {
    ///         format!("{} {name}", self.greeting)
    ///     }
    /// }
    ///
    /// let app = Arc::new(App { greeting: "Hello".into() });
    /// HttpServer::new(async move |request: ServerRequest| Response::plaintext(app.greet(request.path()).await));
    /// ```
    ///
    /// When the client leaves before the answer, their futures are dropped at the next `.await`. What has to be finished in any
    /// case belongs into [`tokio::spawn`]:
    ///
    /// ```
    /// use react_websocket::{BoxError, HttpServer, Response, ServerRequest};
    ///
    /// # async fn charge(_: ServerRequest) -> Result<String, BoxError> { Ok(String::new()) }
    /// HttpServer::new(|request: ServerRequest| async {
    ///     // It goes on, whether or not the client waits for it.
    ///     let receipt = tokio::spawn(charge(request)).await??;
    ///     Ok::<_, BoxError>(Response::plaintext(receipt))
    /// });
    /// ```
    ///
    /// For a chain that is made by configuration, see [`IntoChain`].
    pub fn new<M>(handlers: impl IntoChain<M>) -> HttpServer {
        HttpServer::of(handlers.into_chain(), HttpOptions::new(), Arc::default())
    }

    /// Returns a server with the same handlers and listeners, and other limits and timeouts. What
    /// `self` listens on already keeps its own.
    ///
    /// The returned server counts anew: [`stats`](HttpServer::stats) of a clone that was made before
    /// does not include its requests.
    pub fn with_options(self, options: HttpOptions) -> HttpServer {
        HttpServer::of(self.inner.chain.clone(), options, self.inner.events.clone())
    }

    /// Serves what connects to a socket, or to several: a [`SocketServer`], or a `Vec` or an array of them.
    ///
    /// Serving has begun when this returns. The [`Listening`] can be awaited, closed, or dropped, which stops nothing.
    ///
    /// # Panics
    /// Outside of a tokio runtime with I/O and time enabled.
    #[track_caller]
    pub fn listen(&self, sockets: impl Into<Sockets>) -> Listening {
        let lifetime = Lifetime::new(true);
        let mut failed = None;
        let mut addresses = Vec::new();
        for socket in sockets.into().0 {
            addresses.extend(socket.local_addresses());
            match Acceptor::new(socket) {
                Ok(acceptor) => {
                    let accepting = accept(lifetime.enter(), acceptor, self.inner.clone(), lifetime.clone());
                    tokio::spawn(accepting);
                }
                Err(error) => failed = failed.or(Some(error)),
            }
        }
        let options = &self.inner.options;
        Listening::new(lifetime, failed, addresses, (options.shutdown_grace, options.shutdown_spread))
    }

    /// Serves one connection on any stream of bytes: TLS, a pipe in a test, a socket that another server accepted.
    ///
    /// It is served in a task of its own; the [`Serving`] can be awaited, closed, or dropped, which stops nothing.
    ///
    /// # Panics
    /// Outside of a tokio runtime with time enabled.
    #[track_caller]
    pub fn serve(&self, stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static) -> Serving {
        self.serve_with_addresses(stream, None, None)
    }

    /// The same, with the addresses of the stream's ends, which requests and connections then tell.
    ///
    /// # Panics
    /// Outside of a tokio runtime with time enabled.
    #[track_caller]
    pub fn serve_with_addresses(
        &self,
        stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
        remote: Option<SocketAddr>,
        local: Option<SocketAddr>,
    ) -> Serving {
        let local = local.map(|local| Arc::new(canonical(local)));
        let stream = Stream { remote, local, ..Stream::other(AppStream(Contained::new(stream))) };
        let lifetime = Lifetime::new(false);
        tokio::spawn(Connected::new(lifetime.enter(), stream, self.inner.clone()));
        let options = &self.inner.options;
        Serving::new(lifetime, (options.shutdown_grace, options.shutdown_spread))
    }

    /// What the server has done so far. One that was made of it by [`with_options`](HttpServer::with_options) counts anew.
    pub fn stats(&self) -> HttpStats {
        self.inner.admission.stats()
    }

    fn of(chain: Chain, options: HttpOptions, events: Arc<ServerEvents>) -> HttpServer {
        HttpServer { inner: Arc::new(Server { chain, options, admission: Arc::default(), events }) }
    }
}

/// # Listeners
///
/// The only event is `error`.
impl HttpServer {
    listener_methods! {
        EVENTS,
        FnMut(&HttpError),
        |listener, error: &Arc<HttpError>| listener(error),
        |server| Some(&server.inner.events.listeners),
    }
}

impl fmt::Debug for HttpServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpServer").field("options", &self.inner.options).finish_non_exhaustive()
    }
}

/// A stream that an app has given to be served.
struct AppStream<S>(Contained<S>);

impl<S: AsyncRead + Unpin> AsyncRead for AppStream<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.0).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for AppStream<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut *self.0).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.0).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut *self.0).poll_write_vectored(cx, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }
}

/// What an [`HttpServer`] can listen on: one [`SocketServer`] or several.
#[derive(Debug)]
pub struct Sockets(Vec<SocketServer>);

impl From<SocketServer> for Sockets {
    fn from(socket: SocketServer) -> Sockets {
        Sockets(vec![socket])
    }
}

impl From<Vec<SocketServer>> for Sockets {
    fn from(sockets: Vec<SocketServer>) -> Sockets {
        Sockets(sockets)
    }
}

impl<const N: usize> From<[SocketServer; N]> for Sockets {
    fn from(sockets: [SocketServer; N]) -> Sockets {
        Sockets(sockets.into())
    }
}

/// Accepts until the lifetime's end begins. The member, being the first argument, is dropped last: who waits for the end finds
/// the address free and the socket's file gone.
async fn accept(_member: Member, mut acceptor: Acceptor, server: Arc<Server>, lifetime: Arc<Lifetime>) {
    let mut phase = lifetime.phase();
    let mut end = std::pin::pin!(phase.wait_for(|phase| *phase >= Phase::Closing));
    loop {
        let stream = tokio::select! {
            biased;
            stream = acceptor.accept() => stream,
            _ = &mut end => return,
        };
        // Asked here as well: where there is always another to accept, the end is not waited for.
        if lifetime.is_closing() {
            return;
        }
        tokio::spawn(Connected::new(lifetime.enter(), stream, server.clone()));
    }
}

/// The task of one connection: HTTP first, whose memory goes when something else follows.
///
/// A future of our own, since an `async` block would keep room for all that it ever held.
enum Connected {
    Http(Pin<Box<dyn Future<Output = Option<Later>> + Send>>),
    Upgraded(Later),
    /// The last turn has deferred something, which comes before the connection is read again.
    Waiting(Box<(Deferred, Connected)>),
}

type Later = Pin<Box<dyn Future<Output = ()> + Send>>;

impl Connected {
    fn new(member: Member, mut stream: Stream, server: Arc<Server>) -> Connected {
        stream.remote = stream.remote.map(canonical);
        match server.admission.admit(stream.remote.map(|address| address.ip()), &server.options) {
            Ok((admitted, pending)) => {
                let remote = stream.remote;
                let http = speak_http(stream, server, Place::new(admitted, member), pending);
                Connected::Http(Box::pin(trace::in_connection(remote, http)))
            }
            Err(refusal) => {
                server.admission.counts.refused(refusal.cause());
                trace::connection_refused(refusal.cause(), stream.remote);
                let telling = async move {
                    let mut phase = member.phase();
                    tokio::select! {
                        _ = phase.wait_for(|phase| *phase >= Phase::Cut) => {}
                        () = refuse(stream, server, refusal) => {}
                    }
                };
                Connected::Upgraded(Box::pin(telling))
            }
        }
    }
}

impl Connected {
    /// Turns, until nothing goes on.
    #[inline(never)]
    fn poll_turns(&mut self, mut deferred: Option<Deferred>, cx: &mut Context<'_>) -> Poll<()> {
        let over = || Connected::Upgraded(Box::pin(std::future::ready(())));
        loop {
            if let Some(deferred) = deferred {
                *self = Connected::Waiting(Box::new((deferred, std::mem::replace(self, over()))));
            }
            let turn = Turn::begin();
            let polled = match self {
                Connected::Http(http) => http.as_mut().poll(cx).map(|later| later.map(Connected::Upgraded)),
                Connected::Upgraded(later) => later.as_mut().poll(cx).map(|()| None),
                Connected::Waiting(waiting) => {
                    waiting.0.as_mut().poll(cx).map(|()| Some(std::mem::replace(&mut waiting.1, over())))
                }
            };
            deferred = turn.end();
            match polled {
                Poll::Ready(Some(next)) => *self = next,
                Poll::Ready(None) => return Poll::Ready(()),
                Poll::Pending if deferred.is_none() => return Poll::Pending,
                Poll::Pending => {}
            }
        }
    }
}

impl Future for Connected {
    type Output = ();

    #[inline(always)]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut deferred = None;
        // What follows HTTP is polled most, and seldom defers anything.
        if let Connected::Upgraded(later) = &mut *self {
            let turn = Turn::begin();
            let polled = later.as_mut().poll(cx);
            deferred = turn.end();
            if polled.is_ready() || deferred.is_none() {
                return polled;
            }
        }
        self.poll_turns(deferred, cx)
    }
}

/// HTTP, and what follows it if anything does.
///
/// Not an `async fn`, which would have room for its arguments twice.
fn speak_http(
    stream: Stream,
    server: Arc<Server>,
    lifetime: Place,
    pending: Pending,
) -> impl Future<Output = Option<Later>> {
    let mut connection = Connection::new(stream, server, lifetime, pending);
    async move {
        let upgrade = connection.run().await?;
        Some(upgrade.start(connection.into_upgraded()))
    }
}

/// Tells a client that there is no room for it.
async fn refuse(mut stream: Stream, server: Arc<Server>, refusal: HttpError) {
    let linger = Linger::of(&server.options);
    // Those who are told are few at a time, so none of them is waited for longer than it needs.
    let linger = Linger { silence: linger.silence.min(REFUSED_SILENCE), write_timeout: Some(REFUSED_SILENCE), ..linger };
    let (Some(_place), Some(plain)) = (server.admission.refuse(), refusal.page()) else { return };
    let page = page(&server.error_page(&refusal, plain), &RequestLine::default());
    let tell = async {
        stream.write_all(&page).await?;
        stream.flush().await
    };
    if let Ok(Ok(())) = tokio::time::timeout(linger.silence, tell).await {
        let _ = linger.end(&mut stream).await;
    }
}

/// How long a client that is refused may be silent until the server closes the connection.
const REFUSED_SILENCE: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    /// Tokio keeps it as long as the connection lives. What HTTP needs is boxed, and goes when HTTP does.
    #[test]
    fn the_task_of_a_connection_is_small() {
        assert!(size_of::<Connected>() <= 24, "{}", size_of::<Connected>());
    }

    /// Up to this size the usual allocators hand memory out from where they keep it at hand.
    #[tokio::test]
    async fn what_http_needs_is_small() {
        let lifetime = Lifetime::new(false);
        let server = HttpServer::new(|_request: crate::ServerRequest| Response::new(200)).inner;
        let stream = Stream::other(tokio::io::empty());
        let (admitted, pending) = server.admission.admit(None, &server.options).ok().unwrap();
        let http = speak_http(stream, server, Place::new(admitted, lifetime.enter()), pending);
        assert!(size_of_val(&http) <= 1032, "{}", size_of_val(&http));
    }
}
