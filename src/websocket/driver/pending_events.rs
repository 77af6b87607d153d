use crate::websocket::error::ConnectionError;
use crate::websocket::state::event::OwnedArgs;

/// An emission that waits for an asynchronous listener.
pub(crate) struct Running {
    pub(crate) active: bool,
    pub(crate) event: u8,
    pub(crate) place: usize,
    /// For the listeners that follow.
    pub(crate) args: OwnedArgs,
}

/// Events that wait for the listener that runs. They do not come from the wire, so their order is their own: `drain`,
/// `error`, `close`.
#[derive(Default)]
pub(crate) struct Due {
    pub(crate) drain: bool,
    pub(crate) error: Option<ConnectionError>,
    pub(crate) close: Option<(u16, String)>,
    /// All has been emitted.
    pub(crate) done: bool,
    /// Nobody waits for asynchronous listeners any more.
    pub(crate) skip_async: bool,
}
