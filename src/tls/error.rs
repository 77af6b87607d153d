use std::fmt;
use std::io;
use std::sync::Arc;

use rustls::AlertDescription;

/// An error in the certificates, keys and options of a [`Tls`](crate::tls::Tls).
///
/// `origin` is the path of a file, or says which argument the bytes were.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// A file could not be read.
    #[error("cannot read {origin}")]
    File {
        /// The path.
        origin: String,
        /// The system's error.
        source: Arc<io::Error>,
    },
    /// There is no certificate in PEM form (RFC 7468 section 5).
    #[error("no certificate in {origin}: expected \"-----BEGIN CERTIFICATE-----\"")]
    NoCertificate {
        /// Where it was expected.
        origin: String,
    },
    /// There is no private key in PEM form (RFC 7468 section 10).
    #[error("no private key in {origin}: expected \"-----BEGIN PRIVATE KEY-----\"")]
    NoKey {
        /// Where it was expected.
        origin: String,
    },
    /// The private key is encrypted. It has to be stored without a passphrase.
    #[error("private key in {origin} is encrypted: decrypt it with `openssl pkey -in encrypted.pem -out key.pem`")]
    EncryptedKey {
        /// Where the key is.
        origin: String,
    },
    /// The private key belongs to another certificate.
    #[error("private key in {key} does not belong to the certificate in {certificate}")]
    Mismatch {
        /// Where the certificate is.
        certificate: String,
        /// Where the key is.
        key: String,
    },
    /// The certificate is not valid for the name that it was given for.
    #[error("certificate in {certificate} is not valid for {name:?}")]
    WrongName {
        /// Where the certificate is.
        certificate: String,
        /// The name.
        name: String,
    },
    /// Not a host name, nor a wildcard such as `*.example.com`.
    #[error("{name:?} is not a server name: give a host name, or a wildcard such as \"*.example.com\"")]
    InvalidName {
        /// The name as it was given.
        name: String,
    },
    /// A certificate, key or revocation list is malformed, or of a kind that is not supported.
    #[error("{origin} is malformed or of an unsupported kind")]
    Invalid {
        /// Where it is.
        origin: String,
        /// What was found.
        source: Arc<dyn std::error::Error + Send + Sync>,
    },
}

/// Why a TLS handshake failed: part of [`SocketError::Tls`](crate::errors::SocketError::Tls).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum HandshakeFailure {
    /// The client sent an HTTP request without TLS.
    PlainHttp,
    /// The first bytes were not those of TLS.
    NotTls,
    /// The client ended the connection after the handshake had begun.
    ClientLeft,
    /// The client refused the server's certificate: it is expired, for another name, or of an issuer
    /// that the client does not know.
    CertificateRefused,
    /// The client sent no certificate, and one is required.
    NoClientCertificate,
    /// The client's certificate is expired, revoked, or of an unknown issuer.
    ClientCertificate,
    /// Client and server have no TLS version, cipher suite or key exchange in common.
    NothingInCommon,
    /// The client speaks other protocols than HTTP/1.1 only (ALPN, RFC 7301).
    NoCommonProtocol,
    /// Anything else.
    Other,
}

impl HandshakeFailure {
    pub(crate) fn of(error: &rustls::Error, is_plain_http: bool, has_message: bool) -> HandshakeFailure {
        use AlertDescription::{
            AccessDenied, BadCertificate, CertificateExpired, CertificateRevoked, CertificateUnknown,
            HandshakeFailure as Handshake, ProtocolVersion, UnknownCA, UnrecognisedName, UnsupportedCertificate,
            UserCanceled,
        };
        use rustls::Error::{
            AlertReceived, InvalidCertificate, InvalidMessage, NoApplicationProtocol, NoCertificatesPresented,
            PeerIncompatible,
        };
        match error {
            _ if is_plain_http => HandshakeFailure::PlainHttp,
            InvalidMessage(_) if !has_message => HandshakeFailure::NotTls,
            NoCertificatesPresented => HandshakeFailure::NoClientCertificate,
            // It is the certificate that is refused, whatever is the matter with it.
            InvalidCertificate(_) => HandshakeFailure::ClientCertificate,
            PeerIncompatible(_) => HandshakeFailure::NothingInCommon,
            NoApplicationProtocol => HandshakeFailure::NoCommonProtocol,
            AlertReceived(alert) => match alert {
                AccessDenied
                | BadCertificate
                | CertificateExpired
                | CertificateRevoked
                | CertificateUnknown
                | UnknownCA
                | UnrecognisedName
                | UnsupportedCertificate => HandshakeFailure::CertificateRefused,
                Handshake | ProtocolVersion => HandshakeFailure::NothingInCommon,
                UserCanceled => HandshakeFailure::ClientLeft,
                _ => HandshakeFailure::Other,
            },
            _ => HandshakeFailure::Other,
        }
    }
}

impl fmt::Display for HandshakeFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            HandshakeFailure::PlainHttp => "the client sent an HTTP request without TLS",
            HandshakeFailure::NotTls => "the client did not speak TLS",
            HandshakeFailure::ClientLeft => "the client left",
            HandshakeFailure::CertificateRefused => "the client refused the certificate",
            HandshakeFailure::NoClientCertificate => "the client sent no certificate",
            HandshakeFailure::ClientCertificate => "the certificate of the client is not accepted",
            HandshakeFailure::NothingInCommon => "no TLS version or cipher suite in common",
            HandshakeFailure::NoCommonProtocol => "the client does not offer HTTP/1.1",
            HandshakeFailure::Other => "handshake error",
        })
    }
}
