//! The synchronization primitives of the standard library.
//!
//! A build with `cfg(models)` gets those of a scheduler instead, which controls the order in which
//! threads use them. Only the package in the folder `models` sets this `cfg`. All code of the
//! crate takes these names from here, and `tests/layers.rs` checks that it does.
//!
//! `Arc`, `Weak` and `OnceLock` are always those of `std`: no thread waits for another one in them.

#[cfg(not(models))]
pub(crate) use std::{sync::atomic, thread, thread_local};

#[cfg(models)]
pub(crate) use shuttle::{sync::atomic, thread, thread_local};

/// Declares a static. In the models it is created anew for each order that the scheduler tries.
macro_rules! global {
    ($(#[$attribute:meta])* static $name:ident: $type:ty = $value:expr;) => {
        #[cfg(not(models))]
        $(#[$attribute])*
        static $name: $type = $value;
        #[cfg(models)]
        shuttle::lazy_static! { $(#[$attribute])* static ref $name: $type = $value; }
    };
}
pub(crate) use global;
