use std::net::IpAddr;
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use dashmap::DashMap;
use dashmap::mapref::entry::Entry;

use super::lifetime::{Lifetime, Member};
use super::options::HttpOptions;
use super::stats::{Counts, HttpStats};

/// Counts a server's connections and decides whether there may be one more.
#[derive(Debug, Default)]
pub(super) struct Admission {
    open: AtomicUsize,
    pending: AtomicUsize,
    /// Refused connections that are still being told so.
    refused: AtomicUsize,
    by_address: DashMap<IpAddr, u32>,
    pub(super) counts: Counts,
}

/// Why a connection is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// 503: as many as there may be.
    Full,
    /// 429: as many as there may be from one address.
    TooManyFromAddress,
    /// Closed without a word: too many that have said nothing yet.
    TooManyPending,
}

impl Refusal {
    /// In a word, for [`HttpStats`].
    pub(super) fn cause(self) -> &'static str {
        match self {
            Refusal::Full => "full",
            Refusal::TooManyFromAddress => "address",
            Refusal::TooManyPending => "pending",
        }
    }
}

/// One counted connection.
pub(super) struct Admitted {
    admission: Arc<Admission>,
    /// If those from one address are counted, which few servers do: boxed, so that others have no room for it.
    address: Option<Box<IpAddr>>,
}

/// A connection's place in its server and in its lifetime: the last that it lets go of.
pub(crate) struct Place {
    _admitted: Admitted,
    member: Member,
}

impl Place {
    pub(super) fn new(admitted: Admitted, member: Member) -> Place {
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

/// One connection that has not sent a request yet.
pub(super) struct Pending(Arc<Admission>);

/// One connection that is being told that it is refused.
pub(super) struct Refused(Arc<Admission>);

/// Refusals told at the same time. Beyond that a connection is closed without a word, so that those who are refused do
/// not take the descriptors that were kept free.
const REFUSED_MAX: usize = 32;

impl Admission {
    pub(super) fn admit(
        self: &Arc<Admission>,
        address: Option<IpAddr>,
        options: &HttpOptions,
    ) -> Result<(Admitted, Pending), Refusal> {
        // Counted first and asked then: of two at the same time, one at most is refused for the other.
        let pending = Pending(self.clone());
        let pending_before = self.pending.fetch_add(1, Ordering::Relaxed);
        let mut admitted = Admitted { admission: self.clone(), address: None };
        let open_before = self.open.fetch_add(1, Ordering::Relaxed);
        if options.max_connections.is_some_and(|limit| open_before >= limit) {
            return Err(Refusal::Full);
        }
        if let (Some(limit), Some(address)) = (options.max_connections_per_ip, address)
            && !options.trusted_proxies.as_ref().is_some_and(|proxies| proxies.contains(address))
        {
            let mut count = self.by_address.entry(address).or_insert(0);
            if *count >= limit {
                return Err(Refusal::TooManyFromAddress);
            }
            *count += 1;
            admitted.address = Some(Box::new(address));
        }
        if options.max_pending_handshakes.is_some_and(|limit| pending_before >= limit) {
            return Err(Refusal::TooManyPending);
        }
        self.counts.accepted();
        Ok((admitted, pending))
    }

    pub(super) fn stats(&self) -> HttpStats {
        self.counts.stats(self.open.load(Ordering::Relaxed), self.pending.load(Ordering::Relaxed))
    }

    /// A place among those who are told.
    pub(super) fn refuse(self: &Arc<Admission>) -> Option<Refused> {
        let refused = Refused(self.clone());
        (self.refused.fetch_add(1, Ordering::Relaxed) < REFUSED_MAX).then_some(refused)
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        self.admission.open.fetch_sub(1, Ordering::Relaxed);
        if let Some(address) = &self.address
            && let Entry::Occupied(mut count) = self.admission.by_address.entry(**address)
        {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        self.0.pending.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Drop for Refused {
    fn drop(&mut self) {
        self.0.refused.fetch_sub(1, Ordering::Relaxed);
    }
}
