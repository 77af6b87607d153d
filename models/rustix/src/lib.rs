//! The system calls that a schedule has to control: those for time and for modelled sockets. All
//! others are rustix's own.

pub use ::rustix::{fs, io, process, system};

/// The clocks stand still, so that no turn takes long. There are no timers but tokio's.
pub mod time {
    use ::rustix::io;
    pub use ::rustix::time::*;

    pub fn clock_gettime(_: ClockId) -> Timespec {
        Timespec { tv_sec: 0, tv_nsec: 0 }
    }

    #[cfg(target_os = "linux")]
    pub fn timerfd_create(_: TimerfdClockId, _: TimerfdFlags) -> io::Result<std::os::fd::OwnedFd> {
        Err(io::Errno::NOSYS)
    }
}

pub mod fd {
    pub use crate::net::Socket as AsFd;
}

pub mod net {
    use std::mem::MaybeUninit;

    use ::rustix::io::{Errno, Result};
    use ::rustix::net;
    pub use ::rustix::net::{RecvFlags, SendFlags};
    use tokio::net::{TcpStream, UnixStream};

    /// A socket, of the system or modelled.
    pub trait Socket {
        fn receive(&self, max: usize, flags: RecvFlags) -> Result<Vec<u8>>;
        fn send(&self, bytes: &[u8], flags: SendFlags) -> Result<usize>;
    }

    impl Socket for TcpStream {
        fn receive(&self, max: usize, flags: RecvFlags) -> Result<Vec<u8>> {
            TcpStream::receive(self, max, flags.contains(RecvFlags::PEEK)).map_err(|_| Errno::WOULDBLOCK)
        }

        fn send(&self, bytes: &[u8], _: SendFlags) -> Result<usize> {
            self.try_write(bytes).map_err(|error| match error.kind() {
                std::io::ErrorKind::WouldBlock => Errno::WOULDBLOCK,
                _ => Errno::PIPE,
            })
        }
    }

    impl Socket for UnixStream {
        fn receive(&self, max: usize, flags: RecvFlags) -> Result<Vec<u8>> {
            let mut bytes = vec![0; max];
            let (count, _) = net::recv(self, &mut bytes[..], flags)?;
            bytes.truncate(count);
            Ok(bytes)
        }

        fn send(&self, bytes: &[u8], flags: SendFlags) -> Result<usize> {
            net::send(self, bytes, flags)
        }
    }

    impl<S: Socket + ?Sized> Socket for &S {
        fn receive(&self, max: usize, flags: RecvFlags) -> Result<Vec<u8>> {
            S::receive(self, max, flags)
        }

        fn send(&self, bytes: &[u8], flags: SendFlags) -> Result<usize> {
            S::send(self, bytes, flags)
        }
    }

    /// The target of a read.
    pub trait Buffer {
        type Output;
        fn max(&self) -> usize;
        fn fill(self, bytes: &[u8]) -> Self::Output;
    }

    impl<'a> Buffer for &'a mut [MaybeUninit<u8>] {
        type Output = (&'a mut [u8], &'a mut [MaybeUninit<u8>]);

        fn max(&self) -> usize {
            self.len()
        }

        fn fill(self, bytes: &[u8]) -> Self::Output {
            let (filled, rest) = self.split_at_mut(bytes.len());
            (filled.write_copy_of_slice(bytes), rest)
        }
    }

    impl<const N: usize> Buffer for &mut [u8; N] {
        type Output = usize;

        fn max(&self) -> usize {
            N
        }

        fn fill(self, bytes: &[u8]) -> usize {
            self[..bytes.len()].copy_from_slice(bytes);
            bytes.len()
        }
    }

    /// Reads bytes into the buffer. Returns their number as well.
    pub fn recv<B: Buffer>(socket: impl Socket, buffer: B, flags: RecvFlags) -> Result<(B::Output, usize)> {
        let bytes = socket.receive(buffer.max(), flags)?;
        Ok((buffer.fill(&bytes), bytes.len()))
    }

    pub fn send(socket: impl Socket, bytes: &[u8], flags: SendFlags) -> Result<usize> {
        socket.send(bytes, flags)
    }
}
