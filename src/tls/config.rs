use std::fmt;
use std::path::Path;
use std::sync::Arc;

use parking_lot::RwLock;
use rustls::client::verify_server_name;
use rustls::pki_types::ServerName;
use rustls::server::{NoServerSessionStorage, ParsedCertificate, ServerConfig};
use rustls::sign::CertifiedKey;
use rustls::{Error, InconsistentKeys, SupportedProtocolVersion, version};

use super::client_certificates::ClientCertificates;
use super::error::TlsError;
use super::pem::Source;
use super::provider::{provider, ticketer};
use super::resolver::{Certificates, NotesName};

/// The certificates and options of a TLS server, for
/// [`SocketOptions::tls`](crate::SocketOptions::tls). Clones share them:
/// [`reload`](Tls::reload) of one is for all.
///
/// TLS 1.2 and 1.3 are spoken, with HTTP/1.1 as the only protocol (ALPN, RFC 7301), without early
/// data (0-RTT, which can be replayed) and without renegotiation. The cryptography is that of
/// aws-lc-rs with the feature `tls`, and that of ring with `tls-ring` alone.
///
/// ```no_run
/// use react_websocket::tls::Tls;
/// use react_websocket::{SocketOptions, SocketServer};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let tls = Tls::from_pem_files("cert.pem", "key.pem")?;
/// let socket = SocketServer::with_options("tls://0.0.0.0:8443", SocketOptions::new().tls(tls))?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
#[must_use = "it is for `SocketOptions::tls`"]
pub struct Tls {
    inner: Arc<Inner>,
}

struct Inner {
    /// `None`: the app has made the configuration.
    settings: Option<Settings>,
    current: RwLock<Current>,
}

#[derive(Clone)]
struct Settings {
    default: Pair,
    by_name: Vec<(String, Pair)>,
    min_version: TlsVersion,
    has_tickets: bool,
}

/// A certificate with its chain, and its key.
#[derive(Clone)]
pub(super) struct Pair {
    pub(super) certificate: Source,
    pub(super) key: Source,
}

/// What new connections use.
#[derive(Clone)]
struct Current {
    certificates: Option<Arc<Certificates>>,
    clients: Option<ClientCertificates>,
    config: Arc<ServerConfig>,
}

/// A version of TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum TlsVersion {
    /// TLS 1.2 (RFC 5246).
    Tls12,
    /// TLS 1.3 (RFC 8446).
    Tls13,
}

impl TlsVersion {
    /// Returns this version and the later ones.
    pub(super) fn and_later(self) -> &'static [&'static SupportedProtocolVersion] {
        const FROM_12: &[&SupportedProtocolVersion] = &[&version::TLS13, &version::TLS12];
        const FROM_13: &[&SupportedProtocolVersion] = &[&version::TLS13];
        match self {
            TlsVersion::Tls12 => FROM_12,
            TlsVersion::Tls13 => FROM_13,
        }
    }
}

impl Tls {
    /// Reads a certificate and its private key from PEM files: ReactPHP's `local_cert` and
    /// `local_pk`. They may be the same file.
    ///
    /// `certificate`: the server's certificate, followed by those of the authorities between it and
    /// the root (certbot's `fullchain.pem`). `key`: its key, without a passphrase (certbot's
    /// `privkey.pem`).
    ///
    /// # Errors
    /// [`TlsError::File`], [`TlsError::NoCertificate`], [`TlsError::NoKey`],
    /// [`TlsError::EncryptedKey`], [`TlsError::Mismatch`], [`TlsError::Invalid`].
    pub fn from_pem_files(certificate: impl AsRef<Path>, key: impl AsRef<Path>) -> Result<Tls, TlsError> {
        Tls::of(Pair { certificate: Source::file(certificate), key: Source::file(key) })
    }

    /// Like [`from_pem_files`](Tls::from_pem_files), with the content of the files.
    ///
    /// # Errors
    /// Like [`from_pem_files`](Tls::from_pem_files).
    pub fn from_pem(certificate: impl AsRef<[u8]>, key: impl AsRef<[u8]>) -> Result<Tls, TlsError> {
        Tls::of(Pair { certificate: Source::bytes(certificate, "certificate"), key: Source::bytes(key, "key") })
    }

    /// Takes a configuration of [rustls](crate::tls::rustls), with everything that it can do. These
    /// parts of it are changed: early data and data before the end of the handshake are off, and of
    /// the protocols (ALPN) those of HTTP are replaced by `http/1.1`.
    ///
    /// [`reload`](Tls::reload) does nothing then: a `ResolvesServerCert` of the app can change
    /// certificates.
    pub fn from_config(config: impl Into<Arc<ServerConfig>>) -> Tls {
        let mut config = Arc::unwrap_or_clone(config.into());
        finish(&mut config);
        let current = Current { certificates: None, clients: None, config: Arc::new(config) };
        Tls { inner: Arc::new(Inner { settings: None, current: RwLock::new(current) }) }
    }

