//! The records of an established connection (RFC 8446 section 5), as rustls has them: one object for both directions, which a
//! [`Sealer`](super::sealer::Sealer) and an [`Opener`](super::opener::Opener) share.
//!
//! It owns no buffer while the connection is idle.

use std::io;
use std::sync::Arc;

use parking_lot::Mutex;
use rustls::client::{ClientConnectionData, UnbufferedClientConnection};
use rustls::server::{ServerConnectionData, UnbufferedServerConnection};
use rustls::unbuffered::{ConnectionState, EncodeError, EncryptError, UnbufferedStatus};
use rustls::{CommonState, Error, InvalidMessage};

use super::buffers::Sealed;

/// Maximum number of received bytes that may wait for others: a record, and a part of a handshake
/// message that stands in several records. After the handshake these messages are short.
pub(super) const UNFINISHED_MAX: usize = 40 * 1024;

/// One end of a connection, as rustls has it.
pub(crate) trait Endpoint: Send + 'static {
    type Data;

    fn process<'c, 'i>(&'c mut self, input: &'i mut [u8]) -> UnbufferedStatus<'c, 'i, Self::Data>;

    fn state(&self) -> &CommonState;
}

impl Endpoint for UnbufferedServerConnection {
    type Data = ServerConnectionData;

    #[inline]
    fn process<'c, 'i>(&'c mut self, input: &'i mut [u8]) -> UnbufferedStatus<'c, 'i, Self::Data> {
        self.process_tls_records(input)
    }

    fn state(&self) -> &CommonState {
        self
    }
}

impl Endpoint for UnbufferedClientConnection {
    type Data = ClientConnectionData;

    #[inline]
    fn process<'c, 'i>(&'c mut self, input: &'i mut [u8]) -> UnbufferedStatus<'c, 'i, Self::Data> {
        self.process_tls_records(input)
    }

    fn state(&self) -> &CommonState {
        self
    }
}

/// How the peer's stream ended.
#[derive(Clone, Debug)]
pub(crate) enum End {
    /// By a close_notify: everything that the peer sent has arrived (RFC 8446 section 6.1).
    Closed,
    /// By a FIN without a close_notify: something may be missing.
    Truncated,
    /// A record was malformed or not the peer's, or the peer sent an alert.
    Failed(Error),
}

impl From<End> for Option<io::Error> {
    fn from(end: End) -> Option<io::Error> {
        match end {
            End::Closed => None,
            End::Truncated => Some(io::ErrorKind::UnexpectedEof.into()),
            // The peer has given up, as by a reset.
            End::Failed(error @ Error::AlertReceived(_)) => Some(io::Error::new(io::ErrorKind::ConnectionAborted, error)),
            End::Failed(error) => Some(invalid(error)),
        }
    }
}

/// What both halves use of the connection, whichever end it is.
pub(super) trait Records: Send {
    /// Adds sealed records to `sealed`.
    fn seal(&mut self, plaintext: &[u8], sealed: &mut Sealed) -> io::Result<()>;

    /// Adds a close_notify to `sealed`.
    fn close(&mut self, sealed: &mut Sealed) -> io::Result<()>;

    /// Adds an alert that is still to be sent.
    fn alert(&mut self, sealed: &mut Sealed);

    /// Opens the complete records of `input`. The plaintext is added to `plaintext`. The rest of the
    /// input is kept.
    fn open(&mut self, input: &mut [u8], plaintext: &mut Vec<u8>) -> Option<End>;

    /// Returns the input that is not used up.
    fn unfinished(&self) -> &[u8];
}

pub(super) struct Connection<E> {
    endpoint: E,
    /// Input that rustls has not used up: a part of a record, or of a handshake message, which
    /// rustls finds again by its place. So each call of `process` gets all of it.
    unfinished: Vec<u8>,
    /// Records that rustls has sealed by itself, and that go before all others.
    outgoing: Vec<u8>,
    has_failed: bool,
}

impl<E: Endpoint> Connection<E> {
    /// An established connection. `unfinished`: the input that it has not used up.
    pub(super) fn shared(endpoint: E, mut unfinished: Vec<u8>) -> Arc<Mutex<dyn Records>> {
        unfinished.shrink_to_fit();
        Arc::new(Mutex::new(Connection { endpoint, unfinished, outgoing: Vec::new(), has_failed: false }))
    }
}

impl<E: Endpoint> Records for Connection<E> {
    fn seal(&mut self, plaintext: &[u8], sealed: &mut Sealed) -> io::Result<()> {
        self.write(sealed, |traffic, room| traffic.encrypt(plaintext, room))
    }

    fn close(&mut self, sealed: &mut Sealed) -> io::Result<()> {
        self.write(sealed, |traffic, room| traffic.queue_close_notify(room))
    }

    fn alert(&mut self, sealed: &mut Sealed) {
        sealed.extend(&std::mem::take(&mut self.outgoing));
    }

