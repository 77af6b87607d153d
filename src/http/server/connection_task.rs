use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::AsyncWriteExt;

use crate::http::HttpError;
use crate::http::context::ServerContext;
use crate::http::h1::{Connection, Linger, RequestLine, encode_page};
use crate::http::lifecycle::{ConnectionPermit, Pending, Phase, Shutdown, TaskGuard};
use crate::http::message::Response;
use crate::runtime::stream::{Stream, canonical};
use crate::runtime::trace;
use crate::runtime::turn::{Deferred, Turn};
use crate::socket::Acceptor;

/// Accepts connections until the shutdown begins. `_task`, being the first argument, is dropped last: when the shutdown has
/// finished, the address is free and the socket's file gone.
pub(super) async fn accept(_task: TaskGuard, mut acceptor: Acceptor, server: Arc<ServerContext>, shutdown: Arc<Shutdown>) {
    let mut phase = shutdown.phase();
    let mut end = std::pin::pin!(phase.wait_for(|phase| *phase >= Phase::Closing));
    loop {
        let stream = tokio::select! {
            biased;
            stream = acceptor.accept() => stream,
            _ = &mut end => return,
        };
        // Asked here as well: where there is always another to accept, the end is not waited for.
        if shutdown.is_closing() {
            return;
        }
        tokio::spawn(Connected::new(shutdown.track_task(), stream, server.clone()));
    }
}

/// The task of one connection: HTTP first, whose memory goes when something else follows.
///
/// A future of our own, since an `async` block would keep room for all that it ever held.
pub(super) enum Connected {
    Http(Pin<Box<dyn Future<Output = Option<Later>> + Send>>),
    Upgraded(Later),
    /// The last turn has deferred something, which comes before the connection is read again.
    Waiting(Box<(Deferred, Connected)>),
}

type Later = Pin<Box<dyn Future<Output = ()> + Send>>;

impl Connected {
    pub(super) fn new(task: TaskGuard, mut stream: Stream, server: Arc<ServerContext>) -> Connected {
        stream.remote = stream.remote.map(canonical);
        match server.admit(stream.remote) {
            Ok((admitted, pending)) => {
                let remote = stream.remote;
                let http = speak_http(stream, server, ConnectionPermit::new(admitted, task), pending);
                Connected::Http(Box::pin(trace::in_connection(remote, http)))
            }
            Err(refusal) => {
                server.admission.counts.refused(refusal.cause());
                trace::connection_refused(refusal.cause(), stream.remote);
                let telling = async move {
                    let mut phase = task.shutdown().phase();
                    tokio::select! {
                        _ = phase.wait_for(|phase| *phase >= Phase::Terminated) => {}
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
    server: Arc<ServerContext>,
    permit: ConnectionPermit,
    pending: Pending,
) -> impl Future<Output = Option<Later>> {
    let mut connection = Connection::new(stream, server, permit, pending);
    async move {
        let upgrade = connection.run().await?;
        Some(upgrade.start(connection.into_upgraded()))
    }
}

/// Tells a client that there is no room for it.
async fn refuse(mut stream: Stream, server: Arc<ServerContext>, refusal: HttpError) {
    let linger = Linger::of(&server.options);
    // Those who are told are few at a time, so none of them is waited for longer than it needs.
    let linger = Linger { silence: linger.silence.min(REFUSED_SILENCE), write_timeout: Some(REFUSED_SILENCE), ..linger };
    let (Some(_place), Some(plain)) = (server.admission.refuse(), Response::for_error(&refusal)) else { return };
    let page = encode_page(&server.error_page(&refusal, plain), &RequestLine::default());
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
        let shutdown = Shutdown::new(false);
        let server = crate::HttpServer::new(|_request: crate::ServerRequest| Response::new(200)).inner;
        let stream = Stream::other(tokio::io::empty());
        let (admitted, pending) = server.admit(None).ok().unwrap();
        let http = speak_http(stream, server, ConnectionPermit::new(admitted, shutdown.track_task()), pending);
        assert!(size_of_val(&http) <= 1032, "{}", size_of_val(&http));
    }
}
