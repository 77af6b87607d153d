//! The verbs of a connection's handle.

pub(crate) mod broadcast;
pub(crate) mod close;
pub(crate) mod data;
pub(crate) mod info;
pub(crate) mod into_listener;
pub(crate) mod listen;
pub(crate) mod message_writer;
pub(crate) mod write;
