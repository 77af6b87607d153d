//! What connections of all kinds run on, and that knows nothing of a protocol: time, memory, byte streams, turns, reports.

pub(crate) mod acknowledged;
pub(crate) mod clock;
pub(crate) mod slab;
pub(crate) mod stream;
pub(crate) mod trace;
pub(crate) mod turn;
pub(crate) mod watchdog;
