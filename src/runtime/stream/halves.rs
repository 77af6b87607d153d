//! The halves of a stream, so that other threads than the reader's can write to a socket.

use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll};

#[cfg(target_os = "linux")]
use rustix::fd::AsFd;
#[cfg(target_os = "linux")]
use rustix::net::{RecvFlags, SendFlags};
#[cfg(target_os = "linux")]
use tokio::io::Interest;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
#[cfg(target_os = "linux")]
use tokio::net::TcpStream;
use tokio::net::tcp;
#[cfg(unix)]
use tokio::net::unix;

#[cfg(feature = "__tls")]
use super::tls_halves::{TlsReadHalf, TlsWriteHalf};
use crate::runtime::acknowledged::{Acknowledged, keep_little_unsent};

/// A stream that a connection can run on besides a socket: TLS, a pipe in a test, or any other that
/// reads and writes.
pub(crate) trait ByteStream: AsyncRead + AsyncWrite + Send + Unpin + 'static {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin + 'static> ByteStream for T {}

/// The half that the connection's own task keeps.
pub(crate) enum ReadHalf {
    Tcp(tcp::OwnedReadHalf),
    #[cfg(unix)]
    Unix(unix::OwnedReadHalf),
    #[cfg(feature = "__tls")]
    Tls(Box<TlsReadHalf>),
    /// Both halves: only the owner of such a stream can write to it.
    Other(Box<dyn ByteStream>),
}

impl ReadHalf {
    /// Ready when the socket takes bytes again. Always ready for other streams.
    pub(crate) fn poll_write_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            ReadHalf::Tcp(half) => half.as_ref().poll_write_ready(cx),
            #[cfg(unix)]
            ReadHalf::Unix(half) => half.as_ref().poll_write_ready(cx),
            #[cfg(feature = "__tls")]
            ReadHalf::Tls(half) => half.socket().poll_write_ready(cx),
            ReadHalf::Other(_) => Poll::Ready(Ok(())),
        }
    }

    /// Ready when a read may succeed. After a read that has taken everything this is cheaper than
    /// another read. Always ready for other streams.
    #[inline]
    pub(crate) fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            ReadHalf::Tcp(half) => half.as_ref().poll_read_ready(cx),
            #[cfg(unix)]
            ReadHalf::Unix(half) => half.as_ref().poll_read_ready(cx),
            #[cfg(feature = "__tls")]
            ReadHalf::Tls(half) => half.poll_read_ready(cx),
            ReadHalf::Other(_) => Poll::Ready(Ok(())),
        }
    }

    /// Returns whether what is read from the system is what the peer has sent.
    #[inline]
    pub(crate) fn is_plain(&self) -> bool {
        #[cfg(feature = "__tls")]
        return !matches!(self, ReadHalf::Tls(_));
        #[cfg(not(feature = "__tls"))]
        true
    }

    /// Reads the available bytes. Returns `WouldBlock` if nothing has arrived; then wait for
    /// [`poll_read_ready`](ReadHalf::poll_read_ready). Returns `None` if a read needs a waker, and
    /// for TLS, which is read by [`TlsReadHalf::try_read`].
    #[inline]
    pub(crate) fn try_read<'a>(&self, bytes: &'a mut [MaybeUninit<u8>]) -> Option<io::Result<&'a mut [u8]>> {
        #[cfg(target_os = "linux")]
        {
            let mut received = None;
            let tried = match self {
                ReadHalf::Tcp(half) => {
                    half.as_ref().try_io(Interest::READABLE, receive(half.as_ref(), bytes, &mut received))
                }
                ReadHalf::Unix(half) => {
                    half.as_ref().try_io(Interest::READABLE, receive(half.as_ref(), bytes, &mut received))
                }
                #[cfg(feature = "__tls")]
                ReadHalf::Tls(_) => return None,
                ReadHalf::Other(_) => return None,
            };
            Some(match received {
                Some(bytes) => {
                    // `WouldBlock` owns nothing, and dropping it would cost more than this.
                    std::mem::forget(tried);
                    Ok(bytes)
                }
                None => tried.map(|()| Default::default()),
            })
        }
        #[cfg(not(target_os = "linux"))]
        {
            let _ = bytes;
            None
        }
    }

    /// Returns what the peer has acknowledged of the `written` bytes that the stream has accepted.
    pub(crate) fn acknowledged(&self, written: u64) -> Acknowledged {
        match self {
            ReadHalf::Tcp(half) => Acknowledged::of_tcp(half.as_ref(), written),
            #[cfg(unix)]
            ReadHalf::Unix(half) => Acknowledged::of_unix(half.as_ref(), written),
            #[cfg(feature = "__tls")]
            ReadHalf::Tls(half) => Acknowledged::of_tcp(half.socket(), written),
            ReadHalf::Other(_) => Acknowledged::accepted(written),
        }
    }

    /// Makes the kernel keep fewer unsent bytes for a slow peer, so that their number is known.
    pub(crate) fn keep_little_unsent(&self) {
        match self {
            ReadHalf::Tcp(half) => keep_little_unsent(half.as_ref()),
            #[cfg(feature = "__tls")]
            ReadHalf::Tls(half) => keep_little_unsent(half.socket()),
            _ => {}
        }
    }

    /// Reads bytes that the system has, even if tokio does not know of them. `None` for streams
    /// that cannot do that.
    pub(crate) fn read_unasked<'a>(&self, bytes: &'a mut [MaybeUninit<u8>]) -> Option<io::Result<&'a mut [u8]>> {
        #[cfg(target_os = "linux")]
        {
            let received = match self {
                ReadHalf::Tcp(half) => rustix::net::recv(half.as_ref(), bytes, RecvFlags::DONTWAIT),
                ReadHalf::Unix(half) => rustix::net::recv(half.as_ref(), bytes, RecvFlags::DONTWAIT),
                #[cfg(feature = "__tls")]
                ReadHalf::Tls(_) => return None,
                ReadHalf::Other(_) => return None,
            };
            Some(received.map(|((bytes, _), _)| bytes).map_err(io::Error::from))
        }
        #[cfg(not(target_os = "linux"))]
        {
            let _ = bytes;
            None
        }
    }

    /// Returns whether the system has bytes or an end to read that tokio may not know of yet. Only
    /// known of sockets on Linux.
    pub(crate) fn has_unread(&self) -> bool {
        #[cfg(target_os = "linux")]
        {
            let (mut byte, flags) = ([0], RecvFlags::PEEK | RecvFlags::DONTWAIT);
            let peeked = match self {
                ReadHalf::Tcp(half) => rustix::net::recv(half.as_ref(), &mut byte, flags),
                ReadHalf::Unix(half) => rustix::net::recv(half.as_ref(), &mut byte, flags),
                #[cfg(feature = "__tls")]
                ReadHalf::Tls(half) => rustix::net::recv(half.socket(), &mut byte, flags),
                ReadHalf::Other(_) => return false,
            };
            !matches!(peeked, Err(rustix::io::Errno::WOULDBLOCK | rustix::io::Errno::INTR))
        }
        #[cfg(not(target_os = "linux"))]
        false
    }
}

