//! The unsent bytes of a connection, and the socket that takes them.
//!
//! Bytes get in by `push` and its siblings, and out by `flush`, on whichever thread holds the slot's
//! lock. The order of bytes never changes: new bytes go to the end, and the socket takes bytes from
//! the front. A stream that only its task can write has no socket here: the task takes the bytes and
//! reports how many it has written.

use std::io::{self, IoSlice};
use std::sync::Arc;

use crate::protocol::Opcode;
use crate::protocol::frame::{self, EncodedHeader};
use crate::runtime::stream::WriteHalf;
use crate::websocket::state::buffers::{self, Buffer};
use crate::websocket::state::log::Log;

/// The unsent bytes of a connection, and its socket.
///
/// Any thread fills and flushes it, under the lock of its slot. It calls no listener.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    /// The connection's own bytes, if there are any. The bytes before its start have been sent.
    buffer: Option<Box<Buffer>>,
    /// Unsent bytes of a broadcast, while the connection has no other unsent bytes.
    range: Option<LogRange>,
    /// Bytes that the connection's task has taken to write them itself.
    taken: usize,
    /// The number of bytes that the system has taken so far.
    written: u64,
    /// The socket. `None` before the 101 has left, after our FIN, and when the socket is broken.
    socket: Option<WriteHalf>,
}

#[derive(Debug)]
struct LogRange {
    log: Arc<Log>,
    start: u32,
    end: u32,
}

/// The result of a flush.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flushed {
    /// All bytes are in the socket.
    All,
    /// The socket takes no more for now, or only the task can write it.
    Full,
    /// There is no socket: not yet, or no longer.
    NotYet,
    /// The socket is broken.
    Broken,
}

impl Outbox {
    /// Returns the number of unsent bytes.
    #[inline(always)]
    pub(crate) fn unsent(&self) -> usize {
        let shared = self.range.as_ref().map_or(0, |range| (range.end - range.start) as usize);
        self.buffer.as_ref().map_or(0, |buffer| buffer.left()) + shared + self.taken
    }

    /// Returns the number of bytes that the system has taken so far.
    pub(crate) fn written(&self) -> u64 {
        self.written
    }

    /// Sets the socket.
    pub(crate) fn attach(&mut self, socket: WriteHalf) {
        self.socket = Some(socket);
    }

    /// Adds a frame. Returns the number of the connection's own bytes.
    #[inline(always)]
    pub(crate) fn push(&mut self, fin: bool, opcode: Opcode, payload: &[u8]) -> usize {
        let own = self.own();
        frame::encode(own, fin, opcode, payload);
        own.len()
    }

    /// Returns whether there are only own bytes, and all of them are unsent unless the socket is
    /// full.
    #[inline(always)]
    pub(crate) fn is_plain(&self) -> bool {
        self.range.is_none()
    }

    #[inline(always)]
    pub(crate) fn own_bytes(&self) -> usize {
        self.buffer.as_ref().map_or(0, |buffer| buffer.bytes.len())
    }

    /// Returns the connection's own bytes, to add encoded frames to.
    #[inline(always)]
    pub(crate) fn own(&mut self) -> &mut Vec<u8> {
        let own = &mut self.buffer.get_or_insert_with(buffers::take).bytes;
        if let Some(range) = self.range.take() {
            range.copy_to(own);
        }
        own
    }

    /// Adds a range of a log. As long as it is the only range to send, nothing is copied.
    #[inline(always)]
    pub(crate) fn push_range(&mut self, log: &Arc<Log>, start: u32, end: u32) {
        match &mut self.range {
            Some(range) if range.end == start && Arc::ptr_eq(&range.log, log) => range.end = end,
            None if self.buffer.as_ref().is_none_or(|buffer| buffer.bytes.is_empty()) => {
                self.range = Some(LogRange { log: log.clone(), start, end })
            }
            _ => self.push_copy(log, start, end),
        }
    }

    #[inline(never)]
    fn push_copy(&mut self, log: &Log, start: u32, end: u32) {
        let own = self.own();
        own.extend_from_slice(log.read().get(start as usize..end as usize).unwrap_or_default());
    }

