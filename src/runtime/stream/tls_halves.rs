//! The halves of a TLS stream. The contract of a write is that of
//! [`Sealer::write`](crate::tls::Sealer::write).

use std::fmt;
use std::io::{self, IoSlice};
use std::task::{Context, Poll};

#[cfg(target_os = "linux")]
use rustix::net::{RecvFlags, SendFlags};
#[cfg(target_os = "linux")]
use tokio::io::Interest;
use tokio::net::{TcpStream, tcp};

use crate::tls::{Opened, Opener, Sealer};

/// The half of the task that reads the stream.
pub(crate) struct TlsReadHalf {
    socket: tcp::OwnedReadHalf,
    opener: Opener,
}

impl TlsReadHalf {
    pub(super) fn new(socket: tcp::OwnedReadHalf, opener: Opener) -> TlsReadHalf {
        TlsReadHalf { socket, opener }
    }

    pub(super) fn socket(&self) -> &TcpStream {
        self.socket.as_ref()
    }

    /// Reads once, and adds the plaintext to `plaintext`.
    ///
    /// # Errors
    /// `WouldBlock` if nothing has arrived. Then wait for
    /// [`poll_read_ready`](super::ReadHalf::poll_read_ready).
    #[inline]
    pub(crate) fn try_read(&mut self, plaintext: &mut Vec<u8>) -> io::Result<Opened> {
        let socket: &TcpStream = self.socket.as_ref();
        self.opener.read(plaintext, |room| receive(socket, room))
    }

    /// Reads bytes that the system has, even if tokio does not know of them.
    pub(crate) fn read_unasked(&mut self, plaintext: &mut Vec<u8>) -> io::Result<Opened> {
        #[cfg(target_os = "linux")]
        {
            let socket: &TcpStream = self.socket.as_ref();
            let receive = |room: &mut [u8]| Ok(rustix::net::recv(socket, room, RecvFlags::DONTWAIT)?.0);
            self.opener.read(plaintext, receive)
        }
        #[cfg(not(target_os = "linux"))]
        self.try_read(plaintext)
    }

    pub(super) fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.socket().poll_read_ready(cx)
    }
}

/// The half that any thread may write to.
pub(crate) struct TlsWriteHalf {
    socket: tcp::OwnedWriteHalf,
    sealer: Sealer,
}

impl TlsWriteHalf {
    pub(super) fn new(socket: tcp::OwnedWriteHalf, sealer: Sealer) -> TlsWriteHalf {
        TlsWriteHalf { socket, sealer }
    }

    #[inline]
    pub(super) fn try_write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let socket: &TcpStream = self.socket.as_ref();
        self.sealer.write(bytes, |records| send(socket, records, false))
    }

    pub(super) fn try_write_vectored(&mut self, slices: &[IoSlice<'_>; 3]) -> io::Result<usize> {
        let socket: &TcpStream = self.socket.as_ref();
        let parts = slices.each_ref().map(|slice| &**slice);
        self.sealer.write_vectored(&parts, |records| send(socket, records, false))
    }

    /// Writes the last bytes and a close_notify. The caller shuts the socket down at once if
    /// everything is written.
    pub(super) fn try_write_last(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let socket: &TcpStream = self.socket.as_ref();
        self.sealer.write_last(bytes, |records| send(socket, records, true))
    }

    /// Sends a close_notify, unless it was sent. Returns whether it has left.
    pub(super) fn try_close(&mut self) -> io::Result<bool> {
        let socket: &TcpStream = self.socket.as_ref();
        self.sealer.close(|records| send(socket, records, true))
    }

    /// Drops the half without a shutdown(2). The alert of a connection that has failed is sent.
    pub(super) fn forget(mut self) {
        let socket: &TcpStream = self.socket.as_ref();
        self.sealer.send_alert(|alert| send(socket, alert, false));
        self.socket.forget();
    }
}

impl fmt::Debug for TlsWriteHalf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("TlsWriteHalf").field(&self.socket).finish()
    }
}

/// Receives. A read that does not fill the room has taken everything, and reports to tokio that the
/// next one would block.
#[cfg(target_os = "linux")]
#[inline]
fn receive(socket: &TcpStream, room: &mut [u8]) -> io::Result<usize> {
    let (size, mut received) = (room.len(), None);
    let tried = socket.try_io(Interest::READABLE, || {
        let count = rustix::net::recv(socket, room, RecvFlags::empty())?.0;
        received = Some(count);
        if (1..size).contains(&count) { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(()) }
    });
    match received {
        Some(count) => {
            // `WouldBlock` owns nothing, and dropping it would cost more than this.
            std::mem::forget(tried);
            Ok(count)
        }
        None => tried.map(|()| 0),
    }
}

#[cfg(not(target_os = "linux"))]
fn receive(socket: &TcpStream, room: &mut [u8]) -> io::Result<usize> {
    socket.try_read(room)
}

/// Sends. `is_last`: a FIN follows at once, with which the system sends the bytes.
#[cfg(target_os = "linux")]
#[inline]
fn send(socket: &TcpStream, bytes: &[u8], is_last: bool) -> io::Result<usize> {
    let flags = if is_last { SendFlags::MORE | SendFlags::NOSIGNAL } else { SendFlags::NOSIGNAL };
    socket.try_io(Interest::WRITABLE, || Ok(rustix::net::send(socket, bytes, flags)?))
}

#[cfg(not(target_os = "linux"))]
fn send(socket: &TcpStream, bytes: &[u8], _is_last: bool) -> io::Result<usize> {
    socket.try_write(bytes)
}
