use std::pin::Pin;
use std::sync::Arc;

use parking_lot::{Mutex, RwLock};

use super::listener::{ListenerId, Rank};
use super::output::{BoxError, ListenerOutput};
use super::panics::{Contained, output_of};

/// A value that a synchronous or asynchronous listener or callback may return: a
/// [`ListenerOutput`], or a future of one.
///
/// `K` distinguishes the two. The compiler infers it.
///
/// This trait is sealed: only this crate implements it.
#[diagnostic::on_unimplemented(
    message = "a listener cannot return `{Self}`",
    label = "return `()`, a `bool`, a `Result<_, E>`, or a future of one of these",
    note = "end the closure's body with `;` to throw its value away"
)]
pub trait IntoListenerFuture<K> {
    #[doc(hidden)]
    fn into_call(self) -> ListenerCall;
}

/// A call of a listener.
#[doc(hidden)]
#[allow(missing_debug_implementations, reason = "an app cannot name it")]
pub enum ListenerCall {
    /// The listener has returned.
    Done(Result<(), BoxError>),
    /// The listener is asynchronous. The future is the rest of the call.
    Later(Pin<Box<dyn Future<Output = Result<(), BoxError>> + Send>>),
}

#[doc(hidden)]
#[derive(Debug)]
pub enum Now {}
#[doc(hidden)]
#[derive(Debug)]
pub enum Later {}

impl<T: ListenerOutput> IntoListenerFuture<Now> for T {
    fn into_call(self) -> ListenerCall {
        ListenerCall::Done(self.into_result())
    }
}

impl<F> IntoListenerFuture<Later> for F
where
    F: Future<Output: ListenerOutput> + Send + 'static,
{
    fn into_call(self) -> ListenerCall {
        ListenerCall::Later(Box::pin(async move { output_of!(self).into_result() }))
    }
}

/// A closure that many tasks call at the same time.
pub(crate) type ConcurrentClosure<A> = Box<dyn Fn(A) -> ListenerCall + Send + Sync>;

/// Makes a closure for one call into one that does nothing when it is called again.
pub(crate) fn call_once<A: 'static, R, K>(closure: impl FnOnce(A) -> R + Send + 'static) -> ConcurrentClosure<A>
where
    R: IntoListenerFuture<K>,
{
    let closure = Mutex::new(Some(closure));
    Box::new(move |args| {
        let closure = closure.lock().take();
        closure.map_or(ListenerCall::Done(Ok(())), |closure| closure(args).into_call())
    })
}

/// Listeners that many tasks call at the same time.
pub(crate) struct ConcurrentListeners<A> {
    /// Replaced as a whole, so that each emission has a snapshot.
    list: RwLock<Arc<[Arc<ConcurrentListener<A>>]>>,
}

/// A listener of [`ConcurrentListeners`].
pub(crate) struct ConcurrentListener<A> {
    number: u64,
    event: u8,
    rank: Rank,
    closure: Contained<ConcurrentClosure<A>>,
}

impl<A> Default for ConcurrentListeners<A> {
    fn default() -> Self {
        ConcurrentListeners { list: RwLock::new(Arc::new([])) }
    }
}

impl<A: 'static> ConcurrentListeners<A> {
    /// Adds a listener and returns its number. [`call_once`] makes the closure of a `once`
    /// listener.
    pub(crate) fn add(&self, event: u8, rank: Rank, closure: Contained<ConcurrentClosure<A>>) -> u64 {
        let number = ListenerId::next_number();
        let added = Arc::new(ConcurrentListener { number, event, rank, closure });
        self.replace(|listeners| {
            let place = listeners.partition_point(|other| other.rank <= rank);
            listeners.insert(place, added);
        });
        number
    }

    pub(crate) fn remove(&self, number: u64) {
        self.replace(|listeners| listeners.retain(|listener| listener.number != number));
    }

    /// Removes all listeners of one event, or of all events with `None`.
    pub(crate) fn remove_all(&self, event: Option<&u8>) {
        self.replace(|listeners| listeners.retain(|listener| event.is_some_and(|event| *event != listener.event)));
    }

    pub(crate) fn count(&self, event: &u8) -> usize {
        self.snapshot().iter().filter(|listener| listener.event == *event).count()
    }

    /// Returns the listeners at this moment, in the order of their calls.
    pub(crate) fn snapshot(&self) -> Arc<[Arc<ConcurrentListener<A>>]> {
        self.list.read().clone()
    }

    fn replace(&self, change: impl FnOnce(&mut Vec<Arc<ConcurrentListener<A>>>)) {
        let mut list = self.list.write();
        let mut listeners = list.to_vec();
        change(&mut listeners);
        let before = std::mem::replace(&mut *list, listeners.into());
        drop(list);
        // Must be outside of the lock: the captures of a closure may do anything when they are
        // dropped.
        drop(before);
    }
}

impl<A: 'static> ConcurrentListeners<A> {
    /// Calls a listener of a snapshot, if it listens to `event`.
    pub(crate) fn call(&self, listener: &ConcurrentListener<A>, event: u8, args: A) -> Option<ListenerCall> {
        if listener.event != event {
            return None;
        }
        if listener.rank == Rank::Once {
            self.remove(listener.number);
        }
        Some((listener.closure)(args))
    }
}
