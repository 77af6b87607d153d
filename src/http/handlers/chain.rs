//! The handlers of a chain: closures, types, and lists of them.

use super::middleware::{Chain, Middleware, Next};
use super::response_future::{IntoResponse, ResponseFuture};
use crate::emitter::{ClonedForEachCallSoUseArc, Sealed, output_of};
use crate::http::message::ServerRequest;

/// A handler before the router: a [`Middleware`], or a closure
/// `|request: ServerRequest, next: Next| …`.
///
/// The closure may be synchronous or asynchronous, and returns one of the types of
/// [`IntoResponse`]. An asynchronous closure is cloned for each request, so its captures must be
/// `Clone`: for example handles, senders, and values in an `Arc`. `M` distinguishes the kinds; the
/// compiler infers `M`.
///
/// This trait is sealed: only this crate implements it.
#[diagnostic::on_unimplemented(
    message = "this is no middleware",
    label = "not a middleware",
    note = "a middleware is `|request: ServerRequest, next: Next| ..` or `async move |request: ServerRequest, next: Next| ..`, or implements `Middleware`",
    note = "it returns a `Response`, a `ResponseFuture` (`next.run(request)`), or a `Result` of one of these",
    note = "an asynchronous closure is cloned for each request: wrap what cannot be cloned in an `Arc`",
    note = "write the types of the arguments: the compiler cannot infer them here"
)]
pub trait IntoMiddleware<M> {
    #[doc(hidden)]
    fn into_middleware(self, _: Sealed) -> Box<dyn Middleware>;
}

/// A handler at the end of the chain: a closure `|request: ServerRequest| …`, or a [`Middleware`].
/// In a [`Middleware`] at the end, `next` answers with 404.
///
/// The closure may be synchronous or asynchronous, and returns one of the types of
/// [`IntoResponse`]. An asynchronous closure is cloned for each request, so its captures must be
/// `Clone`: for example handles, senders, and values in an `Arc`. `M` distinguishes the kinds; the
/// compiler infers `M`.
///
/// This trait is sealed: only this crate implements it.
#[diagnostic::on_unimplemented(
    message = "this is no router",
    label = "not a router",
    note = "a router is `|request: ServerRequest| ..` or `async move |request: ServerRequest| ..`; it is the last of the chain",
    note = "it returns a `Response`, or a `Result<Response, E>` whose `E` is an error or a `Response`",
    note = "an asynchronous closure is cloned for each request: wrap what cannot be cloned in an `Arc`",
    note = "write the type of the argument: the compiler cannot infer it here"
)]
pub trait IntoRouter<M> {
    #[doc(hidden)]
    fn into_router(self, _: Sealed) -> Box<dyn Middleware>;
}

/// The markers that tell kinds of handlers apart.
#[doc(hidden)]
pub(super) mod kind {
    use std::marker::PhantomData;

    #[derive(Debug)]
    pub enum Type {}
    #[derive(Debug)]
    pub struct Sync<K>(PhantomData<K>);
    #[derive(Debug)]
    pub struct Async<K>(PhantomData<K>);
}

struct MiddlewareClosure<F>(F);
struct RouterClosure<F>(F);

impl<F> Middleware for MiddlewareClosure<F>
where
    F: Fn(ServerRequest, Next) -> ResponseFuture + Send + Sync + 'static,
{
    fn handle(&self, request: ServerRequest, next: Next) -> ResponseFuture {
        (self.0)(request, next)
    }
}

impl<F> Middleware for RouterClosure<F>
where
    F: Fn(ServerRequest) -> ResponseFuture + Send + Sync + 'static,
{
    fn handle(&self, request: ServerRequest, _next: Next) -> ResponseFuture {
        (self.0)(request)
    }
}

impl<T: Middleware> IntoMiddleware<kind::Type> for T {
    fn into_middleware(self, _: Sealed) -> Box<dyn Middleware> {
        Box::new(self)
    }
}

