//! What a peer's system has acknowledged of the bytes sent to it.
//!
//! A write that succeeds says nothing about the peer: the kernel accepts megabytes on its behalf. Whether a slow peer is still
//! there can only be judged by what it acknowledges.

use tokio::net::TcpStream;
#[cfg(unix)]
use tokio::net::UnixStream;

/// Unsent bytes that the kernel keeps for a peer that has been found slow. With more, `buffered_amount` and `drain` would speak
/// of the kernel's buffer (4 MiB) instead of the peer. Peers that are not slow are left alone: a megabyte message to a fast one
/// costs half as much again with this limit.
#[cfg(target_os = "linux")]
const NOTSENT_LOWAT: u32 = 128 * 1024;

/// A measure of what a peer has taken. It grows when the peer takes something; nothing else makes it grow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Acknowledged {
    /// Only differences between two measures have a meaning. It wraps.
    count: u32,
    /// Everything that was sent has been acknowledged, as far as this is known.
    pub(crate) all: bool,
}

impl Acknowledged {
    /// Whether the peer has taken something since an earlier measure.
    pub(crate) fn has_grown_since(&self, earlier: Acknowledged) -> bool {
        // As a signed difference, so that it may wrap. A Unix socket's measure may also fall.
        (self.count.wrapping_sub(earlier.count) as i32) > 0
    }

    /// For a stream of which nothing more is known than what it accepted.
    pub(crate) fn accepted(written: u64) -> Acknowledged {
        Acknowledged { count: written as u32, all: true }
    }

    /// What the peer of a TCP socket has acknowledged, by `TCP_INFO`. `written`: bytes that the socket has accepted, for systems
    /// that do not tell more.
    pub(crate) fn of_tcp(socket: &TcpStream, written: u64) -> Acknowledged {
        #[cfg(target_os = "linux")]
        if let Some(info) = linux::tcp_info(socket) {
            return info;
        }
        let _ = socket;
        Acknowledged::accepted(written)
    }

    /// What the peer of a Unix socket has read, by `SO_MEMINFO`: the kernel holds the rest.
    #[cfg(unix)]
    pub(crate) fn of_unix(socket: &UnixStream, written: u64) -> Acknowledged {
        #[cfg(target_os = "linux")]
        if let Some(held) = linux::held_for_peer(socket) {
            let count = (written as u32).wrapping_sub(held);
            return Acknowledged { count, all: held == 0 };
        }
        let _ = socket;
        Acknowledged::accepted(written)
    }
}

/// Has the kernel keep little for a peer that has been found slow.
pub(crate) fn keep_little_unsent(socket: &TcpStream) {
    // If it cannot be set, the kernel keeps what it keeps.
    #[cfg(target_os = "linux")]
    let _ = socket2::SockRef::from(socket).set_tcp_notsent_lowat(NOTSENT_LOWAT);
    #[cfg(not(target_os = "linux"))]
    let _ = socket;
}

#[cfg(target_os = "linux")]
mod linux {
    use std::os::fd::AsFd;
    use std::sync::OnceLock;

    use nix::sys::socket::GetSockOpt;
    use nix::sys::socket::sockopt::GetStruct;

    use super::Acknowledged;

    /// `struct tcp_info` up to `tcpi_min_rtt`, in words.
    type TcpInfoWords = [u32; 38];
    const UNACKED: usize = 24 / 4;
    /// The low half of `tcpi_bytes_acked`.
    const BYTES_ACKED: usize = if cfg!(target_endian = "little") { 120 / 4 } else { 124 / 4 };
    const NOT_SENT: usize = 144 / 4;

    /// `SK_MEMINFO_VARS`, one of which is the memory of what the peer has not read.
    type MemInfoWords = [u32; 9];
    const WRITE_ALLOCATED: usize = 2;

