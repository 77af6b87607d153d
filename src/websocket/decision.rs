use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use super::connection::WebSocketConnection;
use super::delivery::Delivery;
use super::driver::Driver;
use super::error::{ConnectionError, HandshakeError};
use super::handshake::Handshake;
use super::shared::Shared;
use super::slot::Phase;
use crate::clock::Coarse;
use crate::emitter::{BoxError, ConcurrentListener, Reacting, contain};
use crate::http::{Answer, Response, Upgrade, Upgraded};

/// The middleware's events, by their place among its names.
const CONNECTION: u8 = 0;
const ERROR: u8 = 1;

/// A connection whose listeners decide about it. Dropped without a decision, it was never there.
pub(super) struct Handshaking {
    /// None once it has been accepted.
    pub(super) connection: Option<WebSocketConnection>,
    pub(super) shared: Arc<Shared>,
}

impl Drop for Handshaking {
    fn drop(&mut self) {
        if let Some(connection) = self.connection {
            Delivery::new(connection).vanish();
        }
    }
}

/// What a listener has decided against: the error, and what the client is answered.
type Refusal = (HandshakeError, Response);

impl Handshaking {
    /// Calls the `connection` listeners, one after the other.
    pub(super) fn decide(self, connection: WebSocketConnection, handshake: Handshake) -> Answer {
        let listeners = self.shared.listeners.snapshot();
        for (place, listener) in listeners.iter().enumerate() {
            match self.call(listener, CONNECTION, connection) {
                Reacting::Done(outcome) => {
                    if let Some((error, page)) = refusal(connection, outcome) {
                        return self.refuse(connection, error, page);
                    }
                }
                Reacting::Later(running) => {
                    return Answer::later(self.decide_later(connection, handshake, listeners, place, running));
                }
            }
        }
        self.accept(connection, handshake).into()
    }

    /// The same from the first asynchronous listener on, which is `running`.
    async fn decide_later(
        self,
        connection: WebSocketConnection,
        handshake: Handshake,
        listeners: Arc<[Arc<ConcurrentListener<WebSocketConnection>>]>,
        place: usize,
        running: Running,
    ) -> Response {
        let decide = async {
            let mut refused = refusal(connection, contain_future(running).await);
            for listener in listeners.iter().skip(place + 1) {
                if refused.is_some() {
                    break;
                }
                let outcome = match self.call(listener, CONNECTION, connection) {
                    Reacting::Done(outcome) => outcome,
                    Reacting::Later(running) => contain_future(running).await,
                };
                refused = refusal(connection, outcome);
            }
            refused
        };
        let refused = match self.shared.options.handshake_timeout {
            None => decide.await,
            Some(limit) => tokio::time::timeout(limit, decide).await.unwrap_or_else(|_| {
                let error = HandshakeError::Timeout { limit };
                let page = error.page();
                Some((error, page))
            }),
        };
        match refused {
            Some((error, page)) => self.refuse(connection, error, page).await,
            None => self.accept(connection, handshake),
        }
    }

    fn call(
        &self,
        listener: &ConcurrentListener<WebSocketConnection>,
        event: u8,
        connection: WebSocketConnection,
    ) -> Reacting {
        let begun = Coarse::now();
        let called = contain(|| Ok(self.shared.listeners.call(listener, event, connection)));
        self.shared.note_time(begun);
        match called {
            Ok(reacting) => reacting.unwrap_or(Reacting::Done(Ok(()))),
            Err(error) => Reacting::Done(Err(error)),
        }
    }

    fn accept(mut self, connection: WebSocketConnection, handshake: Handshake) -> Response {
        if !self.shared.options.keep_request
            && let Some(mut state) = connection.lock()
        {
            let request = state.extras().request.take();
            state.trim_extras();
            drop(state);
            drop(request);
        }
        // From here on the connection is there, and will say `close`.
        let upgrade = Accepted { connection: self.connection.take(), shared: self.shared.clone() };
        handshake.complete(Response::switching_protocols(Box::new(upgrade)))
    }

    /// Tells of a refused handshake. The connection answers the `error` listeners, and then it is gone.
    pub(super) fn refuse(self, connection: WebSocketConnection, error: HandshakeError, page: Response) -> Answer {
        self.shared.connections.refused(error.cause());
        if let Some(mut state) = connection.lock() {
            state.phase = Phase::Closed;
            state.extras().error = Some(ConnectionError::Handshake(error));
        }
        // What these return is about a connection that is not there: there is nothing left to do with it.
        let mut running = Vec::new();
        for listener in self.shared.listeners.snapshot().iter() {
            if let Reacting::Later(later) = self.call(listener, ERROR, connection) {
                running.push(later);
            }
        }
        if running.is_empty() {
            return page.into();
        }
        Answer::later(async move {
            let limit = self.shared.options.handshake_timeout.unwrap_or(Duration::MAX);
            let all = async {
                for running in running {
                    let _ = contain_future(running).await;
                }
            };
            let _ = tokio::time::timeout(limit, all).await;
            page
        })
    }
}

/// Whether a listener has decided against the connection.
fn refusal(connection: WebSocketConnection, outcome: Result<(), BoxError>) -> Option<Refusal> {
    if let Err(error) = outcome {
        let error = HandshakeError::Listener(error.into());
        let page = error.page();
        return Some((error, page));
    }
    let rejection = connection.lock()?.existing_extras()?.rejection.take()?;
    Some((HandshakeError::Rejected { status: rejection.status() }, rejection))
}

type Running = Pin<Box<dyn Future<Output = Result<(), BoxError>> + Send>>;

/// A panic is an error.
async fn contain_future(mut running: Running) -> Result<(), BoxError> {
    std::future::poll_fn(|cx| {
        contain(|| Ok(running.as_mut().poll(cx))).unwrap_or_else(|error| std::task::Poll::Ready(Err(error)))
    })
    .await
}

/// A connection that has been accepted. If the 101 does not leave, because the client has left or another middleware has
/// answered something else, there is still a `close` to each `connection`.
struct Accepted {
    connection: Option<WebSocketConnection>,
    shared: Arc<Shared>,
}

impl Upgrade for Accepted {
    fn start(mut self: Box<Self>, upgraded: Upgraded) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        match self.connection.take() {
            Some(connection) => Box::pin(Driver::start(connection, self.shared.clone(), upgraded)),
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
