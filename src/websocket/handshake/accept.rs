//! The decision about a client's handshake: the check of the request, `with_verify`, and the
//! `connection` listeners, in this order. Each of them may refuse it.
//!
//! [`decide`] returns the 101 with the upgrade, or the response of the refusal. A connection exists
//! from the first `connection` listener on, and is discarded if the handshake is refused.

use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::time::{Instant, timeout, timeout_at};

use crate::emitter::{BoxError, ConcurrentListener, Contained, ListenerCall, contain};
use crate::http::{HttpError, Response, ResponseFuture, ServerRequest, Upgrade, Upgraded};
use crate::runtime::clock::Coarse;
use crate::runtime::trace;
use crate::runtime::watchdog;
use crate::websocket::driver::Driver;
use crate::websocket::driver::dispatcher::Dispatcher;
use crate::websocket::error::{ConnectionError, HandshakeError};
use crate::websocket::handshake::check::{self, Handshake};
use crate::websocket::handshake::kept_request;
use crate::websocket::options::WebSocketOptions;
use crate::websocket::options::verify::{Rejection, Verdict, Verifying};
use crate::websocket::state::handle::WebSocketConnection;
use crate::websocket::state::shared::Shared;
use crate::websocket::state::slot::{self, Phase, Slot};

/// The indices of the middleware's events in its list of names.
const CONNECTION: u8 = 0;
const ERROR: u8 = 1;

/// The deadline of the decision, and the timeout it was made from.
type Deadline = Option<(Instant, Duration)>;

fn deadline(options: &WebSocketOptions) -> Deadline {
    options.handshake_timeout.and_then(|limit| Some((Instant::now().checked_add(limit)?, limit)))
}

/// Answers a handshake.
pub(crate) fn decide(request: ServerRequest, shared: Arc<Shared>) -> ResponseFuture {
    let mut handshake = match check::check(&request, &shared.options) {
        Ok(handshake) => handshake,
        Err(error) => return PendingHandshake::begin(request, shared, None).refuse(error.into()),
    };
    let verdict = match &shared.verify {
        Some(verify) => verify(request.clone()),
        None => Verifying::Now(Ok(None)),
    };
    match verdict {
        Verifying::Now(verdict) => {
            PendingHandshake::begin(request, shared, Some(&mut handshake)).apply(verdict, handshake, None)
        }
        Verifying::Later(deciding) => {
            let handshaking = PendingHandshake::begin(request, shared, Some(&mut handshake));
            let deciding = Contained::new(deciding);
            ResponseFuture::new(async move {
                let deadline = deadline(&handshaking.shared.options);
                let verdict = in_time(deadline, contain_future(deciding)).await;
                handshaking.apply(verdict, handshake, deadline).await
            })
        }
    }
}

/// A connection whose `connection` listeners are deciding about it.
struct PendingHandshake {
    connection: WebSocketConnection,
    shared: Arc<Shared>,
    decision: Decision,
    /// The runtime of the handshake. The future may be dropped on another runtime that no longer
    /// runs.
    runtime: Option<Handle>,
}

enum Decision {
    Open,
    Refused,
    Accepted,
}

impl Drop for PendingHandshake {
    /// If the handshake was not accepted, the connection was never opened.
    fn drop(&mut self) {
        match self.decision {
            Decision::Accepted => {}
            Decision::Refused => Dispatcher::new(self.connection).discard(),
            Decision::Open => {
                let PendingHandshake { connection, ref shared, ref mut runtime, .. } = *self;
                let runtime = runtime.take();
                let gone = PendingHandshake { connection, shared: shared.clone(), decision: Decision::Open, runtime: None };
                let answer = gone.refuse(HandshakeError::Gone.into());
                // No task is left that could await asynchronous listeners.
                if let Some(runtime) = runtime {
                    runtime.spawn(answer.into_future());
                }
            }
        }
    }
}

