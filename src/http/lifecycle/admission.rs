use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use dashmap::DashMap;
use dashmap::mapref::entry::Entry;

use super::pending::{Pending, PendingConnections};
use super::stats::{Counts, HttpStats};
use crate::http::HttpError;
use crate::runtime::trace;
use crate::sync::atomic::{AtomicUsize, Ordering};

/// Counts a server's connections, and decides whether a further one is admitted.
#[derive(Debug, Default)]
pub(crate) struct Admission {
    open: AtomicUsize,
    pending: Arc<PendingConnections>,
    /// Connections that are being sent their rejection.
    rejecting: AtomicUsize,
    by_network: DashMap<IpAddr, u32>,
    pub(crate) counts: Counts,
}

/// Maximum numbers of connections.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ConnectionLimits {
    pub(crate) max_connections: Option<usize>,
    pub(crate) max_per_ip: Option<u32>,
    /// Maximum number of connections that have not sent a complete request head yet.
    pub(crate) max_pending: Option<usize>,
}

/// One counted connection.
pub(crate) struct Admitted {
    admission: Arc<Admission>,
    /// The network that it is counted under, if there is a limit. Boxed, since few servers have
    /// that limit.
    network: Option<Box<IpAddr>>,
}

/// Permits one rejected connection to be sent its error page.
pub(crate) struct RejectionPermit(Arc<Admission>);

/// Maximum number of rejections that are sent at the same time. A further connection is closed
/// without an error page, so that rejected connections do not take the reserved descriptors.
const MAX_REJECTIONS: usize = 32;

impl Admission {
    /// Admits a connection. `network` is the network that it is counted under, if its address is
    /// the client's.
    ///
    /// # Errors
    /// [`HttpError::TooManyConnections`], [`HttpError::TooManyFromAddress`].
    pub(crate) fn admit(
        self: &Arc<Admission>,
        network: Option<IpAddr>,
        limits: &ConnectionLimits,
    ) -> Result<(Admitted, Pending), HttpError> {
        // Counted before the check: of two connections at the same time, at most one is rejected
        // because of the other.
        let mut admitted = Admitted { admission: self.clone(), network: None };
        let open_before = self.open.fetch_add(1, Ordering::Relaxed);
        if let Some(limit) = limits.max_connections.filter(|limit| open_before >= *limit) {
            return Err(HttpError::TooManyConnections { limit });
        }
        admitted.count(network, limits)?;
        self.counts.accepted();
        Ok((admitted, self.pend()))
    }

    /// Counts a connection without a request.
    pub(crate) fn pend(&self) -> Pending {
        Pending::new(self.pending.clone())
    }

    /// Counts a connection from `remote` that has made room for another.
    pub(crate) fn evicted(&self, remote: Option<SocketAddr>) {
        self.counts.refused("pending");
        trace::connection_refused("pending", remote);
    }

    /// Counts a connection from `remote` that has ended without a TLS handshake.
    #[cfg(feature = "__tls")]
    pub(crate) fn no_handshake(&self, remote: Option<SocketAddr>) {
        self.counts.refused("tls");
        trace::connection_refused("tls", remote);
    }

    /// Counts a connection of this proxy without a valid header of the PROXY protocol.
    pub(crate) fn no_header(&self, proxy: Option<SocketAddr>) {
        self.counts.refused("proxy");
        trace::connection_refused("proxy", proxy);
    }

    pub(crate) fn stats(&self) -> HttpStats {
        self.counts.stats(self.open.load(Ordering::Relaxed), self.pending.count())
    }

    /// Permits an error page to be sent. `None` if too many are being sent.
    pub(crate) fn permit_rejection(self: &Arc<Admission>) -> Option<RejectionPermit> {
        let permit = RejectionPermit(self.clone());
        (self.rejecting.fetch_add(1, Ordering::Relaxed) < MAX_REJECTIONS).then_some(permit)
    }
}

impl Admitted {
    /// Counts the connection under this network, once.
    ///
    /// # Errors
    /// [`HttpError::TooManyFromAddress`].
    pub(crate) fn count(&mut self, network: Option<IpAddr>, limits: &ConnectionLimits) -> Result<(), HttpError> {
        if let (Some(limit), Some(network)) = (limits.max_per_ip, network) {
            match self.admission.by_network.entry(network) {
                Entry::Occupied(mut count) if *count.get() < limit => *count.get_mut() += 1,
                Entry::Vacant(count) if limit > 0 => drop(count.insert(1)),
                Entry::Occupied(_) | Entry::Vacant(_) => return Err(HttpError::TooManyFromAddress { limit }),
            }
            self.network = Some(Box::new(network));
        }
        Ok(())
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

impl Drop for RejectionPermit {
    fn drop(&mut self) {
        self.0.rejecting.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An address that is not admitted is not remembered: a client may have many of them.
    #[test]
    fn nothing_is_kept_of_an_address_that_is_not_admitted() {
        let admission = Arc::new(Admission::default());
        let network = Some(IpAddr::from([192, 0, 2, 1]));
        let limits = |max_per_ip| ConnectionLimits { max_connections: None, max_per_ip, max_pending: None };
        assert!(admission.admit(network, &limits(Some(0))).is_err());
        assert!(admission.by_network.is_empty());
        let admitted = admission.admit(network, &limits(Some(1)));
        assert!(admitted.is_ok());
        assert!(admission.admit(network, &limits(Some(1))).is_err());
        drop(admitted);
        assert!(admission.by_network.is_empty());
    }
}