impl AsyncRead for ReadHalf {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            ReadHalf::Tcp(half) => Pin::new(half).poll_read(cx, buf),
            #[cfg(unix)]
            ReadHalf::Unix(half) => Pin::new(half).poll_read(cx, buf),
            // Records are read as they are.
            #[cfg(feature = "__tls")]
            ReadHalf::Tls(_) => Poll::Ready(Err(io::ErrorKind::Unsupported.into())),
            ReadHalf::Other(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

/// The half that any thread may write to, if it is that of a socket.
#[derive(Debug)]
pub(crate) enum WriteHalf {
    Tcp(tcp::OwnedWriteHalf),
    #[cfg(unix)]
    Unix(unix::OwnedWriteHalf),
    #[cfg(feature = "__tls")]
    Tls(Box<TlsWriteHalf>),
    /// Only the task that reads the stream can write to it.
    Owner,
}

impl WriteHalf {
    /// Writes as many bytes as the socket takes now. Returns `WouldBlock` if it takes none, and
    /// always for [`WriteHalf::Owner`].
    ///
    /// What is not said to be written must stand at the front of what is written next: TLS may have
    /// sealed some of it already.
    #[inline]
    pub(crate) fn try_write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            // The system call itself. With several threads libc's wrapper costs some 40
            // instructions more.
            #[cfg(target_os = "linux")]
            WriteHalf::Tcp(half) => send(half.as_ref(), bytes, SendFlags::NOSIGNAL),
            #[cfg(not(target_os = "linux"))]
            WriteHalf::Tcp(half) => half.try_write(bytes),
            #[cfg(unix)]
            WriteHalf::Unix(half) => half.try_write(bytes),
            #[cfg(feature = "__tls")]
            WriteHalf::Tls(half) => half.try_write(bytes),
            WriteHalf::Owner => Err(io::ErrorKind::WouldBlock.into()),
        }
    }

