use crate::websocket::error::ConnectionError;
use crate::websocket::state::event::OwnedArgs;
use crate::websocket::state::handle::WebSocketConnection;
use crate::websocket::state::slot::Phase;

/// An emission that waits for an asynchronous listener.
pub(crate) struct Running {
    pub(crate) active: bool,
    pub(crate) event: u8,
    pub(crate) place: usize,
    /// Arguments for the remaining listeners.
    pub(crate) args: OwnedArgs,
}

/// Events that are due after the running listener. They do not come from the wire, so they have an
/// order of their own: `drain`, `error`, `close`.
#[derive(Default)]
pub(crate) struct Due {
    pub(crate) drain: bool,
    pub(crate) error: Option<ConnectionError>,
    pub(crate) close: Option<(u16, String)>,
    /// `close` is being emitted, or has been.
    pub(crate) done: bool,
    /// Asynchronous listeners are no longer awaited.
    pub(crate) skip_async: bool,
}

impl WebSocketConnection {
    /// Marks the connection as closed: no message is written, no listener is added, and no error is
    /// found afterwards, since none could follow `close`. `false` if there is an error that the
    /// task does not know of, unless there is no time for it.
    pub(crate) fn begin_to_close(self, skip_async: bool) -> bool {
        let Some(mut state) = self.lock() else { return true };
        if !skip_async && state.cold_if_any().is_some_and(|cold| cold.fault.is_some()) {
            return false;
        }
        state.phase = Phase::Closed;
        let senders = state.cold_if_any().and_then(|cold| cold.senders.take());
        drop(state);
        if let Some(senders) = senders {
            senders.notify_waiters();
        }
        true
    }
}
