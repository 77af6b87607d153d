//! What all connections of a server share.

mod decisions;
mod hooks;
mod limits;
mod options;
mod proxies;
mod server_context;

pub(crate) use limits::{BUFFERED_MAX, HeadLimits};
pub use options::HttpOptions;
pub use proxies::TrustedProxies;
pub(crate) use server_context::{ServerContext, ServerEvents};
