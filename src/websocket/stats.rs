use std::collections::BTreeMap;

use crate::sync::atomic::{AtomicU64, Ordering};

/// The counters of a [`WebSocketMiddleware`](crate::WebSocketMiddleware), which
/// [`WebSocketMiddleware::stats`](crate::WebSocketMiddleware::stats) returns.
///
/// `open` and `unsent` are current values. All other values count from the middleware's creation
/// and never fall. The maps contain only causes that have occurred.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct WebSocketStats {
    /// Connections that are open now.
    pub open: usize,
    /// Unsent bytes of the open connections: accepted by `write`, but not yet in the kernel. This
    /// is the sum of their [`buffered_amount`](crate::WebSocketConnection::buffered_amount).
    pub unsent: usize,
    /// Connections whose 101 response was sent.
    pub accepted: u64,
    /// Refused handshakes, by [cause](crate::errors::HandshakeError::cause).
    pub refused: BTreeMap<&'static str, u64>,
    /// Requests that look like handshakes, but have lost the upgrade on the way (RFC 9110 section
    /// 7.8). The next middleware or the router answered them. Cause `http_1_0`: nginx sends
    /// HTTP/1.0 without `proxy_http_version 1.1`. Cause `connection_header`: a proxy did not pass
    /// on `Connection: upgrade`. Cause `server`: the server around a `WebSocketService` (feature
    /// `hyper`) cannot upgrade the connection.
    pub not_upgraded: BTreeMap<&'static str, u64>,
    /// Connections that have ended, by cause. After an
    /// [error](crate::errors::ConnectionError::cause) the cause is the cause of the error.
    /// Otherwise the cause is the side that sent the first Close frame, `peer` or `server`
    /// (`client` on a client). If the closing handshake was not completed, the cause is `lost`.
    pub closed: BTreeMap<&'static str, u64>,
    /// Messages received.
    pub messages_in: u64,
    /// Messages accepted for sending. A broadcast counts once for each member.
    pub messages_out: u64,
    /// Bytes received on upgraded connections, frame headers included.
    pub bytes_in: u64,
    /// Bytes that the system has accepted for sending, frame headers included.
    pub bytes_out: u64,
    /// Payload bytes of the compressed messages received, as they arrived (feature `deflate`).
    #[cfg(feature = "deflate")]
    pub compressed_in: u64,
    /// Bytes of the compressed messages received, after decompression (feature `deflate`).
    #[cfg(feature = "deflate")]
    pub uncompressed_in: u64,
    /// Payload bytes of the compressed messages accepted for sending (feature `deflate`).
    #[cfg(feature = "deflate")]
    pub compressed_out: u64,
    /// Bytes of the compressed messages accepted for sending, before compression (feature
    /// `deflate`).
    #[cfg(feature = "deflate")]
    pub uncompressed_out: u64,
    /// Messages of groups that members have missed because they were slow consumers, see
    /// [`SlowMemberPolicy`](crate::options::SlowMemberPolicy).
    pub dropped: u64,
    /// Turns in which listeners blocked their thread for longer than
    /// [`slow_listener_warning`](crate::WebSocketOptions::slow_listener_warning).
    pub slow_listeners: u64,
    /// Listeners that had not returned after a second. Each listener is counted once, while it is
    /// still running, so that a deadlock becomes visible.
    pub stuck_listeners: u64,
}

impl WebSocketStats {
    /// Adds what one connection has sent and received.
    pub(crate) fn add(&mut self, traffic: &Traffic) {
        self.messages_in = self.messages_in.saturating_add(traffic.messages_in);
        self.messages_out = self.messages_out.saturating_add(traffic.messages_out);
        self.bytes_in = self.bytes_in.saturating_add(traffic.bytes_in);
        self.bytes_out = self.bytes_out.saturating_add(traffic.bytes_out);
        self.dropped = self.dropped.saturating_add(traffic.dropped);
        #[cfg(feature = "deflate")]
        for (sum, bytes) in [
            (&mut self.compressed_in, traffic.deflated.compressed_in),
            (&mut self.uncompressed_in, traffic.deflated.uncompressed_in),
            (&mut self.compressed_out, traffic.deflated.compressed_out),
            (&mut self.uncompressed_out, traffic.deflated.uncompressed_out),
        ] {
            *sum = sum.saturating_add(bytes);
        }
    }
}

/// What one connection has sent and received.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Traffic {
    pub(crate) messages_in: u64,
    pub(crate) messages_out: u64,
    pub(crate) bytes_in: u64,
    pub(crate) bytes_out: u64,
    pub(crate) dropped: u64,
    #[cfg(feature = "deflate")]
    pub(crate) deflated: Deflated,
}

/// The compressed messages of one connection, in bytes.
#[cfg(feature = "deflate")]
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Deflated {
    compressed_in: u64,
    uncompressed_in: u64,
    compressed_out: u64,
    uncompressed_out: u64,
}

#[cfg(feature = "deflate")]
impl Deflated {
    pub(crate) fn note_received(&mut self, compressed: usize, uncompressed: usize) {
        self.compressed_in = self.compressed_in.saturating_add(compressed as u64);
        self.uncompressed_in = self.uncompressed_in.saturating_add(uncompressed as u64);
    }

    pub(crate) fn note_sent(&mut self, compressed: usize, uncompressed: usize) {
        self.compressed_out = self.compressed_out.saturating_add(compressed as u64);
        self.uncompressed_out = self.uncompressed_out.saturating_add(uncompressed as u64);
    }
}

/// What a connection's task has received. Only the task counts, any thread reads.
#[derive(Debug, Default)]
pub(crate) struct Received {
    messages: AtomicU64,
    bytes: AtomicU64,
}

impl Received {
    #[inline(always)]
    pub(crate) fn add_messages(&self, count: usize) {
        add(&self.messages, count);
    }

    #[inline(always)]
    pub(crate) fn add_bytes(&self, count: usize) {
        add(&self.bytes, count);
    }

    pub(crate) fn messages(&self) -> u64 {
        self.messages.load(Ordering::Relaxed)
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    pub(crate) fn reset(&self) {
        self.messages.store(0, Ordering::Relaxed);
        self.bytes.store(0, Ordering::Relaxed);
    }
}

/// Cheaper than a `fetch_add`, which only several writers would need.
#[inline(always)]
fn add(counter: &AtomicU64, count: usize) {
    counter.store(counter.load(Ordering::Relaxed).wrapping_add(count as u64), Ordering::Relaxed);
}
