use std::error::Error;
use std::fmt::{self, Display};

/// Returns an error and its causes as one line of text, outermost error first.
///
/// An error of this crate prints only its own level, and returns its cause as
/// [`source`](Error::source). The text has at most 16 causes.
///
/// ```
/// use react_websocket::SocketServer;
/// use react_websocket::errors::{SocketError, report};
///
/// # fn main() -> Result<(), SocketError> {
/// let socket = SocketServer::new("127.0.0.1:0")?;
/// // cannot accept a connection: Too many open files (os error 24)
/// socket.on("error", |error: &SocketError| eprintln!("{}", report(error)));
/// # Ok(())
/// # }
/// ```
pub fn report(error: &(dyn Error + 'static)) -> impl Display {
    Report(error)
}

struct Report<'a>(&'a (dyn Error + 'static));

/// Maximum number of causes in a report. An error of the app may be its own cause.
const CAUSES: usize = 16;

impl Display for Report<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        let causes = std::iter::successors(self.0.source(), |&error| error.source());
        causes.take(CAUSES).try_for_each(|cause| write!(f, ": {cause}"))
    }
}

/// The reason why a listener cannot be registered. [`try_on`](crate::WebSocketConnection::try_on)
/// returns this error, and `on` panics with it.
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
        /// The arguments that listeners of the event may take.
        expected: &'static str,
        /// The arguments that this closure takes.
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
