use std::any::Any;
use std::sync::Arc;

use super::connection::WebSocketConnection;
use super::event::{CLOSE, IntoListener};
use crate::emitter::Rank;

/// # Data
impl WebSocketConnection {
    /// Attaches something of the app's own, replacing what has the same type: PHP's dynamic properties. It goes with the
    /// connection. `false`, and dropped, if the connection has ended.
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

    /// What was [set](WebSocketConnection::set) of this type.
    pub fn get<T: Send + Sync + 'static>(&self) -> Option<Arc<T>> {
        let mut state = self.lock()?;
        let data = &state.existing_belongings()?.data;
        let found = data.iter().find(|value| value.is::<T>())?.clone();
        drop(state);
        found.downcast().ok()
    }

    /// Takes back what was [set](WebSocketConnection::set) of this type.
    pub fn take<T: Send + Sync + 'static>(&self) -> Option<Arc<T>> {
        let mut state = self.lock()?;
        let data = &mut state.existing_belongings()?.data;
        let place = data.iter().position(|value| value.is::<T>())?;
        let taken = data.swap_remove(place);
        drop(state);
        taken.downcast().ok()
    }
}

/// What the crate itself uses.
impl WebSocketConnection {
    /// What is attached of this type, made if there is none; and whether it was.
    pub(crate) fn get_or_set<T: Default + Send + Sync + 'static>(&self) -> Option<(Arc<T>, bool)> {
        let mut state = self.lock()?;
        let data = &mut state.belongings().data;
        let (value, is_new) = match data.iter().find(|value| value.is::<T>()) {
            Some(found) => (found.clone(), false),
            None => {
                let made: Arc<dyn Any + Send + Sync> = Arc::new(T::default());
                // Few have more than one: room for each, none to spare.
                data.reserve_exact(1);
                data.push(made.clone());
                (made, true)
            }
        };
        drop(state);
        Some((value.downcast().ok()?, is_new))
    }

    /// Has `last` called after all listeners of `close`, also if the connection is refused and has none. `false` if it is too
    /// late.
    pub(crate) fn at_the_end(&self, last: impl FnOnce(WebSocketConnection) + Send + 'static) -> bool {
        let mut last = Some(last);
        let listener = move |connection: &WebSocketConnection| {
            if let Some(last) = last.take() {
                last(*connection);
            }
        };
        let Ok(listener) = listener.into_listener().fit(CLOSE) else { return false };
        self.add(CLOSE, Rank::Last, listener).number != u32::MAX
    }

    /// What a higher layer gave the middleware.
    pub(crate) fn extension<T: Send + Sync + Clone + 'static>(&self) -> Option<T> {
        self.shared()?.extension.as_ref()?.downcast_ref::<T>().cloned()
    }

    pub(super) fn set_shared(&self, value: Arc<dyn Any + Send + Sync>) -> bool {
        let Some(mut state) = self.lock() else { return false };
        let data = &mut state.belongings().data;
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
        drop(before);
        true
    }
}
