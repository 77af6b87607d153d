use crate::protocol::{BufferPool, Connection, Role};
use crate::websocket::driver::{Budget, Driver};
use crate::websocket::state::handle::WebSocketConnection;

impl Driver {
    /// Counts a compressed message. Its bytes after decompression count for the turn, because a few
    /// compressed bytes may become many.
    #[inline]
    pub(crate) fn note_inflated(&mut self, pool: &mut BufferPool, budget: &mut Budget) {
        let Some(inflated) = pool.take_inflated() else { return };
        budget.bytes = budget.bytes.saturating_sub_unsigned(inflated.unpacked);
        if let Some(deflate) = self.connection().lock().as_mut().and_then(|state| state.deflate.as_mut()) {
            deflate.traffic.note_received(inflated.packed, inflated.unpacked);
        }
    }
}

impl WebSocketConnection {
    /// Returns the decoder of the peer's frames.
    pub(crate) fn session(self, role: Role) -> Connection {
        match self.lock().and_then(|mut state| state.take_receiver()) {
            Some(receiver) => Connection::with_deflate(role, receiver),
            None => Connection::new(role),
        }
    }
}
