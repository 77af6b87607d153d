use std::collections::BTreeMap;

use parking_lot::Mutex;

use crate::sync::atomic::{AtomicU64, Ordering};

/// The counters of an [`HttpServer`](crate::HttpServer), which
/// [`HttpServer::stats`](crate::HttpServer::stats) returns.
///
/// All values except `open` and `pending` count from the server's creation and never fall. The maps
/// contain only causes that have occurred.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct HttpStats {
    /// Connections that are open now, including upgraded ones.
    pub open: usize,
    /// Open connections that have not sent a complete request head yet.
    pub pending: usize,
    /// Connections that were admitted.
    pub accepted: u64,
    /// Refused connections, by cause. `full`: above
    /// [`max_connections`](crate::HttpOptions::max_connections). `address`: above
    /// [`max_connections_per_ip`](crate::HttpOptions::max_connections_per_ip), which is known after
    /// the header of the PROXY protocol if there is one; such a connection also counts as accepted.
    /// `pending`: accepted, but closed before the first request because of
    /// [`max_pending_handshakes`](crate::HttpOptions::max_pending_handshakes). `tls`: accepted, but
    /// ended before the TLS handshake was complete. `proxy`: accepted from a proxy, but without a
    /// valid header of the PROXY protocol. A proxy's connection that ends before it has sent anything
    /// is not counted.
    pub refused: BTreeMap<&'static str, u64>,
    /// Requests that were passed to the middlewares and the router.
    pub requests: u64,
    /// Requests that the server answered with an error page, or could not answer, by the
    /// [cause](crate::errors::HttpError::cause) of the error.
    pub errors: BTreeMap<&'static str, u64>,
}

/// The counters that have no other source.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    accepted: AtomicU64,
    requests: AtomicU64,
    refused: Mutex<BTreeMap<&'static str, u64>>,
    errors: Mutex<BTreeMap<&'static str, u64>>,
}

impl Counts {
    pub(crate) fn accepted(&self) {
        self.accepted.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn requested(&self) {
        self.requests.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn refused(&self, cause: &'static str) {
        count(&self.refused, cause);
    }

    pub(crate) fn failed(&self, cause: &'static str) {
        count(&self.errors, cause);
    }

    pub(crate) fn stats(&self, open: usize, pending: usize) -> HttpStats {
        HttpStats {
            open,
            pending,
            accepted: self.accepted.load(Ordering::Relaxed),
            refused: self.refused.lock().clone(),
            requests: self.requests.load(Ordering::Relaxed),
            errors: self.errors.lock().clone(),
        }
    }
}

fn count(causes: &Mutex<BTreeMap<&'static str, u64>>, cause: &'static str) {
    *causes.lock().entry(cause).or_default() += 1;
}
