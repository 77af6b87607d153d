use std::fmt;
use std::panic::Location;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

/// A future that a test awaits. It panics if the expectation is not met.
///
/// The panic's location is the line of the `.await`. If a combinator such as `tokio::join!` polls
/// the future, the message names the line that created the expectation.
#[must_use = "an expectation is only checked when it is awaited"]
pub struct Expectation<'a, T> {
    created: &'static Location<'static>,
    /// An error is the message of the panic.
    check: Pin<Box<dyn Future<Output = Result<T, String>> + Send + 'a>>,
}

impl<'a, T> Expectation<'a, T> {
    pub(super) fn new(
        created: &'static Location<'static>,
        check: impl Future<Output = Result<T, String>> + Send + 'a,
    ) -> Expectation<'a, T> {
        Expectation { created, check: Box::pin(check) }
    }
}

impl<T> Future for Expectation<'_, T> {
    type Output = T;

    // `.await` calls this from the test's line, so the panic has this location.
    #[track_caller]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        match ready!(self.check.as_mut().poll(cx)) {
            Ok(value) => Poll::Ready(value),
            Err(message) if Location::caller().file() == self.created.file() => panic!("{message}"),
            Err(message) => panic!("{message}\nexpected at {}", self.created),
        }
    }
}

impl<T> fmt::Debug for Expectation<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Expectation").field("created", self.created).finish_non_exhaustive()
    }
}
