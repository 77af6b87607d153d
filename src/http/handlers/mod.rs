//! What an app answers requests with: middlewares, a router, and the chain that they form.

mod answer;
mod chain;
mod middleware;

pub(crate) use answer::Answering;
pub use answer::{Answer, IntoAnswer};
pub use chain::{ChainPart, IntoChain, IntoMiddleware, IntoRouter, middleware, router};
pub use middleware::{Chain, Middleware, Next};