    /// Adds the certificate for clients that ask for this name (SNI, RFC 6066 section 3): ReactPHP's
    /// `SNI_server_certs`. `name`: a host name such as `b.example`, or a wildcard such as
    /// `*.example.com`, which stands for one label. `certificate` and `key` are as for
    /// [`from_pem_files`](Tls::from_pem_files).
    ///
    /// The certificate of the exact name is used, else that of the wildcard, else the first one.
    ///
    /// # Errors
    /// Like [`from_pem_files`](Tls::from_pem_files). [`TlsError::InvalidName`] for a malformed name.
    /// [`TlsError::WrongName`] if the certificate is not valid for it.
    ///
    /// # Panics
    /// If `self` is of [`from_config`](Tls::from_config).
    #[track_caller]
    pub fn server_name(
        self,
        name: impl AsRef<str>,
        certificate: impl AsRef<Path>,
        key: impl AsRef<Path>,
    ) -> Result<Tls, TlsError> {
        self.with_name(name.as_ref(), Pair { certificate: Source::file(certificate), key: Source::file(key) })
    }

    /// Like [`server_name`](Tls::server_name), with the content of the files.
    ///
    /// # Errors
    /// Like [`server_name`](Tls::server_name).
    ///
    /// # Panics
    /// If `self` is of [`from_config`](Tls::from_config).
    #[track_caller]
    pub fn server_name_pem(
        self,
        name: impl AsRef<str>,
        certificate: impl AsRef<[u8]>,
        key: impl AsRef<[u8]>,
    ) -> Result<Tls, TlsError> {
        let (certificate, key) = (Source::bytes(certificate, "certificate"), Source::bytes(key, "key"));
        self.with_name(name.as_ref(), Pair { certificate, key })
    }

    /// Sets which certificates clients have. Default: clients are not asked for certificates.
    ///
    /// # Panics
    /// If `self` is of [`from_config`](Tls::from_config).
    #[track_caller]
    pub fn client_certificates(self, clients: ClientCertificates) -> Tls {
        let Parts { settings, certificates, .. } = self.parts();
        Tls::with(settings, certificates, Some(clients))
    }

    /// Sets the lowest version that is spoken. Default: TLS 1.2.
    ///
    /// # Panics
    /// If `self` is of [`from_config`](Tls::from_config).
    #[track_caller]
    pub fn min_version(self, version: TlsVersion) -> Tls {
        let Parts { settings, certificates, clients } = self.parts();
        Tls::with(Settings { min_version: version, ..settings }, certificates, clients)
    }

    /// Sets whether clients get tickets, with which they resume a session (RFC 8446 section 2.2).
    /// That saves the server its signature. The server keeps nothing for it. A reload makes the
    /// tickets of before worthless. Default: on.
    ///
    /// # Panics
    /// If `self` is of [`from_config`](Tls::from_config).
    #[track_caller]
    pub fn session_tickets(self, on: bool) -> Tls {
        let Parts { settings, certificates, clients } = self.parts();
        Tls::with(Settings { has_tickets: on, ..settings }, certificates, clients)
    }

    /// Reads all files again. New connections use their content, and open connections keep theirs.
    /// It may be called while handshakes are under way, from any thread. The files are read
    /// synchronously.
    ///
    /// ```no_run
    /// use react_websocket::tls::Tls;
    /// use react_websocket::{Loop, Signal};
    ///
    /// # fn main() -> Result<(), react_websocket::errors::BoxError> {
    /// let tls = Tls::from_pem_files("cert.pem", "key.pem")?;
    /// let reloaded = tls.clone();
    /// Loop::add_signal(Signal::HUP, move |_: Signal| {
    ///     if let Err(error) = reloaded.reload() {
    ///         eprintln!("the certificates stay: {error}");
    ///     }
    /// })?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Like [`from_pem_files`](Tls::from_pem_files), for any of the files. Nothing has changed then.
    pub fn reload(&self) -> Result<(), TlsError> {
        let Some(settings) = &self.inner.settings else { return Ok(()) };
        let clients = self.inner.current.read().clients.clone();
        let clients = clients.as_ref().map(ClientCertificates::read_again).transpose()?;
        let current = settings.current(Arc::new(settings.read()?), clients);
        *self.inner.current.write() = current;
        Ok(())
    }

    /// Returns what a new connection uses.
    pub(crate) fn config(&self) -> Arc<ServerConfig> {
        self.inner.current.read().config.clone()
    }

    fn of(default: Pair) -> Result<Tls, TlsError> {
        let settings = Settings { default, by_name: Vec::new(), min_version: TlsVersion::Tls12, has_tickets: true };
        let certificates = Arc::new(settings.read()?);
        Ok(Tls::with(settings, certificates, None))
    }

    #[track_caller]
    fn with_name(self, name: &str, pair: Pair) -> Result<Tls, TlsError> {
        let Parts { mut settings, certificates, clients } = self.parts();
        let name = name.to_ascii_lowercase();
        let key = pair.read_for(&name)?;
        let mut by_name = certificates.by_name.clone();
        by_name.insert(name.clone(), key);
        settings.by_name.push((name, pair));
        let certificates = Certificates { default: certificates.default.clone(), by_name };
        Ok(Tls::with(settings, Arc::new(certificates), clients))
    }

