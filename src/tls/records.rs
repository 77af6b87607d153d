//! The records of an established connection (RFC 8446 section 5): a [`Sealer`] for whoever writes
//! to the socket, and an [`Opener`] for the task that reads it.
//!
//! Both halves share rustls's connection. It owns no buffer while the connection is idle: records
//! are received, sealed and opened in buffers of the thread.

use std::cell::Cell;
use std::io;
use std::sync::Arc;

use parking_lot::Mutex;
use rustls::client::{ClientConnectionData, UnbufferedClientConnection};
use rustls::server::{ServerConnectionData, UnbufferedServerConnection};
use rustls::unbuffered::{ConnectionState, EncodeError, EncryptError, UnbufferedStatus};
use rustls::{CommonState, Error, InvalidMessage};

/// Maximum plaintext of a record (RFC 8446 section 5.1).
const RECORD: usize = 16 * 1024;

/// Plaintext that is sealed and sent with one write. A message of 64 KiB and its header fit. A
/// connection whose socket is full keeps at most this much of sealed records.
const RUN: usize = 5 * RECORD;

/// Upper limit of what a record adds to its plaintext: a header of 5 bytes, an explicit nonce of 8,
/// a content type and a tag of 16.
const OVERHEAD: usize = 64;

/// Room for the records of a read: a message of 64 KiB with its header, behind an unfinished record
/// (RFC 8446 section 5.2).
const ROOM: usize = 84 * 1024;

/// Maximum number of received bytes that may wait for others: a record, and a part of a handshake
/// message that stands in several records. After the handshake these messages are short.
const UNFINISHED_MAX: usize = 40 * 1024;

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
            End::Failed(error @ Error::AlertReceived(_)) => {
                Some(io::Error::new(io::ErrorKind::ConnectionAborted, error))
            }
            End::Failed(error) => Some(invalid(error)),
        }
    }
}

/// The result of a read.
#[derive(Debug)]
pub(crate) struct Opened {
    /// The read has taken everything that had arrived.
    pub(crate) is_dry: bool,
    pub(crate) end: Option<End>,
}

/// Opens the records that the peer sends.
pub(crate) struct Opener {
    connection: Arc<Mutex<dyn Records>>,
    /// Length of the connection's unfinished input.
    unfinished: usize,
    /// How the stream has ended, once it has.
    end: Option<Box<End>>,
}

/// Seals what is sent to the peer.
pub(crate) struct Sealer {
    connection: Arc<Mutex<dyn Records>>,
    /// Sealed records that the socket has not taken.
    waiting: Option<Box<Waiting>>,
    is_closed: bool,
}

struct Waiting {
    records: Vec<u8>,
    /// The bytes before this index have been sent.
    at: usize,
    /// Number of bytes of plaintext in all of the records.
    plaintext: usize,
}

/// What both halves use of the connection, whichever end it is.
trait Records: Send {
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

struct Connection<E> {
    endpoint: E,
    /// Input that rustls has not used up: a part of a record, or of a handshake message, which
    /// rustls finds again by its place. So each call of `process` gets all of it.
    unfinished: Vec<u8>,
    /// Records that rustls has sealed by itself, and that go before all others.
    outgoing: Vec<u8>,
    has_failed: bool,
}

/// Splits an established connection. `unfinished` is the input that it has not used up.
/// `is_ended`: the peer has sent a close_notify.
pub(crate) fn split<E: Endpoint>(endpoint: E, unfinished: Vec<u8>, is_ended: bool) -> (Sealer, Opener) {
    let length = unfinished.len();
    // A vector without elements may have a capacity.
    let unfinished = if unfinished.is_empty() { Vec::new() } else { unfinished };
    let connection = Connection { endpoint, unfinished, outgoing: Vec::new(), has_failed: false };
    let connection: Arc<Mutex<dyn Records>> = Arc::new(Mutex::new(connection));
    let sealer = Sealer { connection: connection.clone(), waiting: None, is_closed: false };
    (sealer, Opener { connection, unfinished: length, end: is_ended.then(|| Box::new(End::Closed)) })
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
            // Only alerts are asked for. Processing anything else needs the input.
            while self.endpoint.state().wants_write()
                && let Ok(ConnectionState::EncodeTlsData(mut data)) = self.endpoint.process(&mut []).state
            {
                encode(&mut self.outgoing, |room| data.encode(room));
            }
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
        if !self.outgoing.is_empty() {
            sealed.extend(&std::mem::take(&mut self.outgoing));
        }
        if self.has_failed {
            return Err(io::ErrorKind::BrokenPipe.into());
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
                Ok(ConnectionState::Closed) => return Ok(()),
                Ok(_) => return Err(invalid("a handshake in an established connection")),
                Err(error) => return Err(invalid(error)),
            }
        }
    }
}

