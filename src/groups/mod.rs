//! Groups of connections, that come and go with their members.

mod cluster;
mod connection;
mod emission;
mod error;
mod event;
mod group;
mod handle;
mod join;
mod manager;
mod membership;
mod registry;
mod slot;
mod stats;

pub use error::GroupError;
pub use handle::ConnectionGroup;
pub use manager::GroupManager;
pub use stats::GroupStats;
