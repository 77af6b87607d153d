use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

/// What an [`HttpServer`](crate::HttpServer) has done: [`HttpServer::stats`](crate::HttpServer::stats).
///
/// All but `open` and `pending` count from the server's beginning and never fall. Causes that have not occurred are not in the
/// maps.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct HttpStats {
    /// Connections that are open now, those that went on as WebSockets included.
    pub open: usize,
    /// Those of them that have not sent a complete request head yet.
    pub pending: usize,
    /// Connections that were taken.
    pub accepted: u64,
    /// Connections that were not: `full`, by [`max_connections`](crate::HttpOptions::max_connections); `address`, by
    /// [`max_connections_per_ip`](crate::HttpOptions::max_connections_per_ip). And `pending`: connections that were taken, and had
    /// to make room for others before they sent a request, by
    /// [`max_pending_handshakes`](crate::HttpOptions::max_pending_handshakes).
    pub refused: BTreeMap<&'static str, u64>,
    /// Requests that went to the middlewares and the router.
    pub requests: u64,
    /// Requests that the server answered itself, or could not answer, each under the [cause](crate::HttpError::cause) of its
    /// error.
    pub errors: BTreeMap<&'static str, u64>,
}

/// What there is no other record of.
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
