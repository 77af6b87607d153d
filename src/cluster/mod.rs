//! Groups across several processes: a message to a group reaches its members on every node.
//!
//! A node is one [`GroupManager`](crate::GroupManager) with a [`Backplane`]. The backplane is an
//! adapter for a message bus, such as [`LocalBus`] within one process. Groups are written to as
//! before:
//!
//! ```
//! use react_websocket::GroupManager;
//! use react_websocket::cluster::LocalBus;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! let bus = LocalBus::new();
//! let groups = GroupManager::new().with_backplane(bus.node("shop"));
//! groups.on("create", |group| {
//!     group.on_gap(move |messages| println!("{}: {messages} messages were lost", group.name()));
//! });
//! groups.write("news", "to all members on all nodes");
//! groups.close_backplane().await;
//! # }
//! ```

mod backplane;
mod counts;
mod id;
mod interest;
mod local_bus;
mod log;
mod node;
mod peers;
mod stream;
pub mod wire;

pub(crate) use backplane::Receiver;
pub use backplane::{Backplane, Health, PublishError, Sink, Subject};
pub(crate) use counts::{Count, Counts as NodeCounts};
pub use id::{MemberId, NodeId, ParseIdError};
pub use local_bus::{LocalBackplane, LocalBus};
pub(crate) use node::{Content, Node};
pub(crate) use peers::HEARTBEAT;
