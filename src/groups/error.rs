/// The reason why a connection could not join a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum GroupError {
    /// The connection has ended or is closing.
    #[error("the connection is closed")]
    Closed,
    /// The group has been destroyed. A later group of the same name is another group.
    #[error("the group is gone")]
    Gone,
    /// The connection's middleware has no manager, see
    /// [`with_group_manager`](crate::WebSocketMiddleware::with_group_manager).
    #[error("the connection has no group manager")]
    NoManager,
    /// The connection is already in
    /// [`max_groups_per_connection`](crate::WebSocketOptions::max_groups_per_connection) groups.
    #[error("the connection is in {limit} groups, which is the limit")]
    TooManyGroups {
        /// The limit.
        limit: usize,
    },
    /// The name exceeds [`max_group_name`](crate::WebSocketOptions::max_group_name).
    #[error("a group's name of {length} bytes, the limit is {limit}")]
    NameTooLong {
        /// The name's length in bytes.
        length: usize,
        /// The limit in bytes.
        limit: usize,
    },
}
