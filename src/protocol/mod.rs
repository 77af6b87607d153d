//! RFC 6455 without I/O: bytes and time go in, events and bytes come out.
//!
//! This module needs no socket, no clock and no runtime, so every rule can be tested with a byte
//! string. It does not panic for any input: the linter refuses indexing, unchecked arithmetic and
//! `unwrap`.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![cfg_attr(test, allow(clippy::arithmetic_side_effects))]

mod accepted;
mod buffer_pool;
pub mod close;
pub mod close_code;
mod closing;
mod connection;
#[cfg(feature = "deflate")]
pub mod deflate;
mod error;
mod event;
pub mod frame;
pub mod handshake;
mod limits;
mod mask;
mod message;
mod opcode;
mod ping_scanner;
pub(crate) mod rate;
mod role;
mod utf8;

pub use buffer_pool::BufferPool;
pub(crate) use closing::{Closing, Facts, Outcome, Step};
pub use connection::Connection;
pub use error::ProtocolError;
pub use event::Event;
pub use limits::Limits;
pub use mask::MaskKey;
pub use opcode::Opcode;
pub use ping_scanner::PingScanner;
pub(crate) use rate::{Bucket, ControlRate};
pub use role::Role;
pub(crate) use utf8::check as check_text;
