use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use dashmap::DashMap;
use dashmap::mapref::entry::Entry;

use super::pending::{Pending, PendingConnections};
use super::stats::{Counts, HttpStats};
use crate::http::HttpError;
use crate::runtime::trace;

/// Counts a server's connections and decides whether there may be one more.
#[derive(Debug, Default)]
pub(crate) struct Admission {
    open: AtomicUsize,
    pending: Arc<PendingConnections>,
    /// Refused connections that are still being told so.
    refused: AtomicUsize,
    by_network: DashMap<IpAddr, u32>,
    pub(crate) counts: Counts,
}

/// How many connections there may be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ConnectionLimits {
    pub(crate) max_connections: Option<usize>,
    pub(crate) max_per_ip: Option<u32>,
    /// Of connections that have not sent a complete request head yet.
    pub(crate) max_pending: Option<usize>,
}

/// One counted connection.
pub(crate) struct Admitted {
    admission: Arc<Admission>,
    /// If those from one network are counted, which few servers do: boxed, so that others have no room for it.
    network: Option<Box<IpAddr>>,
}

/// One connection that is being told that it is refused.
pub(crate) struct Refused(Arc<Admission>);

/// Refusals told at the same time. Beyond that a connection is closed without a word, so that those who are refused do
/// not take the descriptors that were kept free.
const REFUSED_MAX: usize = 32;

impl Admission {
    /// Lets one more connection in. `network`: what it is counted by, if its address says anything of the client.
    ///
    /// # Errors
    /// [`HttpError::TooManyConnections`], [`HttpError::TooManyFromAddress`].
    pub(crate) fn admit(
        self: &Arc<Admission>,
        network: Option<IpAddr>,
        limits: &ConnectionLimits,
    ) -> Result<(Admitted, Pending), HttpError> {
        // Counted first and asked then: of two at the same time, one at most is refused for the other.
        let mut admitted = Admitted { admission: self.clone(), network: None };
        let open_before = self.open.fetch_add(1, Ordering::Relaxed);
        if let Some(limit) = limits.max_connections.filter(|limit| open_before >= *limit) {
            return Err(HttpError::TooManyConnections { limit });
        }
        if let (Some(limit), Some(network)) = (limits.max_per_ip, network) {
            let mut count = self.by_network.entry(network).or_insert(0);
            if *count >= limit {
                return Err(HttpError::TooManyFromAddress { limit });
            }
            *count += 1;
            admitted.network = Some(Box::new(network));
        }
        self.counts.accepted();
        Ok((admitted, self.pend()))
    }

    /// One more connection without a request.
    pub(crate) fn pend(&self) -> Pending {
        Pending::new(self.pending.clone())
    }

    /// A connection from `remote` has made room for another.
    pub(crate) fn evicted(&self, remote: Option<SocketAddr>) {
        self.counts.refused("pending");
        trace::connection_refused("pending", remote);
    }

    pub(crate) fn stats(&self) -> HttpStats {
        self.counts.stats(self.open.load(Ordering::Relaxed), self.pending.count())
    }

    /// A place among those who are told.
    pub(crate) fn refuse(self: &Arc<Admission>) -> Option<Refused> {
        let refused = Refused(self.clone());
        (self.refused.fetch_add(1, Ordering::Relaxed) < REFUSED_MAX).then_some(refused)
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        self.admission.open.fetch_sub(1, Ordering::Relaxed);
        if let Some(network) = &self.network
            && let Entry::Occupied(mut count) = self.admission.by_network.entry(**network)
        {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
    }
}

impl Drop for Refused {
    fn drop(&mut self) {
        self.0.refused.fetch_sub(1, Ordering::Relaxed);
    }
}
