use std::fmt;
use std::path::Path;
use std::sync::{Arc, OnceLock};

use rustls::client::UnbufferedClientConnection;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ClientConfig, Error, RootCertStore};
use rustls_platform_verifier::Verifier;
use tokio::io::{AsyncRead, AsyncWrite};

use super::client_error::{TlsConnectError, is_http};
use super::config::{HTTP, Pair, TlsVersion};
use super::error::TlsError;
use super::handshake::{Established, Failure, Handshake};
use super::pem::Source;
use super::provider::provider;

/// The certificates and options of a TLS client, the argument of
/// [`Connector::tls`](crate::client::Connector::tls).
///
/// A server's certificate has to be valid for the host of the URL, a name or an IP address. An
/// authority that the client trusts must have issued the certificate. By default the client trusts the
/// authorities that the platform trusts. No setting turns the verification off.
///
/// The client speaks TLS 1.2 and 1.3, with HTTP/1.1 as the only protocol (ALPN, RFC 7301), and without
/// early data (0-RTT, which can be replayed). It resumes sessions, which clones share. The cryptographic
/// library is aws-lc-rs with the feature `tls`, and ring with `tls-ring` alone.
///
/// ```no_run
/// use react_websocket::WebSocketConnection;
/// use react_websocket::client::Connector;
/// use react_websocket::tls::ClientTls;
///
/// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
/// // A server of ours, whose certificate is of an authority of ours.
/// let connector = Connector::new().tls(ClientTls::new().root_file("ca.pem")?);
/// let connection = connector.connect("wss://chat.internal:8443/", |connection: WebSocketConnection| {
///     connection.write("hello");
/// });
/// connection.await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
#[must_use = "it is for `Connector::tls`"]
pub struct ClientTls {
    inner: Arc<Inner>,
}

struct Inner {
    /// `None`: the app has made the configuration.
    settings: Option<Settings>,
    /// Made by the first connection, since it may have to read the roots of the platform.
    config: OnceLock<Arc<ClientConfig>>,
}

#[derive(Clone)]
struct Settings {
    roots: Vec<CertificateDer<'static>>,
    has_platform_roots: bool,
    identity: Option<Arc<CertifiedKey>>,
    min_version: TlsVersion,
}

impl ClientTls {
    /// Trusts the authorities that the platform trusts.
    ///
    /// On Linux and other Unix systems the first connection reads the system's root certificates, or the
    /// file and the folder that `SSL_CERT_FILE` and `SSL_CERT_DIR` name. On Windows, macOS and iOS the
    /// system itself checks certificates.
    pub fn new() -> ClientTls {
        ClientTls::with(Settings {
            roots: Vec::new(),
            has_platform_roots: true,
            identity: None,
            min_version: TlsVersion::Tls12,
        })
    }

    /// Takes a configuration of [rustls](crate::tls::rustls). Two parts of the configuration are changed:
    /// early data is off, and `http/1.1` is the only protocol (ALPN).
    pub fn from_config(config: impl Into<Arc<ClientConfig>>) -> ClientTls {
        let config = finished(Arc::unwrap_or_clone(config.into()));
        ClientTls { inner: Arc::new(Inner { settings: None, config: OnceLock::from(config) }) }
    }

    /// Trusts the authorities in this PEM file too: ReactPHP's `cafile`. For a server with a self-signed
    /// certificate, pass the file of this certificate. It must not be marked as an authority (`CA:FALSE`).
    ///
    /// # Errors
    /// [`TlsError::File`], [`TlsError::NoCertificate`], [`TlsError::Invalid`].
    ///
    /// # Panics
    /// If `self` is of [`from_config`](ClientTls::from_config).
    #[track_caller]
    pub fn root_file(self, path: impl AsRef<Path>) -> Result<ClientTls, TlsError> {
        self.with_roots(&Source::file(path))
    }

    /// Like [`root_file`](ClientTls::root_file), with the content of the file.
    ///
    /// # Errors
    /// [`TlsError::NoCertificate`], [`TlsError::Invalid`].
    ///
    /// # Panics
    /// If `self` is of [`from_config`](ClientTls::from_config).
    #[track_caller]
    pub fn root_pem(self, roots: impl AsRef<[u8]>) -> Result<ClientTls, TlsError> {
        self.with_roots(&Source::bytes(roots, "roots"))
    }

    /// Sets whether the client trusts the authorities that the platform trusts. Default: `true`. With
    /// `false`, the client only trusts [`root_file`](ClientTls::root_file) and
    /// [`root_pem`](ClientTls::root_pem).
    ///
    /// # Panics
    /// If `self` is of [`from_config`](ClientTls::from_config).
    #[track_caller]
    pub fn platform_roots(self, on: bool) -> ClientTls {
        ClientTls::with(Settings { has_platform_roots: on, ..self.settings() })
    }

    /// Sets the client's certificate and its key, from PEM files: ReactPHP's `local_cert` and `local_pk`.
    /// The client sends the certificate to servers that request one. Both may be in the same file. The
    /// key must not have a passphrase.
    ///
    /// # Errors
    /// Like [`Tls::from_pem_files`](crate::tls::Tls::from_pem_files).
    ///
    /// # Panics
    /// If `self` is of [`from_config`](ClientTls::from_config).
    #[track_caller]
    pub fn client_certificate(self, certificate: impl AsRef<Path>, key: impl AsRef<Path>) -> Result<ClientTls, TlsError> {
        self.with_identity(&Pair { certificate: Source::file(certificate), key: Source::file(key) })
    }