    fn open(&mut self, input: &mut [u8], plaintext: &mut Vec<u8>) -> Option<End> {
        let mut at = 0;
        let end = loop {
            let UnbufferedStatus { mut discard, state } = self.endpoint.process(input.get_mut(at..).unwrap_or_default());
            let end = match state {
                Ok(ConnectionState::ReadTraffic(mut traffic)) => {
                    let mut failed = None;
                    while failed.is_none()
                        && let Some(record) = traffic.next_record()
                    {
                        match record {
                            Ok(record) => {
                                plaintext.extend_from_slice(record.payload);
                                discard += record.discard;
                            }
                            Err(error) => failed = Some(End::Failed(error)),
                        }
                    }
                    failed
                }
                Ok(ConnectionState::EncodeTlsData(mut data)) => {
                    encode(&mut self.outgoing, |room| data.encode(room));
                    None
                }
                Ok(ConnectionState::TransmitTlsData(data)) => {
                    data.done();
                    None
                }
                Ok(ConnectionState::PeerClosed | ConnectionState::Closed) => Some(End::Closed),
                Ok(ConnectionState::WriteTraffic(_)) => {
                    at += discard;
                    break None;
                }
                Ok(_) => Some(End::Failed(Error::General("a handshake in an established connection".to_owned()))),
                Err(error) => Some(End::Failed(error)),
            };
            at += discard;
            // Another call for no input would find nothing.
            if end.is_some() || at == input.len() {
                break end;
            }
        };
        let rest = input.get(at..).unwrap_or_default();
        if end.is_none() && rest.len() <= UNFINISHED_MAX {
            if rest.is_empty() {
                self.unfinished = Vec::new();
            } else {
                self.unfinished.clear();
                self.unfinished.extend_from_slice(rest);
            }
            return None;
        }
        self.unfinished = Vec::new();
        if !matches!(end, Some(End::Closed)) {
            self.has_failed = true;
            encode_alerts(&mut self.endpoint, &mut self.outgoing);
        }
        end.or(Some(End::Failed(InvalidMessage::HandshakePayloadTooLarge.into())))
    }

    fn unfinished(&self) -> &[u8] {
        &self.unfinished
    }
}

impl<E: Endpoint> Connection<E> {
    #[inline]
    fn write(
        &mut self,
        sealed: &mut Sealed,
        mut write: impl FnMut(&mut Traffic<'_, E>, &mut [u8]) -> Result<usize, EncryptError>,
    ) -> io::Result<()> {
        // The outgoing bytes of a failed connection are the alert, which `alert` takes.
        if self.has_failed {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        if !self.outgoing.is_empty() {
            sealed.extend(&std::mem::take(&mut self.outgoing));
        }
        loop {
            // There is no complete record, so nothing is used up.
            match self.endpoint.process(&mut self.unfinished).state {
                Ok(ConnectionState::WriteTraffic(mut traffic)) => {
                    match write(&mut traffic, sealed.room()) {
                        Ok(written) => {
                            sealed.length += written;
                            return Ok(());
                        }
                        Err(EncryptError::InsufficientSize(size)) => sealed.reserve(size.required_size),
                        // Only TLS 1.2 cannot change its keys.
                        Err(EncryptError::EncryptExhausted) => return Err(invalid("the keys are worn out")),
                    }
                }
                Ok(ConnectionState::EncodeTlsData(mut data)) => {
                    let mut record = Vec::new();
                    encode(&mut record, |room| data.encode(room));
                    sealed.extend(&record);
                }
                Ok(ConnectionState::TransmitTlsData(data)) => data.done(),
                // The peer may still read.
                Ok(ConnectionState::PeerClosed) => {}
                Ok(ConnectionState::Closed) => return Err(io::ErrorKind::BrokenPipe.into()),
                Ok(_) => return Err(invalid("a handshake in an established connection")),
                Err(error) => return Err(invalid(error)),
            }
        }
    }
}

type Traffic<'c, E> = rustls::unbuffered::WriteTraffic<'c, <E as Endpoint>::Data>;

/// Adds the alerts of an endpoint that has failed. Processing anything else needs the input.
pub(super) fn encode_alerts(endpoint: &mut impl Endpoint, bytes: &mut Vec<u8>) {
    while endpoint.state().wants_write()
        && let Ok(ConnectionState::EncodeTlsData(mut data)) = endpoint.process(&mut []).state
    {
        encode(bytes, |room| data.encode(room));
    }
}

/// Adds what `encode` encodes.
pub(super) fn encode(bytes: &mut Vec<u8>, mut encode: impl FnMut(&mut [u8]) -> Result<usize, EncodeError>) {
    if let Err(EncodeError::InsufficientSize(size)) = encode(&mut []) {
        let start = bytes.len();
        bytes.resize(start + size.required_size, 0);
        let written = encode(bytes.get_mut(start..).unwrap_or_default()).unwrap_or(0);
        bytes.truncate(start + written);
    }
}

fn invalid(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}
