//! WebSocket servers with callbacks.
#![warn(missing_docs)]

mod clock;
mod emitter;
mod error;
mod http;
pub mod protocol;
mod socket;
mod stream;
mod websocket;

pub use emitter::*;
pub use error::*;
pub use http::*;
pub use protocol::{ControlRate, ProtocolError};
pub use socket::*;
pub use websocket::*;
