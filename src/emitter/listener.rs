use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use super::output::{BoxError, ListenerOutput};
use super::panics::drop_pinned;
use crate::sync::atomic::{AtomicU64, Ordering};
use crate::sync::global;

/// An asynchronous closure, which is cloned for each call. Its future may borrow from the closure's
/// captures (`async move || app.ask().await`). Such a closure is only `FnOnce`.
///
/// If a capture cannot be cloned, the compiler shows this name instead of a note. So the name is
/// the advice.
#[doc(hidden)]
pub trait ClonedForEachCallSoUseArc: Clone {}

impl<F: Clone> ClonedForEachCallSoUseArc for F {}

/// The id of a registered listener, for `remove_listener`. Every listener of a process has a
/// different id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ListenerId {
    pub(crate) event: u8,
    /// The upper and lower bits of the number, so that an id has only eight bytes.
    upper: u16,
    lower: u32,
}

impl ListenerId {
    /// Creates an id that no other listener has.
    pub(crate) fn new(event: u8) -> ListenerId {
        ListenerId::of(event, ListenerId::next_number())
    }

    pub(crate) fn of(event: u8, number: u64) -> ListenerId {
        ListenerId { event, upper: (number >> 32) as u16, lower: number as u32 }
    }

    /// At a million listeners a second the numbers last for nine years.
    pub(crate) fn next_number() -> u64 {
        global! { static NEXT: AtomicU64 = AtomicU64::new(0); }
        NEXT.fetch_add(1, Ordering::Relaxed)
    }

    pub(crate) fn number(self) -> u64 {
        u64::from(self.upper) << 32 | u64::from(self.lower)
    }
}

impl ListenerOutput for ListenerId {
    fn into_result(self) -> Result<(), BoxError> {
        Ok(())
    }
}

/// The listener of `on`, for traits that tell closures apart.
#[doc(hidden)]
#[derive(Debug)]
pub enum EachTime {}
/// The listener of `once`.
#[doc(hidden)]
#[derive(Debug)]
pub enum Once {}

/// The rank of a listener among those of its event. As in Évenement, all `on` listeners are called
/// before all `once` listeners.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Rank {
    On,
    Once,
    /// The crate's own listeners: they are called after all others, and `remove_all_listeners` does
    /// not remove them.
    Last,
}

/// The events of an object.
pub(crate) trait Events: 'static {
    /// The object itself, which a listener may take as its first argument.
    type Subject;
    /// The arguments of the events' listeners, one variant for each signature.
    type Args<'a>: Copy;
    /// The event that follows each of the frequent events, if there is one.
    const FOLLOWER: Option<u8>;
}

/// A registered closure of any signature.
pub(crate) trait Listener<E: Events>: Send {
    /// Calls the closure. For an asynchronous closure this only begins the call.
    fn call(&mut self, subject: &E::Subject, args: &E::Args<'_>) -> Result<(), BoxError>;

    fn is_asynchronous(&self) -> bool;

    /// Continues a call that has begun.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>>;
}

/// A listener that is done when its closure returns.
pub(crate) struct Synchronous<F>(pub(crate) F);

impl<E: Events, F> Listener<E> for Synchronous<F>
where
    F: for<'a> FnMut(&E::Subject, E::Args<'a>) -> Result<(), BoxError> + Send,
{
    fn call(&mut self, subject: &E::Subject, args: &E::Args<'_>) -> Result<(), BoxError> {
        (self.0)(subject, *args)
    }

    fn is_asynchronous(&self) -> bool {
        false
    }

    fn poll(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }
}

/// A listener whose closure returns a future. The place of the future is allocated once, at
/// registration, so that a call allocates nothing.
pub(crate) struct Asynchronous<F, Fut> {
    start: F,
    running: Pin<Box<Option<Fut>>>,
}

impl<F, Fut> Asynchronous<F, Fut> {
    pub(crate) fn new(start: F) -> Self {
        Asynchronous { start, running: Box::pin(None) }
    }
}

impl<E: Events, F, Fut> Listener<E> for Asynchronous<F, Fut>
where
    // `None` if the arguments are those of another event, which `on` has excluded.
    F: for<'a> FnMut(&E::Subject, E::Args<'a>) -> Option<Fut> + Send,
    Fut: Future<Output: ListenerOutput> + Send,
{
    fn call(&mut self, subject: &E::Subject, args: &E::Args<'_>) -> Result<(), BoxError> {
        let started = (self.start)(subject, *args);
        // A former future can only be there if it was abandoned.
        drop_pinned(self.running.as_mut());
        self.running.set(started);
        Ok(())
    }

    fn is_asynchronous(&self) -> bool {
        true
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        let Some(future) = self.running.as_mut().as_pin_mut() else { return Poll::Ready(Ok(())) };
        let Poll::Ready(output) = future.poll(cx) else { return Poll::Pending };
        drop_pinned(self.running.as_mut());
        Poll::Ready(output.into_result())
    }
}

impl<F, Fut> Drop for Asynchronous<F, Fut> {
    /// The closure is dropped afterwards.
    fn drop(&mut self) {
        drop_pinned(self.running.as_mut());
    }
}
