//! The life of connections, from admission to shutdown, whatever they carry.

mod admission;
mod pending;
mod shutdown;
mod stats;
mod upgrade;

pub(crate) use admission::{Admission, Place};
pub(crate) use pending::Pending;
pub(crate) use shutdown::{Lifetime, Member, Phase, UpgradedConnections};
pub use stats::HttpStats;
pub(crate) use upgrade::{Upgrade, Upgraded};
