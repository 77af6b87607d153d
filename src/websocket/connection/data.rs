use std::any::Any;
use std::sync::Arc;

use crate::emitter::{Once, Rank, drop_each};
use crate::websocket::connection::into_listener::IntoListener;
use crate::websocket::state::event::CLOSE;
use crate::websocket::state::handle::WebSocketConnection;
use crate::websocket::state::slot::Phase;

/// # Data
impl WebSocketConnection {
    /// Attaches a value to the connection, and replaces an attached value of the same type: PHP's
    /// dynamic properties. The value lives as long as the connection. If the connection has ended,
    /// returns `false` and drops the value.
    ///
    /// ```
    /// # fn login(connection: react_websocket::WebSocketConnection) {
    /// struct User { name: String }
    ///
    /// connection.set(User { name: "ann".into() });
    /// connection.on("text", move |text: &str| {
    ///     let user = connection.get::<User>();
    ///     println!("{}: {text}", user.map_or("?".into(), |user| user.name.clone()));
    /// });
    /// # }
    /// ```
    pub fn set<T: Send + Sync + 'static>(&self, value: T) -> bool {
        self.set_shared(Arc::new(value))
    }

    /// Returns the value of this type that was [set](WebSocketConnection::set). Returns `None` if
    /// there is no such value, or if the connection has ended.
    pub fn get<T: Send + Sync + 'static>(&self) -> Option<Arc<T>> {
        let mut state = self.lock()?;
        let data = &state.app_state_if_any()?.data;
        let found = data.iter().find(|value| value.is::<T>())?.clone();
        drop(state);
        found.downcast().ok()
    }

    /// Removes and returns the value of this type that was [set](WebSocketConnection::set), or
    /// `None`.
    pub fn take<T: Send + Sync + 'static>(&self) -> Option<Arc<T>> {
        let mut state = self.lock()?;
        let data = &mut state.app_state_if_any()?.data;
        let place = data.iter().position(|value| value.is::<T>())?;
        let taken = data.swap_remove(place);
        drop(state);
        taken.downcast().ok()
    }
}

/// What the crate itself uses.
impl WebSocketConnection {
    /// Returns the value of this type, and attaches a default value first if it is missing. `None`
    /// if the connection has ended.
    ///
    /// The connection's end calls `last` with the value, after all listeners of `close`. It does so
    /// as well if the connection is refused, so that `close` does not fire.
    pub(crate) fn get_or_attach<T>(&self, last: fn(&T, WebSocketConnection)) -> Option<Arc<T>>
    where
        T: Default + Send + Sync + 'static,
    {
        // Both happen under one lock: a value that is found is always one whose `last` will be
        // called.
        let mut state = self.lock().filter(|state| state.phase < Phase::Closed)?;
        if let Some(found) = state.app_state_if_any().and_then(|own| own.data.iter().find(|value| value.is::<T>())) {
            return found.clone().downcast().ok();
        }
        let made = Arc::new(T::default());
        let kept = made.clone();
        let listener = move |connection: &WebSocketConnection| last(&kept, *connection);
        self.add_to(&mut state, CLOSE, Rank::Last, IntoListener::<_, Once>::into_listener(listener).fit(CLOSE).ok()?);
        let data = &mut state.app_state().data;
        // Few have more than one: room for each, none to spare.
        data.reserve_exact(1);
        data.push(made.clone());
        Some(made)
    }

    /// What a higher layer gave the middleware.
    pub(crate) fn extension<T: Send + Sync + Clone + 'static>(&self) -> Option<T> {
        self.shared()?.extension.as_ref()?.downcast_ref::<T>().cloned()
    }

    pub(crate) fn set_shared(&self, value: Arc<dyn Any + Send + Sync>) -> bool {
        let Some(mut state) = self.lock() else {
            drop_each([value]);
            return false;
        };
        let data = &mut state.app_state().data;
        let kind = (*value).type_id();
        let before = match data.iter_mut().find(|other| (***other).type_id() == kind) {
            Some(other) => Some(std::mem::replace(other, value)),
            None => {
                data.reserve_exact(1);
                data.push(value);
                None
            }
        };
        drop(state);
        drop_each(before);
        true
    }
}