impl<F, R, K> IntoMiddleware<kind::Sync<K>> for F
where
    F: Fn(ServerRequest, Next) -> R + Send + Sync + 'static,
    R: IntoResponse<K>,
{
    fn into_middleware(self, _: Sealed) -> Box<dyn Middleware> {
        Box::new(MiddlewareClosure(move |request: ServerRequest, next: Next| {
            self(request, next).into_response_future(Sealed)
        }))
    }
}

// A future may borrow from its closure (`async move || app.ask().await`). Such a closure is only
// `FnOnce`, so it is cloned for each call. `AsyncFn` rules out a closure that changes its captures,
// since the clone would lose the changes.
impl<F, Fut, R, K> IntoMiddleware<kind::Async<K>> for F
where
    F: AsyncFn(ServerRequest, Next) -> R
        + FnOnce(ServerRequest, Next) -> Fut
        + ClonedForEachCallSoUseArc
        + Send
        + Sync
        + 'static,
    Fut: Future<Output = R> + Send + 'static,
    R: IntoResponse<K>,
{
    fn into_middleware(self, _: Sealed) -> Box<dyn Middleware> {
        Box::new(MiddlewareClosure(move |request: ServerRequest, next: Next| later((self.clone())(request, next))))
    }
}

impl<T: Middleware> IntoRouter<kind::Type> for T {
    fn into_router(self, _: Sealed) -> Box<dyn Middleware> {
        Box::new(self)
    }
}

impl<F, R, K> IntoRouter<kind::Sync<K>> for F
where
    F: Fn(ServerRequest) -> R + Send + Sync + 'static,
    R: IntoResponse<K>,
{
    fn into_router(self, _: Sealed) -> Box<dyn Middleware> {
        Box::new(RouterClosure(move |request: ServerRequest| self(request).into_response_future(Sealed)))
    }
}

impl<F, Fut, R, K> IntoRouter<kind::Async<K>> for F
where
    F: AsyncFn(ServerRequest) -> R + FnOnce(ServerRequest) -> Fut + ClonedForEachCallSoUseArc + Send + Sync + 'static,
    Fut: Future<Output = R> + Send + 'static,
    R: IntoResponse<K>,
{
    fn into_router(self, _: Sealed) -> Box<dyn Middleware> {
        Box::new(RouterClosure(move |request: ServerRequest| later((self.clone())(request))))
    }
}

fn later<K>(running: impl Future<Output: IntoResponse<K>> + Send + 'static) -> ResponseFuture {
    ResponseFuture::new(async move { output_of!(running).into_response_future(Sealed).await })
}

/// Boxes a closure as a [`Middleware`], for a chain that is built at run time.
///
/// ```
/// use react_websocket::handlers::{Middleware, Next, middleware};
/// use react_websocket::{HttpServer, Response, ServerRequest, WebSocketMiddleware};
///
/// let (is_logged, paths) = (true, ["/chat", "/news"]);
///
/// let mut middlewares: Vec<Box<dyn Middleware>> = Vec::new();
/// if is_logged {
///     middlewares.push(middleware(|request: ServerRequest, next: Next| {
///         println!("{} {}", request.method(), request.path());
///         next.run(request)
///     }));
/// }
/// for path in paths {
///     middlewares.push(Box::new(WebSocketMiddleware::new().with_path(path)));
/// }
/// HttpServer::new((middlewares, |_request: ServerRequest| Response::new(404)));
/// ```
pub fn middleware<M>(closure: impl IntoMiddleware<M>) -> Box<dyn Middleware> {
    closure.into_middleware(Sealed)
}

/// Boxes a router as a [`Middleware`], for a router that is chosen at run time, or for the last
/// item of a `Vec` of middlewares.
pub fn router<M>(closure: impl IntoRouter<M>) -> Box<dyn Middleware> {
    closure.into_router(Sealed)
}

