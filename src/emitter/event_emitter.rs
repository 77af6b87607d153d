use std::fmt;
use std::sync::Arc;

use super::listener::{ListenerId, Rank};
use super::output::ListenerOutput;
use super::panics::Contained;
use super::shared_emitter::SharedEmitter;

/// An emitter of an app's own events: Évenement's `EventEmitter`, or a `ThroughStream` that only
/// passes data on.
///
/// The app names its events. All events have an argument of the type `A`. Any number of tasks may
/// use an emitter, and clones are the same emitter. Listeners are synchronous and get the argument
/// by reference. They are called one after the other, `on` before `once`, and all listeners see the
/// events in one order. If a listener panics or returns `Err`, the other listeners are called all
/// the same, and the error is dropped.
///
/// An event that is emitted while listeners run, by one of them or by another task, is emitted
/// after the listeners of the present event. In PHP, `emit` inside a listener calls the other
/// listeners before it returns. Here a listener may change what it captured (`FnMut`), so a
/// listener is never called within itself.
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

    /// Calls `listener` at every `event` from the next one on. Any name is an event.
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

    /// Calls `listener` at the next `event` only, after all `on` listeners. The closure may be `FnOnce`.
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

    /// Calls the listeners of `event` before it returns. While another emission is under way, it
    /// only enqueues the event, and the task of that emission calls the listeners afterwards.
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
