use std::fmt;
use std::sync::Arc;

use super::listener::{ListenerId, Rank};
use super::output::ListenerOutput;
use super::panics::Contained;
use super::shared_emitter::SharedEmitter;

/// An emitter for the app's own events: Évenement's `EventEmitter`, or a `ThroughStream` that only
/// passes data on.
///
/// The app names its events. All events have one argument of the type `A`. Any number of tasks may
/// use an emitter, and a clone is the same emitter. Listeners are synchronous and get the argument
/// by reference. They are called one after the other, `on` before `once`, and all listeners see the
/// events in the same order. If a listener panics or returns `Err`, the other listeners are still
/// called, and the error is dropped.
///
/// If a listener or another task emits an event while listeners run, the new event fires after the
/// current event. In PHP, `emit` inside a listener calls the other listeners before it returns.
/// Here a listener may change its captures (`FnMut`), so a listener is never called within itself.
///
/// ```
/// use react_websocket::EventEmitter;
/// use std::sync::{Arc, Mutex};
///
/// let (channel, seen) = (EventEmitter::new(), Arc::new(Mutex::new(Vec::new())));
/// let id = channel.on("data", {
///     let seen = seen.clone();
///     move |text: &String| seen.lock().unwrap().push(text.clone())
/// });
/// channel.emit("data", "hello".to_owned());
/// channel.remove_listener(id);
/// channel.emit("data", "no listener is left".to_owned());
/// assert_eq!(*seen.lock().unwrap(), ["hello"]);
/// ```
pub struct EventEmitter<A> {
    inner: Arc<SharedEmitter<Box<str>, A>>,
}

impl<A> EventEmitter<A> {
    /// Creates an emitter without listeners.
    pub fn new() -> EventEmitter<A> {
        EventEmitter { inner: Arc::default() }
    }

    /// Calls `listener` for every future `event`. `event` may be any name that is not empty.
    /// Returns the id for [`remove_listener`](EventEmitter::remove_listener).
    ///
    /// # Panics
    /// If the name is empty, as in Évenement.
    #[track_caller]
    pub fn on<F, R>(&self, event: &str, listener: F) -> ListenerId
    where
        F: FnMut(&A) -> R + Send + 'static,
        R: ListenerOutput,
    {
        self.add(event, Rank::On, listener)
    }

    /// Calls `listener` for the next `event` only, after all `on` listeners. The closure may be
    /// `FnOnce`.
    ///
    /// # Panics
    /// If the name is empty.
    #[track_caller]
    pub fn once<F, R>(&self, event: &str, listener: F) -> ListenerId
    where
        F: FnOnce(&A) -> R + Send + 'static,
        R: ListenerOutput,
    {
        let mut listener = Some(listener);
        self.add(event, Rank::Once, move |args: &A| listener.take().map_or(Ok(()), |listener| listener(args).into_result()))
    }

    /// Removes a listener. Removing a listener twice does nothing.
    pub fn remove_listener(&self, id: ListenerId) {
        self.inner.listeners.remove(id.number());
    }

    /// Removes all listeners of one event, or of all events with `None`.
    pub fn remove_all_listeners(&self, event: Option<&str>) {
        self.inner.listeners.remove_all(event.map(Box::from).as_ref());
    }

    /// Returns the number of listeners of an event.
    pub fn listener_count(&self, event: &str) -> usize {
        self.inner.listeners.count(&event.into())
    }

    /// Emits `event`: calls its listeners with a reference to `args`, before this method returns.
    /// If other listeners of this emitter are running, this method only enqueues the event. The
    /// task that runs these listeners then emits the event.
    pub fn emit(&self, event: &str, args: A) {
        self.inner.emit(event.into(), args, |_, _| {});
    }

    #[track_caller]
    fn add<F, R>(&self, event: &str, rank: Rank, listener: F) -> ListenerId
    where
        F: FnMut(&A) -> R + Send + 'static,
        R: ListenerOutput,
    {
        let listener = Contained::new(listener);
        assert!(!event.is_empty(), "event name is empty");
        ListenerId::of(0, self.inner.listeners.add(event.into(), rank, listener.into_inner()))
    }
}

impl<A> Clone for EventEmitter<A> {
    fn clone(&self) -> Self {
        EventEmitter { inner: self.inner.clone() }
    }
}

impl<A> Default for EventEmitter<A> {
    fn default() -> Self {
        EventEmitter::new()
    }
}

impl<A> fmt::Debug for EventEmitter<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventEmitter").finish_non_exhaustive()
    }
}
