//! TCP listeners on all addresses of a name.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, ToSocketAddrs};

use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use super::options::SocketOptions;

/// How often the system may choose a port that is not free on all addresses of a name.
const ATTEMPTS: usize = 10;

/// Listens on all addresses that a name has, with one port.
pub(super) fn listen(authority: &str, options: &SocketOptions) -> io::Result<Vec<TcpListener>> {
    let mut addresses: Vec<SocketAddr> = Vec::new();
    for address in look_up(authority)? {
        // Several sources may return the same address.
        if !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    let is_chosen_by_system = addresses.len() > 1 && addresses.iter().all(|address| address.port() == 0);
    let mut attempts = if is_chosen_by_system { ATTEMPTS } else { 1 };
    loop {
        attempts -= 1;
        match listen_on_all(&addresses, options) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && attempts > 0 => {}
            listening => return listening,
        }
    }
}

/// Looks up the addresses of `host:port`. The zone of an address, as in `[fe80::1%eth0]:8000`, may
/// be the name of an interface, which the system resolves when it gets the address without its
/// brackets.
fn look_up(authority: &str) -> io::Result<std::vec::IntoIter<SocketAddr>> {
    let zoned = authority.rsplit_once(':').and_then(|(host, port)| {
        let address = host.strip_prefix('[')?.strip_suffix(']').filter(|address| address.contains('%'))?;
        Some((address, port.parse::<u16>().ok()?))
    });
    zoned.map_or_else(|| authority.to_socket_addrs(), |zoned| zoned.to_socket_addrs())
}

/// Listens on all addresses. If one fails, the others are closed.
fn listen_on_all(addresses: &[SocketAddr], options: &SocketOptions) -> io::Result<Vec<TcpListener>> {
    let mut listeners: Vec<TcpListener> = Vec::new();
    let mut missing = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for address in addresses {
        let mut address = *address;
        if let Some(first) = listeners.first()
            && address.port() == 0
        {
            address.set_port(first.local_addr()?.port());
        }
        match listen_at(address, options) {
            Ok(listener) => listeners.push(listener),
            Err(error) if !has_family(address) => missing = error,
            Err(error) => return Err(error),
        }
    }
    if listeners.is_empty() { Err(missing) } else { Ok(listeners) }
}

/// Whether the system has addresses of this kind. A machine without IPv6 may have names with IPv6
/// addresses all the same.
fn has_family(address: SocketAddr) -> bool {
    let loopback: SocketAddr = match address {
        SocketAddr::V4(_) => (Ipv4Addr::LOCALHOST, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::LOCALHOST, 0).into(),
    };
    let socket = Socket::new(Domain::for_address(loopback), Type::STREAM, Some(Protocol::TCP));
    socket.and_then(|socket| socket.bind(&loopback.into())).is_ok()
}

fn listen_at(address: SocketAddr, options: &SocketOptions) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    #[cfg(unix)]
    {
        // A port can be reused at once, while its last connections linger.
        socket.set_reuse_address(true)?;
        socket.set_reuse_port(options.reuse_port)?;
    }
    if let Some(only) = options.ipv6_only.filter(|_| address.is_ipv6()) {
        socket.set_only_v6(only)?;
    }
    // For the connections that inherit it. If this fails, it is set on each of them.
    let _ = socket.set_tcp_nodelay(true);
    socket.bind(&SockAddr::from(address))?;
    socket.listen(options.backlog)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(target_os = "linux")]
    fn addresses(listeners: &[TcpListener]) -> Vec<SocketAddr> {
        listeners.iter().map(|listener| listener.local_addr().unwrap()).collect()
    }

    fn at(ip: [u8; 4], port: u16) -> SocketAddr {
        (Ipv4Addr::from(ip), port).into()
    }

    /// Linux has all of 127.0.0.0/8 on its loopback.
    #[cfg(target_os = "linux")]
    #[test]
    fn all_addresses_of_a_name_get_the_port_that_the_first_one_got() {
        let names = [at([127, 0, 0, 1], 0), at([127, 0, 0, 2], 0), at([127, 0, 0, 3], 0)];
        let listeners = listen_on_all(&names, &SocketOptions::new()).unwrap();
        let port = listeners[0].local_addr().unwrap().port();
        assert_ne!(port, 0);
        assert_eq!(addresses(&listeners), names.map(|name| SocketAddr::new(name.ip(), port)));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn an_address_that_is_taken_fails_all_and_the_others_are_closed_again() {
        let taken = TcpListener::bind(at([127, 0, 0, 2], 0)).unwrap();
        let port = taken.local_addr().unwrap().port();
        let names = [at([127, 0, 0, 1], port), at([127, 0, 0, 2], port)];
        let error = listen_on_all(&names, &SocketOptions::new()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
        TcpListener::bind(names[0]).expect("it has been closed again");
    }

    /// RFC 5737: no machine has 192.0.2.1. The system has IPv4 nevertheless, so this is an error.
    #[test]
    fn an_address_of_another_machine_fails_all() {
        let names = [at([127, 0, 0, 1], 0), at([192, 0, 2, 1], 0)];
        let error = listen_on_all(&names, &SocketOptions::new()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrNotAvailable);
    }

    #[test]
    fn a_name_without_addresses_is_an_error() {
        assert_eq!(listen_on_all(&[], &SocketOptions::new()).unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
