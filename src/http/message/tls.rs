use std::sync::Arc;

use super::request::ServerRequest;
use crate::tls::{CertificateDer, PeerInfo};

/// # TLS
///
/// These need the feature `tls` or `tls-ring`.
impl ServerRequest {
    /// Returns the request with what TLS knows of the peer. The request is not shared yet.
    pub(crate) fn with_tls(mut self, tls: Option<&Arc<PeerInfo>>) -> ServerRequest {
        self.set_tls(tls.cloned());
        self
    }

    /// Returns the certificate that the client has proved to own, followed by those of the
    /// authorities that the client sent with it, in DER form (RFC 5280). Empty without [client
    /// certificates](crate::tls::Tls::client_certificates).
    ///
    /// On a connection that a client has opened with `wss://`, these are the certificates of the server.
    pub fn peer_certificates(&self) -> &[CertificateDer<'static>] {
        self.tls().map(|tls| &*tls.certificates).unwrap_or_default()
    }

    /// Returns the host name that the client asked for in its TLS handshake (SNI, RFC 6066 section
    /// 3), in lower case. It is the client's claim, like [`host`](ServerRequest::host).
    pub fn server_name(&self) -> Option<&str> {
        self.tls()?.server_name.as_deref()
    }
}
