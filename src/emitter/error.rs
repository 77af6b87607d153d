/// A listener that cannot be registered: [`try_on`](crate::WebSocketConnection::try_on) returns it, `on` panics with it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ListenerError {
    /// There is no event of that name.
    #[error("there is no event {name:?} on {object}; its events are {}{}", valid.join(", "), behind(hint))]
    UnknownEvent {
        /// The kind of object that was asked.
        object: &'static str,
        /// The name that was asked for.
        name: String,
        /// The names that there are.
        valid: &'static [&'static str],
        /// What was probably meant, in words.
        hint: Option<String>,
    },
    /// The closure does not take what the event gives.
    #[error("listeners of {event:?} take {expected}, this one takes {found}{}", behind(hint))]
    WrongSignature {
        /// The event.
        event: &'static str,
        /// What its listeners may take.
        expected: &'static str,
        /// What this one takes.
        found: &'static str,
        /// What was probably meant, in words.
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
