//! On what a socket listens: all addresses of a name, IPv6 alone, a Unix socket's file with its
//! permissions.

mod support;

use std::collections::HashSet;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, ToSocketAddrs};

use react_websocket::errors::SocketError;
use react_websocket::{HttpServer, SocketOptions, SocketServer};
use support::{Peer, router};

const GET: &str = "GET / HTTP/1.1\r\nHost: example.com\r\n\r\n";

fn has_ipv6() -> bool {
    TcpListener::bind("[::1]:0").is_ok()
}

#[tokio::test]
async fn localhost_is_listened_on_at_all_its_addresses_with_one_port() {
    let socket = SocketServer::new("localhost:0").unwrap();
    let addresses = socket.local_addresses();
    assert_eq!(socket.address(), format!("tcp://{}", addresses[0]), "PHP's `getAddress`");
    let expected: HashSet<IpAddr> = "localhost:0".to_socket_addrs().unwrap().map(|address| address.ip()).collect();
    let expected: HashSet<IpAddr> = expected.into_iter().filter(|ip| ip.is_ipv4() || has_ipv6()).collect();
    assert_eq!(addresses.iter().map(SocketAddr::ip).collect::<HashSet<_>>(), expected);
    assert_eq!(addresses.len(), expected.len());
    assert_eq!(addresses.iter().map(SocketAddr::port).collect::<HashSet<_>>().len(), 1);
    assert_eq!(socket.local_address(), Some(addresses[0]));
    let listening = HttpServer::new(router).listen(socket);
    assert_eq!(listening.local_addresses(), addresses);
    for address in &addresses {
        assert_eq!(Peer::connect(*address).await.ask(GET).await.text(), "router /");
    }
    listening.close().await;
    for address in addresses {
        TcpListener::bind(address).expect("all are closed");
    }
}

#[test]
fn ipv6_only_leaves_the_port_of_ipv4_to_others() {
    if !has_ipv6() {
        return;
    }
    let listen = |only| SocketServer::with_options("[::]:0", SocketOptions::new().ipv6_only(only)).unwrap();
    let ipv4 = |socket: &SocketServer| {
        let port = socket.local_address().unwrap().port();
        SocketServer::new(SocketAddr::from((Ipv4Addr::UNSPECIFIED, port)).to_string())
    };
    let both = listen(false);
    let Err(SocketError::Listen { source, .. }) = ipv4(&both) else { panic!("it takes IPv4 clients too") };
    assert_eq!(source.kind(), io::ErrorKind::AddrInUse);
    let only = listen(true);
    assert_eq!(ipv4(&only).unwrap().local_address().unwrap().ip(), IpAddr::from(Ipv4Addr::UNSPECIFIED));
    assert_eq!(only.local_address().unwrap().ip(), IpAddr::from(Ipv6Addr::UNSPECIFIED));
    let ignored = SocketServer::with_options("127.0.0.1:0", SocketOptions::new().ipv6_only(true));
    assert!(ignored.is_ok(), "an IPv4 socket has no such option");
}

#[test]
#[should_panic(expected = "unix_mode(660) is 0o1224 in octal, which exceeds 0o777: write 0o660 for rw-rw----")]
fn a_mode_that_was_meant_to_be_octal_is_a_mistake() {
    let _ = SocketOptions::new().unix_mode(660);
}

#[cfg(unix)]
mod unix {
    use std::os::unix::fs::PermissionsExt;
    use std::path::PathBuf;

    use react_websocket::{SocketOptions, SocketServer};

    /// A folder of the test's own, which goes with it.
    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Folder {
            let path = std::env::temp_dir().join(format!("react-websocket-{name}-{}", std::process::id()));
            std::fs::create_dir_all(&path).unwrap();
            Folder(path)
        }

        fn socket(&self) -> (PathBuf, String) {
            let path = self.0.join("socket");
            let uri = format!("unix://{}", path.display());
            (path, uri)
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    fn mode(path: &PathBuf) -> u32 {
        std::fs::metadata(path).unwrap().permissions().mode() & 0o7777
    }

    #[test]
    fn the_file_has_the_permissions_that_are_asked_for_whatever_the_umask() {
        let folder = Folder::new("mode");
        let (path, uri) = folder.socket();
        for asked in [0o600, 0o660, 0o666, 0o777, 0o000] {
            let socket = SocketServer::with_options(&uri, SocketOptions::new().unix_mode(asked)).unwrap();
            assert_eq!(mode(&path), asked);
            drop(socket);
            assert!(!path.exists());
        }
        // The umask of the process, as another file has it.
        std::fs::File::create(folder.0.join("file")).unwrap();
        let umask = 0o666 & !mode(&folder.0.join("file"));
        let _socket = SocketServer::new(&uri).unwrap();
        assert_eq!(mode(&path) & 0o666, 0o666 & !umask);
    }
}
