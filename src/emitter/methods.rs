/// Defines the methods that register an object's listeners, for objects whose events all have one
/// signature. Its arguments are:
///
/// * the names of the events;
/// * what a listener takes;
/// * how a listener is called with what is stored;
/// * where the listeners are, if the object is still there.
macro_rules! listener_methods {
    (
        $names:expr,
        FnMut($($argument:ty)?),
        |$listener:ident, $stored:ident: &$type:ty| $call:expr,
        |$object:ident| $listeners:expr $(,)?
    ) => {
        /// Calls `listener` for every future `event`. The compiler infers the argument's type.
        /// Returns the id for `remove_listener`. If the object no longer exists, the listener is
        /// never called.
        ///
        /// # Panics
        /// If there is no such event. The message lists all events.
        #[track_caller]
        pub fn on<F, R>(&self, event: &str, listener: F) -> $crate::emitter::ListenerId
        where
            F: FnMut($($argument)?) -> R + Send + 'static,
            R: $crate::emitter::ListenerOutput,
        {
            $crate::emitter::expect_fit(self.try_on(event, listener))
        }

        /// Calls `listener` for the next `event` only, after all `on` listeners. The closure may be
        /// `FnOnce`.
        ///
        /// # Panics
        /// If there is no such event. The message lists all events.
        #[track_caller]
        pub fn once<F, R>(&self, event: &str, listener: F) -> $crate::emitter::ListenerId
        where
            F: FnOnce($($argument)?) -> R + Send + 'static,
            R: $crate::emitter::ListenerOutput,
        {
            $crate::emitter::expect_fit(self.try_once(event, listener))
        }

        /// Like [`on`](Self::on), but returns the error instead of panicking.
        ///
        /// # Errors
        /// [`ListenerError::UnknownEvent`](crate::errors::ListenerError::UnknownEvent) if there is
        /// no such event.
        pub fn try_on<F, R>(
            &self,
            event: &str,
            listener: F,
        ) -> Result<$crate::emitter::ListenerId, $crate::emitter::ListenerError>
        where
            F: FnMut($($argument)?) -> R + Send + 'static,
            R: $crate::emitter::ListenerOutput,
        {
            let mut $listener = listener;
            self.add_listener(event, $crate::emitter::Rank::On, move |$stored: &$type| $call)
        }

        /// Like [`once`](Self::once), but returns the error instead of panicking.
        ///
        /// # Errors
        /// [`ListenerError::UnknownEvent`](crate::errors::ListenerError::UnknownEvent) if there is
        /// no such event.
        pub fn try_once<F, R>(
            &self,
            event: &str,
            listener: F,
        ) -> Result<$crate::emitter::ListenerId, $crate::emitter::ListenerError>
        where
            F: FnOnce($($argument)?) -> R + Send + 'static,
            R: $crate::emitter::ListenerOutput,
        {
            let mut listener = Some(listener);
            self.add_listener(event, $crate::emitter::Rank::Once, move |$stored: &$type| {
                listener.take().map_or(Ok(()), |$listener| $crate::emitter::ListenerOutput::into_result($call))
            })
        }

        $crate::emitter::listeners_of! { $names, &$type, |$object| $listeners }
    };
}
pub(crate) use listener_methods;

/// Defines [`removal_methods`], and `add_listener` for the methods that depend on how a listener is
/// called.
macro_rules! listeners_of {
    ($names:expr, &$type:ty, |$object:ident| $listeners:expr $(,)?) => {
        $crate::emitter::removal_methods! { $names, |$object| $listeners }

        fn add_listener<R: $crate::emitter::ListenerOutput>(
            &self,
            event: &str,
            rank: $crate::emitter::Rank,
            listener: impl FnMut(&$type) -> R + Send + 'static,
        ) -> Result<$crate::emitter::ListenerId, $crate::emitter::ListenerError> {
            let listener = $crate::emitter::Contained::new(listener);
            let event = $names.resolve(event)?;
            let $object = self;
            let Some(listeners) = $listeners else { return Ok($crate::emitter::ListenerId::new(event)) };
            let number = listeners.add(event, rank, listener.into_inner());
            Ok($crate::emitter::ListenerId::of(event, number))
        }
    };
}
pub(crate) use listeners_of;

/// Defines the methods that do not depend on how a listener is called.
macro_rules! removal_methods {
    ($names:expr, |$object:ident| $listeners:expr $(,)?) => {
        /// Removes a listener. Removing a listener twice does nothing.
        pub fn remove_listener(&self, id: $crate::emitter::ListenerId) {
            let $object = self;
            if let Some(listeners) = $listeners {
                listeners.remove(id.number());
            }
        }

        /// Removes all listeners of one event, or of all events with `None`.
        ///
        /// # Panics
        /// If there is no such event.
        #[track_caller]
        pub fn remove_all_listeners(&self, event: Option<&str>) {
            let event = $crate::emitter::expect_fit(event.map(|event| $names.resolve(event)).transpose());
            let $object = self;
            if let Some(listeners) = $listeners {
                listeners.remove_all(event.as_ref());
            }
        }

        /// Returns the number of listeners of an event.
        ///
        /// # Panics
        /// If there is no such event.
        #[track_caller]
        pub fn listener_count(&self, event: &str) -> usize {
            let event = $crate::emitter::expect_fit($names.resolve(event));
            let $object = self;
            $listeners.map_or(0, |listeners| listeners.count(&event))
        }
    };
}
pub(crate) use removal_methods;