type Traffic<'c, E> = rustls::unbuffered::WriteTraffic<'c, <E as Endpoint>::Data>;

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

impl Opener {
    /// Reads once with `receive`, and adds the plaintext of all complete records to `plaintext`.
    ///
    /// # Errors
    /// Those of `receive`. Nothing has been read then.
    #[inline]
    pub(crate) fn read(
        &mut self,
        plaintext: &mut Vec<u8>,
        receive: impl FnOnce(&mut [u8]) -> io::Result<usize>,
    ) -> io::Result<Opened> {
        if let Some(end) = &self.end {
            return Ok(Opened { is_dry: false, end: Some(End::clone(end)) });
        }
        let mut buffers = Buffers::take();
        let read = self.read_into(&mut buffers.received, plaintext, receive);
        buffers.put_back();
        read
    }

    #[inline]
    fn read_into(
        &mut self,
        buffer: &mut [u8],
        plaintext: &mut Vec<u8>,
        receive: impl FnOnce(&mut [u8]) -> io::Result<usize>,
    ) -> io::Result<Opened> {
        let (before, room) = buffer.split_at_mut_checked(self.unfinished).unwrap_or_default();
        if !before.is_empty() {
            before.copy_from_slice(self.connection.lock().unfinished());
        }
        let size = room.len();
        let received = receive(room)?;
        if received == 0 {
            self.end = Some(Box::new(End::Truncated));
            return Ok(Opened { is_dry: false, end: Some(End::Truncated) });
        }
        let input = buffer.get_mut(..self.unfinished + received).unwrap_or_default();
        let mut connection = self.connection.lock();
        let end = connection.open(input, plaintext);
        self.unfinished = connection.unfinished().len();
        self.end = end.clone().map(Box::new);
        Ok(Opened { is_dry: received < size, end })
    }
}

impl Sealer {
    /// Seals and sends as much as `send` takes. Returns how many bytes of plaintext that were.
    ///
    /// What is not said to be written must stand at the front of what is written next: some of it
    /// may be sealed already.
    ///
    /// # Errors
    /// Those of `send`, also `WouldBlock` if it takes nothing.
    #[inline]
    pub(crate) fn write(
        &mut self,
        bytes: &[u8],
        mut send: impl FnMut(&[u8]) -> io::Result<usize>,
    ) -> io::Result<usize> {
        if self.waiting.is_some() || bytes.is_empty() || bytes.len() > RUN {
            return self.write_all_of(&[bytes], false, send);
        }
        let mut buffers = Buffers::take();
        buffers.sealed.start(bytes.len());
        let sealed = self.connection.lock().seal(bytes, &mut buffers.sealed);
        let sent = sealed.and_then(|()| self.send(&buffers.sealed, bytes.len(), &mut send));
        buffers.put_back();
        sent.map(|has_left| if has_left { bytes.len() } else { 0 })
    }

    /// Like [`write`](Sealer::write), with several slices.
    pub(crate) fn write_vectored(
        &mut self,
        parts: &[&[u8]],
        send: impl FnMut(&[u8]) -> io::Result<usize>,
    ) -> io::Result<usize> {
        self.write_all_of(parts, false, send)
    }

    /// Like [`write`](Sealer::write), for the last bytes. A close_notify follows them.
    pub(crate) fn write_last(
        &mut self,
        bytes: &[u8],
        send: impl FnMut(&[u8]) -> io::Result<usize>,
    ) -> io::Result<usize> {
        self.write_all_of(&[bytes], true, send)
    }

    /// Seals as much as is sent with one write, and returns how many bytes that are. What `send` does
    /// not take is kept for [`flush`](Sealer::flush), which has to be called before more is written.
    pub(crate) fn write_buffered(
        &mut self,
        bytes: &[u8],
        send: impl FnMut(&[u8]) -> io::Result<usize>,
    ) -> io::Result<usize> {
        let run = bytes.get(..RUN).unwrap_or(bytes);
        self.write(run, send).map(|_| run.len())
    }