    fn with(settings: Settings, certificates: Arc<Certificates>, clients: Option<ClientCertificates>) -> Tls {
        let current = settings.current(certificates, clients);
        Tls { inner: Arc::new(Inner { settings: Some(settings), current: RwLock::new(current) }) }
    }

    #[track_caller]
    fn parts(self) -> Parts {
        let Current { certificates, clients, .. } = self.inner.current.read().clone();
        match (self.inner.settings.clone(), certificates) {
            (Some(settings), Some(certificates)) => Parts { settings, certificates, clients },
            _ => panic!("a `Tls` of `from_config` is complete: set it in the `ServerConfig`"),
        }
    }
}

struct Parts {
    settings: Settings,
    certificates: Arc<Certificates>,
    clients: Option<ClientCertificates>,
}

impl Settings {
    fn read(&self) -> Result<Certificates, TlsError> {
        let named = self.by_name.iter().map(|(name, pair)| Ok((name.clone(), pair.read_for(name)?)));
        Ok(Certificates { by_name: named.collect::<Result<_, TlsError>>()?, default: self.default.read()? })
    }

    fn current(&self, certificates: Arc<Certificates>, clients: Option<ClientCertificates>) -> Current {
        let versions = self.min_version.and_later();
        let builder = match ServerConfig::builder_with_provider(provider()).with_protocol_versions(versions) {
            Ok(builder) => builder,
            Err(error) => unreachable!("the provider has cipher suites of all versions: {error}"),
        };
        let builder = match &clients {
            Some(clients) => builder.with_client_cert_verifier(clients.verifier()),
            None => builder.with_no_client_auth(),
        };
        let mut config = builder.with_cert_resolver(certificates.clone());
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        // Without randomness there are no tickets. Handshakes say what is the matter.
        if self.has_tickets
            && let Ok(ticketer) = ticketer()
        {
            config.ticketer = ticketer;
            config.send_tls13_tickets = 1;
        }
        finish(&mut config);
        Current { certificates: Some(certificates), clients, config: Arc::new(config) }
    }
}

impl Pair {
    pub(super) fn read(&self) -> Result<Arc<CertifiedKey>, TlsError> {
        let Pair { certificate, key } = self;
        let chain = certificate.certificates()?;
        if let Some(first) = chain.first() {
            ParsedCertificate::try_from(first).map_err(|error| certificate.invalid(error))?;
        }
        match CertifiedKey::from_der(chain, key.key()?, &provider()) {
            Ok(certified) => Ok(Arc::new(certified)),
            Err(Error::InconsistentKeys(InconsistentKeys::KeyMismatch)) => {
                Err(TlsError::Mismatch { certificate: certificate.origin(), key: key.origin() })
            }
            Err(error) => Err(key.invalid(error)),
        }
    }

    fn read_for(&self, name: &str) -> Result<Arc<CertifiedKey>, TlsError> {
        let invalid_name = || TlsError::InvalidName { name: name.to_owned() };
        // Any label does for a wildcard.
        let host = name.strip_prefix("*.").map_or_else(|| name.to_owned(), |domain| format!("any.{domain}"));
        let host = ServerName::try_from(host).map_err(|_| invalid_name())?;
        // Clients leave out the last dot.
        if !matches!(host, ServerName::DnsName(_)) || name.ends_with('.') {
            return Err(invalid_name());
        }
        let certified = self.read()?;
        let certificate = certified.end_entity_cert().and_then(ParsedCertificate::try_from);
        let is_valid = certificate.and_then(|certificate| verify_server_name(&certificate, &host));
        match is_valid {
            Ok(()) => Ok(certified),
            Err(_) => Err(TlsError::WrongName { certificate: self.certificate.origin(), name: name.to_owned() }),
        }
    }
}

/// The protocol of this crate (ALPN, RFC 7301 and RFC 9112).
pub(super) const HTTP: &[u8] = b"http/1.1";

/// Makes `http/1.1` the only version of HTTP, and the first of the protocols (ALPN, RFC 7301).
fn replace_http(protocols: &mut Vec<Vec<u8>>) {
    protocols.retain(|name| !(name.starts_with(b"http/") || matches!(name.as_slice(), b"h2" | b"h2c" | b"h3")));
    protocols.insert(0, HTTP.to_vec());
}

/// Sets what all configurations have in common.
fn finish(config: &mut ServerConfig) {
    replace_http(&mut config.alpn_protocols);
    config.max_early_data_size = 0;
    config.send_half_rtt_data = false;
    config.cert_resolver = Arc::new(NotesName(config.cert_resolver.clone()));
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let certificate = self.inner.settings.as_ref().map(|settings| settings.default.certificate.origin());
        f.debug_struct("Tls").field("certificate", &certificate).finish_non_exhaustive()
    }
}
