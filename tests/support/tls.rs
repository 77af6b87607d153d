//! Certificates of an authority of our own, and clients that speak TLS.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rcgen::{BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use react_websocket::tls::Tls;
use react_websocket::{HttpServer, Listening, SocketOptions, SocketServer};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore, ServerConfig, SupportedCipherSuite, SupportedProtocolVersion};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::Peer;

pub const RING: fn() -> CryptoProvider = rustls::crypto::ring::default_provider;
pub const AWS_LC: fn() -> CryptoProvider = rustls::crypto::aws_lc_rs::default_provider;

/// A certificate with its key, in PEM form.
#[derive(Clone)]
pub struct Identity {
    pub certificate: String,
    pub key: String,
}

/// An authority that issues certificates.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pub certificate: String,
}

impl Authority {
    pub fn new() -> Authority {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(rcgen::DnType::CommonName, unique_name());
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let certificate = params.self_signed(&key).unwrap().pem();
        Authority { issuer: Issuer::new(params, key), certificate }
    }

    pub fn issue(&self, names: &[&str]) -> Identity {
        self.issue_as(names, |_| {})
    }

    pub fn issue_as(&self, names: &[&str], change: impl FnOnce(&mut CertificateParams)) -> Identity {
        let names: Vec<String> = names.iter().map(|name| name.to_string()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap().pem();
        Identity { certificate, key: key.serialize_pem() }
    }

    /// A list of the certificates with these serial numbers, in PEM form.
    pub fn revoke(&self, serials: &[u64]) -> String {
        let revoked = serials.iter().map(|serial| rcgen::RevokedCertParams {
            serial_number: (*serial).into(),
            revocation_time: rcgen::date_time_ymd(2024, 1, 1),
            reason_code: None,
            invalidity_date: None,
        });
        let params = rcgen::CertificateRevocationListParams {
            this_update: rcgen::date_time_ymd(2024, 1, 1),
            next_update: rcgen::date_time_ymd(4000, 1, 1),
            crl_number: 1.into(),
            issuing_distribution_point: None,
            revoked_certs: revoked.collect(),
            key_identifier_method: rcgen::KeyIdMethod::Sha256,
        };
        params.signed_by(&self.issuer).unwrap().pem().unwrap()
    }

    pub fn roots(&self) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(self.certificate.as_bytes()).unwrap()).unwrap();
        roots
    }

    /// A client that trusts this authority.
    pub fn client(&self) -> ClientConfig {
        ClientConfig::builder_with_provider(Arc::new(AWS_LC()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(self.roots())
            .with_no_client_auth()
    }

    /// A client that trusts this authority and has a certificate.
    pub fn client_with(&self, identity: &Identity) -> ClientConfig {
        ClientConfig::builder_with_provider(Arc::new(AWS_LC()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(self.roots())
            .with_client_auth_cert(identity.chain(), identity.private_key())
            .unwrap()
    }

    /// A client of one version and one cipher suite.
    pub fn client_of(&self, version: &'static SupportedProtocolVersion, suite: SupportedCipherSuite) -> ClientConfig {
        let provider = CryptoProvider { cipher_suites: vec![suite], ..AWS_LC() };
        ClientConfig::builder_with_provider(Arc::new(provider))
            .with_protocol_versions(&[version])
            .unwrap()
            .with_root_certificates(self.roots())
            .with_no_client_auth()
    }
}

/// Authorities with the same name would be taken for one another.
fn unique_name() -> String {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    format!("authority {}", COUNT.fetch_add(1, Ordering::Relaxed))
}

impl Identity {
    pub fn chain(&self) -> Vec<CertificateDer<'static>> {
        CertificateDer::pem_slice_iter(self.certificate.as_bytes()).collect::<Result<_, _>>().unwrap()
    }

    pub fn private_key(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::from_pem_slice(self.key.as_bytes()).unwrap()
    }

    pub fn tls(&self) -> Tls {
        Tls::from_pem(&self.certificate, &self.key).unwrap()
    }

    /// A server's configuration with a provider of choice.
    pub fn tls_of(&self, provider: CryptoProvider) -> Tls {
        Tls::from_config(self.config_of(provider))
    }

    pub fn config_of(&self, provider: CryptoProvider) -> ServerConfig {
        ServerConfig::builder_with_provider(Arc::new(provider))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(self.chain(), self.private_key())
            .unwrap()
    }
}

/// A socket of TLS on a port of its own.
pub fn socket(tls: &Tls) -> SocketServer {
    SocketServer::with_options("tls://127.0.0.1:0", SocketOptions::new().tls(tls.clone())).expect("a port")
}

pub fn listen_tls(http: &HttpServer, tls: &Tls) -> (SocketAddr, Listening) {
    let socket = socket(tls);
    let address = socket.local_address().expect("an address");
    (address, http.listen(socket))
}

/// Connects as a client of `localhost`.
pub async fn connect(address: SocketAddr, config: ClientConfig) -> std::io::Result<Peer<TlsStream<TcpStream>>> {
    connect_to("localhost", address, config).await
}

pub async fn connect_to(
    name: &str,
    address: SocketAddr,
    config: ClientConfig,
) -> std::io::Result<Peer<TlsStream<TcpStream>>> {
    let stream = TcpStream::connect(address).await?;
    let name = ServerName::try_from(name.to_owned()).unwrap();
    Ok(Peer::new(TlsConnector::from(Arc::new(config)).connect(name, stream).await?))
}