    /// Sends what [`write_buffered`](Sealer::write_buffered) has kept. Returns whether everything has
    /// left.
    pub(crate) fn flush(&mut self, mut send: impl FnMut(&[u8]) -> io::Result<usize>) -> io::Result<bool> {
        match self.flush_waiting(&mut send) {
            Ok(flushed) => Ok(flushed.is_some()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Sends a close_notify (RFC 8446 section 6.1), unless it was sent. Returns whether everything
    /// has left.
    pub(crate) fn close(&mut self, send: impl FnMut(&[u8]) -> io::Result<usize>) -> io::Result<bool> {
        match self.write_all_of(&[], true, send) {
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => Err(error),
            _ => Ok(self.is_flushed()),
        }
    }

    /// Sends the alert that says what was wrong, if there is one.
    pub(crate) fn send_alert(&mut self, mut send: impl FnMut(&[u8]) -> io::Result<usize>) {
        if self.waiting.is_none() {
            let mut buffers = Buffers::take();
            buffers.sealed.start(0);
            self.connection.lock().alert(&mut buffers.sealed);
            let alert = buffers.sealed.bytes();
            if !alert.is_empty() {
                // The connection ends, whether or not the peer learns why.
                let _ = send(alert);
            }
            buffers.put_back();
        }
    }

    /// Returns whether all sealed records have left.
    pub(crate) fn is_flushed(&self) -> bool {
        self.waiting.is_none()
    }

    /// Sends records that the socket has not taken before. Returns how many bytes of plaintext they
    /// were, or `None` if it still does not take all of them.
    #[inline(never)]
    fn flush_waiting(&mut self, send: &mut impl FnMut(&[u8]) -> io::Result<usize>) -> io::Result<Option<usize>> {
        let Some(waiting) = &mut self.waiting else { return Ok(Some(0)) };
        let rest = waiting.records.get(waiting.at..).unwrap_or_default();
        let sent = send(rest)?;
        if sent < rest.len() {
            waiting.at += sent;
            return Ok(None);
        }
        let plaintext = waiting.plaintext;
        self.waiting = None;
        Ok(Some(plaintext))
    }

    #[inline(never)]
    fn write_all_of(
        &mut self,
        parts: &[&[u8]],
        is_last: bool,
        mut send: impl FnMut(&[u8]) -> io::Result<usize>,
    ) -> io::Result<usize> {
        let mut written = 0;
        if self.waiting.is_some() {
            match self.flush_waiting(&mut send)? {
                Some(plaintext) => written = plaintext,
                None => return Ok(0),
            }
        }
        let total: usize = parts.iter().map(|part| part.len()).sum();
        debug_assert!(written <= total, "the front of what is written is what was not written before");
        let mut parts = Parts { parts, at: 0 };
        parts.skip(written);
        let mut buffers = Buffers::take();
        let result = loop {
            let closes = is_last && !self.is_closed && total - written.min(total) <= RUN;
            if written >= total && !closes {
                break Ok(written);
            }
            let run = RUN.min(total - written.min(total));
            match self.seal_and_send(&mut parts, run, closes, &mut buffers, &mut send) {
                Ok(true) => written += run,
                Ok(false) => break Ok(written),
                Err(error) => break Err(error),
            }
        };
        buffers.put_back();
        result
    }

    /// Seals the next `run` bytes and sends them. Returns whether everything was sent.
    #[inline]
    fn seal_and_send(
        &mut self,
        parts: &mut Parts<'_>,
        run: usize,
        closes: bool,
        buffers: &mut Buffers,
        send: &mut impl FnMut(&[u8]) -> io::Result<usize>,
    ) -> io::Result<bool> {
        let Buffers { sealed, joint, .. } = buffers;
        sealed.start(run);
        let mut connection = self.connection.lock();
        let mut left = run;
        while left > 0 {
            let plaintext = parts.next(left, joint);
            left -= plaintext.len();
            connection.seal(plaintext, sealed)?;
        }
        if closes {
            self.is_closed = true;
            connection.close(sealed)?;
        }
        drop(connection);
        self.send(sealed, run, send)
    }

    /// Sends records of so much plaintext. Returns whether all of them were sent.
    #[inline]
    fn send(
        &mut self,
        sealed: &Sealed,
        plaintext: usize,
        send: &mut impl FnMut(&[u8]) -> io::Result<usize>,
    ) -> io::Result<bool> {
        let records = sealed.bytes();
        let sent = match send(records) {
            Ok(sent) => sent,
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => 0,
            Err(error) => return Err(error),
        };
        if let Some(rest) = records.get(sent..).filter(|rest| !rest.is_empty()) {
            self.waiting = Some(Box::new(Waiting { records: rest.to_vec(), at: 0, plaintext }));
            return Ok(false);
        }
        Ok(true)
    }
}

/// Plaintext in several slices, of which parts are taken from the front.
struct Parts<'a> {
    parts: &'a [&'a [u8]],
    /// Bytes of the first slice that have been taken.
    at: usize,
}

impl<'a> Parts<'a> {
    fn rest(&self) -> &'a [u8] {
        self.parts.first().and_then(|part| part.get(self.at..)).unwrap_or_default()
    }

