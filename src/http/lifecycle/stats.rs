use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

/// Counters of an [`HttpServer`](crate::HttpServer):
/// [`HttpServer::stats`](crate::HttpServer::stats).
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
    /// Connections that were refused, by cause. `full`: not admitted by
    /// [`max_connections`](crate::HttpOptions::max_connections). `address`: not admitted by
    /// [`max_connections_per_ip`](crate::HttpOptions::max_connections_per_ip). `pending`: admitted,
    /// but closed before their first request to make room for others, by
    /// [`max_pending_handshakes`](crate::HttpOptions::max_pending_handshakes). `tls`: admitted, but
    /// ended before its TLS handshake was complete, whoever ended it.
    pub refused: BTreeMap<&'static str, u64>,
    /// Requests that were passed to the middlewares and the router.
    pub requests: u64,
    /// Requests that the server answered itself, or could not answer, by the
    /// [cause](crate::HttpError::cause) of the error.
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
