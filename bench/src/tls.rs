//! The certificate of the servers, which exists for measurements only, and their cryptography.

use rustls::ServerConfig;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::sync::Arc;

pub const CERTIFICATE: &[u8] = include_bytes!("../tls/cert.pem");
pub const KEY: &[u8] = include_bytes!("../tls/key.pem");

/// A server's configuration on `aws-lc` or `ring`.
pub fn config(provider: &str) -> ServerConfig {
    let provider: CryptoProvider = match provider {
        "aws-lc" => rustls::crypto::aws_lc_rs::default_provider(),
        "ring" => rustls::crypto::ring::default_provider(),
        other => panic!("there is no provider {other}"),
    };
    let chain = CertificateDer::pem_slice_iter(CERTIFICATE).collect::<Result<_, _>>().expect("certificates");
    let key = PrivateKeyDer::from_pem_slice(KEY).expect("a key");
    let builder = ServerConfig::builder_with_provider(Arc::new(provider));
    let builder = builder.with_safe_default_protocol_versions().expect("versions").with_no_client_auth();
    builder.with_single_cert(chain, key).expect("a certificate and its key")
}