    #[derive(Clone, Copy)]
    struct TcpInfo;
    nix::getsockopt_impl!(TcpInfo, libc::IPPROTO_TCP, libc::TCP_INFO, TcpInfoWords, GetStruct<TcpInfoWords>);

    #[derive(Clone, Copy)]
    struct MemInfo;
    nix::getsockopt_impl!(MemInfo, libc::SOL_SOCKET, libc::SO_MEMINFO, MemInfoWords, GetStruct<MemInfoWords>);

    pub(super) fn tcp_info(socket: &impl AsFd) -> Option<Acknowledged> {
        if !kernel_tells() {
            return None;
        }
        let info = TcpInfo.get(socket).ok()?;
        let [unacked, count, not_sent] =
            [UNACKED, BYTES_ACKED, NOT_SENT].map(|at| info.get(at).copied().unwrap_or_default());
        Some(Acknowledged { count, all: unacked == 0 && not_sent == 0 })
    }

    /// Bytes of memory, the kernel's own included, that hold what the peer of a Unix socket has not read.
    pub(super) fn held_for_peer(socket: &impl AsFd) -> Option<u32> {
        if !kernel_tells() {
            return None;
        }
        // An empty socket counts one.
        let info = MemInfo.get(socket).ok()?;
        Some(info.get(WRITE_ALLOCATED)?.saturating_sub(1))
    }

    /// Whether the kernel's answers are as long as they are expected to be, which nix asserts: since Linux 4.12.
    fn kernel_tells() -> bool {
        static TELLS: OnceLock<bool> = OnceLock::new();
        *TELLS.get_or_init(|| {
            let name = rustix::system::uname();
            let mut numbers = name.release().to_str().unwrap_or_default().split(|c: char| !c.is_ascii_digit());
            let mut number = || numbers.next().and_then(|number| number.parse::<u32>().ok()).unwrap_or(0);
            (number(), number()) >= (4, 12)
        })
    }
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn a_tcp_peer_acknowledges_what_its_system_has_room_for_and_more_when_it_reads() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (socket, _) = listener.accept().await.unwrap();
        let nothing = Acknowledged::of_tcp(&socket, 0);
        assert!(nothing.all);
        // Until neither system has room for more.
        let mut written = 0;
        while let Ok(count) = socket.try_write(&[0; 64 * 1024]) {
            written += count;
            tokio::task::yield_now().await;
        }
        let full = Acknowledged::of_tcp(&socket, written as u64);
        assert!(full.has_grown_since(nothing) && !full.all);
        assert!(!full.has_grown_since(full));
        let mut read = vec![0; written];
        client.read_exact(&mut read).await.unwrap();
        let mut all = Acknowledged::of_tcp(&socket, written as u64);
        // The last acknowledgement may be delayed.
        while !all.all {
            tokio::task::yield_now().await;
            all = Acknowledged::of_tcp(&socket, written as u64);
        }
        assert!(all.has_grown_since(full));
    }

    #[tokio::test]
    async fn the_peer_of_a_unix_socket_takes_what_it_reads() {
        let (mut socket, mut peer) = UnixStream::pair().unwrap();
        let nothing = Acknowledged::of_unix(&socket, 0);
        assert!(nothing.all);
        socket.write_all(&[0; 100_000]).await.unwrap();
        let unread = Acknowledged::of_unix(&socket, 100_000);
        assert!(!unread.all && !unread.has_grown_since(nothing));
        peer.read_exact(&mut [0; 100_000]).await.unwrap();
        let read = Acknowledged::of_unix(&socket, 100_000);
        assert!(read.all && read.has_grown_since(unread));
    }

    #[test]
    fn a_measure_may_wrap() {
        let before = Acknowledged::accepted(u64::from(u32::MAX));
        assert!(Acknowledged::accepted(u64::from(u32::MAX) + 1).has_grown_since(before));
        assert!(!before.has_grown_since(Acknowledged::accepted(u64::from(u32::MAX) + 1)));
    }
}
