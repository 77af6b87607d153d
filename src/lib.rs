//! WebSocket servers with callbacks.
#![forbid(unsafe_code)]
#![warn(missing_docs, unreachable_pub, clippy::unwrap_used, clippy::expect_used)]

mod clock;
mod emitter;
mod error;
mod event_loop;
mod groups;
mod http;
pub mod protocol;
mod socket;
mod stream;
mod websocket;

pub use emitter::*;
pub use error::*;
pub use event_loop::*;
pub use groups::*;
pub use http::*;
pub use protocol::{ControlRate, ProtocolError};
pub use socket::*;
pub use websocket::*;
