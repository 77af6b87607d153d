//! The handshake (RFC 8446 section 4). Nothing but keys is kept after it.

#[cfg(feature = "client")]
use std::future::poll_fn;
use std::io;
#[cfg(feature = "client")]
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::BufMut;
use rustls::pki_types::CertificateDer;
use rustls::unbuffered::{ConnectionState, UnbufferedStatus};
use rustls::{Error, InvalidMessage};
#[cfg(feature = "client")]
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use tokio::net::TcpStream;
#[cfg(feature = "client")]
use tokio::time::timeout;

use super::opener::Opener;
use super::records::{Connection, Endpoint, UNFINISHED_MAX, encode, encode_alerts};
use super::resolver;
use super::sealer::Sealer;

/// Maximum number of bytes that may wait to become a handshake message. rustls takes messages of up
/// to 64 KiB.
const INPUT_MAX: usize = 64 * 1024 + 18 * 1024;

/// Bytes that are read at a time: most flights of a client, without its certificates.
const READ: usize = 2 * 1024;

/// Maximum time to send an alert on a stream that is full.
#[cfg(feature = "client")]
const ALERT: std::time::Duration = std::time::Duration::from_secs(1);

/// A handshake under way.
pub(crate) struct Handshake<E> {
    endpoint: E,
    input: Vec<u8>,
    output: Vec<u8>,
    /// The bytes of the output before this index have been sent.
    sent: usize,
    /// What came with the peer's last message of the handshake.
    plaintext: Vec<u8>,
    is_ended: bool,
    server_name: Option<Box<str>>,
    /// The first bytes that the peer sent.
    first: [u8; 4],
    /// How many of them have arrived, or more.
    first_length: usize,
    has_message: bool,
}

/// Facts about the peer, and the name that the client asked for.
#[derive(Debug, Default)]
pub(crate) struct PeerInfo {
    pub(crate) server_name: Option<Box<str>>,
    pub(crate) certificates: Vec<CertificateDer<'static>>,
}

/// An established connection.
pub(crate) struct Established {
    pub(crate) sealer: Sealer,
    pub(crate) opener: Opener,
    /// What the peer has sent already.
    pub(crate) plaintext: Vec<u8>,
    pub(crate) peer: Arc<PeerInfo>,
}

/// Why a handshake ended without a connection.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The socket failed, or the peer left.
    Io(io::Error),
    /// rustls refused what the peer sent, or the peer refused us.
    Tls(Error),
}

enum Step {
    NeedsInput,
    Established,
}

impl<E: Endpoint> Handshake<E> {
    pub(crate) fn new(endpoint: E) -> Handshake<E> {
        Handshake {
            endpoint,
            input: Vec::new(),
            output: Vec::new(),
            sent: 0,
            plaintext: Vec::new(),
            is_ended: false,
            server_name: None,
            first: [0; 4],
            first_length: 0,
            has_message: false,
        }
    }

    /// Sets the bytes of the peer that were read before the handshake.
    pub(crate) fn behind(mut self, received: Vec<u8>) -> Handshake<E> {
        self.input = received;
        self.note_first();
        self
    }

    /// Sets the name of the server, which a client knows.
    #[cfg(feature = "client")]
    pub(super) fn asking_for(mut self, name: Option<Box<str>>) -> Handshake<E> {
        self.server_name = name;
        self
    }

    /// Returns whether the peer has sent a message that was understood.
    pub(crate) fn has_message(&self) -> bool {
        self.has_message
    }

    /// Returns whether the first bytes of the peer are those of an HTTP request.
    pub(crate) fn is_plain_http(&self) -> bool {
        const METHODS: [&[u8; 4]; 9] = [b"GET ", b"HEAD", b"POST", b"PUT ", b"DELE", b"OPTI", b"PATC", b"CONN", b"PRI "];
        METHODS.contains(&&self.first)
    }

