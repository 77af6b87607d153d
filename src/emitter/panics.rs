//! Panics of an app's code do not leave the call of that code.
//!
//! Panics of the app's destructors do not leave them either. Each value is dropped by itself: a
//! panic while another panic unwinds would end the process.

use std::any::Any;
use std::ops::{Deref, DerefMut};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::Pin;
use std::task::{Context, Poll};

use super::output::BoxError;

/// Drops values of an app. A panic of one destructor affects neither the other values nor the
/// caller.
pub(crate) fn drop_each<T>(things: impl IntoIterator<Item = T>) {
    for thing in things {
        let _ = contain(|| {
            drop(thing);
            Ok(())
        });
    }
}

/// A value of the app that is always [dropped by itself](drop_each). It is empty only while it is
/// dropped.
pub(crate) struct Contained<T>(Option<T>);

impl<T> Contained<T> {
    pub(crate) fn new(thing: T) -> Contained<T> {
        Contained(Some(thing))
    }

    pub(crate) fn into_inner(mut self) -> T {
        match self.0.take() {
            Some(thing) => thing,
            None => unreachable!("it is there until it is dropped"),
        }
    }
}

impl<T> Drop for Contained<T> {
    fn drop(&mut self) {
        drop_each(self.0.take());
    }
}

impl<T> Deref for Contained<T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        match &self.0 {
            Some(thing) => thing,
            None => unreachable!("it is there until it is dropped"),
        }
    }
}

impl<T> DerefMut for Contained<T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        match &mut self.0 {
            Some(thing) => thing,
            None => unreachable!("it is there until it is dropped"),
        }
    }
}

/// Awaits a future of the app, and drops it before its output is used.
macro_rules! output_of {
    ($future:expr) => {{
        let mut future = std::pin::pin!(Some($future));
        std::future::poll_fn(|cx| $crate::emitter::poll_to_end(future.as_mut(), cx)).await
    }};
}
pub(crate) use output_of;

/// Polls a future of the app, and drops it when it is ready or has panicked.
pub(crate) fn poll_to_end<F: Future>(mut future: Pin<&mut Option<F>>, cx: &mut Context<'_>) -> Poll<F::Output> {
    let Some(running) = future.as_mut().as_pin_mut() else { return Poll::Pending };
    let polled = catch_unwind(AssertUnwindSafe(|| running.poll(cx)));
    if !matches!(polled, Ok(Poll::Pending)) {
        drop_pinned(future);
    }
    polled.unwrap_or_else(|panic| resume_unwind(panic))
}

/// Drops a value of the app in its place.
#[inline]
pub(crate) fn drop_pinned<T>(mut place: Pin<&mut Option<T>>) {
    if place.is_some() {
        let _ = contain(|| {
            place.set(None);
            Ok(())
        });
    }
}

/// Calls a listener, and converts its panic into an error.
pub(crate) fn contain<T>(call: impl FnOnce() -> Result<T, BoxError>) -> Result<T, BoxError> {
    catch_unwind(AssertUnwindSafe(call)).unwrap_or_else(|panic| Err(panic_error(panic)))
}

/// Returns the message of a panic as an error.
pub(crate) fn panic_error(panic: Box<dyn Any + Send>) -> BoxError {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    let error = text.unwrap_or("a listener panicked").into();
    // The payload of the panic may panic again when it is dropped, and so on.
    if let Err(again) = catch_unwind(AssertUnwindSafe(|| drop(panic))) {
        std::mem::forget(again);
    }
    error
}
