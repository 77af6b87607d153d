// A page links to the others by labels, which end it. Here the labels are defined first, since the first definition counts.

#![doc = "[architecture]: crate::guide::architecture"]
#![cfg_attr(feature = "hyper", doc = "[axum]: crate::guide::axum")]
#![doc = "[backpressure]: crate::guide::backpressure"]
#![cfg_attr(feature = "client", doc = "[client]: crate::guide::client")]
#![doc = "[cluster]: crate::guide::cluster"]
#![doc = "[connections]: crate::guide::connections"]
#![doc = "[deployment]: crate::guide::deployment"]
#![doc = "[design]: crate::guide::design"]
#![doc = "[errors]: crate::guide::errors"]
#![doc = "[events]: crate::guide::events"]
#![doc = "[groups]: crate::guide::groups"]
#![doc = "[http]: crate::guide::http"]
#![doc = "[limits]: crate::guide::limits"]
#![doc = "[migration]: crate::guide::migration"]
#![doc = "[operations]: crate::guide::operations"]
#![doc = "[performance]: crate::guide::performance"]
#![doc = "[porting]: crate::guide::porting"]
#![doc = "[security]: crate::guide::security"]
#![cfg_attr(feature = "testing", doc = "[testing]: crate::guide::testing")]
#![cfg_attr(feature = "__tls", doc = "[tls]: crate::guide::tls")]
#![doc = "[tutorial]: crate::guide::tutorial"]
#![doc = ""]
#![doc = include_str!("../docs/README.md")]

#[doc = "[events]: crate::guide::events"]
#[doc = "[events-asynchronous-listeners]: crate::guide::events#asynchronous-listeners"]
#[doc = "[operations-what-surprises]: crate::guide::operations#what-surprises"]
#[cfg_attr(feature = "client", doc = "[client]: crate::guide::client")]
#[cfg_attr(feature = "testing", doc = "[testing]: crate::guide::testing")]
#[cfg_attr(feature = "__tls", doc = "[tls]: crate::guide::tls")]
#[doc = ""]
#[doc = include_str!("../docs/porting.md")]
pub mod porting {}

#[cfg_attr(feature = "hyper", doc = "[axum]: crate::guide::axum")]
#[cfg_attr(feature = "client", doc = "[client]: crate::guide::client")]
#[doc = "[operations-shutdown]: crate::guide::operations#shutdown"]
#[doc = "[porting-threads]: crate::guide::porting#one-thread-or-several"]
#[doc = ""]
#[doc = include_str!("../docs/migration.md")]
pub mod migration {}

#[doc = "[connections-accepting]: crate::guide::connections#accepting-and-refusing"]
#[doc = "[connections-ends]: crate::guide::connections#how-a-connection-ends-and-the-arguments-of-close"]
#[doc = "[errors]: crate::guide::errors"]
#[doc = "[errors-listeners]: crate::guide::errors#listeners-that-fail"]
#[doc = "[groups]: crate::guide::groups"]
#[doc = "[groups-events]: crate::guide::groups#events-of-groups"]
#[doc = "[http-long-responses]: crate::guide::http#long-responses"]
#[doc = ""]
#[doc = include_str!("../docs/events.md")]
pub mod events {}

#[doc = "[course]: crate::guide"]
#[doc = "[connections]: crate::guide::connections"]
#[doc = "[errors]: crate::guide::errors"]
#[doc = "[limits]: crate::guide::limits"]
#[doc = "[security]: crate::guide::security"]
#[cfg_attr(feature = "testing", doc = "[testing]: crate::guide::testing")]
#[doc = "[deployment]: crate::guide::deployment"]
#[doc = "[deployment-nginx]: crate::guide::deployment#nginx"]
#[doc = "[deployment-systemd]: crate::guide::deployment#systemd"]
#[cfg_attr(feature = "__tls", doc = "[tls]: crate::guide::tls")]
#[doc = ""]
#[doc = include_str!("../docs/tutorial.md")]
pub mod tutorial {}