    fn skip(&mut self, mut bytes: usize) {
        while bytes > 0 && !self.parts.is_empty() {
            let taken = self.rest().len().min(bytes);
            self.advance(taken);
            bytes -= taken;
        }
    }

    fn advance(&mut self, bytes: usize) {
        self.at += bytes;
        if let Some((first, others)) = self.parts.split_first()
            && self.at >= first.len()
        {
            (self.parts, self.at) = (others, 0);
        }
    }

    /// Returns the next bytes, at least one if there are any, and at most `limit`. Whole records are
    /// taken as they are. What would make short records is joined in `joint`.
    #[inline]
    fn next<'b>(&mut self, limit: usize, joint: &'b mut Vec<u8>) -> &'b [u8]
    where
        'a: 'b,
    {
        let first = self.rest();
        if first.len() >= limit || first.len() >= RECORD {
            let length = if first.len() >= limit { limit } else { first.len() - first.len() % RECORD };
            self.advance(length);
            return first.get(..length).unwrap_or_default();
        }
        joint.clear();
        while joint.len() < limit.min(RECORD) && !self.parts.is_empty() {
            let rest = self.rest();
            let taken = rest.get(..limit.min(RECORD) - joint.len()).unwrap_or(rest);
            joint.extend_from_slice(taken);
            self.advance(taken.len());
        }
        joint
    }
}

/// A thread's buffers for records. No connection owns one.
struct Buffers {
    received: Box<[u8]>,
    sealed: Sealed,
    /// Plaintext that is sealed as one record, and was not in one place.
    joint: Vec<u8>,
}

/// Records that are to be sent.
#[derive(Default)]
struct Sealed {
    /// All of it is initialized, so that it need not be cleared each time.
    buffer: Vec<u8>,
    length: usize,
}

impl Sealed {
    /// Begins anew, with room for the records of so much plaintext.
    #[inline]
    fn start(&mut self, plaintext: usize) {
        self.length = 0;
        self.reserve(plaintext + (plaintext / RECORD + 2) * OVERHEAD);
    }

    #[inline]
    fn reserve(&mut self, bytes: usize) {
        if self.buffer.len() < self.length + bytes {
            self.buffer.resize(self.length + bytes, 0);
        }
    }

    #[inline]
    fn room(&mut self) -> &mut [u8] {
        self.buffer.get_mut(self.length..).unwrap_or_default()
    }

    #[cold]
    fn extend(&mut self, records: &[u8]) {
        self.reserve(records.len() + OVERHEAD);
        if let Some(room) = self.room().get_mut(..records.len()) {
            room.copy_from_slice(records);
            self.length += records.len();
        }
    }

    #[inline]
    fn bytes(&self) -> &[u8] {
        self.buffer.get(..self.length).unwrap_or_default()
    }
}

thread_local! {
    static BUFFERS: Cell<Option<Box<Buffers>>> = const { Cell::new(None) };
}

impl Buffers {
    #[inline]
    fn take() -> Box<Buffers> {
        // When a thread ends, its buffers may no longer exist.
        BUFFERS.try_with(Cell::take).ok().flatten().unwrap_or_else(Buffers::new)
    }

    #[cold]
    fn new() -> Box<Buffers> {
        Box::new(Buffers { received: vec![0; ROOM].into(), sealed: Sealed::default(), joint: Vec::new() })
    }

    #[inline]
    fn put_back(self: Box<Buffers>) {
        let _ = BUFFERS.try_with(|buffers| buffers.set(Some(self)));
    }
}
