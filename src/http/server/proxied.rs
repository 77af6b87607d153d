//! Connections that begin with a header of the PROXY protocol.

use std::future::{pending, poll_fn};
use std::task::Poll;

use tokio::time::{Instant, sleep_until};

use crate::http::context::ServerContext;
use crate::http::lifecycle::{Admitted, Pending, Phase, Shutdown};
use crate::runtime::stream::Stream;
use crate::socket::{NoHeader, ProxyHeader};

/// A connection of a proxy whose header is being read. It counts as pending, under no address.
pub(super) struct Proxied {
    pub(super) stream: Stream,
    pub(super) header: Box<ProxyHeader>,
    pub(super) admitted: Admitted,
    pub(super) pending: Pending,
}

impl Proxied {
    /// Reads the header until `header_timeout` or the end of the server. Returns whether the connection goes on.
    pub(super) async fn read_header(&mut self, server: &ServerContext, shutdown: &Shutdown, accepted: Instant) -> bool {
        let Proxied { stream, header, pending: place, .. } = self;
        let proxy = stream.remote;
        let read = poll_fn(|cx| match header.poll_read(stream, cx) {
            Poll::Pending => {
                let limit = server.options.connections.max_pending;
                place.poll_evicted(header.has_begun(), None, limit, cx).map(|()| None)
            }
            read => read.map(Some),
        });
        let too_late = async {
            match server.options.header_timeout.and_then(|limit| accepted.checked_add(limit)) {
                Some(deadline) => sleep_until(deadline).await,
                None => pending().await,
            }
        };
        // The runtime learns of bytes that have arrived when it asks the system once more.
        let closing = async {
            shutdown.reached(Phase::Closing).await;
            tokio::task::yield_now().await;
        };
        let read = tokio::select! {
            biased;
            read = read => read,
            () = closing => return false,
            () = too_late => {
                server.admission.no_header(proxy);
                return false;
            }
        };
        match read {
            Some(Ok(())) => return true,
            // A health check.
            Some(Err(NoHeader::Ended)) if !header.has_begun() => {}
            Some(Err(error)) => {
                server.admission.no_header(proxy);
                if let NoHeader::Refused(reason) = error {
                    header.report(proxy, reason);
                }
            }
            None => server.admission.evicted(proxy),
        }
        false
    }
}
