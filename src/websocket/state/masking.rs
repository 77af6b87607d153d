//! How frames get into the outbox: a client's are masked. Each has its own key, which nobody can predict (RFC 6455
//! §5.3, §10.3).

use crate::protocol::Opcode;
use crate::protocol::frame;
use crate::websocket::state::outbox::Outbox;
use crate::websocket::state::slot::State;

/// Returns a key of the thread's cryptographically secure generator.
#[cfg(feature = "client")]
#[inline]
fn new_key() -> [u8; 4] {
    rand::random()
}

/// Without the feature there are no clients.
#[cfg(not(feature = "client"))]
fn new_key() -> [u8; 4] {
    [0; 4]
}

impl Outbox {
    /// Adds a frame, masked. Returns the number of the connection's own bytes.
    #[inline]
    pub(crate) fn push_masked(&mut self, fin: bool, opcode: Opcode, payload: &[u8]) -> usize {
        let own = self.own();
        frame::encode_masked(own, fin, opcode, payload, new_key());
        own.len()
    }

    /// Adds frames that are encoded in the form of a server, each masked with its own key.
    pub(crate) fn push_frames_masked(&mut self, frames: &[u8]) {
        frame::mask_frames(self.own(), frames, new_key);
    }
}

impl State {
    /// Adds a frame to the outbox.
    #[inline]
    pub(crate) fn push(&mut self, fin: bool, opcode: Opcode, payload: &[u8]) -> usize {
        if self.framing.masks() {
            return self.outbox.push_masked(fin, opcode, payload);
        }
        self.outbox.push(fin, opcode, payload)
    }

    /// Adds frames that `encode` appends in the form of a server.
    #[inline]
    pub(crate) fn push_frames(&mut self, encode: impl FnOnce(&mut Vec<u8>)) {
        if !self.framing.masks() {
            return encode(self.outbox.own());
        }
        let mut frames = Vec::new();
        encode(&mut frames);
        self.outbox.push_frames_masked(&frames);
    }
}
