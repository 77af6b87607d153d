//! How messages get into the outbox of a connection with compression (RFC 7692). They are compressed
//! under the slot's lock.

use std::sync::Arc;

use crate::protocol::Opcode;
use crate::protocol::deflate::Receiver;
use crate::websocket::state::deflate::{Agreement, Deflate};
use crate::websocket::state::log::Log;
use crate::websocket::state::shared::Shared;
use crate::websocket::state::slot::State;

impl State {
    /// Begins to compress messages.
    pub(crate) fn begin_deflate(&mut self, agreement: Agreement, shared: &Shared) {
        if let Some(compression) = &shared.options.compression {
            self.framing.set_deflates();
            self.deflate = Some(Box::new(Deflate::new(agreement, compression, shared.role)));
        }
    }

    /// Takes what the task needs to decompress messages.
    pub(crate) fn take_receiver(&mut self) -> Option<Receiver> {
        Some(*self.deflate.as_mut()?.receiver.take()?)
    }

    /// Adds a message to the outbox if it becomes smaller. Returns whether it did.
    #[inline(never)]
    pub(crate) fn push_deflated(&mut self, opcode: Opcode, payload: &[u8]) -> bool {
        let (is_masked, outbox) = (self.framing.masks(), &mut self.outbox);
        let Some(deflate) = &mut self.deflate else { return false };
        deflate.compress(payload, |packed| outbox.push_packed(opcode, packed, is_masked))
    }

    /// Adds a message of a broadcast's log to the outbox: in its compressed form if this member gets it.
    #[inline(never)]
    pub(crate) fn push_broadcast(&mut self, log: &Arc<Log>, plain: (u32, u32)) {
        let deflated = self.deflate.as_mut().and_then(|deflate| deflate.broadcast(log, plain));
        let (start, end) = deflated.unwrap_or(plain);
        self.outbox.push_range(log, start, end);
    }
}
