use std::fmt;
use std::sync::Arc;

use http::StatusCode;

use super::response_future::{ResponseFuture, RunningResponse};
use crate::emitter::{contain, drop_each};
use crate::http::message::{Response, ServerRequest};

/// A middleware or router as a type: one part of the chain of a server. Most middlewares are
/// closures, see [`HttpServer::new`](crate::HttpServer::new).
///
/// ```
/// use react_websocket::handlers::{Middleware, Next, ResponseFuture};
/// use react_websocket::{HttpServer, Response, ServerRequest};
///
/// struct OnlyFrom(std::net::IpAddr);
///
/// impl Middleware for OnlyFrom {
///     fn handle(&self, request: ServerRequest, next: Next) -> ResponseFuture {
///         match request.remote_address() {
///             Some(address) if address.ip() == self.0 => next.run(request),
///             _ => Response::new(403).into(),
///         }
///     }
/// }
///
/// HttpServer::new((OnlyFrom([127, 0, 0, 1].into()), |_request: ServerRequest| Response::plaintext("hello")));
/// ```
pub trait Middleware: Send + Sync + 'static {
    /// Returns the response to the request: its own response, or the response of
    /// `next.run(request)`.
    fn handle(&self, request: ServerRequest, next: Next) -> ResponseFuture;
}

impl<T: Middleware + ?Sized> Middleware for Box<T> {
    fn handle(&self, request: ServerRequest, next: Next) -> ResponseFuture {
        (**self).handle(request, next)
    }
}

impl<T: Middleware + ?Sized> Middleware for Arc<T> {
    fn handle(&self, request: ServerRequest, next: Next) -> ResponseFuture {
        (**self).handle(request, next)
    }
}

/// The rest of the chain: ReactPHP's `$next`.
pub struct Next {
    chain: Chain,
    place: usize,
}

impl Next {
    /// Calls the rest of the chain, and returns its response. A middleware may read the response
    /// and change it.
    ///
    /// If a later handler panics or returns `Err`, the response is its 500 page. So a middleware
    /// can add headers to the page. If the client gets this response, the server's `error` event
    /// reports the failure.
    ///
    /// ```
    /// use react_websocket::handlers::Next;
    /// use react_websocket::{HttpServer, Response, ServerRequest};
    ///
    /// let cors = async |request: ServerRequest, next: Next| {
    ///     next.run(request).await.with_header("Access-Control-Allow-Origin", "*")
    /// };
    /// HttpServer::new((cors, |_request: ServerRequest| Response::plaintext("hello")));
    /// ```
    pub fn run(self, request: ServerRequest) -> ResponseFuture {
        let Next { chain, place } = self;
        let Some(handler) = chain.handlers.0.get(place) else {
            return Response::error_page(StatusCode::NOT_FOUND).into();
        };
        let next = Next { chain: chain.clone(), place: place + 1 };
        contain(|| Ok(handler.handle(request, next))).unwrap_or_else(ResponseFuture::for_error)
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

impl fmt::Debug for Chain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Chain").finish_non_exhaustive()
    }
}

impl Chain {
    pub(crate) fn new(handlers: Vec<Box<dyn Middleware>>) -> Chain {
        Chain { handlers: Arc::new(Handlers(handlers)) }
    }

    /// Begins to answer a request. A panic becomes a 500, like an exception in ReactPHP.
    pub(crate) fn run(&self, request: ServerRequest) -> RunningResponse {
        Next { chain: self.clone(), place: 0 }.run(request).into_future()
    }
}
