//! TLS over a stream that only its owner can write to.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::halves::ByteStream;
use super::tls::{Carrier, Open};
use crate::tls::Established;

/// TLS over such a stream.
pub(super) struct TlsOverStream {
    open: Open,
    carrier: Polled,
}

/// A stream that registers a waker when it is not ready.
struct Polled {
    stream: Box<dyn ByteStream>,
    /// The last write was pending, and has registered a waker. A write that took a part has not.
    is_full: bool,
}

impl TlsOverStream {
    /// An end whose handshake is done.
    pub(super) fn established(stream: Box<dyn ByteStream>, established: Established) -> TlsOverStream {
        TlsOverStream { open: established.into(), carrier: Polled { stream, is_full: false } }
    }
}

/// A stream that would block has to return `Pending`, and to wake its task. Otherwise the task would poll it without end.
fn not_pending(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::WouldBlock => io::Error::other("the stream returned `WouldBlock` instead of `Poll::Pending`"),
        _ => error,
    }
}

impl Carrier for Polled {
    fn receive(&mut self, cx: &mut Context<'_>, room: &mut [u8]) -> io::Result<usize> {
        let mut room = ReadBuf::new(room);
        match Pin::new(&mut self.stream).poll_read(cx, &mut room) {
            Poll::Ready(read) => read.map(|()| room.filled().len()).map_err(not_pending),
            Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
        }
    }

    fn poll_readable(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Pending
    }

    fn send(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> io::Result<usize> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.is_full = written.is_pending();
        match written {
            Poll::Ready(Ok(0)) if !bytes.is_empty() => Err(io::ErrorKind::WriteZero.into()),
            Poll::Ready(written) => written.map_err(not_pending),
            Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
        }
    }

    fn poll_writable(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.is_full { Poll::Pending } else { Poll::Ready(Ok(())) }
    }
}

impl AsyncRead for TlsOverStream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let TlsOverStream { open, carrier } = self.get_mut();
        open.poll_read(carrier, cx, buf)
    }
}

impl AsyncWrite for TlsOverStream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let TlsOverStream { open, carrier } = self.get_mut();
        open.poll_write(carrier, cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let TlsOverStream { open, carrier } = self.get_mut();
        ready!(open.poll_flush(carrier, cx))?;
        Pin::new(&mut carrier.stream).poll_flush(cx)
    }

    /// Sends a close_notify, and ends the stream.
    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let TlsOverStream { open, carrier } = self.get_mut();
        let closed = ready!(open.poll_close(carrier, cx));
        ready!(Pin::new(&mut carrier.stream).poll_shutdown(cx))?;
        Poll::Ready(closed)
    }
}
