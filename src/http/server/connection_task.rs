use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::time::Instant;

use super::proxied::Proxied;
use crate::http::HttpError;
use crate::http::context::ServerContext;
use crate::http::h1::{Connection, Linger, RequestLine, encode_page};
use crate::http::lifecycle::{ConnectionPermit, Phase, Shutdown, TaskGuard};
use crate::http::message::Response;
use crate::runtime::stream::{Stream, canonical};
use crate::runtime::trace;
use crate::runtime::turn::{Deferred, Turn};
use crate::socket::{Acceptor, ProxyHeader};

/// Accepts connections until the shutdown begins. `_task`, being the first argument, is dropped last: when the shutdown has
/// finished, the address is free and the socket's file gone.
pub(super) async fn accept(_task: TaskGuard, mut acceptor: Acceptor, server: Arc<ServerContext>, shutdown: Arc<Shutdown>) {
    let mut phase = shutdown.phase();
    let mut end = std::pin::pin!(phase.wait_for(|phase| *phase >= Phase::Closing));
    loop {
        let (stream, header) = tokio::select! {
            biased;
            accepted = acceptor.accept() => accepted,
            _ = &mut end => return,
        };
        // Checked here as well: where there is always a connection to accept, `end` is never polled.
        if shutdown.is_closing() {
            return;
        }
        let task = shutdown.track_task();
        tokio::spawn(match header {
            None => ConnectionTask::new(task, stream, server.clone()),
            Some(header) => ConnectionTask::of_proxy(task, stream, header, server.clone()),
        });
    }
}

/// The task of one connection: HTTP first, whose memory is freed when another protocol follows.
///
/// A future written by hand, since an `async` block would keep room for everything it ever held.
pub(super) enum ConnectionTask {
    Http(Pin<Box<dyn Future<Output = Option<BoxedTask>> + Send>>),
    Upgraded(BoxedTask),
    /// The last turn has deferred callbacks, which run before the connection is read again.
    Waiting(Box<(Deferred, ConnectionTask)>),
}

type BoxedTask = Pin<Box<dyn Future<Output = ()> + Send>>;

impl ConnectionTask {
    pub(super) fn new(task: TaskGuard, mut stream: Stream, server: Arc<ServerContext>) -> ConnectionTask {
        stream.remote = stream.remote.map(canonical);
        match server.admit(stream.remote) {
            Ok((admitted, pending)) => {
                let remote = stream.remote;
                let permit = ConnectionPermit::new(admitted, task);
                let http = serve_http(Connection::new(stream, server, permit, pending));
                ConnectionTask::Http(Box::pin(trace::in_connection(remote, http)))
            }
            Err(error) => ConnectionTask::Upgraded(Box::pin(reject_with(task, stream, server, error))),
        }
    }

    /// A connection of a proxy, which begins with a header. It is counted under the client's address, once that is known.
    fn of_proxy(task: TaskGuard, stream: Stream, header: Box<ProxyHeader>, server: Arc<ServerContext>) -> ConnectionTask {
        match server.admit(None) {
            Ok((admitted, pending)) => {
                let proxied = Proxied { stream, header, admitted, pending };
                ConnectionTask::Http(Box::pin(serve_proxied(task, proxied, server)))
            }
            Err(error) => {
                // Its error page is not sent in front of a TLS handshake.
                let (stream, _) = header.finish(stream);
                ConnectionTask::Upgraded(Box::pin(reject_with(task, stream, server, error)))
            }
        }
    }
}