    /// Sends a large frame at once, and copies only the bytes that the socket does not take.
    #[inline(never)]
    pub(crate) fn push_large(&mut self, opcode: Opcode, payload: &[u8]) -> Flushed {
        let header = EncodedHeader::new(true, opcode, payload.len());
        let header = header.as_bytes();
        if self.range.is_some() {
            self.own();
        }
        let waiting = self.buffer.as_ref().map_or(&[][..], |buffer| buffer.rest());
        let written = match &mut self.socket {
            Some(socket) => {
                socket.try_write_vectored(&[IoSlice::new(waiting), IoSlice::new(header), IoSlice::new(payload)])
            }
            None => Err(io::ErrorKind::WouldBlock.into()),
        };
        // The socket takes the earlier bytes first. The rest of the three slices is kept.
        let waiting = waiting.len();
        let Ok(written) = count(written) else { return self.break_off() };
        self.written += written as u64;
        if written < waiting {
            self.sent(written);
        } else {
            self.release();
        }
        let written = written.saturating_sub(waiting);
        let header_rest = header.get(written.min(header.len())..).unwrap_or_default();
        let payload_rest = payload.get(written.saturating_sub(header.len())..).unwrap_or_default();
        if header_rest.is_empty() && payload_rest.is_empty() {
            return Flushed::All;
        }
        let own = self.own();
        own.reserve(header_rest.len() + payload_rest.len());
        own.extend_from_slice(header_rest);
        own.extend_from_slice(payload_rest);
        if self.socket.is_some() { Flushed::Full } else { Flushed::NotYet }
    }

    /// Writes to the socket once. A socket that takes only a part takes no more for now.
    #[inline(always)]
    pub(crate) fn flush(&mut self) -> Flushed {
        if self.range.is_some() {
            return self.flush_range();
        }
        let Some(socket) = &mut self.socket else { return Flushed::NotYet };
        let bytes = self.buffer.as_ref().map_or(&[][..], |buffer| buffer.rest());
        if bytes.is_empty() {
            self.release();
            return if self.taken == 0 { Flushed::All } else { Flushed::Full };
        }
        match socket.try_write(bytes) {
            Ok(written) if written == bytes.len() => {
                self.written += written as u64;
                self.release();
                Flushed::All
            }
            written => self.wrote_less(written),
        }
    }

    /// Writes the last bytes and a FIN together. Closing the socket would send a FIN as well, but a
    /// reset if the peer has sent more. A reset loses the bytes that the system holds back for the
    /// FIN.
    pub(crate) fn flush_last(&mut self) -> Flushed {
        if self.range.is_some() {
            self.own();
        }
        let bytes = self.buffer.as_ref().map_or(&[][..], |buffer| buffer.rest());
        match &mut self.socket {
            Some(socket) if !bytes.is_empty() => match socket.try_write_last(bytes) {
                Ok(written) if written == bytes.len() => {
                    self.written += written as u64;
                    self.send_fin();
                    Flushed::All
                }
                written => self.wrote_less(written),
            },
            _ => self.flush(),
        }
    }

    #[inline(never)]
    fn wrote_less(&mut self, written: io::Result<usize>) -> Flushed {
        match count(written) {
            Ok(written) => {
                self.sent(written);
                self.written += written as u64;
                Flushed::Full
            }
            Err(_) => self.break_off(),
        }
    }

    #[inline(never)]
    fn flush_range(&mut self) -> Flushed {
        let (Some(socket), Some(range)) = (&mut self.socket, &mut self.range) else { return Flushed::NotYet };
        let log = range.log.read();
        let bytes = log.get(range.start as usize..range.end as usize).unwrap_or_default();
        let Ok(written) = count(socket.try_write(bytes)) else {
            drop(log);
            return self.break_off();
        };
        let all = written == bytes.len();
        drop(log);
        self.written += written as u64;
        if all {
            self.range = None;
            self.release();
            return Flushed::All;
        }
        // The log belongs to the turn, which reuses it. So the unsent bytes are copied.
        range.start += written as u32;
        self.own();
        Flushed::Full
    }

    /// Takes all unsent bytes, for the task of a stream that only its task can write. They count as
    /// unsent until the task calls [`wrote`](Outbox::wrote).
    pub(crate) fn take(&mut self) -> Option<Box<Buffer>> {
        if self.range.is_some() {
            self.own();
        }
        let buffer = self.buffer.take().filter(|buffer| buffer.left() > 0)?;
        self.taken += buffer.left();
        Some(buffer)
    }