impl PendingHandshake {
    fn begin(request: ServerRequest, shared: Arc<Shared>, handshake: Option<&mut Handshake>) -> PendingHandshake {
        watchdog::start(slot::report_stuck);
        let connection = Slot::open(shared.clone(), request.remote_address());
        let kept = handshake
            .as_ref()
            .and_then(|handshake| kept_request::keep(&request, handshake.subprotocol.as_deref(), &shared.options));
        if let Some(mut state) = connection.lock() {
            state.local = request.shared_local_address();
            if let Some(kept) = kept {
                state.app_state().handshake = Some(kept);
            }
            state.cold().request = Some(request);
            #[cfg(feature = "deflate")]
            if let Some(agreement) = handshake.and_then(Handshake::take_agreement) {
                state.begin_deflate(agreement, &shared);
            }
        }
        PendingHandshake { connection, shared, decision: Decision::Open, runtime: Handle::try_current().ok() }
    }

    /// Acts on the decision of [`with_verify`](crate::WebSocketMiddleware::with_verify).
    fn apply(self, verdict: Verdict, handshake: Handshake, deadline: Deadline) -> ResponseFuture {
        match verdict {
            Ok(found) => {
                if let Some(found) = found {
                    self.connection.set_shared(found);
                }
                self.decide(handshake, deadline)
            }
            Err(refusal) => self.refuse(refusal),
        }
    }

    /// Calls the `connection` listeners, one after the other.
    fn decide(self, handshake: Handshake, deadline: Deadline) -> ResponseFuture {
        let listeners = self.shared.listeners.snapshot();
        for (place, listener) in listeners.iter().enumerate() {
            match self.call(listener, CONNECTION) {
                ListenerCall::Done(result) => {
                    if let Err(refusal) = self.verdict(result) {
                        return self.refuse(refusal);
                    }
                }
                ListenerCall::Later(running) => {
                    let running = Contained::new(running);
                    return ResponseFuture::new(self.decide_later(handshake, deadline, listeners, place, running));
                }
            }
        }
        self.accept(handshake)
    }

    /// Continues [`decide`](Self::decide) from the first asynchronous listener on, which is
    /// `running`.
    async fn decide_later(
        self,
        handshake: Handshake,
        begun: Deadline,
        listeners: Arc<[Arc<ConcurrentListener<WebSocketConnection>>]>,
        place: usize,
        running: Running<(), BoxError>,
    ) -> Response {
        let decide = async {
            self.verdict(contain_future(running).await)?;
            for listener in listeners.iter().skip(place + 1) {
                let result = match self.call(listener, CONNECTION) {
                    ListenerCall::Done(result) => result,
                    ListenerCall::Later(running) => contain_future(Contained::new(running)).await,
                };
                self.verdict(result)?;
            }
            Ok(())
        };
        match in_time(begun.or_else(|| deadline(&self.shared.options)), decide).await {
            Ok(()) => self.accept(handshake).await,
            Err(refusal) => self.refuse(refusal).await,
        }
    }

    /// Returns the decision of a listener.
    fn verdict(&self, result: Result<(), BoxError>) -> Result<(), Rejection> {
        result?;
        let rejection = self.connection.lock().and_then(|mut state| state.cold_if_any()?.rejection.take());
        rejection.map_or(Ok(()), |page| Err(page.into()))
    }

    fn call(&self, listener: &ConcurrentListener<WebSocketConnection>, event: u8) -> ListenerCall {
        let begun = Coarse::now();
        let watched = watchdog::begin_turn(begun, self.connection.index());
        let name = if event == CONNECTION { "connection" } else { "error" };
        let called =
            watchdog::in_event(name, || contain(|| Ok(self.shared.listeners.call(listener, event, self.connection))));
        watched.end_turn();
        self.shared.note_time(begun);
        match called {
            Ok(call) => call.unwrap_or(ListenerCall::Done(Ok(()))),
            Err(error) => ListenerCall::Done(Err(error)),
        }
    }

    /// Accepts the handshake. From here on the connection exists, and will emit `close`.
    fn accept(mut self, handshake: Handshake) -> ResponseFuture {
        if let Some(mut state) = self.connection.lock() {
            if let Some(page) = state.cold_if_any().and_then(|cold| cold.rejection.take()) {
                // Another thread called `reject` after the last listener.
                drop(state);
                return self.refuse(page.into());
            }
            state.phase = state.phase.max(Phase::Accepted);
            if !self.shared.options.keep_request {
                let request = state.cold().request.take();
                state.trim_cold();
                drop(state);
                drop(request);
            }
        }
        self.decision = Decision::Accepted;
        let upgrade = Accepted { connection: Some(self.connection), shared: self.shared.clone() };
        handshake.complete(Response::switching_protocols(Box::new(upgrade))).into()
    }

