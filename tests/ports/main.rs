//! The ports of PHP apps in `examples/ports`: what their clients see, over sockets.

mod page;
#[path = "../support/mod.rs"]
mod support;

mod bridge;
mod presence;
#[cfg(feature = "json")]
mod push;
