//! The guides, which are also in the folder `docs` of the repository.

// A page links to the others by labels, which end it. Here the labels are defined first, since the first definition counts.

#[doc = "[events-asynchronous-listeners]: crate::guide::events#asynchronous-listeners"]
#[doc = "[operations-what-surprises]: crate::guide::operations#what-surprises"]
#[cfg_attr(feature = "client", doc = "[client]: crate::guide::client")]
#[cfg_attr(feature = "__tls", doc = "[tls]: crate::guide::tls")]
#[doc = ""]
#[doc = include_str!("../docs/porting.md")]
pub mod porting {}

#[doc = include_str!("../docs/events.md")]
pub mod events {}

#[cfg(feature = "client")]
#[cfg_attr(feature = "testing", doc = "[testing]: crate::guide::testing")]
#[cfg_attr(feature = "__tls", doc = "[tls-wss-from-the-client]: crate::guide::tls#wss-from-the-client")]
#[doc = ""]
#[doc = include_str!("../docs/client.md")]
pub mod client {}

#[cfg(feature = "__tls")]
#[doc = "[deployment]: crate::guide::deployment"]
#[cfg_attr(feature = "client", doc = "[client]: crate::guide::client")]
#[doc = ""]
#[doc = include_str!("../docs/tls.md")]
pub mod tls {}

#[cfg(feature = "hyper")]
#[doc = include_str!("../docs/axum.md")]
pub mod axum {}

#[cfg(feature = "deflate")]
#[doc = include_str!("../docs/compression.md")]
pub mod compression {}

#[cfg(feature = "testing")]
#[doc = include_str!("../docs/testing.md")]
pub mod testing {}

#[doc = "[operations-shutdown]: crate::guide::operations#shutdown"]
#[cfg_attr(feature = "__tls", doc = "[tls]: crate::guide::tls")]
#[doc = ""]
#[doc = include_str!("../docs/deployment.md")]
pub mod deployment {}

#[doc = "[deployment-several-servers-and-restarts]: crate::guide::deployment#several-servers-and-restarts"]
#[doc = "[deployment-the-clients-address]: crate::guide::deployment#the-clients-address"]
#[doc = "[deployment-what-goes-wrong]: crate::guide::deployment#what-goes-wrong"]
#[doc = "[deployment-the-proxy-protocol]: crate::guide::deployment#the-proxy-protocol"]
#[doc = ""]
#[doc = include_str!("../docs/operations.md")]
pub mod operations {}

#[doc = "[architecture-tests]: crate::guide::architecture#tests"]
#[doc = "[deployment-the-clients-address]: crate::guide::deployment#the-clients-address"]
#[doc = "[deployment-unix-sockets]: crate::guide::deployment#unix-sockets"]
#[cfg_attr(feature = "__tls", doc = "[tls]: crate::guide::tls")]
#[doc = ""]
#[doc = include_str!("../docs/security.md")]
pub mod security {}

#[doc = include_str!("../docs/performance.md")]
pub mod performance {}

#[doc = "[design]: crate::guide::design"]
#[doc = "[security-what-was-tested]: crate::guide::security#what-was-tested"]
#[doc = ""]
#[doc = include_str!("../docs/ARCHITECTURE.md")]
pub mod architecture {}

#[doc = include_str!("../docs/DESIGN.md")]
pub mod design {}
