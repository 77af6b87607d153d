/// Why a listener cannot be registered. [`try_on`](crate::WebSocketConnection::try_on) returns it,
/// and `on` panics with it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ListenerError {
    /// No event has this name.
    #[error("there is no event {name:?} on {object}; its events are {}{}", valid.join(", "), behind(hint))]
    UnknownEvent {
        /// The kind of the object.
        object: &'static str,
        /// The unknown name.
        name: String,
        /// The names of all events.
        valid: &'static [&'static str],
        /// A suggestion, in words.
        hint: Option<String>,
    },
    /// The closure does not take the arguments of the event.
    #[error("listeners of {event:?} take {expected}, this one takes {found}{}", behind(hint))]
    WrongSignature {
        /// The event.
        event: &'static str,
        /// What listeners of the event may take.
        expected: &'static str,
        /// What this closure takes.
        found: &'static str,
        /// A suggestion, in words.
        hint: Option<String>,
    },
}

fn behind(hint: &Option<String>) -> String {
    hint.as_ref().map(|hint| format!("; {hint}")).unwrap_or_default()
}

/// Panics at the line of the caller if a listener could not be registered. A closure could not do
/// that.
#[track_caller]
pub(crate) fn expect_fit<T>(result: Result<T, ListenerError>) -> T {
    match result {
        Ok(value) => value,
        Err(error) => panic!("{error}"),
    }
}
