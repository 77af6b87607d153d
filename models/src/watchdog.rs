//! Stands for the watchdog, which measures real time. The models have none.

use crate::runtime::clock::Coarse;

pub(crate) struct Watched;

impl Watched {
    pub(crate) fn end_turn(&self) {}
}

pub(crate) fn start(_report: fn(u32, Option<&'static str>)) {}

pub(crate) fn begin_turn(_begun: Coarse, _slot: u32) -> &'static Watched {
    &Watched
}

pub(crate) fn in_event<R>(_event: &'static str, call: impl FnOnce() -> R) -> R {
    call()
}
