use std::any::Any;
use std::pin::Pin;
use std::sync::Arc;

use http::StatusCode;

use crate::emitter::{BoxError, ClonedForEachCallSoUseArc, Contained, Later, Never, Now, contain, output_of};
use crate::http::{Response, ResponseFuture, ServerRequest};
use crate::websocket::error::HandshakeError;

/// Why a handshake is refused, and what the client is answered.
#[doc(hidden)]
#[allow(missing_debug_implementations, reason = "an app cannot name it")]
pub struct Rejection {
    pub(crate) error: HandshakeError,
    /// Boxed, since most handshakes are not refused.
    pub(crate) page: Box<Response>,
}

impl From<HandshakeError> for Rejection {
    fn from(error: HandshakeError) -> Rejection {
        let page = Box::new(error.page());
        Rejection { error, page }
    }
}

impl From<Response> for Rejection {
    fn from(page: Response) -> Rejection {
        Rejection { error: HandshakeError::Rejected { status: page.status() }, page: Box::new(page) }
    }
}

impl From<BoxError> for Rejection {
    fn from(error: BoxError) -> Rejection {
        HandshakeError::Listener(error.into()).into()
    }
}

/// The decision about a handshake: the reason to refuse it, or the value to attach to the
/// connection, if any.
pub(crate) type Verdict = Result<Option<Arc<dyn Any + Send + Sync>>, Rejection>;

/// A verdict, or the future of one.
#[doc(hidden)]
#[allow(missing_debug_implementations, reason = "an app cannot name it")]
pub enum Verifying {
    Now(Verdict),
    Later(Pin<Box<dyn Future<Output = Verdict> + Send>>),
}

/// A closure that decides about handshakes.
#[doc(hidden)]
pub(crate) type Verifier = Arc<dyn Fn(ServerRequest) -> Verifying + Send + Sync>;

fn forbidden() -> Rejection {
    Response::error_page(StatusCode::FORBIDDEN).into()
}

/// A closure for [`with_verify`](crate::WebSocketMiddleware::with_verify): `|request: ServerRequest|`, synchronous or
/// asynchronous.
///
/// The closure returns one of the types of [`IntoVerdict`]. An asynchronous closure is cloned for
/// each handshake, so its captures must be `Clone`: for example handles, senders, and values in an
/// `Arc`. `M` distinguishes the kinds; the compiler infers `M`.
///
/// This trait is sealed: only this crate implements it.
#[diagnostic::on_unimplemented(
    message = "this closure cannot decide about handshakes",
    label = "not a closure for `with_verify`",
    note = "it is `|request: ServerRequest| ..` or `async move |request: ServerRequest| ..`; write the type of the argument",
    note = "it returns a `bool`, an `Option<T>`, or a `Result` of `()`, a `bool` or a `T`; the connection gets the `T` attached",
    note = "the error of the `Result` is a `Response`, which the client gets, or any error, which is a 500",
    note = "an asynchronous closure is cloned for each handshake: wrap what cannot be cloned in an `Arc`"
)]
pub trait IntoVerifier<M> {
    #[doc(hidden)]
    fn into_verifier(self) -> Verifier;
}

#[doc(hidden)]
pub(crate) mod kind {
    use std::marker::PhantomData;

    /// When it returns, and what.
    #[derive(Debug)]
    pub struct Returns<When, K>(PhantomData<(When, K)>);
}

impl<F, R, K> IntoVerifier<kind::Returns<Now, K>> for F
where
    F: Fn(ServerRequest) -> R + Send + Sync + 'static,
    R: IntoVerdict<K>,
{
    fn into_verifier(self) -> Verifier {
        let closure = Contained::new(self);
        Arc::new(move |request| {
            Verifying::Now(contain(|| Ok(closure(request).into_verdict())).unwrap_or_else(|error| Err(error.into())))
        })
    }
}

// Cloned for each call, as a router is, and for the same reason.
impl<F, Fut, R, K> IntoVerifier<kind::Returns<Later, K>> for F
where
    F: AsyncFn(ServerRequest) -> R + FnOnce(ServerRequest) -> Fut + ClonedForEachCallSoUseArc + Send + Sync + 'static,
    Fut: Future<Output = R> + Send + 'static,
    R: IntoVerdict<K>,
{
    fn into_verifier(self) -> Verifier {
        let closure = Contained::new(self);
        Arc::new(move |request| match contain(|| Ok((closure.clone())(request))) {
            Ok(deciding) => Verifying::Later(Box::pin(async move { output_of!(deciding).into_verdict() })),
            Err(error) => Verifying::Now(Err(error.into())),
        })
    }
}

