//! The life of connections, whatever they speak: who is admitted, what they go on as ([`Upgrade`]), and how all of them end.

mod admission;
mod pending;
mod permit;
mod shutdown;
mod stats;
mod upgrade;

pub(crate) use admission::{Admission, Admitted, ConnectionLimits};
pub(crate) use pending::Pending;
pub(crate) use permit::Place;
pub(crate) use shutdown::{Lifetime, Member, Phase, UpgradedConnections};
pub use stats::HttpStats;
pub(crate) use upgrade::{Upgrade, Upgraded};
