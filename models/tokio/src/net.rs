//! TCP in memory, with as little room in flight as a model wants.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::net::SocketAddr;
#[cfg(unix)]
use std::os::fd::{AsFd, BorrowedFd};
#[cfg(unix)]
use std::os::unix::net::UnixDatagram;
use std::pin::Pin;
use std::sync::OnceLock;
use std::task::{Context, Poll, Waker};

use ::tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf, Ready};
pub use ::tokio::net::{UnixListener, UnixStream, unix};
use shuttle::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The bytes in flight in one direction.
#[derive(Debug)]
struct Pipe {
    bytes: VecDeque<u8>,
    capacity: usize,
    /// The writer has sent a FIN.
    ended: bool,
    /// The reader has been dropped.
    broken: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

type SharedPipe = Arc<Mutex<Pipe>>;

fn lock(pipe: &SharedPipe) -> MutexGuard<'_, Pipe> {
    pipe.lock().unwrap_or_else(PoisonError::into_inner)
}

fn wake(waker: &mut Option<Waker>) {
    if let Some(waker) = waker.take() {
        waker.wake();
    }
}

/// One end of a connection.
#[derive(Debug)]
pub struct TcpStream {
    incoming: SharedPipe,
    outgoing: SharedPipe,
}

/// The two ends of a connection, with at most `capacity` bytes in flight in each direction.
pub fn pair(capacity: usize) -> (TcpStream, TcpStream) {
    let pipe = || {
        let pipe = Pipe { bytes: VecDeque::new(), capacity, ended: false, broken: false, reader: None, writer: None };
        Arc::new(Mutex::new(pipe))
    };
    let (there, back) = (pipe(), pipe());
    (TcpStream { incoming: there.clone(), outgoing: back.clone() }, TcpStream { incoming: back, outgoing: there })
}

impl TcpStream {
    pub fn nodelay(&self) -> io::Result<bool> {
        Ok(true)
    }

    pub fn set_nodelay(&self, _: bool) -> io::Result<()> {
        Ok(())
    }

    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(HERE)
    }

    pub fn into_split(self) -> (tcp::OwnedReadHalf, tcp::OwnedWriteHalf) {
        let stream = std::sync::Arc::new(self);
        (tcp::OwnedReadHalf(stream.clone()), tcp::OwnedWriteHalf { stream, shuts_down: true })
    }

    /// Returns only what the crate asks for: whether the peer has sent a FIN.
    pub async fn ready(&self, _: Interest) -> io::Result<Ready> {
        Ok(if lock(&self.incoming).ended { Ready::READ_CLOSED } else { Ready::EMPTY })
    }

    pub fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut pipe = lock(&self.incoming);
        if pipe.bytes.is_empty() && !pipe.ended {
            pipe.reader = Some(cx.waker().clone());
            return Poll::Pending;
        }
        Poll::Ready(Ok(()))
    }

    pub fn poll_write_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut pipe = lock(&self.outgoing);
        if pipe.bytes.len() >= pipe.capacity && !pipe.broken {
            pipe.writer = Some(cx.waker().clone());
            return Poll::Pending;
        }
        Poll::Ready(Ok(()))
    }

    /// Calls `io`. Unlike tokio, the socket caches no readiness that it could return instead.
    pub fn try_io<R>(&self, _: Interest, io: impl FnOnce() -> io::Result<R>) -> io::Result<R> {
        io()
    }

    /// Returns `WouldBlock` if the peer has to read first.
    pub fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        let mut pipe = lock(&self.outgoing);
        if pipe.broken || pipe.ended {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        let count = bytes.len().min(pipe.capacity - pipe.bytes.len());
        if count == 0 && !bytes.is_empty() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        pipe.bytes.extend(&bytes[..count]);
        wake(&mut pipe.reader);
        Ok(count)
    }

    /// Returns at most `max` bytes that have arrived, and leaves them there if it only peeks.
    /// Returns `WouldBlock` if nothing has arrived.
    pub fn receive(&self, max: usize, peeks: bool) -> io::Result<Vec<u8>> {
        let mut pipe = lock(&self.incoming);
        if pipe.bytes.is_empty() && !pipe.ended {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let count = max.min(pipe.bytes.len());
        if peeks {
            return Ok(pipe.bytes.iter().take(count).copied().collect());
        }
        let bytes = pipe.bytes.drain(..count).collect();
        wake(&mut pipe.writer);
        Ok(bytes)
    }

    fn shut_down(&self) {
        let mut pipe = lock(&self.outgoing);
        pipe.ended = true;
        wake(&mut pipe.reader);
    }

    fn poll_read(&self, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        loop {
            match self.receive(buffer.remaining(), false) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    std::task::ready!(self.poll_read_ready(cx))?;
                }
                read => return Poll::Ready(read.map(|bytes| buffer.put_slice(&bytes))),
            }
        }
    }
}

