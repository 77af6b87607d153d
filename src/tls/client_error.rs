use std::io;

use rustls::{AlertDescription, CertificateError, Error};

/// Why a client has no TLS connection: the source of
/// [`ConnectError::Tls`](crate::client::ConnectError::Tls).
///
/// If the server violates the protocol, or if its certificate is refused, the client sends the server the
/// alert that RFC 8446 section 6.2 names.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsConnectError {
    /// The root certificates of the platform are missing or cannot be read. Nothing was sent.
    /// [`ClientTls::root_file`](crate::tls::ClientTls::root_file) gives others.
    #[error("no root certificates of the platform")]
    Roots(#[source] Error),
    /// The issuer of the server's certificate is not trusted. A self-signed certificate is its own
    /// issuer.
    #[error("the server's certificate is of an unknown issuer")]
    UnknownIssuer(#[source] Error),
    /// The server's certificate is for other names or addresses than the host of the URL.
    #[error("the server's certificate is not valid for the host of the URL")]
    WrongName(#[source] Error),
    /// The server's certificate has expired, or is not valid yet.
    #[error("the server's certificate is expired, or not valid yet")]
    Expired(#[source] Error),
    /// The server's certificate was revoked.
    #[error("the server's certificate was revoked")]
    Revoked(#[source] Error),
    /// The server's certificate is not accepted for another reason.
    #[error("the server's certificate is not accepted")]
    Certificate(#[source] Error),
    /// The server ended the connection with an alert: it does not accept the client's certificate,
    /// for example.
    #[error("the server sent the alert {}", alert_name(*.0))]
    Alert(AlertDescription),
    /// Client and server have no TLS version, cipher suite, key exchange or protocol (ALPN) in common.
    #[error("no TLS version, cipher suite or protocol in common")]
    NothingInCommon(#[source] Error),
    /// The server answered with HTTP, without TLS.
    #[error("the server answered with HTTP without TLS: the URL may have to begin with `ws://`")]
    PlainHttp,
    /// The first bytes of the server were not those of TLS.
    #[error("the server does not speak TLS")]
    NotTls,
    /// The server ended the connection during the handshake, without an alert.
    #[error("the server ended the connection during the handshake")]
    Ended,
    /// The connection failed during the handshake.
    #[error("the connection failed during the handshake")]
    Io(#[source] io::Error),
    /// Another error of rustls.
    #[error("TLS error")]
    Other(#[source] Error),
}

/// Returns whether the first bytes of a server, padded with zeros, are those of HTTP.
pub(super) fn is_http(first: [u8; 4]) -> bool {
    let length = first.iter().position(|byte| *byte == 0).unwrap_or(first.len());
    length > 0 && first.iter().zip(b"HTTP").take(length).all(|(byte, expected)| byte == expected)
}

impl TlsConnectError {
    /// `first`: the first bytes of the server, or zeros.
    pub(super) fn of_handshake(error: Error, first: [u8; 4]) -> TlsConnectError {
        // The types of records, RFC 8446 section 5.1.
        let is_tls = matches!(first, [0 | 20..=23, ..]);
        match error {
            _ if is_http(first) => TlsConnectError::PlainHttp,
            Error::InvalidMessage(_) if !is_tls => TlsConnectError::NotTls,
            error => TlsConnectError::of(error),
        }
    }

    pub(crate) fn of(error: Error) -> TlsConnectError {
        use CertificateError::{
            Expired, ExpiredContext, NotValidForName, NotValidForNameContext, NotValidYet, NotValidYetContext, Revoked,
            UnknownIssuer,
        };
        match error {
            Error::AlertReceived(alert) => TlsConnectError::Alert(alert),
            Error::PeerIncompatible(_) | Error::NoApplicationProtocol => TlsConnectError::NothingInCommon(error),
            Error::InvalidCertificate(UnknownIssuer) => TlsConnectError::UnknownIssuer(error),
            Error::InvalidCertificate(NotValidForName | NotValidForNameContext { .. }) => TlsConnectError::WrongName(error),
            Error::InvalidCertificate(Expired | ExpiredContext { .. } | NotValidYet | NotValidYetContext { .. }) => {
                TlsConnectError::Expired(error)
            }
            Error::InvalidCertificate(Revoked) => TlsConnectError::Revoked(error),
            Error::InvalidCertificate(_) => TlsConnectError::Certificate(error),
            error => TlsConnectError::Other(error),
        }
    }

    pub(super) fn of_stream(error: io::Error) -> TlsConnectError {
        match error.kind() {
            io::ErrorKind::UnexpectedEof => TlsConnectError::Ended,
            _ => TlsConnectError::Io(error),
        }
    }
}

/// The name of RFC 8446 section 6: `unknown_ca` for `UnknownCA`.
fn alert_name(alert: AlertDescription) -> String {
    let text = format!("{alert:?}");
    let (mut name, mut before, mut rest) = (String::new(), ' ', text.chars().peekable());
    while let Some(character) = rest.next() {
        let begins_word = character.is_ascii_uppercase()
            && (before.is_ascii_lowercase()
                || before.is_ascii_uppercase() && rest.peek().is_some_and(char::is_ascii_lowercase));
        if begins_word {
            name.push('_');
        }
        name.push(character.to_ascii_lowercase());
        before = character;
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 8446 section 6.
    #[test]
    fn names_of_alerts() {
        for (alert, name) in [
            (AlertDescription::UnknownCA, "unknown_ca"),
            (AlertDescription::BadRecordMac, "bad_record_mac"),
            (AlertDescription::UnknownPSKIdentity, "unknown_psk_identity"),
            (AlertDescription::CertificateRequired, "certificate_required"),
        ] {
            assert_eq!(alert_name(alert), name);
        }
    }
}