    /// Returns whether a web page of this machine was refused for its origin: a page of a development
    /// server, probably.
    fn is_local_page(&self, error: &HandshakeError) -> bool {
        let HandshakeError::Origin { origin, .. } = error else { return false };
        let host = origin.split_once("://").map_or("", |(_, host)| host);
        ["localhost", "127.", "[::1]"].iter().any(|local| host.starts_with(local))
            && self.connection.remote_address().is_some_and(|address| address.ip().is_loopback())
    }

    /// Emits the middleware's `error` for a refused handshake. The connection only exists until its
    /// listeners are done.
    fn refuse(mut self, Rejection { error, mut page }: Rejection) -> ResponseFuture {
        self.decision = Decision::Refused;
        self.shared.connections.refused(error.cause());
        let by_app = matches!(error, HandshakeError::Listener(_) | HandshakeError::Timeout { .. });
        let listeners = self.shared.listeners.snapshot();
        let is_reported = trace::handshake_failed(error.cause(), &error, by_app);
        if self.is_local_page(&error) && self.shared.listeners.count(&ERROR) == 0 {
            trace::local_page_refused(&error);
        }
        if by_app {
            // In ReactPHP an exception in a listener is an `error` of the HTTP server.
            let failed = HttpError::Handler(error.clone().into());
            let is_reported = is_reported || self.shared.listeners.count(&ERROR) > 0;
            *page = if is_reported { page.with_reported_error(failed) } else { page.with_error(failed) };
        }
        if let Some(mut state) = self.connection.lock() {
            state.phase = Phase::Closed;
            state.cold().error = Some(ConnectionError::Handshake(error));
        }
        // There is no connection that the errors of these listeners could fail.
        let mut running = Vec::new();
        for listener in listeners.iter() {
            match self.call(listener, ERROR) {
                ListenerCall::Later(later) => running.push(Contained::new(later)),
                ListenerCall::Done(Err(error)) => trace::listener_failed("error", error),
                ListenerCall::Done(Ok(())) => {}
            }
        }
        if running.is_empty() {
            return (*page).into();
        }
        ResponseFuture::new(async move {
            let limit = self.shared.options.handshake_timeout.unwrap_or(Duration::MAX);
            let all = async {
                for running in running {
                    if let Err(error) = contain_future(running).await {
                        trace::listener_failed("error", error);
                    }
                }
            };
            let _ = timeout(limit, all).await;
            *page
        })
    }
}

/// Refuses the handshake if it is not decided before the deadline.
async fn in_time<T>(deadline: Deadline, decide: impl Future<Output = Result<T, Rejection>>) -> Result<T, Rejection> {
    let Some((deadline, limit)) = deadline else { return decide.await };
    timeout_at(deadline, decide).await.unwrap_or_else(|_| Err(HandshakeError::Timeout { limit }.into()))
}

pub(crate) type Running<T, E> = Contained<Pin<Box<dyn Future<Output = Result<T, E>> + Send>>>;

/// Runs a future. A panic becomes an error.
pub(crate) async fn contain_future<T, E: From<BoxError>>(mut running: Running<T, E>) -> Result<T, E> {
    std::future::poll_fn(|cx| {
        contain(|| Ok(running.as_mut().poll(cx))).unwrap_or_else(|error| Poll::Ready(Err(error.into())))
    })
    .await
}

/// An accepted connection. If the 101 does not leave, because the client has left or another
/// middleware has changed the response, `close` still fires once for each `connection`.
struct Accepted {
    connection: Option<WebSocketConnection>,
    shared: Arc<Shared>,
}

impl Upgrade for Accepted {
    fn start(mut self: Box<Self>, upgraded: Upgraded) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        match self.connection.take() {
            Some(connection) => {
                let driver = Driver::start(connection, self.shared.clone(), upgraded);
                Box::pin(trace::in_websocket(connection.id(), driver))
            }
            None => Box::pin(std::future::ready(())),
        }
    }
}

impl Drop for Accepted {
    fn drop(&mut self) {
        if let Some(connection) = self.connection.take() {
            Driver::never_started(connection);
        }
    }
}
