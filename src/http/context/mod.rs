//! What all connections of a server share.

mod hooks;
mod options;
mod proxies;

pub use options::HttpOptions;
pub use proxies::TrustedProxies;
