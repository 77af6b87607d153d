use std::ops::RangeInclusive;

use crate::protocol::Limits;
use crate::protocol::deflate::{Budget, Preferences, Receiver};
use crate::websocket::options::WebSocketOptions;

/// The options of permessage-deflate (RFC 7692), for
/// [`WebSocketOptions::compression`](crate::WebSocketOptions::compression). The
/// [guide](crate::guide::compression) says when compression is worth its cost.
///
/// ```
/// use react_websocket::options::Compression;
/// use react_websocket::{WebSocketMiddleware, WebSocketOptions};
///
/// let compression = Compression::new().window(2048).threshold(200);
/// let websocket = WebSocketMiddleware::new().with_options(WebSocketOptions::new().compression(compression));
/// ```
#[must_use = "it is for `WebSocketOptions::compression`"]
#[derive(Clone, Debug)]
pub struct Compression {
    pub(crate) level: u8,
    pub(crate) threshold: Option<usize>,
    pub(crate) preferences: Preferences,
    pub(crate) budget: Budget,
}

/// The shortest messages that are compressed by default, with and without a window.
const THRESHOLD: usize = 64;
const THRESHOLD_ALONE: usize = 256;

impl Default for Compression {
    fn default() -> Compression {
        Compression::new()
    }
}

impl Compression {
    /// Returns the defaults. The documentation of each method names its default.
    pub fn new() -> Compression {
        Compression { level: 1, threshold: None, preferences: Preferences::default(), budget: Budget::default() }
    }

    /// The effort of compression: 1 is the fastest, 9 makes the smallest messages. Default: 1.
    ///
    /// # Panics
    /// If the level is not between 1 and 9.
    #[track_caller]
    pub fn level(mut self, level: u8) -> Compression {
        assert!((1..=9).contains(&level), "{level} is not a level: 1 to 9");
        self.level = level;
        self
    }

    /// Minimum size of a compressed message in bytes. Default: 64, and 256 if a message cannot refer
    /// to earlier messages. A shorter message is sent uncompressed.
    pub fn threshold(mut self, bytes: usize) -> Compression {
        self.threshold = Some(bytes);
        self
    }

    /// Number of last bytes that a connection keeps of what it sends, so that a message can refer to
    /// earlier messages. Default: 4 KiB. With `None` it keeps nothing, and each message is compressed
    /// by itself. The peer may demand less.
    ///
    /// A connection takes this memory only after it has sent as much.
    ///
    /// # Panics
    /// If the size is not a power of two from 512 to 32,768.
    #[track_caller]
    pub fn window(mut self, bytes: impl Into<Option<usize>>) -> Compression {
        self.preferences.send = bytes.into().map(|bytes| window_bits(bytes, 9..=15));
        self
    }

    /// Number of last bytes that a connection keeps of what it receives, so that the peer's messages
    /// can refer to earlier messages. Default: `None`. The peer compresses each message by itself.
    ///
    /// # Panics
    /// If the size is not a power of two from 256 to 32,768.
    #[track_caller]
    pub fn peer_window(mut self, bytes: impl Into<Option<usize>>) -> Compression {
        self.preferences.receive = bytes.into().map(|bytes| window_bits(bytes, 8..=15));
        self
    }

    /// Maximum memory of the windows of all connections with these options, in bytes. Default: 256
    /// MiB. When it is used up, connections forget what they have sent, and their messages become
    /// larger. New connections agree on no [`peer_window`](Compression::peer_window).
    ///
    /// Clones of these options share the memory. Each call of this method begins a new count.
    pub fn window_memory(mut self, bytes: usize) -> Compression {
        self.budget = Budget::new(bytes);
        self
    }

    /// Returns the shortest message that is compressed.
    pub(crate) fn threshold_for(&self, has_window: bool) -> usize {
        self.threshold.unwrap_or(if has_window { THRESHOLD } else { THRESHOLD_ALONE })
    }

    /// Returns what a connection takes besides its other memory: a message that has arrived and is not
    /// decompressed yet, and both windows.
    pub(crate) fn worst_case_bytes(&self, limits: &Limits) -> usize {
        let packed = limits.of(true).max_message_size.saturating_mul(2);
        let sent = self.preferences.send.map_or(0, |bits| 1usize << bits);
        let received = self.preferences.receive.map_or(0, Receiver::window_bytes);
        packed.saturating_add(sent + received)
    }
}

#[track_caller]
fn window_bits(bytes: usize, accepted: RangeInclusive<u8>) -> u8 {
    let bits = bytes.checked_ilog2().unwrap_or(0) as u8;
    let (least, most) = (1usize << accepted.start(), 1usize << accepted.end());
    assert!(
        bytes.is_power_of_two() && accepted.contains(&bits),
        "{bytes} is not a size of a window: a power of two from {least} to {most}"
    );
    bits
}

impl WebSocketOptions {
    /// Compresses messages by permessage-deflate (RFC 7692) with peers that support it. Default: off.
    ///
    /// [`Compression`] lists what it costs, and the [guide](crate::guide::compression) says when it is
    /// worth it. A message that does not become smaller is sent uncompressed, and so are the messages of
    /// a [`MessageWriter`](crate::message::MessageWriter). The
    /// [maximum size](WebSocketOptions::max_message_size) of received messages applies after
    /// decompression: a larger message fails the connection with 1009.
    ///
    /// Do not compress secrets together with data that an attacker chooses: the size of the messages
    /// may reveal the secret (CRIME, BREACH).
    pub fn compression(mut self, compression: impl Into<Option<Compression>>) -> WebSocketOptions {
        self.compression = compression.into();
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_of_windows_are_powers_of_two() {
        let compression = Compression::new().window(512).peer_window(256);
        assert_eq!(compression.preferences, Preferences { send: Some(9), receive: Some(8) });
        let compression = compression.window(None).peer_window(32 * 1024);
        assert_eq!(compression.preferences, Preferences { send: None, receive: Some(15) });
        for bytes in [0, 1, 256, 1000, 65_536] {
            assert!(std::panic::catch_unwind(|| Compression::new().window(bytes)).is_err(), "{bytes}");
        }
        for level in [0, 10] {
            assert!(std::panic::catch_unwind(|| Compression::new().level(level)).is_err(), "{level}");
        }
    }

    #[test]
    fn the_worst_case_has_both_forms_of_a_message_and_both_windows() {
        let (plain, on) = (WebSocketOptions::new(), WebSocketOptions::new().compression(Compression::new()));
        let packed = 2 * ((1 << 20) + (1 << 16) + 64);
        assert_eq!(on.worst_case_bytes() - plain.worst_case_bytes(), packed + 4096);
        let more = plain.compression(Compression::new().peer_window(32 * 1024));
        assert_eq!(more.worst_case_bytes() - on.worst_case_bytes(), 32 * 1024);
    }
}