#[doc = "[backpressure]: crate::guide::backpressure"]
#[doc = "[errors-handshakes]: crate::guide::errors#handshakes"]
#[doc = "[events]: crate::guide::events"]
#[doc = "[events-rules]: crate::guide::events#rules-that-hold-for-all-of-them"]
#[doc = "[groups-users]: crate::guide::groups#users-with-several-connections"]
#[doc = "[limits]: crate::guide::limits"]
#[doc = "[operations-shutdown]: crate::guide::operations#shutdown"]
#[doc = ""]
#[doc = include_str!("../docs/connections.md")]
pub mod connections {}

#[doc = "[backpressure]: crate::guide::backpressure"]
#[doc = "[cluster]: crate::guide::cluster"]
#[doc = "[deployment-several-servers-and-restarts]: crate::guide::deployment#several-servers-and-restarts"]
#[doc = "[errors]: crate::guide::errors"]
#[doc = "[http]: crate::guide::http"]
#[doc = "[performance]: crate::guide::performance"]
#[doc = ""]
#[doc = include_str!("../docs/groups.md")]
pub mod groups {}

#[doc = "[backpressure]: crate::guide::backpressure"]
#[doc = "[deployment-server-sent-events]: crate::guide::deployment#server-sent-events"]
#[doc = "[deployment-the-clients-address]: crate::guide::deployment#the-clients-address"]
#[doc = "[errors-http]: crate::guide::errors#http-requests"]
#[cfg_attr(feature = "testing", doc = "[testing]: crate::guide::testing")]
#[cfg_attr(feature = "__tls", doc = "[tls]: crate::guide::tls")]
#[doc = ""]
#[doc = include_str!("../docs/http.md")]
pub mod http {}

#[doc = "[events-asynchronous-listeners]: crate::guide::events#asynchronous-listeners"]
#[doc = "[groups-slow-members]: crate::guide::groups#slow-members"]
#[doc = "[http-long-responses]: crate::guide::http#long-responses"]
#[doc = "[limits]: crate::guide::limits"]
#[cfg_attr(feature = "testing", doc = "[testing-slow-peers]: crate::guide::testing#slow-peers")]
#[doc = ""]
#[doc = include_str!("../docs/backpressure.md")]
pub mod backpressure {}

#[doc = "[backpressure]: crate::guide::backpressure"]
#[doc = "[deployment-how-many-connections]: crate::guide::deployment#how-many-connections"]
#[doc = "[deployment-the-clients-address]: crate::guide::deployment#the-clients-address"]
#[doc = "[deployment-the-proxy-protocol]: crate::guide::deployment#the-proxy-protocol"]
#[doc = "[deployment-what-goes-wrong]: crate::guide::deployment#what-goes-wrong"]
#[doc = "[errors]: crate::guide::errors"]
#[doc = "[performance]: crate::guide::performance"]
#[doc = "[security]: crate::guide::security"]
#[cfg_attr(feature = "__tls", doc = "[tls]: crate::guide::tls")]
#[doc = ""]
#[doc = include_str!("../docs/limits.md")]
pub mod limits {}

#[doc = "[backpressure]: crate::guide::backpressure"]
#[cfg_attr(feature = "client", doc = "[client]: crate::guide::client")]
#[doc = "[connections-ends]: crate::guide::connections#how-a-connection-ends-and-the-arguments-of-close"]
#[doc = "[deployment-what-goes-wrong]: crate::guide::deployment#what-goes-wrong"]
#[doc = "[groups]: crate::guide::groups"]
#[doc = "[http-forms-and-json]: crate::guide::http#forms-and-json"]
#[doc = "[limits]: crate::guide::limits"]
#[doc = "[operations-lines]: crate::guide::operations#lines"]
#[cfg_attr(feature = "testing", doc = "[testing]: crate::guide::testing")]
#[cfg_attr(feature = "__tls", doc = "[tls]: crate::guide::tls")]
#[doc = "[tutorial]: crate::guide::tutorial"]
#[doc = ""]
#[doc = include_str!("../docs/errors.md")]
pub mod errors {}

#[cfg(feature = "client")]
#[cfg_attr(feature = "hyper", doc = "[axum]: crate::guide::axum")]
#[cfg_attr(feature = "testing", doc = "[testing]: crate::guide::testing")]
#[cfg_attr(feature = "__tls", doc = "[tls-wss-from-the-client]: crate::guide::tls#wss-from-the-client")]
#[doc = ""]
#[doc = include_str!("../docs/client.md")]
pub mod client {}

