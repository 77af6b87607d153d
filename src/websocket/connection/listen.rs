use bytes::Bytes;

use crate::emitter::{
    Change, ClonedForEachCallSoUseArc, Entry, Listener, ListenerError, ListenerId, ListenerOutput, Once, Rank, drop_each,
    expect_fit,
};
use crate::sync::atomic::Ordering;
use crate::websocket::connection::into_listener::IntoListener;
use crate::websocket::error::ConnectionError;
use crate::websocket::message::{Message, Text};
use crate::websocket::state::event::{
    BINARY, CLOSE, ConnectionEvents, DRAIN, END, ERROR, MESSAGE, NAMES, PING, PONG, TEXT,
};
use crate::websocket::state::flags::{PENDING_CHANGES, STATE_CHANGED};
use crate::websocket::state::handle::WebSocketConnection;
use crate::websocket::state::slot::{Phase, State};

/// # Listeners
impl WebSocketConnection {
    /// Calls `listener` for every future `event`. [`IntoListener`] lists the closures that fit.
    /// Returns the id for [`remove_listener`](WebSocketConnection::remove_listener).
    ///
    /// If the connection has ended, the listener is never called.
    ///
    /// ```
    /// # use react_websocket::{WebSocketConnection, WebSocketMiddleware};
    /// # let websocket = WebSocketMiddleware::new();
    /// websocket.on("connection", |connection: WebSocketConnection| {
    ///     connection.on("text", move |text: &str| connection.write(text));
    ///     connection.on("close", |code: u16, reason: &str| println!("{code} {reason}"));
    /// });
    /// ```
    ///
    /// # Panics
    /// If there is no such event, or if the closure does not take the event's arguments. The
    /// message lists the events, or the arguments that fit.
    #[track_caller]
    pub fn on<M>(&self, event: &str, listener: impl IntoListener<M>) -> ListenerId {
        expect_fit(self.try_on(event, listener))
    }

    /// Calls `listener` for the next `event` only, after all `on` listeners. The closure may be
    /// `FnOnce`.
    ///
    /// # Panics
    /// Like [`on`](WebSocketConnection::on).
    #[track_caller]
    pub fn once<M>(&self, event: &str, listener: impl IntoListener<M, Once>) -> ListenerId {
        expect_fit(self.try_once(event, listener))
    }

    /// Like [`on`](WebSocketConnection::on), but returns the error instead of panicking.
    ///
    /// # Errors
    /// [`ListenerError::UnknownEvent`] if there is no such event, [`ListenerError::WrongSignature`]
    /// if the closure does not take the event's arguments.
    pub fn try_on<M>(&self, event: &str, listener: impl IntoListener<M>) -> Result<ListenerId, ListenerError> {
        let listener = listener.into_listener();
        let event = NAMES.resolve(event)?;
        Ok(self.add(event, Rank::On, listener.fit(event)?))
    }

    /// Like [`once`](WebSocketConnection::once), but returns the error instead of panicking.
    ///
    /// # Errors
    /// Like [`try_on`](WebSocketConnection::try_on).
    pub fn try_once<M>(&self, event: &str, listener: impl IntoListener<M, Once>) -> Result<ListenerId, ListenerError> {
        let listener = listener.into_listener();
        let event = NAMES.resolve(event)?;
        Ok(self.add(event, Rank::Once, listener.fit(event)?))
    }

    /// Removes a listener. Removing a listener again does nothing. A listener that is removed
    /// during an event is still called for this event.
    pub fn remove_listener(&self, id: ListenerId) {
        self.change(Change::Remove(id), |other| *other == id);
    }

    /// Removes all listeners of one event, or of all events with `None`.
    ///
    /// # Panics
    /// If there is no such event.
    #[track_caller]
    pub fn remove_all_listeners(&self, event: Option<&str>) {
        let event = expect_fit(event.map(|event| NAMES.resolve(event)).transpose());
        self.change(Change::RemoveAll(event), |id| event.is_none_or(|event| id.event == event));
    }

    /// Returns the number of listeners of an event.
    ///
    /// # Panics
    /// If there is no such event.
    #[track_caller]
    pub fn listener_count(&self, event: &str) -> usize {
        let event = expect_fit(NAMES.resolve(event));
        self.lock().map_or(0, |state| state.registered.iter().filter(|id| id.event == event).count())
    }

    /// Like `on("text", …)`, but the compiler checks the event's name and infers the argument's
    /// type.
    pub fn on_text<R: ListenerOutput>(&self, listener: impl FnMut(&str) -> R + Send + 'static) -> ListenerId {
        self.add_typed(TEXT, listener)
    }

    /// Like [`on_text`](WebSocketConnection::on_text), for `binary`.
    pub fn on_binary<R: ListenerOutput>(&self, listener: impl FnMut(&[u8]) -> R + Send + 'static) -> ListenerId {
        self.add_typed(BINARY, listener)
    }

    /// Like [`on_text`](WebSocketConnection::on_text), for `message`.
    pub fn on_message<R: ListenerOutput>(&self, listener: impl FnMut(Message) -> R + Send + 'static) -> ListenerId {
        self.add_typed(MESSAGE, listener)
    }

    /// Like [`on_text`](WebSocketConnection::on_text), for `ping`.
    pub fn on_ping<R: ListenerOutput>(&self, listener: impl FnMut(&[u8]) -> R + Send + 'static) -> ListenerId {
        self.add_typed(PING, listener)
    }

