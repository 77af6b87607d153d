//! The life of connections, whatever they speak: who is admitted, what they go on as ([`Upgrade`]), and how all of them end.

mod admission;
mod alarm;
mod pending;
mod permit;
mod shutdown;
mod stats;
mod upgrade;

pub(crate) use admission::{Admission, Admitted, ConnectionLimits};
pub(crate) use alarm::LazyAlarm;
pub(crate) use pending::Pending;
pub(crate) use permit::ConnectionPermit;
pub(crate) use shutdown::{Phase, Shutdown, TaskGuard, UpgradedConnections};
pub use stats::HttpStats;
pub(crate) use upgrade::{Upgrade, Upgraded};
