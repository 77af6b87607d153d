use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use dashmap::DashMap;
use dashmap::mapref::entry::Entry;
use parking_lot::Mutex;

use super::pending::{Pending, PendingList};
use super::shutdown::{Lifetime, Member};
use super::stats::{Counts, HttpStats};
use crate::http::HttpError;
use crate::http::context::HttpOptions;
use crate::runtime::trace;

/// Counts a server's connections and decides whether there may be one more.
#[derive(Debug, Default)]
pub(crate) struct Admission {
    open: AtomicUsize,
    pub(crate) pending: AtomicUsize,
    pub(crate) waiting: Mutex<PendingList>,
    /// Refused connections that are still being told so.
    refused: AtomicUsize,
    by_network: DashMap<IpAddr, u32>,
    pub(crate) counts: Counts,
}

/// One counted connection.
pub(crate) struct Admitted {
    admission: Arc<Admission>,
    /// If those from one network are counted, which few servers do: boxed, so that others have no room for it.
    network: Option<Box<IpAddr>>,
}

/// A connection's place in its server and in its lifetime: the last that it lets go of.
pub(crate) struct Place {
    _admitted: Admitted,
    member: Member,
}

impl Place {
    pub(crate) fn new(admitted: Admitted, member: Member) -> Place {
        Place { _admitted: admitted, member }
    }

    pub(crate) fn lifetime(&self) -> &Arc<Lifetime> {
        self.member.lifetime()
    }
}

impl Deref for Place {
    type Target = Lifetime;

    fn deref(&self) -> &Lifetime {
        &self.member
    }
}

/// One connection that is being told that it is refused.
pub(crate) struct Refused(Arc<Admission>);

/// Refusals told at the same time. Beyond that a connection is closed without a word, so that those who are refused do
/// not take the descriptors that were kept free.
const REFUSED_MAX: usize = 32;

impl Admission {
    /// Lets one more connection in.
    ///
    /// # Errors
    /// [`HttpError::TooManyConnections`], [`HttpError::TooManyFromAddress`].
    pub(crate) fn admit(
        self: &Arc<Admission>,
        address: Option<IpAddr>,
        options: &HttpOptions,
    ) -> Result<(Admitted, Pending), HttpError> {
        // Counted first and asked then: of two at the same time, one at most is refused for the other.
        let mut admitted = Admitted { admission: self.clone(), network: None };
        let open_before = self.open.fetch_add(1, Ordering::Relaxed);
        if let Some(limit) = options.max_connections.filter(|limit| open_before >= *limit) {
            return Err(HttpError::TooManyConnections { limit });
        }
        if let (Some(limit), Some(address)) = (options.max_connections_per_ip, address)
            && let Some(network) = network_of(address, options)
        {
            let mut count = self.by_network.entry(network).or_insert(0);
            if *count >= limit {
                return Err(HttpError::TooManyFromAddress { limit });
            }
            *count += 1;
            admitted.network = Some(Box::new(network));
        }
        self.counts.accepted();
        Ok((admitted, Pending::new(self.clone())))
    }

    /// A connection from `remote` has made room for another.
    pub(crate) fn evicted(&self, remote: Option<SocketAddr>) {
        self.counts.refused("pending");
        trace::connection_refused("pending", remote);
    }

    pub(crate) fn stats(&self) -> HttpStats {
        self.counts.stats(self.open.load(Ordering::Relaxed), self.pending.load(Ordering::Relaxed))
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

/// The network that connections are counted by: an IPv4 address, or the /64 of an IPv6 address, of which whoever has one address
/// mostly has all (RFC 4291 §2.5.4, RFC 6177). `None` for a trusted proxy, which has the connections of many.
pub(crate) fn network_of(address: IpAddr, options: &HttpOptions) -> Option<IpAddr> {
    if options.trusted_proxies.as_ref().is_some_and(|proxies| proxies.contains(address)) {
        return None;
    }
    Some(match address {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)).into(),
        address => address,
    })
}
