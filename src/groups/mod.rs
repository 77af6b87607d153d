//! Groups of connections, that come and go with their members.

mod error;
mod event;
mod group;
mod manager;
mod membership;
mod stats;

pub use error::GroupError;
pub use group::ConnectionGroup;
pub use manager::GroupManager;
pub use stats::GroupStats;
