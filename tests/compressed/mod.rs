//! The other end of permessage-deflate, for the tests of it.
#![allow(dead_code, reason = "each test file uses another part of it")]

use react_websocket::protocol::deflate::{Budget, Deflater, Direction, InflateError, Inflater, Receiver, Sender};

/// "Hello" in one block with fixed codes (RFC 7692 section 7.2.3.1).
pub const HELLO: &[u8] = &[0xF2, 0x48, 0xCD, 0xC9, 0xC9, 0x07, 0x00];

/// "Hello" again, as a reference to the message before (RFC 7692 section 7.2.3.2).
pub const AGAIN: &[u8] = &[0xF2, 0x00, 0x11, 0x00, 0x00];

pub const ALONE: Direction = Direction { takeover: false, bits: 15 };
pub const TAKEOVER: Direction = Direction { takeover: true, bits: 15 };

/// A peer that compresses and decompresses.
pub struct Codec {
    sender: Sender,
    deflater: Deflater,
    receiver: Receiver,
    inflater: Inflater,
}

impl Codec {
    pub fn new(sends: Direction, receives: Direction) -> Codec {
        Codec {
            sender: Sender::new(sends, &Budget::default()),
            deflater: Deflater::default(),
            receiver: Receiver::new(receives),
            inflater: Inflater::default(),
        }
    }

    pub fn pack(&mut self, message: impl AsRef<[u8]>) -> Vec<u8> {
        self.sender.compress(&mut self.deflater, 6, message.as_ref()).expect("it becomes smaller").to_vec()
    }

    pub fn unpack(&mut self, payload: &[u8]) -> Vec<u8> {
        let mut message = Vec::new();
        let take = |piece: &[u8]| {
            message.extend_from_slice(piece);
            Ok::<_, InflateError>(())
        };
        self.receiver.inflate(&mut self.inflater, payload, usize::MAX, take).expect("a compressed message");
        message
    }
}

/// A text that becomes smaller.
pub fn words(count: usize) -> String {
    (0..count).map(|number| format!("{} words of {count}, ", number * 7919 % 1000)).collect()
}

/// Bytes that become no smaller.
pub fn noise(count: usize) -> Vec<u8> {
    let mut rng = fastrand::Rng::with_seed(count as u64);
    (0..count).map(|_| rng.u8(..)).collect()
}
