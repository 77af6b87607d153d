use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use crate::emitter::{BoxError, Contained, Never, Sealed, contain};
use crate::http::HttpError;
use crate::http::message::Response;

/// The response of a middleware or a router, which may take time.
/// [`next.run(request)`](crate::handlers::Next::run) returns a `ResponseFuture`.
///
/// `.await` returns the [`Response`]. If a handler panics, the response is a 500 page, and the server emits `error`.
///
/// A synchronous middleware returns a `ResponseFuture` if it answers some requests itself, and
/// passes other requests to [`next.run(request)`](crate::handlers::Next::run):
///
/// ```
/// use react_websocket::handlers::{Next, ResponseFuture};
/// use react_websocket::{HttpServer, Response, ServerRequest};
///
/// let guard = |request: ServerRequest, next: Next| -> ResponseFuture {
///     if request.header("authorization").is_none() {
///         return Response::new(401).into();
///     }
///     next.run(request)
/// };
/// HttpServer::new((guard, |_request: ServerRequest| Response::plaintext("hello")));
/// ```
#[must_use = "the client gets no answer unless it is returned or awaited"]
pub struct ResponseFuture(State);

/// The future that awaits a [`ResponseFuture`].
#[doc(hidden)]
#[allow(missing_debug_implementations, reason = "an app cannot name it")]
pub struct RunningResponse(State);

enum State {
    Now(Option<Response>),
    Later(Contained<Pin<Box<dyn Future<Output = Response> + Send>>>),
}

impl ResponseFuture {
    /// Creates a response that takes time.
    pub fn new(future: impl Future<Output = Response> + Send + 'static) -> ResponseFuture {
        ResponseFuture(State::Later(Contained::new(Box::pin(future))))
    }

    /// Returns the response to a request whose handler has panicked or returned `Err`.
    pub(crate) fn for_error(error: BoxError) -> ResponseFuture {
        Response::failed(HttpError::returned(error)).into()
    }
}

impl From<Response> for ResponseFuture {
    fn from(response: Response) -> ResponseFuture {
        ResponseFuture(State::Now(Some(response)))
    }
}

impl IntoFuture for ResponseFuture {
    type Output = Response;
    type IntoFuture = RunningResponse;

    fn into_future(self) -> RunningResponse {
        RunningResponse(self.0)
    }
}

impl Future for RunningResponse {
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
        // A future that is polled after its end no longer has the response.
        Poll::Ready(response.unwrap_or_else(|| Response::new(500)))
    }
}

impl fmt::Debug for ResponseFuture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            State::Now(response) => f.debug_tuple("Now").field(response).finish(),
            State::Later(_) => f.debug_tuple("Later").finish(),
        }
    }
}

/// A type that a router or a middleware may return: a [`Response`], a [`ResponseFuture`], or a `Result` of one of these.
///
/// If `Err` contains a [`Response`], the client gets this response. For any other error the client
/// gets a 500 page, and the server emits `error`. The future of an asynchronous router or
/// middleware returns the same types. `K` distinguishes the types; the compiler infers `K`.
///
/// This trait is sealed: only this crate implements it.
#[diagnostic::on_unimplemented(
    message = "a router or middleware cannot return `{Self}`",
    label = "return a `Response`, a `ResponseFuture`, or a `Result` of one of these"
)]
pub trait IntoResponse<K> {
    #[doc(hidden)]
    fn into_response_future(self, _: Sealed) -> ResponseFuture;
}

#[doc(hidden)]
#[derive(Debug)]
pub enum Page {}
#[doc(hidden)]
#[derive(Debug)]
pub enum Error {}

impl IntoResponse<()> for Response {
    fn into_response_future(self, _: Sealed) -> ResponseFuture {
        self.into()
    }
}

impl IntoResponse<()> for ResponseFuture {
    fn into_response_future(self, _: Sealed) -> ResponseFuture {
        self
    }
}

impl IntoResponse<()> for Never {
    fn into_response_future(self, _: Sealed) -> ResponseFuture {
        self
    }
}

impl<T: Into<ResponseFuture>> IntoResponse<Page> for Result<T, Response> {
    fn into_response_future(self, _: Sealed) -> ResponseFuture {
        self.map_or_else(ResponseFuture::from, T::into)
    }
}

impl<T: Into<ResponseFuture>, E: Into<BoxError>> IntoResponse<Error> for Result<T, E> {
    fn into_response_future(self, _: Sealed) -> ResponseFuture {
        self.map_or_else(|error| ResponseFuture::for_error(error.into()), T::into)
    }
}
