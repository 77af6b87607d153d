//! Measures how many of the sent bytes the peer's system has acknowledged.
//!
//! A successful write shows nothing about the peer: the kernel accepts megabytes on its behalf.
//! Only acknowledgements show whether a slow peer is still there.

use tokio::net::TcpStream;
#[cfg(unix)]
use tokio::net::UnixStream;

/// Maximum number of unsent bytes that the kernel keeps for a slow peer. With more,
/// `buffered_amount` and `drain` would describe the kernel's buffer (4 MiB) instead of the peer.
/// The limit is not set for other peers: with it, a megabyte message to a fast peer costs half as
/// much again.
#[cfg(target_os = "linux")]
const NOTSENT_LOWAT: u32 = 128 * 1024;

/// A measure of what a peer has taken. It only grows when the peer takes something.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Acknowledged {
    /// Only the difference of two measures has a meaning. It wraps.
    count: u32,
    /// All sent bytes have been acknowledged, as far as this is known.
    pub(crate) all: bool,
}

impl Acknowledged {
    /// Returns whether the peer has taken something since an earlier measure.
    pub(crate) fn has_grown_since(&self, earlier: Acknowledged) -> bool {
        // A signed difference, so that the measure may wrap. The measure of a Unix socket may also
        // fall.
        (self.count.wrapping_sub(earlier.count) as i32) > 0
    }

    /// Returns the measure of a stream of which only the accepted bytes are known.
    pub(crate) fn accepted(written: u64) -> Acknowledged {
        Acknowledged { count: written as u32, all: true }
    }

    /// Returns what the peer of a TCP socket has acknowledged, by `TCP_INFO`. `written` is the
    /// number of bytes that the socket has accepted, for systems that do not report more.
    pub(crate) fn of_tcp(socket: &TcpStream, written: u64) -> Acknowledged {
        #[cfg(target_os = "linux")]
        if let Some(info) = linux::tcp_info(socket) {
            return info;
        }
        let _ = socket;
        Acknowledged::accepted(written)
    }

    /// Returns what the peer of a Unix socket has read, by `SO_MEMINFO`: the kernel holds the rest.
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

/// Makes the kernel keep fewer unsent bytes for a slow peer.
pub(crate) fn keep_little_unsent(socket: &TcpStream) {
    // If this fails, the kernel uses its default.
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

    /// `SK_MEMINFO_VARS`. One of them is the memory of the bytes that the peer has not read.
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

    /// Returns the memory, including the kernel's own, of the bytes that the peer of a Unix socket
    /// has not read.
    pub(super) fn held_for_peer(socket: &impl AsFd) -> Option<u32> {
        if !kernel_tells() {
            return None;
        }
        // The count of an empty socket is one.
        let info = MemInfo.get(socket).ok()?;
        Some(info.get(WRITE_ALLOCATED)?.saturating_sub(1))
    }

    /// Returns whether the kernel's answers have the length that nix asserts: since Linux 4.12.
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
