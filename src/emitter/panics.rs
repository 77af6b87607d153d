//! What an app's code panics with stays where that code was called.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::listener::BoxError;

/// Drops things of an app's. What one of them does is not to keep the others, or who has them dropped, from going on.
pub(crate) fn drop_each<T>(things: impl IntoIterator<Item = T>) {
    for thing in things {
        let _ = contain(|| {
            drop(thing);
            Ok(())
        });
    }
}

/// Calls a listener and makes its panic an error.
pub(crate) fn contain<T>(call: impl FnOnce() -> Result<T, BoxError>) -> Result<T, BoxError> {
    catch_unwind(AssertUnwindSafe(call)).unwrap_or_else(|panic| Err(panic_error(panic)))
}

/// What a panic said.
pub(crate) fn panic_error(panic: Box<dyn Any + Send>) -> BoxError {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    let error = text.unwrap_or("a listener panicked").into();
    // What it was made with may panic again when it is dropped, and so on.
    if let Err(again) = catch_unwind(AssertUnwindSafe(|| drop(panic))) {
        std::mem::forget(again);
    }
    error
}
