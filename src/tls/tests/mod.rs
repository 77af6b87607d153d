//! Handshakes and records without a socket: cut at every byte, forged, and sent to sockets that take little.

#[cfg(feature = "client")]
mod clients;
mod cuts;
mod forged;
mod writes;

use std::io::{self, Read, Write};
use std::sync::Arc;

use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::UnbufferedServerConnection;
use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, ServerConfig, SignatureScheme, SupportedProtocolVersion, version,
};

use super::handshake::{Established, Handshake};
use super::records::End;
use super::{Opened, Opener, Sealer};

const VERSIONS: [&SupportedProtocolVersion; 2] = [&version::TLS13, &version::TLS12];

/// The providers that are built in.
fn providers() -> Vec<CryptoProvider> {
    vec![rustls::crypto::aws_lc_rs::default_provider(), rustls::crypto::ring::default_provider()]
}

/// A client that accepts any certificate.
#[derive(Debug)]
struct Trusting(CryptoProvider);

impl ServerCertVerifier for Trusting {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// Configurations of both ends, for one version.
struct Ends {
    server: Arc<ServerConfig>,
    client: Arc<ClientConfig>,
}

impl Ends {
    fn new(provider: CryptoProvider, version: &'static SupportedProtocolVersion) -> Ends {
        let CertifiedKey { cert, signing_key } = generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let key = PrivateKeyDer::try_from(signing_key.serialize_der()).unwrap();
        let builder = ServerConfig::builder_with_provider(Arc::new(provider.clone()));
        let builder = builder.with_protocol_versions(&[version]).unwrap().with_no_client_auth();
        let server = builder.with_single_cert(vec![cert.der().clone()], key).unwrap();
        let builder = ClientConfig::builder_with_provider(Arc::new(provider.clone()));
        let builder = builder.with_protocol_versions(&[version]).unwrap().dangerous();
        let mut client = builder.with_custom_certificate_verifier(Arc::new(Trusting(provider))).with_no_client_auth();
        client.enable_secret_extraction = true;
        Ends { server: Arc::new(server), client: Arc::new(client) }
    }

    fn each() -> Vec<Ends> {
        let each = |version| providers().into_iter().map(move |provider| Ends::new(provider, version));
        VERSIONS.into_iter().flat_map(each).collect()
    }

    fn of(version: &'static SupportedProtocolVersion) -> Ends {
        Ends::new(providers().remove(0), version)
    }

    fn client(&self) -> ClientConnection {
        ClientConnection::new(self.client.clone(), ServerName::try_from("localhost").unwrap()).unwrap()
    }

    fn server(&self) -> Handshake<UnbufferedServerConnection> {
        Handshake::new(UnbufferedServerConnection::new(self.server.clone()).unwrap())
    }

    /// Shakes hands. `first` comes with the client's last message of the handshake.
    fn connect(&self, first: &[u8]) -> (ClientConnection, Established) {
        let mut client = self.client();
        client.writer().write_all(first).unwrap();
        let mut server = self.server();
        for _ in 0..3 {
            let sent = server.receive(&taken(&mut client)).unwrap();
            give(&mut client, &sent).unwrap();
        }
        assert!(!client.is_handshaking());
        (client, server.finish())
    }
}

/// What the client has to send.
fn taken(client: &mut ClientConnection) -> Vec<u8> {
    let mut bytes = Vec::new();
    while client.wants_write() {
        client.write_tls(&mut bytes).unwrap();
    }
    bytes
}

fn give(client: &mut ClientConnection, mut bytes: &[u8]) -> Result<(), rustls::Error> {
    while !bytes.is_empty() {
        client.read_tls(&mut bytes).unwrap();
        client.process_new_packets()?;
    }
    Ok(())
}

/// What the client has received.
fn received(client: &mut ClientConnection) -> Vec<u8> {
    let mut bytes = Vec::new();
    match client.reader().read_to_end(&mut bytes) {
        Err(error) if error.kind() != io::ErrorKind::WouldBlock => panic!("{error}"),
        _ => bytes,
    }
}

/// Receives some bytes.
fn read(opener: &mut Opener, bytes: &[u8], plaintext: &mut Vec<u8>) -> Option<End> {
    let receive = |room: &mut [u8]| {
        room[..bytes.len()].copy_from_slice(bytes);
        Ok(bytes.len())
    };
    let Opened { is_dry, end } = opener.read(plaintext, receive).unwrap();
    assert!(is_dry || end.is_some());
    end
}

/// Seals some bytes.
fn sealed(sealer: &mut Sealer, bytes: &[u8]) -> Vec<u8> {
    let mut records = Vec::new();
    let written = sealer.write(bytes, |some| {
        records.extend_from_slice(some);
        Ok(some.len())
    });
    assert_eq!(written.unwrap(), bytes.len());
    records
}
