use std::fmt;

use zlib_rs::{Deflate, DeflateFlush, Status};

/// The end of a sync flush, which is not sent (RFC 7692 §7.2.1).
const TAIL: [u8; 4] = [0, 0, 0xFF, 0xFF];

/// Room for the ends of blocks and of the message.
const SLACK: usize = 128;

/// A larger buffer is only used for its message.
const KEPT_MAX: usize = 256 * 1024;

/// A compressor for all connections of a thread.
///
/// The first message allocates about 270 KB, for windows of 4 KiB. Each other size of windows
/// allocates up to 380 KB more.
#[derive(Default)]
pub struct Deflater {
    /// One for each size of windows that is in use.
    compressors: Vec<Compressor>,
    /// All of it has been written to, so that it need not be filled for each message.
    out: Vec<u8>,
}

struct Compressor {
    inner: Deflate,
    bits: u8,
    level: u8,
}

impl Deflater {
    /// Compresses a message that may refer to `window` and to at most 2^`bits` bytes before.
    /// Returns `None` if it does not become smaller.
    pub(crate) fn compress(&mut self, message: &[u8], window: &[u8], bits: u8, level: u8) -> Option<&[u8]> {
        // The library cannot do smaller windows: a peer that demands one gets uncompressed messages.
        if !(9..=15).contains(&bits) || message.is_empty() {
            return None;
        }
        let index = self.compressors.iter().position(|compressor| compressor.bits == bits);
        let mut compressor = match index {
            Some(index) => self.compressors.swap_remove(index),
            None => Compressor { inner: Deflate::new(level.into(), false, bits), bits, level },
        };
        // The fastest level takes up to 9 bits for a byte.
        let room = message.len().saturating_add(message.len() / 8).saturating_add(SLACK);
        if self.out.len() < room || self.out.len() > KEPT_MAX.max(room) {
            // Few sizes, so that messages that become longer seldom need a new buffer.
            let size = room.checked_next_power_of_two().filter(|size| *size <= KEPT_MAX);
            self.out = vec![0; size.unwrap_or(room)];
        }
        let made = compressor.run(message, window, level, self.out.get_mut(..room)?)?;
        // A compressor that has not written everything is dropped: zlib-rs 0.6 panics some messages
        // after a reset of it.
        self.compressors.push(compressor);
        self.out.get(..made)?.strip_suffix(&TAIL).filter(|packed| packed.len() < message.len())
    }

    /// Returns the memory in bytes, except for that of the compressors.
    pub fn memory(&self) -> usize {
        self.out.capacity()
    }
}

impl Compressor {
    /// Returns the number of bytes that were made. `None` if `out` has not enough room.
    fn run(&mut self, message: &[u8], window: &[u8], level: u8, out: &mut [u8]) -> Option<usize> {
        self.inner.reset();
        if self.level != level {
            self.inner.set_level(level.into()).ok()?;
            self.level = level;
        }
        if !window.is_empty() {
            self.inner.set_dictionary(window).ok()?;
        }
        let status = self.inner.compress(message, out, DeflateFlush::SyncFlush).ok()?;
        let made = usize::try_from(self.inner.total_out()).ok()?;
        let is_all = status == Status::Ok && self.inner.total_in() == message.len() as u64 && made < out.len();
        is_all.then_some(made)
    }
}

impl fmt::Debug for Deflater {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bits: Vec<_> = self.compressors.iter().map(|compressor| compressor.bits).collect();
        f.debug_struct("Deflater").field("bits", &bits).field("memory", &self.memory()).finish()
    }
}