/// All modelled sockets have the descriptor of one Unix socket, so that calls for their options
/// compile. Options of TCP fail on it, as on a system that lacks them.
#[cfg(unix)]
impl AsFd for TcpStream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        static SOCKET: OnceLock<UnixDatagram> = OnceLock::new();
        SOCKET.get_or_init(|| UnixDatagram::unbound().expect("a descriptor")).as_fd()
    }
}

impl Drop for TcpStream {
    fn drop(&mut self) {
        self.shut_down();
        let mut pipe = lock(&self.incoming);
        pipe.broken = true;
        wake(&mut pipe.writer);
    }
}

impl AsyncRead for TcpStream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        TcpStream::poll_read(self.get_mut(), cx, buffer)
    }
}

impl AsyncWrite for TcpStream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        loop {
            match self.try_write(bytes) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    std::task::ready!(self.poll_write_ready(cx))?;
                }
                written => return Poll::Ready(written),
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.shut_down();
        Poll::Ready(Ok(()))
    }
}

pub mod tcp {
    use super::*;

    #[derive(Debug)]
    pub struct OwnedReadHalf(pub(super) std::sync::Arc<TcpStream>);

    #[derive(Debug)]
    pub struct OwnedWriteHalf {
        pub(super) stream: std::sync::Arc<TcpStream>,
        pub(super) shuts_down: bool,
    }

    impl AsRef<TcpStream> for OwnedReadHalf {
        fn as_ref(&self) -> &TcpStream {
            &self.0
        }
    }

    impl AsyncRead for OwnedReadHalf {
        fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
            TcpStream::poll_read(&self.0, cx, buffer)
        }
    }

    impl AsRef<TcpStream> for OwnedWriteHalf {
        fn as_ref(&self) -> &TcpStream {
            &self.stream
        }
    }

    impl OwnedWriteHalf {
        pub fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
            self.stream.try_write(bytes)
        }

        pub fn try_write_vectored(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
            let bytes: Vec<u8> = slices.iter().flat_map(|slice| slice.iter().copied()).collect();
            self.stream.try_write(&bytes)
        }

        pub fn forget(mut self) {
            self.shuts_down = false;
        }
    }

    impl Drop for OwnedWriteHalf {
        fn drop(&mut self) {
            if self.shuts_down {
                self.stream.shut_down();
            }
        }
    }
}

/// The only address: every listener and every connection uses it.
const HERE: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 1);

shuttle::lazy_static! {
    static ref BACKLOG: Mutex<Backlog> = Mutex::new(Backlog { streams: VecDeque::new(), is_open: false, acceptor: None });
}

struct Backlog {
    streams: VecDeque<TcpStream>,
    is_open: bool,
    acceptor: Option<Waker>,
}

fn backlog() -> MutexGuard<'static, Backlog> {
    BACKLOG.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Connects to the listener. `None` if there is no listener.
pub fn connect(capacity: usize) -> Option<TcpStream> {
    let (ours, theirs) = pair(capacity);
    let mut backlog = backlog();
    if !backlog.is_open {
        return None;
    }
    backlog.streams.push_back(theirs);
    wake(&mut backlog.acceptor);
    Some(ours)
}

#[derive(Debug)]
pub struct TcpListener(());

impl TcpListener {
    pub fn from_std(_: std::net::TcpListener) -> io::Result<TcpListener> {
        backlog().is_open = true;
        Ok(TcpListener(()))
    }

    pub fn into_std(self) -> io::Result<std::net::TcpListener> {
        Err(io::ErrorKind::Unsupported.into())
    }

    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(HERE)
    }

    pub fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<(TcpStream, SocketAddr)>> {
        let mut backlog = backlog();
        match backlog.streams.pop_front() {
            Some(stream) => Poll::Ready(Ok((stream, HERE))),
            None => {
                backlog.acceptor = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }
}

impl Drop for TcpListener {
    /// Resets the connections that wait to be accepted.
    fn drop(&mut self) {
        let waiting = {
            let mut backlog = backlog();
            backlog.is_open = false;
            std::mem::take(&mut backlog.streams)
        };
        drop(waiting);
    }
}
