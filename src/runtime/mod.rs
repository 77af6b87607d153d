//! The base of all connections, independent of a protocol: time, memory, byte streams, turns and
//! logging.

pub(crate) mod acknowledged;
pub(crate) mod clock;
pub(crate) mod networks;
pub(crate) mod slab;
pub(crate) mod stream;
pub(crate) mod trace;
pub(crate) mod turn;
#[cfg_attr(models, path = "../../models/src/watchdog.rs")]
pub(crate) mod watchdog;
