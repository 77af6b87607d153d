use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::StatusCode;

use super::HttpError;
use super::request::ServerRequest;
use super::response::Response;
use crate::emitter::{BoxError, Contained, contain, drop_each, output_of};

/// A part of the chain that a request passes through, as a type. Closures need not know it: see
/// [`HttpServer::new`](crate::HttpServer::new).
pub trait Middleware: Send + Sync + 'static {
    /// Answers the request, or has `next` answer it.
    fn handle(&self, request: ServerRequest, next: Next) -> Answer;
}

/// A response that is there already, or will be.
pub struct Answer(State);

enum State {
    Now(Option<Response>),
    Later(Contained<Pin<Box<dyn Future<Output = Response> + Send>>>),
}

impl Answer {
    /// An answer that takes time.
    pub fn later(future: impl Future<Output = Response> + Send + 'static) -> Answer {
        Answer(State::Later(Contained::new(Box::pin(future))))
    }
}

impl From<Response> for Answer {
    fn from(response: Response) -> Answer {
        Answer(State::Now(Some(response)))
    }
}

impl Future for Answer {
    type Output = Response;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Response> {
        match &mut self.0 {
            // Polled again after its end, it has no response any more.
            State::Now(response) => Poll::Ready(response.take().unwrap_or_else(|| Response::new(500))),
            State::Later(future) => future.as_mut().poll(cx),
        }
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

/// The rest of the chain: ReactPHP's `$next`.
pub struct Next {
    chain: Chain,
    place: usize,
}

impl Next {
    /// Has the rest of the chain answer. What comes back may be looked at and changed.
    ///
    /// A router that returned `Err` shows here as its 500.
    ///
    /// A synchronous middleware that sometimes answers by itself returns an `Answer` in both cases:
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
    pub fn run(self, request: ServerRequest) -> Answer {
        let Next { chain, place } = self;
        let Some(handler) = chain.handlers.0.get(place) else {
            return Response::error_page(StatusCode::NOT_FOUND).into();
        };
        handler.handle(request, Next { chain: chain.clone(), place: place + 1 })
    }
}

impl fmt::Debug for Next {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Next").field("remaining", &self.chain.handlers.0.len().saturating_sub(self.place)).finish()
    }
}

/// The middlewares and the router of a server.
#[derive(Clone)]
pub struct Chain {
    handlers: Arc<Handlers>,
}

struct Handlers(Vec<Box<dyn Middleware>>);

impl Drop for Handlers {
    fn drop(&mut self) {
        drop_each(self.0.drain(..));
    }
}

impl Chain {
    /// Begins to answer a request. A panic is contained: it is a 500, as an exception in ReactPHP.
    pub(super) fn run(&self, request: ServerRequest) -> Answer {
        let next = Next { chain: self.clone(), place: 0 };
        contain(|| Ok(next.run(request))).unwrap_or_else(|error| Response::failed(HttpError::Handler(error)).into())
    }
}

/// Goes on with an answer, a panic being contained.
pub(super) fn poll_contained(answer: &mut Answer, cx: &mut Context<'_>) -> Poll<Response> {
    contain(|| Ok(Pin::new(answer).poll(cx)))
        .unwrap_or_else(|error| Poll::Ready(Response::failed(HttpError::Handler(error))))
}

/// What a router or a middleware may return: a [`Response`], a `Result` of one, or a future of either. `K` tells them
/// apart; nobody writes it.
#[diagnostic::on_unimplemented(
    message = "a router or middleware cannot return `{Self}`",
    label = "return a `Response`, a `Result<Response, _>`, or a future of one of these"
)]
pub trait IntoAnswer<K> {
    #[doc(hidden)]
    fn into_answer(self) -> Answer;
}

#[doc(hidden)]
pub enum Now {}
#[doc(hidden)]
pub enum Later {}

impl IntoAnswer<Now> for Response {
    fn into_answer(self) -> Answer {
        self.into()
    }
}

impl<E: Into<BoxError>> IntoAnswer<Now> for Result<Response, E> {
    fn into_answer(self) -> Answer {
        self.unwrap_or_else(|error| Response::failed(HttpError::Handler(error.into()))).into()
    }
}

impl<F> IntoAnswer<Later> for F
where
    F: Future<Output: IntoAnswer<Now>> + Send + 'static,
{
    fn into_answer(self) -> Answer {
        Answer::later(async move { output_of!(self).into_answer().await })
    }
}

/// What can stand in the chain before the router: a [`Middleware`], or a closure `|request: ServerRequest, next: Next|`.
#[diagnostic::on_unimplemented(
    message = "this is no middleware",
    label = "not a middleware",
    note = "a middleware is `|request: ServerRequest, next: Next| ..`, synchronous or asynchronous, or implements `Middleware`",
    note = "write the types of the arguments: the compiler cannot infer them here"
)]
pub trait IntoMiddleware<M> {
    #[doc(hidden)]
    fn into_middleware(self) -> Box<dyn Middleware>;
}