    /// Like [`on_text`](WebSocketConnection::on_text), for `pong`.
    pub fn on_pong<R: ListenerOutput>(&self, listener: impl FnMut(&[u8]) -> R + Send + 'static) -> ListenerId {
        self.add_typed(PONG, listener)
    }

    /// Like [`on_text`](WebSocketConnection::on_text), for `drain`.
    pub fn on_drain<R: ListenerOutput>(&self, listener: impl FnMut() -> R + Send + 'static) -> ListenerId {
        self.add_typed(DRAIN, listener)
    }

    /// Like [`on_text`](WebSocketConnection::on_text), for `end`.
    pub fn on_end<R: ListenerOutput>(&self, listener: impl FnMut() -> R + Send + 'static) -> ListenerId {
        self.add_typed(END, listener)
    }

    /// Like [`on_text`](WebSocketConnection::on_text), for `error`.
    pub fn on_error<R: ListenerOutput>(&self, listener: impl FnMut(&ConnectionError) -> R + Send + 'static) -> ListenerId {
        self.add_typed(ERROR, listener)
    }

    /// Like [`on_text`](WebSocketConnection::on_text), for `close`.
    pub fn on_close<R: ListenerOutput>(&self, listener: impl FnMut(u16, &str) -> R + Send + 'static) -> ListenerId {
        self.add_typed(CLOSE, listener)
    }

    /// Like [`on_text`](WebSocketConnection::on_text), with an asynchronous closure.
    pub fn on_text_async<F, Fut, R>(&self, listener: F) -> ListenerId
    where
        F: AsyncFn(Text) -> R + FnOnce(Text) -> Fut + ClonedForEachCallSoUseArc + Send + 'static,
        Fut: Future<Output = R> + Send + 'static,
        R: ListenerOutput,
    {
        self.add_typed(TEXT, listener)
    }

    /// Like [`on_text`](WebSocketConnection::on_text), for `binary` with an asynchronous closure.
    pub fn on_binary_async<F, Fut, R>(&self, listener: F) -> ListenerId
    where
        F: AsyncFn(Bytes) -> R + FnOnce(Bytes) -> Fut + ClonedForEachCallSoUseArc + Send + 'static,
        Fut: Future<Output = R> + Send + 'static,
        R: ListenerOutput,
    {
        self.add_typed(BINARY, listener)
    }

    /// Like [`on_text`](WebSocketConnection::on_text), for `message` with an asynchronous closure.
    pub fn on_message_async<F, Fut, R>(&self, listener: F) -> ListenerId
    where
        F: AsyncFn(Message) -> R + FnOnce(Message) -> Fut + ClonedForEachCallSoUseArc + Send + 'static,
        Fut: Future<Output = R> + Send + 'static,
        R: ListenerOutput,
    {
        self.add_typed(MESSAGE, listener)
    }
}

impl WebSocketConnection {
    pub(crate) fn add(&self, event: u8, rank: Rank, listener: Box<dyn Listener<ConnectionEvents>>) -> ListenerId {
        match self.lock().filter(|state| state.phase < Phase::Closed) {
            Some(mut state) => self.add_to(&mut state, event, rank, listener),
            None => {
                drop_each([listener]);
                ListenerId::new(event)
            }
        }
    }

    /// Like [`add`](Self::add) under a lock that is held already. The connection has not ended.
    pub(crate) fn add_to(
        &self,
        state: &mut State,
        event: u8,
        rank: Rank,
        listener: Box<dyn Listener<ConnectionEvents>>,
    ) -> ListenerId {
        let id = ListenerId::new(event);
        if rank != Rank::Last {
            // Few connections have more than a handful of listeners, and three take no more memory than one.
            if state.registered.len() == state.registered.capacity() {
                state.registered.reserve_exact(3);
            }
            state.registered.push(id);
        }
        // Until the first message the listeners stay in this list.
        state.pending_changes.reserve_exact(1);
        state.pending_changes.push(Change::Add(Entry::new(id, rank, listener)));
        self.slot().flags.fetch_or(PENDING_CHANGES, Ordering::Release);
        id
    }

    fn add_typed<M>(&self, event: u8, listener: impl IntoListener<M>) -> ListenerId {
        match listener.into_listener().fit(event) {
            Ok(listener) => self.add(event, Rank::On, listener),
            // The signatures of the typed methods are those of their events.
            Err(error) => unreachable!("{error}"),
        }
    }

    fn change(&self, change: Change<ConnectionEvents>, concerns: impl Fn(&ListenerId) -> bool) {
        let Some(mut state) = self.lock() else { return };
        let before = state.registered.len();
        state.registered.retain(|id| !concerns(id));
        let removed = before - state.registered.len();
        // Listeners that the task does not have yet.
        let is_gone = |change: &mut Change<ConnectionEvents>| matches!(change, Change::Add(entry) if entry.rank != Rank::Last && concerns(&entry.id));
        let gone: Vec<_> = state.pending_changes.extract_if(.., is_gone).collect();
        if gone.len() < removed {
            state.pending_changes.push(change);
            self.slot().flags.fetch_or(PENDING_CHANGES, Ordering::Release);
            // Has the captures of removed closures dropped now, not at the next event.
            self.slot().signal(&state, STATE_CHANGED);
        }
        drop(state);
        // Must be outside of the lock: the captures may do anything when they are dropped.
        drop_each(gone);
    }
}
