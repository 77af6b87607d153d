//! The life of connections, whatever protocol they speak: their admission, their [`Upgrade`], and
//! their end.

mod admission;
mod alarm;
mod pending;
mod permit;
mod shutdown;
#[cfg(any(feature = "client", feature = "hyper"))]
mod shutdowns;
mod stats;
mod upgrade;

pub(crate) use admission::{Admission, Admitted, ConnectionLimits};
pub(crate) use alarm::LazyAlarm;
pub(crate) use pending::Pending;
pub(crate) use permit::ConnectionPermit;
pub(crate) use shutdown::{Phase, Shutdown, TaskGuard, UpgradedConnections};
#[cfg(any(feature = "client", feature = "hyper"))]
pub(crate) use shutdowns::Shutdowns;
pub use stats::HttpStats;
pub(crate) use upgrade::{Upgrade, Upgraded};