/// The handlers that a server can have.
///
/// * A router.
/// * A tuple of up to 12 handlers: middlewares, then the router. An `Option` of a middleware, or a
///   `Vec` of middlewares, can replace a middleware.
/// * A `Vec<Box<dyn Middleware>>`, the router last; see [`middleware`](crate::handlers::middleware) and [`router`](crate::handlers::router).
///
/// If all handlers pass a request on, the client gets a 404.
///
/// This trait is sealed: only this crate implements it.
#[diagnostic::on_unimplemented(
    message = "a server cannot be made of this",
    label = "give a router, or a tuple of up to 12 middlewares and routers, the router last",
    note = "a router is `|request: ServerRequest| ..`, a middleware `|request: ServerRequest, next: Next| ..` or a `WebSocketMiddleware`",
    note = "both return a `Response` or a `Result<Response, _>`, and may be asynchronous: `async move |request: ServerRequest| ..`",
    note = "an asynchronous closure is cloned for each request: wrap what cannot be cloned in an `Arc`",
    note = "write the types of the arguments: the compiler cannot infer them here",
    note = "to find the part that does not fit, pass each middleware through `middleware(..)` and the router through `router(..)`"
)]
pub trait IntoChain<M> {
    #[doc(hidden)]
    fn into_chain(self, _: Sealed) -> Chain;
}

/// A part of a tuple before the router: a middleware, an `Option` of a middleware, or a `Vec` of
/// middlewares.
///
/// This trait is sealed: only this crate implements it.
#[diagnostic::on_unimplemented(
    message = "this is no middleware",
    label = "not a middleware, nor an `Option` or a `Vec` of middlewares",
    note = "a middleware is `|request: ServerRequest, next: Next| ..` or `async move |request: ServerRequest, next: Next| ..`, or implements `Middleware`",
    note = "a router is `|request: ServerRequest| ..`, and the last of the tuple",
    note = "write the types of the arguments: the compiler cannot infer them here"
)]
pub trait ChainPart<M> {
    #[doc(hidden)]
    fn add_to(self, _: Sealed, handlers: &mut Vec<Box<dyn Middleware>>);
}

/// The markers that tell parts apart.
#[doc(hidden)]
mod part {
    use std::marker::PhantomData;

    #[derive(Debug)]
    pub struct One<M>(PhantomData<M>);
    #[derive(Debug)]
    pub struct Maybe<M>(PhantomData<M>);
    #[derive(Debug)]
    pub struct Many<M>(PhantomData<M>);
    #[derive(Debug)]
    pub enum List {}
}

impl<T: IntoMiddleware<M>, M> ChainPart<part::One<M>> for T {
    fn add_to(self, _: Sealed, handlers: &mut Vec<Box<dyn Middleware>>) {
        handlers.push(self.into_middleware(Sealed));
    }
}

impl<T: IntoMiddleware<M>, M> ChainPart<part::Maybe<M>> for Option<T> {
    fn add_to(self, _: Sealed, handlers: &mut Vec<Box<dyn Middleware>>) {
        handlers.extend(self.map(|part| part.into_middleware(Sealed)));
    }
}

impl<T: IntoMiddleware<M>, M> ChainPart<part::Many<M>> for Vec<T> {
    fn add_to(self, _: Sealed, handlers: &mut Vec<Box<dyn Middleware>>) {
        handlers.extend(self.into_iter().map(|part| part.into_middleware(Sealed)));
    }
}

impl<R: IntoRouter<M>, M> IntoChain<(M,)> for R {
    fn into_chain(self, _: Sealed) -> Chain {
        Chain::new(vec![self.into_router(Sealed)])
    }
}

impl IntoChain<part::List> for Vec<Box<dyn Middleware>> {
    fn into_chain(self, _: Sealed) -> Chain {
        Chain::new(self)
    }
}

macro_rules! chain_from_tuple {
    ($($part:ident $marker:ident),*) => {
        impl<$($part, $marker,)* Router, MRouter> IntoChain<($($marker,)* MRouter, ())> for ($($part,)* Router,)
        where
            $($part: ChainPart<$marker>,)*
            Router: IntoRouter<MRouter>,
        {
            #[allow(non_snake_case, reason = "the type's letter names the value too")]
            #[allow(unused_mut, reason = "a tuple may have a router only")]
            fn into_chain(self, _: Sealed) -> Chain {
                let ($($part,)* router,) = self;
                let mut handlers = Vec::new();
                $($part.add_to(Sealed, &mut handlers);)*
                handlers.extend([router.into_router(Sealed)]);
                Chain::new(handlers)
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
