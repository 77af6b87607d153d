//! What joins the groups of several processes: ids, the format of messages, and the interface of a
//! message bus.

mod id;
pub mod wire;

pub use id::{MemberId, NodeId, ParseIdError};