/// What can stand at the end of the chain: a closure `|request: ServerRequest|`, or a [`Middleware`], after which there is a
/// 404.
#[diagnostic::on_unimplemented(
    message = "this is no router",
    label = "not a router",
    note = "a router is `|request: ServerRequest| ..`, synchronous or asynchronous; it is the last of the chain",
    note = "write the type of the argument: the compiler cannot infer it here"
)]
pub trait IntoRouter<M> {
    #[doc(hidden)]
    fn into_router(self) -> Box<dyn Middleware>;
}

#[doc(hidden)]
pub enum ByType {}
#[doc(hidden)]
pub struct ByClosure<K>(K);

struct MiddlewareClosure<F>(F);
struct RouterClosure<F>(F);

impl<F> Middleware for MiddlewareClosure<F>
where
    F: Fn(ServerRequest, Next) -> Answer + Send + Sync + 'static,
{
    fn handle(&self, request: ServerRequest, next: Next) -> Answer {
        (self.0)(request, next)
    }
}

impl<F> Middleware for RouterClosure<F>
where
    F: Fn(ServerRequest) -> Answer + Send + Sync + 'static,
{
    fn handle(&self, request: ServerRequest, _next: Next) -> Answer {
        (self.0)(request)
    }
}

impl<T: Middleware> IntoMiddleware<ByType> for T {
    fn into_middleware(self) -> Box<dyn Middleware> {
        Box::new(self)
    }
}

impl<F, R, K> IntoMiddleware<ByClosure<K>> for F
where
    F: Fn(ServerRequest, Next) -> R + Send + Sync + 'static,
    R: IntoAnswer<K>,
{
    fn into_middleware(self) -> Box<dyn Middleware> {
        Box::new(MiddlewareClosure(move |request: ServerRequest, next: Next| self(request, next).into_answer()))
    }
}

impl<T: Middleware> IntoRouter<ByType> for T {
    fn into_router(self) -> Box<dyn Middleware> {
        Box::new(self)
    }
}

impl<F, R, K> IntoRouter<ByClosure<K>> for F
where
    F: Fn(ServerRequest) -> R + Send + Sync + 'static,
    R: IntoAnswer<K>,
{
    fn into_router(self) -> Box<dyn Middleware> {
        Box::new(RouterClosure(move |request: ServerRequest| self(request).into_answer()))
    }
}

/// What a server can be made of: a tuple of middlewares and a router, or a router alone.
#[diagnostic::on_unimplemented(
    message = "a server cannot be made of this",
    label = "give a router, or a tuple of up to 12 middlewares and routers, the router last",
    note = "a router is `|request: ServerRequest| ..`, a middleware `|request: ServerRequest, next: Next| ..` or a `WebSocketMiddleware`",
    note = "both return a `Response` or a `Result<Response, _>`, or are asynchronous; write the types of the arguments"
)]
pub trait IntoChain<M> {
    #[doc(hidden)]
    fn into_chain(self) -> Chain;
}

impl<R: IntoRouter<M>, M> IntoChain<(M,)> for R {
    fn into_chain(self) -> Chain {
        Chain { handlers: Arc::new(Handlers(vec![self.into_router()])) }
    }
}

macro_rules! chain_from_tuple {
    ($($middleware:ident $marker:ident),*) => {
        impl<$($middleware, $marker,)* Router, MRouter> IntoChain<($($marker,)* MRouter, ())> for ($($middleware,)* Router,)
        where
            $($middleware: IntoMiddleware<$marker>,)*
            Router: IntoRouter<MRouter>,
        {
            #[allow(non_snake_case, reason = "the type's letter names the value too")]
            fn into_chain(self) -> Chain {
                let ($($middleware,)* router,) = self;
                Chain { handlers: Arc::new(Handlers(vec![$($middleware.into_middleware(),)* router.into_router()])) }
            }
        }
    };
}
chain_from_tuple!();
chain_from_tuple!(A MA);
chain_from_tuple!(A MA, B MB);
chain_from_tuple!(A MA, B MB, C MC);
chain_from_tuple!(A MA, B MB, C MC, D MD);
chain_from_tuple!(A MA, B MB, C MC, D MD, E ME);
chain_from_tuple!(A MA, B MB, C MC, D MD, E ME, F MF);
chain_from_tuple!(A MA, B MB, C MC, D MD, E ME, F MF, G MG);
chain_from_tuple!(A MA, B MB, C MC, D MD, E ME, F MF, G MG, H MH);
chain_from_tuple!(A MA, B MB, C MC, D MD, E ME, F MF, G MG, H MH, I MI);
chain_from_tuple!(A MA, B MB, C MC, D MD, E ME, F MF, G MG, H MH, I MI, J MJ);
chain_from_tuple!(A MA, B MB, C MC, D MD, E ME, F MF, G MG, H MH, I MI, J MJ, K MK);
