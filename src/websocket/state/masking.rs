//! How frames get into the outbox: a client's are masked. Each has its own key, which nobody can predict (RFC 6455
//! §5.3, §10.3).

#[cfg(feature = "client")]
use std::cell::Cell;

use crate::protocol::Opcode;
use crate::protocol::frame;
#[cfg(feature = "client")]
use crate::sync::thread_local;
#[cfg(feature = "deflate")]
use crate::websocket::state::deflate;
use crate::websocket::state::outbox::Outbox;
use crate::websocket::state::slot::State;

/// Random keys of a thread. Many are drawn at once, which costs a third of drawing each by itself.
#[cfg(feature = "client")]
struct Keys {
    left: Cell<usize>,
    keys: [Cell<[u8; 4]>; KEYS],
}

/// 1 KiB.
#[cfg(feature = "client")]
const KEYS: usize = 256;

#[cfg(feature = "client")]
thread_local! {
    static THREAD: Keys = const { Keys { left: Cell::new(0), keys: [const { Cell::new([0; 4]) }; KEYS] } };
}

/// Returns a key of the thread's cryptographically secure generator. No key is returned twice.
#[cfg(feature = "client")]
#[inline]
fn new_key() -> [u8; 4] {
    THREAD.with(|thread| match thread.keys.get(thread.left.get().wrapping_sub(1)) {
        Some(key) => {
            thread.left.set(thread.left.get() - 1);
            key.take()
        }
        None => draw(thread),
    })
}

/// Draws new keys, and returns one more.
#[cfg(feature = "client")]
#[cold]
fn draw(thread: &Keys) -> [u8; 4] {
    let mut drawn = [[0; 4]; KEYS];
    rand::fill(drawn.as_flattened_mut());
    for (place, key) in thread.keys.iter().zip(drawn) {
        place.set(key);
    }
    thread.left.set(KEYS);
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

    /// Adds the frame of a compressed message.
    #[cfg(feature = "deflate")]
    pub(crate) fn push_packed(&mut self, opcode: Opcode, packed: &[u8], is_masked: bool) {
        let own = self.own();
        let start = own.len();
        if is_masked {
            frame::encode_masked(own, true, opcode, packed, new_key());
        } else {
            frame::encode(own, true, opcode, packed);
        }
        deflate::mark(own, start);
    }

    /// Adds frames that are encoded in the form of a server, each masked with its own key.
    pub(crate) fn push_frames_masked(&mut self, frames: &[u8]) {
        frame::mask_frames(self.own(), frames, new_key);
    }
}

impl State {
    /// Like [`is_plain`](State::is_plain) for a client's message, which has to be masked.
    pub(crate) fn is_plainly_masked(&self) -> bool {
        cfg!(feature = "client") && self.framing.is_only_masked() && self.is_simple()
    }

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

#[cfg(test)]
mod tests {
    /// RFC 6455 §5.3 and §10.3. Among 10,000 random keys some 0.01 pairs are equal by chance.
    #[cfg(feature = "client")]
    #[test]
    fn keys_do_not_repeat() {
        use super::new_key;

        let mut keys: Vec<_> = (0..10_000).map(|_| new_key()).collect();
        keys.sort_unstable();
        keys.dedup();
        assert!(keys.len() >= 9_998, "{} different keys", keys.len());
        let others = std::thread::spawn(|| (0..100).map(|_| new_key()).collect::<Vec<_>>()).join().unwrap();
        assert!(others.iter().filter(|key| keys.binary_search(key).is_ok()).count() <= 1, "a thread has its own");
        let ones: u32 = keys.iter().map(|key| u32::from_ne_bytes(*key).count_ones()).sum();
        assert!((155_000..165_000).contains(&ones), "half of all bits are set: {ones} of 320,000");
    }
}
