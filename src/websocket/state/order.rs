use parking_lot::Mutex;

/// Held while a message is added to the outboxes of many connections, so that all of them get their
/// messages in the same order. Nothing is flushed under it, except the outbox of a member at one of
/// its limits.
pub(crate) type Order = Mutex<()>;
