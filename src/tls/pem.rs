//! Certificates and keys from PEM (RFC 7468).

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};

use super::error::TlsError;

/// Where a text in PEM form is. A file is read anew by each [`read`](Source::read).
#[derive(Clone)]
pub(super) enum Source {
    File(PathBuf),
    Bytes(Arc<[u8]>, &'static str),
}

impl Source {
    pub(super) fn file(path: impl AsRef<Path>) -> Source {
        Source::File(path.as_ref().to_owned())
    }

    pub(super) fn bytes(pem: impl AsRef<[u8]>, argument: &'static str) -> Source {
        Source::Bytes(pem.as_ref().into(), argument)
    }

    /// Returns the name of the source for error messages.
    pub(super) fn origin(&self) -> String {
        match self {
            Source::File(path) => path.display().to_string(),
            Source::Bytes(_, argument) => format!("the argument `{argument}`"),
        }
    }

    fn read(&self) -> Result<Arc<[u8]>, TlsError> {
        match self {
            Source::File(path) => match std::fs::read(path) {
                Ok(bytes) => Ok(bytes.into()),
                Err(source) => Err(TlsError::File { origin: self.origin(), source: Arc::new(source) }),
            },
            Source::Bytes(bytes, _) => Ok(bytes.clone()),
        }
    }

    /// Returns all certificates, at least one.
    pub(super) fn certificates(&self) -> Result<Vec<CertificateDer<'static>>, TlsError> {
        let pem = self.read()?;
        let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
        let certificates = certificates.map_err(|error| self.invalid(error))?;
        if certificates.is_empty() {
            return Err(TlsError::NoCertificate { origin: self.origin() });
        }
        Ok(certificates)
    }

    /// Returns the first private key.
    pub(super) fn key(&self) -> Result<PrivateKeyDer<'static>, TlsError> {
        let pem = self.read()?;
        let has = |text: &[u8]| pem.windows(text.len()).any(|window| window == text);
        // PKCS #8 (RFC 5958 section 3), and the older form of OpenSSL.
        if has(b"-----BEGIN ENCRYPTED PRIVATE KEY-----") || has(b"Proc-Type: 4,ENCRYPTED") {
            return Err(TlsError::EncryptedKey { origin: self.origin() });
        }
        match PrivateKeyDer::from_pem_slice(&pem) {
            Ok(key) => Ok(key),
            Err(pem::Error::NoItemsFound) => Err(TlsError::NoKey { origin: self.origin() }),
            Err(error) => Err(self.invalid(error)),
        }
    }

    /// Returns all lists of revoked certificates, at least one.
    pub(super) fn revocation_lists(&self) -> Result<Vec<CertificateRevocationListDer<'static>>, TlsError> {
        let pem = self.read()?;
        let lists: Result<Vec<_>, _> = CertificateRevocationListDer::pem_slice_iter(&pem).collect();
        match lists {
            Ok(lists) if !lists.is_empty() => Ok(lists),
            Ok(_) => Err(self.invalid(pem::Error::NoItemsFound)),
            Err(error) => Err(self.invalid(error)),
        }
    }

    pub(super) fn invalid(&self, error: impl std::error::Error + Send + Sync + 'static) -> TlsError {
        TlsError::Invalid { origin: self.origin(), source: Arc::new(error) }
    }
}
