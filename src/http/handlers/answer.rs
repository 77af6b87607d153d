use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use crate::emitter::{BoxError, Contained, Never, contain};
use crate::http::HttpError;
use crate::http::message::Response;

/// The answer of a middleware or a router: a [`Response`], at once or later.
///
/// `.await` gives the response. A panic on the way there is contained: the response is then a 500 page, which the
/// server's `error` event reports.
///
/// A synchronous middleware returns an `Answer` where it sometimes answers itself and sometimes has
/// [`next.run(request)`](crate::Next::run) answer:
///
/// ```
/// use react_websocket::{Answer, HttpServer, Next, Response, ServerRequest};
///
/// let guard = |request: ServerRequest, next: Next| -> Answer {
///     if request.header("authorization").is_none() {
///         return Response::new(401).into();
///     }
///     next.run(request)
/// };
/// HttpServer::new((guard, |_request: ServerRequest| Response::plaintext("hello")));
/// ```
#[must_use = "the client gets no answer unless it is returned or awaited"]
pub struct Answer(State);

/// The future of an [`Answer`].
#[doc(hidden)]
pub struct Answering(State);

enum State {
    Now(Option<Response>),
    Later(Contained<Pin<Box<dyn Future<Output = Response> + Send>>>),
}

impl Answer {
    /// An answer that takes time.
    pub fn later(future: impl Future<Output = Response> + Send + 'static) -> Answer {
        Answer(State::Later(Contained::new(Box::pin(future))))
    }

    /// The answer where a handler has panicked or returned `Err`.
    pub(crate) fn failed(error: BoxError) -> Answer {
        Response::failed(HttpError::returned(error)).into()
    }
}

impl From<Response> for Answer {
    fn from(response: Response) -> Answer {
        Answer(State::Now(Some(response)))
    }
}

impl IntoFuture for Answer {
    type Output = Response;
    type IntoFuture = Answering;

    fn into_future(self) -> Answering {
        Answering(self.0)
    }
}

impl Future for Answering {
    type Output = Response;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Response> {
        let response = match &mut self.0 {
            State::Now(response) => response.take(),
            State::Later(running) => {
                let response = match contain(|| Ok(running.as_mut().poll(cx))) {
                    Ok(Poll::Pending) => return Poll::Pending,
                    Ok(Poll::Ready(response)) => response,
                    Err(error) => Response::failed(HttpError::Handler(error)),
                };
                self.0 = State::Now(None);
                Some(response)
            }
        };
        // A future that is polled after its end has no response any more.
        Poll::Ready(response.unwrap_or_else(|| Response::new(500)))
    }
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            State::Now(response) => f.debug_tuple("Now").field(response).finish(),
            State::Later(_) => f.debug_tuple("Later").finish(),
        }
    }
}

/// A type that a router or a middleware may return: a [`Response`], an [`Answer`], or a `Result` of one of these.
///
/// `Err` may be a [`Response`], which the client gets as it is, or any error: the client gets a 500 page, and the server
/// emits `error`. An asynchronous router or middleware returns the same, in the end. `K` tells the types apart; the
/// compiler infers it.
#[diagnostic::on_unimplemented(
    message = "a router or middleware cannot return `{Self}`",
    label = "return a `Response`, an `Answer`, or a `Result` of one of these"
)]
pub trait IntoAnswer<K> {
    #[doc(hidden)]
    fn into_answer(self) -> Answer;
}

#[doc(hidden)]
pub enum Page {}
#[doc(hidden)]
pub enum Error {}

impl IntoAnswer<()> for Response {
    fn into_answer(self) -> Answer {
        self.into()
    }
}

impl IntoAnswer<()> for Answer {
    fn into_answer(self) -> Answer {
        self
    }
}

impl IntoAnswer<()> for Never {
    fn into_answer(self) -> Answer {
        self
    }
}

impl<T: Into<Answer>> IntoAnswer<Page> for Result<T, Response> {
    fn into_answer(self) -> Answer {
        self.map_or_else(Answer::from, T::into)
    }
}

impl<T: Into<Answer>, E: Into<BoxError>> IntoAnswer<Error> for Result<T, E> {
    fn into_answer(self) -> Answer {
        self.map_or_else(|error| Answer::failed(error.into()), T::into)
    }
}