/// A type that a closure of [`with_verify`](crate::WebSocketMiddleware::with_verify) may return.
///
/// | returned | decision |
/// |---|---|
/// | `true`, `Ok(true)`, `Ok(())` | accepted |
/// | `Some(value)`, `Ok(value)` | accepted, and the value is attached to the connection: [`connection.get::<T>()`](crate::WebSocketConnection::get) |
/// | `false`, `Ok(false)`, `None` | refused with 403 |
/// | `Err(response)` | refused with this [`Response`](crate::Response) |
/// | `Err(error)` with any other error | refused with 500 |
///
/// A value may have any type that cannot mean a refusal itself. An `Option`, a `Result`, a
/// `Response` or a future inside `Ok` does not compile. First unwrap it with `?` and `ok_or`:
/// `find(token).await?.ok_or_else(|| Response::new(403))`.
///
/// `K` distinguishes the types; the compiler infers `K`.
///
/// This trait is sealed: only this crate implements it.
#[diagnostic::on_unimplemented(
    message = "a handshake cannot be decided about by `{Self}`",
    label = "return a `bool`, an `Option<T>`, or a `Result` of `()`, a `bool` or a `T`",
    note = "the error of the `Result` is a `Response`, which the client gets, or any error, which is a 500"
)]
pub trait IntoVerdict<K> {
    #[doc(hidden)]
    fn into_verdict(self) -> Verdict;
}

impl IntoVerdict<()> for bool {
    fn into_verdict(self) -> Verdict {
        self.approve()
    }
}

impl IntoVerdict<()> for Never {
    fn into_verdict(self) -> Verdict {
        self
    }
}

impl<T: Approval<A>, A> IntoVerdict<(A,)> for Option<T> {
    fn into_verdict(self) -> Verdict {
        self.ok_or_else(forbidden)?.approve()
    }
}

#[doc(hidden)]
#[derive(Debug)]
pub struct Page<A>(A);
#[doc(hidden)]
#[derive(Debug)]
pub struct Failure<A>(A);

impl<T: Approval<A>, A> IntoVerdict<Page<A>> for Result<T, Response> {
    fn into_verdict(self) -> Verdict {
        self?.approve()
    }
}

impl<T: Approval<A>, E: Into<BoxError>, A> IntoVerdict<Failure<A>> for Result<T, E> {
    fn into_verdict(self) -> Verdict {
        self.map_err(Into::into)?.approve()
    }
}

/// A type that can mean that a handshake is accepted: `()`, a `bool`, and any value, which is attached.
#[doc(hidden)]
pub trait Approval<A>: Sized {
    fn approve(self) -> Verdict;
}

#[doc(hidden)]
#[derive(Debug)]
pub enum Value {}

impl<T: Send + Sync + 'static> Approval<Value> for T {
    fn approve(self) -> Verdict {
        let value: &dyn Any = &self;
        match value.downcast_ref::<bool>() {
            Some(true) => Ok(None),
            Some(false) => Err(forbidden()),
            None if value.is::<()>() => Ok(None),
            None => Ok(Some(Arc::new(self))),
        }
    }
}

/// Types that may themselves mean a refusal are never taken for a value. They have two markers, of which the compiler cannot
/// choose one, so they do not compile, and it shows the names. Rust has no other way to except a type from all types.
#[doc(hidden)]
#[derive(Debug)]
pub enum MayMeanARefusal {}
#[doc(hidden)]
#[derive(Debug)]
pub enum TakeItOutOfOkFirst {}
#[doc(hidden)]
#[derive(Debug)]
pub enum IsAFuture {}
#[doc(hidden)]
#[derive(Debug)]
pub enum NeedsAwait {}

macro_rules! not_a_value {
    ($marker:ident: $(<$($parameter:ident $(: $bound:ident)?),*> $type:ty),+) => {$(
        impl<$($parameter $(: $bound)?),*> Approval<$marker> for $type {
            fn approve(self) -> Verdict {
                Err(forbidden())
            }
        }
    )+};
}
not_a_value!(MayMeanARefusal: <T> Option<T>, <T, E> Result<T, E>, <> Response, <> ResponseFuture);
not_a_value!(TakeItOutOfOkFirst: <T> Option<T>, <T, E> Result<T, E>, <> Response, <> ResponseFuture);
not_a_value!(IsAFuture: <F: Future> F);
not_a_value!(NeedsAwait: <F: Future> F);