    /// Like [`client_certificate`](ClientTls::client_certificate), with the content of the files.
    ///
    /// # Errors
    /// Like [`Tls::from_pem`](crate::tls::Tls::from_pem).
    ///
    /// # Panics
    /// If `self` is of [`from_config`](ClientTls::from_config).
    #[track_caller]
    pub fn client_certificate_pem(
        self,
        certificate: impl AsRef<[u8]>,
        key: impl AsRef<[u8]>,
    ) -> Result<ClientTls, TlsError> {
        let (certificate, key) = (Source::bytes(certificate, "certificate"), Source::bytes(key, "key"));
        self.with_identity(&Pair { certificate, key })
    }

    /// Sets the lowest version of TLS that the client accepts. Default: TLS 1.2.
    ///
    /// # Panics
    /// If `self` is of [`from_config`](ClientTls::from_config).
    #[track_caller]
    pub fn min_version(self, version: TlsVersion) -> ClientTls {
        ClientTls::with(Settings { min_version: version, ..self.settings() })
    }

    /// Makes the handshake on a stream. `received`: bytes of the server that were read before.
    pub(crate) async fn connect(
        &self,
        stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
        name: ServerName<'static>,
        received: Vec<u8>,
    ) -> Result<Established, TlsConnectError> {
        let config = match self.inner.config.get() {
            Some(config) => config.clone(),
            None => self.clone().read_config().await.map_err(TlsConnectError::Roots)?,
        };
        let asked = match &name {
            ServerName::DnsName(name) => Some(name.as_ref().into()),
            // An address is not asked for (RFC 6066 section 3).
            _ => None,
        };
        let connection = UnbufferedClientConnection::new(config, name).map_err(TlsConnectError::of)?;
        let mut handshake = Handshake::new(connection).asking_for(asked);
        match handshake.run(stream, received).await {
            Ok(()) => Ok(handshake.finish()),
            Err(Failure::Tls(error)) => Err(TlsConnectError::of_handshake(error, handshake.first())),
            // A server that does not know TLS may end the connection at once.
            Err(Failure::Io(_)) if is_http(handshake.first()) => Err(TlsConnectError::PlainHttp),
            Err(Failure::Io(error)) => Err(TlsConnectError::of_stream(error)),
        }
    }

    /// Reads the platform's roots on a thread that may block.
    async fn read_config(self) -> Result<Arc<ClientConfig>, Error> {
        let read = tokio::task::spawn_blocking(move || self.config()).await;
        read.unwrap_or_else(|failed| Err(Error::General(failed.to_string())))
    }

    fn config(&self) -> Result<Arc<ClientConfig>, Error> {
        if let (None, Some(settings)) = (self.inner.config.get(), &self.inner.settings) {
            let config = settings.config()?;
            // Another connection may have been faster.
            return Ok(self.inner.config.get_or_init(|| config).clone());
        }
        self.inner.config.get().cloned().ok_or_else(|| Error::General("no configuration".to_owned()))
    }

    #[track_caller]
    fn with_roots(self, source: &Source) -> Result<ClientTls, TlsError> {
        let mut settings = self.settings();
        for certificate in source.certificates()? {
            RootCertStore::empty().add(certificate.clone()).map_err(|error| source.invalid(error))?;
            settings.roots.push(certificate);
        }
        Ok(ClientTls::with(settings))
    }

    #[track_caller]
    fn with_identity(self, pair: &Pair) -> Result<ClientTls, TlsError> {
        let settings = self.settings();
        Ok(ClientTls::with(Settings { identity: Some(pair.read()?), ..settings }))
    }

    fn with(settings: Settings) -> ClientTls {
        ClientTls { inner: Arc::new(Inner { settings: Some(settings), config: OnceLock::new() }) }
    }

    #[track_caller]
    fn settings(self) -> Settings {
        match &self.inner.settings {
            Some(settings) => settings.clone(),
            None => panic!("a `ClientTls` of `from_config` cannot be changed: set this in the `ClientConfig`"),
        }
    }
}

impl Settings {
    fn config(&self) -> Result<Arc<ClientConfig>, Error> {
        let versions = self.min_version.and_later();
        let builder = ClientConfig::builder_with_provider(provider()).with_protocol_versions(versions)?;
        let builder = if self.has_platform_roots {
            let verifier = Verifier::new_with_extra_roots(self.roots.clone(), provider())?;
            // The name of rustls for a verifier that is not its own. This one is the platform's.
            builder.dangerous().with_custom_certificate_verifier(Arc::new(verifier))
        } else {
            let mut store = RootCertStore::empty();
            store.add_parsable_certificates(self.roots.iter().cloned());
            builder.with_root_certificates(store)
        };
        Ok(finished(match &self.identity {
            Some(identity) => {
                builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(CertifiedKey::clone(identity))))
            }
            None => builder.with_no_client_auth(),
        }))
    }
}

/// Sets what all configurations have in common.
fn finished(mut config: ClientConfig) -> Arc<ClientConfig> {
    config.alpn_protocols = vec![HTTP.to_vec()];
    config.enable_early_data = false;
    Arc::new(config)
}

impl Default for ClientTls {
    fn default() -> ClientTls {
        ClientTls::new()
    }
}

impl fmt::Debug for ClientTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("ClientTls");
        if let Some(settings) = &self.inner.settings {
            debug.field("roots", &settings.roots.len());
            debug.field("platform_roots", &settings.has_platform_roots);
            debug.field("has_client_certificate", &settings.identity.is_some());
        }
        debug.finish_non_exhaustive()
    }
}
