use dashmap::DashMap;

use super::event::Happening;
use super::handle::ConnectionGroup;
use super::stats::Counts;
use crate::emitter::{Listeners, SerialQueue};
use crate::websocket::Text;

/// The groups of a manager, and what has happened in them and not been told yet.
#[derive(Default)]
pub(super) struct Registry {
    pub(super) groups: DashMap<Text, ConnectionGroup>,
    pub(super) listeners: Listeners<u8, ConnectionGroup>,
    pub(super) events: SerialQueue<Happening>,
    pub(super) counts: Counts,
}
