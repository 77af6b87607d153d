use std::fmt;
use std::path::Path;
use std::sync::Arc;

use rustls::RootCertStore;
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;

use super::error::TlsError;
use super::pem::Source;
use super::provider::provider;

/// The certificates by which clients prove who they are ("mutual TLS", RFC 8446 section 4.3.2): the
/// argument of [`Tls::client_certificates`](crate::tls::Tls::client_certificates).
///
/// A client's certificate has to be issued by one of the given authorities, for the use
/// `clientAuth`, and must not be expired. A client whose certificate is not accepted is refused
/// during the handshake, also where certificates are optional.
///
/// ```no_run
/// use react_websocket::tls::{ClientCertificates, Tls, TlsError};
///
/// # fn main() -> Result<(), TlsError> {
/// let clients = ClientCertificates::required("clients-ca.pem")?.revocation_lists("revoked.pem")?;
/// let tls = Tls::from_pem_files("cert.pem", "key.pem")?.client_certificates(clients);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
#[must_use = "it is for `Tls::client_certificates`"]
pub struct ClientCertificates {
    roots: Source,
    revoked: Vec<Source>,
    is_optional: bool,
    verifier: Arc<dyn ClientCertVerifier>,
}

impl ClientCertificates {
    /// Requires a certificate of each client. `authorities`: a PEM file with the certificates of
    /// the authorities that issue them.
    ///
    /// # Errors
    /// [`TlsError::File`], [`TlsError::NoCertificate`], [`TlsError::Invalid`].
    pub fn required(authorities: impl AsRef<Path>) -> Result<ClientCertificates, TlsError> {
        ClientCertificates::new(Source::file(authorities), Vec::new(), false)
    }

    /// Asks each client for a certificate, and lets in those without one. Handlers look at
    /// [`peer_certificates`](crate::ServerRequest::peer_certificates).
    ///
    /// # Errors
    /// Like [`required`](ClientCertificates::required).
    pub fn optional(authorities: impl AsRef<Path>) -> Result<ClientCertificates, TlsError> {
        ClientCertificates::new(Source::file(authorities), Vec::new(), true)
    }

    /// Like [`required`](ClientCertificates::required), with the content of the file.
    ///
    /// # Errors
    /// [`TlsError::NoCertificate`], [`TlsError::Invalid`].
    pub fn required_pem(authorities: impl AsRef<[u8]>) -> Result<ClientCertificates, TlsError> {
        ClientCertificates::new(Source::bytes(authorities, "authorities"), Vec::new(), false)
    }

    /// Like [`optional`](ClientCertificates::optional), with the content of the file.
    ///
    /// # Errors
    /// [`TlsError::NoCertificate`], [`TlsError::Invalid`].
    pub fn optional_pem(authorities: impl AsRef<[u8]>) -> Result<ClientCertificates, TlsError> {
        ClientCertificates::new(Source::bytes(authorities, "authorities"), Vec::new(), true)
    }

    /// Refuses certificates that are on one of the lists in this PEM file (RFC 5280 section 5). With
    /// lists, a certificate whose authority has no list is refused too.
    ///
    /// # Errors
    /// [`TlsError::File`], [`TlsError::Invalid`].
    pub fn revocation_lists(mut self, path: impl AsRef<Path>) -> Result<ClientCertificates, TlsError> {
        self.revoked.push(Source::file(path));
        self.read_again()
    }

    /// Like [`revocation_lists`](ClientCertificates::revocation_lists), with the content of the file.
    ///
    /// # Errors
    /// [`TlsError::Invalid`].
    pub fn revocation_lists_pem(mut self, lists: impl AsRef<[u8]>) -> Result<ClientCertificates, TlsError> {
        self.revoked.push(Source::bytes(lists, "lists"));
        self.read_again()
    }

    pub(super) fn verifier(&self) -> Arc<dyn ClientCertVerifier> {
        self.verifier.clone()
    }

    /// Returns the same with the present content of its files.
    pub(super) fn read_again(&self) -> Result<ClientCertificates, TlsError> {
        ClientCertificates::new(self.roots.clone(), self.revoked.clone(), self.is_optional)
    }

    fn new(roots: Source, revoked: Vec<Source>, is_optional: bool) -> Result<ClientCertificates, TlsError> {
        let mut store = RootCertStore::empty();
        for certificate in roots.certificates()? {
            store.add(certificate).map_err(|error| roots.invalid(error))?;
        }
        let mut builder = WebPkiClientVerifier::builder_with_provider(Arc::new(store), provider());
        for source in &revoked {
            builder = builder.with_crls(source.revocation_lists()?);
        }
        if is_optional {
            builder = builder.allow_unauthenticated();
        }
        // There are authorities, so what is malformed is a list.
        let verifier = builder.build().map_err(|error| revoked.last().unwrap_or(&roots).invalid(error))?;
        Ok(ClientCertificates { roots, revoked, is_optional, verifier })
    }
}

impl fmt::Debug for ClientCertificates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientCertificates")
            .field("authorities", &self.roots.origin())
            .field("is_optional", &self.is_optional)
            .finish_non_exhaustive()
    }
}
