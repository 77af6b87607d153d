use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;

use crate::emitter::{BoxError, Contained, IntoListenerFuture, ListenerCall, contain};
use crate::http::{ServerRequest, Upgraded};
use crate::runtime::clock::Coarse;
use crate::runtime::trace;
use crate::runtime::watchdog;
use crate::websocket::driver::Driver;
use crate::websocket::driver::dispatcher::Dispatcher;
use crate::websocket::handshake::accept::contain_future;
use crate::websocket::handshake::kept_request;
#[cfg(feature = "deflate")]
use crate::websocket::state::deflate::Agreement;
use crate::websocket::state::handle::WebSocketConnection;
use crate::websocket::state::shared::Shared;
use crate::websocket::state::slot::{self, Phase, Slot};

/// A client's connection before its task begins: the server has sent its 101, and the `connection` listener is
/// running.
///
/// If it is dropped before [`start`](Opening::start), the connection was never opened and emits no event.
pub(crate) struct Opening {
    connection: WebSocketConnection,
    shared: Arc<Shared>,
    is_started: bool,
}

impl Opening {
    /// `request` is the handshake that was sent.
    pub(crate) fn begin(
        shared: Arc<Shared>,
        request: Option<ServerRequest>,
        subprotocol: Option<&str>,
        (remote, local): (Option<SocketAddr>, Option<Arc<SocketAddr>>),
    ) -> Opening {
        watchdog::start(slot::report_stuck);
        let kept = request.as_ref().and_then(|request| kept_request::keep(request, subprotocol, &shared.options));
        let connection = Slot::open(shared.clone(), remote);
        if let Some(mut state) = connection.lock() {
            state.local = local;
            // The handshake cannot be rejected any more.
            state.phase = state.phase.max(Phase::Accepted);
            if let Some(kept) = kept {
                state.app_state().handshake = Some(kept);
            }
            state.cold().request = request;
        }
        Opening { connection, shared, is_started: false }
    }

    /// Begins to compress messages, if that was agreed on.
    #[cfg(feature = "deflate")]
    pub(crate) fn begin_deflate(&self, agreement: Option<Agreement>) {
        if let (Some(agreement), Some(mut state)) = (agreement, self.connection.lock()) {
            state.begin_deflate(agreement, &self.shared);
        }
    }

    /// Calls the `connection` listener.
    pub(crate) async fn call<R, K>(&self, listener: impl FnOnce(WebSocketConnection) -> R) -> Result<(), BoxError>
    where
        R: IntoListenerFuture<K>,
    {
        let called = {
            let begun = Coarse::now();
            let watched = watchdog::begin_turn(begun, self.connection.index());
            let called = watchdog::in_event("connection", || contain(|| Ok(listener(self.connection).into_call())));
            watched.end_turn();
            self.shared.note_time(begun);
            called?
        };
        match called {
            ListenerCall::Done(result) => result,
            ListenerCall::Later(running) => contain_future(Contained::new(running)).await,
        }
    }

    /// Starts the connection. The future is the rest of its life.
    pub(crate) fn start(mut self, upgraded: Upgraded) -> (WebSocketConnection, Pin<Box<dyn Future<Output = ()> + Send>>) {
        self.is_started = true;
        let connection = self.connection;
        if let Some(mut state) = connection.lock().filter(|_| !self.shared.options.keep_request) {
            let request = state.cold().request.take();
            state.trim_cold();
            drop(state);
            drop(request);
        }
        let driver = Driver::start(connection, self.shared.clone(), upgraded);
        (connection, Box::pin(trace::in_websocket(connection.id(), driver)))
    }
}

impl Drop for Opening {
    fn drop(&mut self) {
        if !self.is_started {
            Dispatcher::new(self.connection).discard();
        }
    }
}
