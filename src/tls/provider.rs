use std::sync::Arc;

use rustls::Error;
use rustls::crypto::CryptoProvider;
use rustls::server::ProducesTickets;

/// The cryptography. The app's default provider is left alone.
#[cfg(feature = "tls")]
pub(super) fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

/// The cryptography. The app's default provider is left alone.
#[cfg(not(feature = "tls"))]
pub(super) fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

#[cfg(feature = "tls")]
pub(super) fn ticketer() -> Result<Arc<dyn ProducesTickets>, Error> {
    rustls::crypto::aws_lc_rs::Ticketer::new()
}

#[cfg(not(feature = "tls"))]
pub(super) fn ticketer() -> Result<Arc<dyn ProducesTickets>, Error> {
    rustls::crypto::ring::Ticketer::new()
}
