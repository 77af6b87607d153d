//! TLS (RFC 8446, RFC 5246): certificates, and what their errors are.
//!
//! The features `tls` and `tls-ring` add this module. [`Tls`] has the certificates of a server, and
//! [`SocketOptions::tls`](crate::SocketOptions::tls) takes it. The guide `docs/tls.md` shows how to get
//! certificates, and how to renew them. With the feature `client`, `ClientTls` sets what a client trusts.

mod buffers;
#[cfg(feature = "client")]
mod client;
mod client_certificates;
#[cfg(feature = "client")]
mod client_error;
mod config;
mod error;
mod handshake;
mod opener;
mod pem;
mod provider;
mod records;
mod resolver;
mod sealer;
#[cfg(test)]
mod tests;

/// The version of rustls that [`Tls::from_config`] takes configurations of.
pub use rustls;
pub use rustls::pki_types::CertificateDer;

#[cfg(feature = "client")]
pub use client::ClientTls;
pub use client_certificates::ClientCertificates;
#[cfg(feature = "client")]
pub use client_error::TlsConnectError;
pub use config::{Tls, TlsVersion};
pub use error::{HandshakeFailure, TlsError};
pub(crate) use handshake::{Established, Failure, Handshake, PeerInfo};
pub(crate) use opener::{Opened, Opener};
pub(crate) use sealer::Sealer;