    /// Notes that the task has written `bytes` of the bytes that it took.
    pub(crate) fn wrote(&mut self, bytes: usize) {
        self.taken = self.taken.saturating_sub(bytes);
        self.written += bytes as u64;
    }

    /// Drops the unsent bytes and the socket.
    pub(crate) fn break_off(&mut self) -> Flushed {
        self.range = None;
        self.taken = 0;
        self.release();
        if let Some(socket) = self.socket.take() {
            socket.forget();
        }
        Flushed::Broken
    }

    /// Sends a FIN. Unsent bytes are dropped.
    pub(crate) fn send_fin(&mut self) {
        // Dropping this half shuts the socket down.
        drop(self.socket.take());
        self.break_off();
    }

    /// Sends what precedes the FIN of an orderly end, once all bytes are sent. `false` if the socket
    /// does not take it now.
    #[cfg(feature = "__tls")]
    pub(crate) fn close_stream(&mut self) -> bool {
        // A broken socket needs no end.
        self.socket.as_mut().is_none_or(|socket| socket.try_close().unwrap_or(true))
    }

    fn sent(&mut self, bytes: usize) {
        if let Some(buffer) = &mut self.buffer {
            buffer.advance(bytes);
        }
    }

    #[inline(always)]
    fn release(&mut self) {
        if let Some(buffer) = self.buffer.take() {
            buffers::give(buffer);
        }
    }
}

impl LogRange {
    #[cold]
    fn copy_to(self, buffer: &mut Vec<u8>) {
        let LogRange { log, start, end } = self;
        buffer.extend_from_slice(log.read().get(start as usize..end as usize).unwrap_or_default());
    }
}

/// Returns the number of bytes that a write has sent. A full socket has taken 0 bytes, which is not
/// an error.
fn count(written: io::Result<usize>) -> io::Result<usize> {
    match written {
        Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => Ok(0),
        written => written,
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::{TcpListener, TcpStream};

    use super::*;
    use crate::runtime::stream::{Stream, Transport};

    /// This test keeps the socket from becoming empty, so that sent bytes must be freed in between.
    #[tokio::test]
    async fn what_is_sent_is_not_kept_though_something_always_waits() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (peer, _) = listener.accept().await.unwrap();
        let (_read, write) = Stream { transport: Transport::Tcp(stream), remote: None, local: None }.into_halves();
        let mut outbox = Outbox::default();
        outbox.attach(write);
        let mut piece = vec![0; 64 * 1024];
        while outbox.unsent() < 2 << 20 {
            outbox.push(true, Opcode::Binary, &piece);
            outbox.flush();
        }
        let mut read = 0;
        while read < 32 << 20 {
            // Adds as many bytes as were read.
            match peer.try_read(&mut piece) {
                Ok(count) => {
                    read += count;
                    outbox.push(true, Opcode::Binary, &piece[..count]);
                }
                Err(_) => tokio::task::yield_now().await,
            }
            outbox.flush();
            assert!(outbox.unsent() > 0);
            assert!(outbox.own_bytes() <= outbox.unsent() / 4 * 5 + piece.len(), "{} kept", outbox.own_bytes());
        }
    }

    #[tokio::test]
    async fn no_buffer_is_kept_when_all_is_sent() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (_read, write) = Stream { transport: Transport::Tcp(stream), remote: None, local: None }.into_halves();
        let mut outbox = Outbox::default();
        outbox.attach(write);
        outbox.push(true, Opcode::Text, b"one");
        assert_eq!((outbox.flush(), outbox.buffer.is_some()), (Flushed::All, false));
        outbox.own();
        assert_eq!((outbox.flush(), outbox.buffer.is_some()), (Flushed::All, false), "nothing was added");
        outbox.own();
        let log = Log::default();
        log.write().extend_from_slice(b"two");
        outbox.push_range(&Arc::new(log), 0, 3);
        assert_eq!((outbox.flush(), outbox.buffer.is_some()), (Flushed::All, false), "nor was it when a broadcast came");
        outbox.push(true, Opcode::Text, b"three");
        assert_eq!(outbox.push_large(Opcode::Binary, &[0; 64]), Flushed::All);
        assert!(outbox.buffer.is_none());
        assert_eq!((outbox.unsent(), outbox.written()), (0, 5 + 3 + 7 + 66));
    }
}
