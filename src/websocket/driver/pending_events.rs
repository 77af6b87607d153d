use crate::websocket::error::ConnectionError;
use crate::websocket::state::event::OwnedArgs;

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