    /// Like [`try_write`](Self::try_write), for the last bytes. The caller shuts the socket down at
    /// once afterwards.
    pub(crate) fn try_write_last(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            #[cfg(target_os = "linux")]
            // The system keeps the bytes back until the FIN, so that both are one segment. That
            // saves 5 % of the cost of a short connection.
            WriteHalf::Tcp(half) => send(half.as_ref(), bytes, SendFlags::MORE | SendFlags::NOSIGNAL),
            #[cfg(feature = "__tls")]
            WriteHalf::Tls(half) => half.try_write_last(bytes),
            _ => self.try_write(bytes),
        }
    }

    /// Like [`try_write`](Self::try_write), with several slices.
    #[inline]
    pub(crate) fn try_write_vectored(&mut self, slices: &[IoSlice<'_>; 3]) -> io::Result<usize> {
        match self {
            WriteHalf::Tcp(half) => half.try_write_vectored(slices),
            #[cfg(unix)]
            WriteHalf::Unix(half) => half.try_write_vectored(slices),
            #[cfg(feature = "__tls")]
            WriteHalf::Tls(half) => half.try_write_vectored(slices),
            WriteHalf::Owner => Err(io::ErrorKind::WouldBlock.into()),
        }
    }

    /// Sends what precedes the FIN of an orderly end: a close_notify over TLS. Returns whether it has
    /// left.
    #[cfg(feature = "__tls")]
    pub(crate) fn try_close(&mut self) -> io::Result<bool> {
        match self {
            WriteHalf::Tls(half) => half.try_close(),
            _ => Ok(true),
        }
    }

    /// Drops the half without a shutdown(2). The socket is closed with its other half.
    pub(crate) fn forget(self) {
        match self {
            WriteHalf::Tcp(half) => half.forget(),
            #[cfg(unix)]
            WriteHalf::Unix(half) => half.forget(),
            #[cfg(feature = "__tls")]
            WriteHalf::Tls(half) => half.forget(),
            WriteHalf::Owner => {}
        }
    }
}

#[cfg(target_os = "linux")]
#[inline]
fn send(stream: &TcpStream, bytes: &[u8], flags: SendFlags) -> io::Result<usize> {
    stream.try_io(Interest::WRITABLE, || Ok(rustix::net::send(stream, bytes, flags)?))
}

/// Reads from the socket. A read that does not fill its buffer has taken everything, and reports to
/// tokio that the next one would block.
///
/// Tokio's own `poll_read` does the same, but costs some hundred instructions more for its handling
/// of wakers.
#[cfg(target_os = "linux")]
#[inline(always)]
fn receive<'a>(
    socket: &impl AsFd,
    bytes: &'a mut [MaybeUninit<u8>],
    received: &mut Option<&'a mut [u8]>,
) -> impl FnOnce() -> io::Result<()> {
    move || {
        let size = bytes.len();
        let ((bytes, _), _) = rustix::net::recv(socket, bytes, RecvFlags::empty())?;
        let is_short = (1..size).contains(&bytes.len());
        *received = Some(bytes);
        if is_short { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(()) }
    }
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests {
    use std::task::Waker;

    use tokio::io::AsyncWriteExt;
    use tokio::net::TcpListener;

    use super::*;

    async fn pair() -> (TcpStream, ReadHalf, WriteHalf) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (accepted, _) = listener.accept().await.unwrap();
        let (read, write) = accepted.into_split();
        (client, ReadHalf::Tcp(read), WriteHalf::Tcp(write))
    }

    #[tokio::test]
    async fn what_the_system_has_is_known() {
        let (client, half, _write) = pair().await;
        assert!(!half.has_unread());
        client.try_write(b"x").unwrap();
        assert!(half.has_unread());
        assert_eq!(read(&half, 10).await.unwrap(), b"x");
        assert!(!half.has_unread());
        drop(client);
        assert!(half.has_unread(), "an end is something");
    }

    /// Waits until a read may succeed, and reads at most `room` bytes.
    async fn read(half: &ReadHalf, room: usize) -> io::Result<Vec<u8>> {
        std::future::poll_fn(|cx| half.poll_read_ready(cx)).await?;
        let mut bytes = vec![MaybeUninit::uninit(); room];
        half.try_read(&mut bytes).unwrap().map(|bytes| bytes.to_vec())
    }

    fn is_ready(half: &ReadHalf) -> bool {
        half.poll_read_ready(&mut Context::from_waker(Waker::noop())).is_ready()
    }

    #[tokio::test]
    async fn a_read_that_does_not_fill_its_buffer_has_taken_all_there_was() {
        let (mut client, half, _write) = pair().await;
        client.write_all(b"hello").await.unwrap();
        assert_eq!(read(&half, 5).await.unwrap(), b"hello");
        assert!(is_ready(&half), "there may be more than the buffer held");
        assert_eq!(read(&half, 5).await.unwrap_err().kind(), io::ErrorKind::WouldBlock);
        assert!(!is_ready(&half));
        client.write_all(b"again").await.unwrap();
        assert_eq!(read(&half, 6).await.unwrap(), b"again");
        assert!(!is_ready(&half), "the system need not be asked again");
        client.write_all(b"and again").await.unwrap();
        assert_eq!(read(&half, 64).await.unwrap(), b"and again", "what comes later is heard of");
    }

    #[tokio::test]
    async fn an_end_behind_the_last_bytes_is_heard_of() {
        let (mut client, half, _write) = pair().await;
        client.write_all(b"bye").await.unwrap();
        client.shutdown().await.unwrap();
        assert_eq!(read(&half, 64).await.unwrap(), b"bye");
        assert_eq!(read(&half, 64).await.unwrap(), b"");
        assert_eq!(read(&half, 64).await.unwrap(), b"", "and it stays the end");
    }

    #[tokio::test]
    async fn an_error_is_one() {
        let (client, half, write) = pair().await;
        client.set_zero_linger().unwrap();
        drop(client);
        assert_eq!(read(&half, 64).await.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
        drop(write);
    }
}