    /// Continues. Ready when the connection is established, which [`finish`](Handshake::finish)
    /// returns then.
    ///
    /// # Errors
    /// Before [`Failure::Tls`] is returned, the alert that RFC 8446 section 6.2 names is sent, as far
    /// as the socket takes it at once. Input that exceeds `INPUT_MAX` has no alert.
    pub(crate) fn poll(&mut self, socket: &TcpStream, cx: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        loop {
            ready!(self.poll_send(socket, cx)).map_err(Failure::Io)?;
            match self.advance() {
                Ok(Step::Established) if self.sent == self.output.len() => return Poll::Ready(Ok(())),
                Ok(Step::NeedsInput) if self.sent == self.output.len() => {
                    ready!(self.poll_receive(socket, cx))?;
                }
                Ok(_) => {}
                Err(error) => {
                    // No answer to the alert is needed, so it does not wait for a full socket.
                    let _ = socket.try_write(self.output.get(self.sent..).unwrap_or_default());
                    return Poll::Ready(Err(Failure::Tls(error)));
                }
            }
        }
    }

    /// Like [`poll`](Handshake::poll), over any stream. `received`: bytes of the peer that were read
    /// from the stream before.
    ///
    /// # Errors
    /// Before [`Failure::Tls`] is returned, the alert that RFC 8446 section 6.2 names is sent, for
    /// which the stream has the time `ALERT`.
    #[cfg(feature = "client")]
    pub(crate) async fn run<S>(&mut self, stream: &mut S, received: Vec<u8>) -> Result<(), Failure>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        self.input = received;
        let result = poll_fn(|cx| self.poll_over(stream, cx)).await;
        if let Err(Failure::Tls(_)) = &result {
            let _ = timeout(ALERT, poll_fn(|cx| self.poll_send_over(stream, cx))).await;
        }
        result
    }

    #[cfg(feature = "client")]
    fn poll_over<S>(&mut self, stream: &mut S, cx: &mut Context<'_>) -> Poll<Result<(), Failure>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        loop {
            self.note_first();
            let step = self.advance().map_err(Failure::Tls)?;
            let sent = self.poll_send_over(stream, cx).map_err(Failure::Io)?;
            if matches!(step, Step::Established) {
                return sent.map(Ok);
            }
            // Input does not wait for output: the peer may be sending too.
            if self.input.len() > INPUT_MAX {
                return Poll::Ready(Err(Failure::Tls(InvalidMessage::HandshakePayloadTooLarge.into())));
            }
            self.input.reserve(READ);
            let mut room = (&mut self.input).limit(READ);
            let read = pin!(stream.read_buf(&mut room)).poll(cx);
            if ready!(read).map_err(Failure::Io)? == 0 {
                return Poll::Ready(Err(Failure::Io(io::ErrorKind::UnexpectedEof.into())));
            }
        }
    }

    #[cfg(feature = "client")]
    fn poll_send_over(&mut self, stream: &mut (impl AsyncWrite + Unpin), cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some(rest) = self.output.get(self.sent..).filter(|rest| !rest.is_empty()) {
            match ready!(Pin::new(&mut *stream).poll_write(cx, rest))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                sent => self.sent += sent,
            }
        }
        self.output.clear();
        self.sent = 0;
        Pin::new(stream).poll_flush(cx)
    }

    /// Returns the first bytes that the peer sent, as far as they are known, and zeros.
    #[cfg(feature = "client")]
    pub(super) fn first(&self) -> [u8; 4] {
        self.first
    }

    /// Returns the connection, once it is established.
    pub(crate) fn finish(self) -> Established {
        let certificates = self.endpoint.state().peer_certificates().unwrap_or_default().to_vec();
        let peer = Arc::new(PeerInfo { server_name: self.server_name, certificates });
        let unfinished = self.input.len();
        let connection = Connection::shared(self.endpoint, self.input);
        let (sealer, opener) = (Sealer::new(connection.clone()), Opener::new(connection, unfinished, self.is_ended));
        Established { sealer, opener, plaintext: self.plaintext, peer }
    }

    /// Processes the input. Adds what is to be sent to the output.
    fn advance(&mut self) -> Result<Step, Error> {
        loop {
            let UnbufferedStatus { mut discard, state } = self.endpoint.process(&mut self.input);
            let mut step = None;
            let mut failed = None;
            match state {
                Ok(ConnectionState::EncodeTlsData(mut data)) => {
                    encode(&mut self.output, |room| data.encode(room));
                    self.has_message = true;
                }
                // What was encoded is sent before anything else is done.
                Ok(ConnectionState::TransmitTlsData(data)) => data.done(),
                Ok(ConnectionState::BlockedHandshake) => step = Some(Step::NeedsInput),
                Ok(ConnectionState::ReadTraffic(mut traffic)) => {
                    while let Some(record) = traffic.next_record() {
                        let record = record?;
                        self.plaintext.extend_from_slice(record.payload);
                        discard += record.discard;
                    }
                }
                Ok(ConnectionState::PeerClosed) => self.is_ended = true,
                Ok(ConnectionState::WriteTraffic(_)) => step = Some(Step::Established),
                Ok(_) => failed = Some(Error::General("unexpected state of the handshake".to_owned())),
                Err(error) => failed = Some(error),
            }
            if let Some(name) = resolver::take_name() {
                self.server_name = Some(name);
            }
            self.input.drain(..discard);
            if let Some(error) = failed {
                encode_alerts(&mut self.endpoint, &mut self.output);
                return Err(error);
            }
            match step {
                // A server may be able to send before it knows who its client is.
                Some(Step::Established) if self.endpoint.state().is_handshaking() => return Ok(Step::NeedsInput),
                // The established connection keeps no more unfinished input than this.
                Some(Step::Established) if self.input.len() > UNFINISHED_MAX => {
                    return Err(InvalidMessage::HandshakePayloadTooLarge.into());
                }
                Some(step) => return Ok(step),
                None => {}
            }
        }
    }

    fn poll_send(&mut self, socket: &TcpStream, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some(rest) = self.output.get(self.sent..).filter(|rest| !rest.is_empty()) {
            match socket.try_write(rest) {
                Ok(sent) => self.sent += sent,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => ready!(socket.poll_write_ready(cx))?,
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
        self.output.clear();
        self.sent = 0;
        Poll::Ready(Ok(()))
    }

    fn poll_receive(&mut self, socket: &TcpStream, cx: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        if self.input.len() > INPUT_MAX {
            return Poll::Ready(Err(Failure::Tls(InvalidMessage::HandshakePayloadTooLarge.into())));
        }
        loop {
            self.input.reserve(READ);
            match socket.try_read_buf(&mut (&mut self.input).limit(READ)) {
                Ok(0) => return Poll::Ready(Err(Failure::Io(io::ErrorKind::UnexpectedEof.into()))),
                Ok(_) => break,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    ready!(socket.poll_read_ready(cx)).map_err(Failure::Io)?;
                }
                Err(error) => return Poll::Ready(Err(Failure::Io(error))),
            }
        }
        self.note_first();
        Poll::Ready(Ok(()))
    }

    /// Notes the first bytes of the peer. The first record is longer than they are, so that they are
    /// still there when they are complete.
    fn note_first(&mut self) {
        if self.first_length < self.first.len() {
            self.first.iter_mut().zip(&self.input).for_each(|(first, byte)| *first = *byte);
            self.first_length = self.input.len();
        }
    }

    /// Receives some bytes, and returns what is to be sent.
    #[cfg(test)]
    pub(super) fn receive(&mut self, bytes: &[u8]) -> Result<Vec<u8>, Error> {
        self.input.extend_from_slice(bytes);
        self.advance()?;
        Ok(std::mem::take(&mut self.output))
    }
}