#[cfg(feature = "__tls")]
#[cfg_attr(feature = "client", doc = "[client]: crate::guide::client")]
#[doc = "[deployment]: crate::guide::deployment"]
#[doc = ""]
#[doc = include_str!("../docs/tls.md")]
pub mod tls {}

#[cfg(feature = "hyper")]
#[doc = "[deployment]: crate::guide::deployment"]
#[doc = ""]
#[doc = include_str!("../docs/axum.md")]
pub mod axum {}

#[cfg(feature = "deflate")]
#[doc = include_str!("../docs/compression.md")]
pub mod compression {}

#[cfg(feature = "testing")]
#[cfg_attr(feature = "__tls", doc = "[tls]: crate::guide::tls")]
#[doc = ""]
#[doc = include_str!("../docs/testing.md")]
pub mod testing {}

#[doc = "[cluster]: crate::guide::cluster"]
#[doc = "[operations-shutdown]: crate::guide::operations#shutdown"]
#[doc = "[operations]: crate::guide::operations"]
#[cfg_attr(feature = "__tls", doc = "[tls]: crate::guide::tls")]
#[doc = ""]
#[doc = include_str!("../docs/deployment.md")]
pub mod deployment {}

#[doc = "[cluster]: crate::guide::cluster"]
#[doc = "[backpressure]: crate::guide::backpressure"]
#[doc = "[errors-connections]: crate::guide::errors#connections"]
#[doc = "[errors-handshakes]: crate::guide::errors#handshakes"]
#[doc = "[errors-http]: crate::guide::errors#http-requests"]
#[doc = "[http-disconnects]: crate::guide::http#when-a-client-disconnects"]
#[doc = "[limits-memory]: crate::guide::limits#the-memory-of-a-connection"]
#[doc = "[security]: crate::guide::security"]
#[doc = "[deployment-several-servers-and-restarts]: crate::guide::deployment#several-servers-and-restarts"]
#[doc = "[deployment-the-clients-address]: crate::guide::deployment#the-clients-address"]
#[doc = "[deployment-what-goes-wrong]: crate::guide::deployment#what-goes-wrong"]
#[doc = "[deployment-the-proxy-protocol]: crate::guide::deployment#the-proxy-protocol"]
#[doc = ""]
#[doc = include_str!("../docs/operations.md")]
pub mod operations {}

#[doc = "[backpressure]: crate::guide::backpressure"]
#[doc = "[groups]: crate::guide::groups"]
#[doc = "[operations]: crate::guide::operations"]
#[doc = "[security]: crate::guide::security"]
#[doc = ""]
#[doc = include_str!("../docs/cluster.md")]
pub mod cluster {}

#[doc = "[architecture-tests]: crate::guide::architecture#tests"]
#[cfg_attr(feature = "deflate", doc = "[compression-crime-and-breach]: crate::guide::compression#crime-and-breach")]
#[doc = "[deployment-the-clients-address]: crate::guide::deployment#the-clients-address"]
#[doc = "[deployment-unix-sockets]: crate::guide::deployment#unix-sockets"]
#[doc = "[events-asynchronous-listeners]: crate::guide::events#asynchronous-listeners"]
#[doc = "[limits]: crate::guide::limits"]
#[doc = "[limits-memory]: crate::guide::limits#the-memory-of-a-connection"]
#[doc = "[performance]: crate::guide::performance"]
#[cfg_attr(feature = "__tls", doc = "[tls]: crate::guide::tls")]
#[doc = ""]
#[doc = include_str!("../docs/security.md")]
pub mod security {}

#[doc = "[porting]: crate::guide::porting"]
#[doc = ""]
#[doc = include_str!("../docs/performance.md")]
pub mod performance {}

#[doc = "[design]: crate::guide::design"]
#[doc = "[security-what-was-tested]: crate::guide::security#what-was-tested"]
#[doc = ""]
#[doc = include_str!("../docs/ARCHITECTURE.md")]
pub mod architecture {}

#[doc = include_str!("../docs/DESIGN.md")]
pub mod design {}
