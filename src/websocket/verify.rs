use std::pin::Pin;
use std::sync::Arc;

use http::StatusCode;

use super::error::HandshakeError;
use crate::emitter::{BoxError, Contained, contain, output_of};
use crate::http::{Response, ServerRequest};

/// Why a handshake is refused, and what the client is answered.
#[doc(hidden)]
pub struct Refusal {
    pub(super) error: HandshakeError,
    /// Boxed, since most handshakes are not refused.
    pub(super) page: Box<Response>,
}

impl From<HandshakeError> for Refusal {
    fn from(error: HandshakeError) -> Refusal {
        let page = Box::new(error.page());
        Refusal { error, page }
    }
}

impl From<Response> for Refusal {
    fn from(page: Response) -> Refusal {
        Refusal { error: HandshakeError::Rejected { status: page.status() }, page: Box::new(page) }
    }
}

impl From<BoxError> for Refusal {
    fn from(error: BoxError) -> Refusal {
        HandshakeError::Listener(error.into()).into()
    }
}

/// A closure that decides about handshakes.
pub(super) type Verify = Arc<dyn Fn(ServerRequest) -> Verdict + Send + Sync>;

pub(super) fn verify<R: IntoVerdict<K>, K>(closure: impl Fn(ServerRequest) -> R + Send + Sync + 'static) -> Verify {
    let closure = Contained::new(closure);
    Arc::new(move |request| {
        let contained = contain(|| Ok(closure(request).into_verdict()));
        contained.unwrap_or_else(|error| Verdict::Now(Err(error.into())))
    })
}

/// What is decided about a handshake.
#[doc(hidden)]
pub enum Verdict {
    Now(Result<(), Refusal>),
    Later(Pin<Box<dyn Future<Output = Result<(), Refusal>> + Send>>),
}

/// What a closure of [`with_verify`](crate::WebSocketMiddleware::with_verify) may return: a `bool`, a
/// `Result<(), Response>`, a `Result` of `()` or of a `bool` with any other error, or a future of one of these. `K` tells them
/// apart; nobody writes it.
#[diagnostic::on_unimplemented(
    message = "a handshake cannot be decided about by `{Self}`",
    label = "return a `bool`, a `Result<(), Response>`, a `Result<bool, E>`, or a future of one of these"
)]
pub trait IntoVerdict<K> {
    #[doc(hidden)]
    fn into_verdict(self) -> Verdict;
}

#[doc(hidden)]
pub enum Now {}
#[doc(hidden)]
pub enum Fallible {}
#[doc(hidden)]
pub struct Later<K>(K);

impl IntoVerdict<Now> for bool {
    fn into_verdict(self) -> Verdict {
        let forbidden = || Response::error_page(StatusCode::FORBIDDEN).into();
        Verdict::Now(self.then_some(()).ok_or_else(forbidden))
    }
}

impl IntoVerdict<Now> for Result<(), Response> {
    fn into_verdict(self) -> Verdict {
        Verdict::Now(self.map_err(Refusal::from))
    }
}

impl<E: Into<BoxError>> IntoVerdict<Fallible> for Result<(), E> {
    fn into_verdict(self) -> Verdict {
        Verdict::Now(self.map_err(|error| error.into().into()))
    }
}

impl<E: Into<BoxError>> IntoVerdict<Fallible> for Result<bool, E> {
    fn into_verdict(self) -> Verdict {
        match self {
            Ok(allowed) => allowed.into_verdict(),
            Err(error) => Verdict::Now(Err(error.into().into())),
        }
    }
}

impl<F, K> IntoVerdict<Later<K>> for F
where
    F: Future<Output: IntoVerdict<K>> + Send + 'static,
{
    fn into_verdict(self) -> Verdict {
        Verdict::Later(Box::pin(async move {
            match output_of!(self).into_verdict() {
                Verdict::Now(verdict) => verdict,
                Verdict::Later(deciding) => deciding.await,
            }
        }))
    }
}
