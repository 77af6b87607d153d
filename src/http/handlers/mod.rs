//! The handlers of an app: middlewares, a router, and the chain that they form.

mod chain;
mod middleware;
mod response_future;

pub use chain::{ChainPart, IntoChain, IntoMiddleware, IntoRouter, middleware, router};
pub use middleware::{Chain, Middleware, Next};
pub(crate) use response_future::RunningResponse;
pub use response_future::{IntoResponse, ResponseFuture};
