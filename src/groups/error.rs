/// Why a connection did not get into a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum GroupError {
    /// The connection has ended, or is closing.
    #[error("the connection is closed")]
    Closed,
    /// The group has been destroyed. A new one of its name is another group.
    #[error("the group is gone")]
    Gone,
    /// The connection's middleware has no manager, see
    /// [`with_group_manager`](crate::WebSocketMiddleware::with_group_manager).
    #[error("the connection has no group manager")]
    NoManager,
    /// [`WebSocketOptions::max_groups_per_connection`](crate::WebSocketOptions::max_groups_per_connection)
    #[error("the connection is in {limit} groups, which is the limit")]
    TooManyGroups {
        /// What is allowed.
        limit: usize,
    },
    /// [`WebSocketOptions::max_group_name`](crate::WebSocketOptions::max_group_name)
    #[error("a group's name of {length} bytes, the limit is {limit}")]
    NameTooLong {
        /// The name's length in bytes.
        length: usize,
        /// What is allowed.
        limit: usize,
    },
}
