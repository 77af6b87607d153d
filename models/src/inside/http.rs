//! What the models need of the inside: the door of a server, and a place behind it.

use std::any::Any;
use std::net::IpAddr;

use super::HttpOptions;
pub(crate) use super::lifecycle::Shutdown;
use super::lifecycle::{Admission, ConnectionPermit};
use crate::model::sync::Arc;

#[derive(Clone, Default)]
pub(crate) struct Door(Arc<Admission>);

impl Door {
    /// A place, held until it is dropped. `None` if all places are taken.
    pub(crate) fn enter(&self, address: IpAddr, options: &HttpOptions) -> Option<Box<dyn Any + Send>> {
        match self.0.admit(options.network_of(address), &options.connections) {
            Ok(place) => Some(Box::new(place)),
            Err(_) => None,
        }
    }

    /// Waits as a connection does that has not sent a request, until it has to make room.
    pub(crate) fn wait(&self, options: HttpOptions) -> impl Future<Output = ()> + Send + 'static {
        let mut pending = self.0.pend();
        std::future::poll_fn(move |cx| pending.poll_evicted(false, None, options.connections.max_pending, cx))
    }

    /// How many wait so.
    pub(crate) fn waiting(&self) -> usize {
        self.0.stats().pending
    }
}

/// A permit of a server that has no other connection.
pub(crate) fn enter(shutdown: &Arc<Shutdown>) -> ConnectionPermit {
    match Arc::<Admission>::default().admit(None, &HttpOptions::new().connections) {
        Ok((admitted, _)) => ConnectionPermit::new(admitted, shutdown.track_task()),
        Err(refusal) => panic!("an empty server refuses: {refusal:?}"),
    }
}