impl ConnectionTask {
    /// Polls in turns until nothing is ready.
    #[inline(never)]
    fn poll_turns(&mut self, mut deferred: Option<Deferred>, cx: &mut Context<'_>) -> Poll<()> {
        let over = || ConnectionTask::Upgraded(Box::pin(std::future::ready(())));
        loop {
            if let Some(deferred) = deferred {
                *self = ConnectionTask::Waiting(Box::new((deferred, std::mem::replace(self, over()))));
            }
            let turn = Turn::begin();
            let polled = match self {
                ConnectionTask::Http(http) => http.as_mut().poll(cx).map(|later| later.map(ConnectionTask::Upgraded)),
                ConnectionTask::Upgraded(later) => later.as_mut().poll(cx).map(|()| None),
                ConnectionTask::Waiting(waiting) => {
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

impl Future for ConnectionTask {
    type Output = ();

    #[inline(always)]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut deferred = None;
        // An upgraded connection is polled most, and seldom defers anything.
        if let ConnectionTask::Upgraded(later) = &mut *self {
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

/// Runs a connection that begins with another protocol than HTTP.
#[cfg(any(feature = "client", feature = "hyper"))]
pub(crate) fn spawn_upgraded(task: impl Future<Output = ()> + Send + 'static) {
    tokio::spawn(ConnectionTask::Upgraded(Box::pin(task)));
}

/// Serves HTTP and returns the task of the protocol that follows, if one does.
#[expect(clippy::manual_async_fn, reason = "an `async fn` would have room for its argument twice")]
fn serve_http(mut connection: Connection) -> impl Future<Output = Option<BoxedTask>> {
    async move {
        let upgrade = connection.run().await;
        #[cfg(feature = "__tls")]
        if upgrade.is_none() && !connection.is_evicted && connection.stream.lacks_handshake() {
            connection.server.admission.no_handshake(connection.stream.remote);
        }
        Some(upgrade?.start(connection.into_upgraded()))
    }
}

/// Reads the header of a proxy's connection, and serves the client that it names. `header_timeout` is for the header and the
/// request's head together. `task`, being the first argument, is dropped last.
async fn serve_proxied(task: TaskGuard, mut proxied: Proxied, server: Arc<ServerContext>) -> Option<BoxedTask> {
    let accepted = Instant::now();
    if !proxied.read_header(&server, task.shutdown(), accepted).await {
        return None;
    }
    let Proxied { stream, header, mut admitted, pending } = proxied;
    let (stream, received) = header.finish(stream);
    let remote = stream.remote;
    if let Err(error) = admitted.count(server.network_of(remote), &server.options.connections) {
        drop((admitted, pending));
        reject_with(task, stream, server, error).await;
        return None;
    }
    // From now on the connection is pending under the client's address.
    drop(pending);
    let pending = server.admission.pend();
    let connection = Connection::new(stream, server, ConnectionPermit::new(admitted, task), pending);
    let http = serve_http(connection.begun(accepted, &received));
    Box::pin(trace::in_connection(remote, http)).await
}

/// Counts a connection that is not admitted, and sends its error page.
fn reject_with(task: TaskGuard, stream: Stream, server: Arc<ServerContext>, error: HttpError) -> impl Future<Output = ()> {
    server.admission.counts.refused(error.cause());
    trace::connection_refused(error.cause(), stream.remote);
    async move {
        let mut phase = task.shutdown().phase();
        tokio::select! {
            _ = phase.wait_for(|phase| *phase >= Phase::Terminated) => {}
            () = reject(stream, server, error) => {}
        }
    }
}

/// Sends the error page of a connection that is not admitted.
async fn reject(mut stream: Stream, server: Arc<ServerContext>, error: HttpError) {
    let linger = Linger::of(&server.options);
    // Few rejections are sent at a time, so none of them may wait long for its client.
    let linger = Linger { silence: linger.silence.min(REJECTED_SILENCE), write_timeout: Some(REJECTED_SILENCE), ..linger };
    let (Some(_permit), Some(plain)) = (server.admission.permit_rejection(), Response::for_error(&error)) else { return };
    let page = encode_page(&server.error_page(&error, plain), &RequestLine::default());
    let tell = async {
        stream.write_all(&page).await?;
        stream.flush().await
    };
    if let Ok(Ok(())) = tokio::time::timeout(linger.silence, tell).await {
        let _ = linger.end(&mut stream).await;
    }
}

/// How long a rejected client may be silent until the server closes the connection.
const REJECTED_SILENCE: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    /// Tokio keeps it as long as the connection lives. What HTTP needs is boxed, and goes when HTTP does.
    #[test]
    fn the_task_of_a_connection_is_small() {
        assert!(size_of::<ConnectionTask>() <= 24, "{}", size_of::<ConnectionTask>());
    }

    /// Up to this size the usual allocators hand memory out from where they keep it at hand.
    #[tokio::test]
    async fn what_http_needs_is_small() {
        let shutdown = Shutdown::new(false);
        let server = crate::HttpServer::new(|_request: crate::ServerRequest| Response::new(200)).inner;
        let stream = Stream::other(tokio::io::empty());
        let (admitted, pending) = server.admit(None).ok().unwrap();
        let permit = ConnectionPermit::new(admitted, shutdown.track_task());
        let http = serve_http(Connection::new(stream, server, permit, pending));
        assert!(size_of_val(&http) <= 1032, "{}", size_of_val(&http));
    }
}
