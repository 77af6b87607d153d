use std::io;
use std::sync::Arc;

use parking_lot::Mutex;

use super::buffers::{Buffers, Parts, RECORD, Sealed};
use super::records::Records;

/// Plaintext that is sealed and sent with one write. A message of 64 KiB and its header fit. A
/// connection whose socket is full keeps at most this much of sealed records.
const RUN: usize = 5 * RECORD;

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

impl Sealer {
    pub(super) fn new(connection: Arc<Mutex<dyn Records>>) -> Sealer {
        Sealer { connection, waiting: None, is_closed: false }
    }

    /// Seals and sends as much as `send` takes. Returns how many bytes of plaintext that were.
    ///
    /// What is not said to be written must stand at the front of what is written next: some of it
    /// may be sealed already.
    ///
    /// # Errors
    /// Those of `send`, also `WouldBlock` if it takes nothing.
    #[inline]
    pub(crate) fn write(&mut self, bytes: &[u8], mut send: impl FnMut(&[u8]) -> io::Result<usize>) -> io::Result<usize> {
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
    pub(crate) fn write_last(&mut self, bytes: &[u8], send: impl FnMut(&[u8]) -> io::Result<usize>) -> io::Result<usize> {
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
        let mut parts = Parts::new(parts);
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
