use parking_lot::Mutex;

/// Held while a message is added to the outboxes of many, so that all of them get their messages in one order, whoever
/// writes. Nothing is flushed under it, except the outbox of a member that is at one of its limits.
pub(crate) type Order = Mutex<()>;
