//! What the benchmark's servers share: their command line, their runtime, and, for the two floors, the protocol.
//!
//! The load generator, `bin/load`, uses none of it: a mistake here cannot hide behind the same mistake there.
#![forbid(unsafe_code)]

mod arguments;
pub mod floor;
#[cfg(feature = "peers")]
pub mod peer;
mod runtime;
#[cfg(feature = "tls")]
pub mod tls;
mod trigger;

pub use arguments::Arguments;
pub use runtime::{block_on, block_on_without_time};
pub use trigger::Trigger;
