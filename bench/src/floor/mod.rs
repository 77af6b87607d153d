//! The least a WebSocket server can do, without a rule checked: what both floors are made of.

mod frame;
mod handshake;
mod incoming;
mod unsent;

pub use frame::{Message, append};
pub use handshake::answer;
pub use incoming::Incoming;
pub use unsent::Unsent;

/// Size of the read buffer: a 64 KiB message with its header, and a little more. A read that fills
/// its buffer has to be followed by another one.
pub const READ_BUFFER: usize = 64 * 1024 + 64;

/// From here on a message is sent from where it lies; smaller ones are gathered, to leave in one write.
pub const LARGE: usize = 16 * 1024;
