//! What a server can be listened on, and which addresses its requests and connections tell.

mod support;

use std::collections::HashSet;
use std::future::Future;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Duration;

use react_websocket::errors::{SocketError, report};
use react_websocket::{
    Error, HttpServer, Response, ServerRequest, SocketOptions, SocketServer, Text, WebSocketConnection, WebSocketMiddleware,
};
use support::*;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::timeout;

const GET: &str = "GET /hello HTTP/1.1\r\nHost: example.com\r\n\r\n";

/// A net under tests over sockets, which would hang otherwise.
async fn in_time<F: Future>(future: F) -> F::Output {
    timeout(Duration::from_secs(30), future).await.expect("in time")
}

async fn get(address: SocketAddr) -> String {
    Peer::connect(address).await.ask(GET).await.text().to_owned()
}

/// A server that answers with what it is called.
fn named(name: &'static str) -> HttpServer {
    HttpServer::new(move |_: ServerRequest| Response::plaintext(name))
}

/// Why a socket could not be made.
fn refused(socket: Result<SocketServer, SocketError>) -> SocketError {
    socket.expect_err("it is refused")
}

// Addresses.

#[tokio::test]
async fn tcp_addresses_in_all_their_forms_are_listened_on() {
    in_time(async {
        let v4 = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let mut forms = vec![("127.0.0.1:0", v4), ("tcp://127.0.0.1:0", v4), ("0", v4), ("tcp://0", v4)];
        if std::net::TcpListener::bind("[::1]:0").is_ok() {
            let v6 = IpAddr::V6(Ipv6Addr::LOCALHOST);
            forms.extend([("[::1]:0", v6), ("tcp://[::1]:0", v6)]);
        }
        for (uri, ip) in forms {
            let socket = SocketServer::new(uri).unwrap_or_else(|error| panic!("{uri}: {error}"));
            let address = socket.local_address().expect("an address");
            assert_eq!(address.ip(), ip, "{uri}");
            assert_ne!(address.port(), 0, "{uri}: the system has chosen");
            let listening = HttpServer::new(router).listen(socket);
            assert_eq!(listening.local_addresses(), [address]);
            assert_eq!(get(address).await, "router /hello", "{uri}");
            listening.close().await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_name_is_looked_up_and_a_port_can_be_chosen() {
    let socket = SocketServer::new(String::from("localhost:0")).unwrap();
    let address = socket.local_address().unwrap();
    assert!(address.ip().is_loopback());
    drop(socket);
    let again = SocketServer::new(format!("tcp://{address}")).unwrap();
    assert_eq!(again.local_address(), Some(address));
    drop(again);
    if address.is_ipv4() {
        let by_port = SocketServer::new(address.port().to_string()).unwrap();
        assert_eq!(by_port.local_address(), Some(address), "a port alone is one of 127.0.0.1");
    }
}

#[test]
fn an_invalid_address_is_an_error_that_shows_valid_addresses() {
    for uri in [
        "",
        "127.0.0.1",
        "localhost",
        "[::1]",
        ":8000",
        "127.0.0.1:",
        "127.0.0.1:http",
        "127.0.0.1:65536",
        "127.0.0.1:-1",
        "65536",
        "tcp://",
        "tcp://127.0.0.1",
        "tcp://127.0.0.1:80/path",
        "udp://127.0.0.1:80",
        "tls://127.0.0.1",
        "http://127.0.0.1:80",
        "unix://",
        "/run/a.sock",
    ] {
        let error = refused(SocketServer::new(uri));
        assert!(matches!(&error, SocketError::InvalidAddress { uri: told } if told == uri), "{error:?}");
        let text =
            format!("invalid address {uri:?}: give a port, host:port, tcp://host:port, tls://host:port or unix:///path");
        assert_eq!(error.to_string(), text);
        assert_eq!(Error::from(error).to_string(), text);
    }
}

#[test]
fn a_port_is_digits_and_nothing_else() {
    for uri in ["+0", "127.0.0.1:+0", "tcp://127.0.0.1:+0"] {
        assert!(matches!(SocketServer::new(uri), Err(SocketError::InvalidAddress { .. })), "{uri}");
    }
}

#[test]
fn an_address_that_cannot_be_bound_is_reported_with_the_systems_error() {
    let socket = SocketServer::new("127.0.0.1:0").unwrap();
    let taken = socket.local_address().unwrap().to_string();
    // 192.0.2.0/24 is for documentation (RFC 5737): no machine has it.
    for (uri, kind) in [
        (taken.as_str(), io::ErrorKind::AddrInUse),
        (&format!("tcp://{taken}"), io::ErrorKind::AddrInUse),
        ("192.0.2.1:0", io::ErrorKind::AddrNotAvailable),
    ] {
        let error = refused(SocketServer::new(uri));
        let text = report(&error).to_string();
        let SocketError::Listen { uri: told, source } = error else { panic!("{error:?}") };
        assert_eq!((told.as_str(), source.kind()), (uri, kind));
        assert_eq!(text, format!("cannot listen on {uri}: {source}"));
    }
}

#[tokio::test]
async fn a_port_whose_last_connections_still_linger_can_be_had_again_at_once() {
    in_time(async {
        let (address, listening) = listen(router);
        let mut peer = Peer::connect(address).await;
        peer.ask(GET).await;
        // The side that closes first is the one whose address lingers.
        listening.close().await;
        assert!(peer.ended().await);
        drop(peer);
        let socket = SocketServer::new(address.to_string()).unwrap();
        HttpServer::new(router).listen(socket);
        assert_eq!(get(address).await, "router /hello");
    })
    .await;
}

#[test]
fn a_socket_is_made_outside_of_a_runtime_and_takes_connections_before_it_is_served() {
    let socket = SocketServer::new("127.0.0.1:0").unwrap();
    let address = socket.local_address().unwrap();
    let early = std::net::TcpStream::connect(address).unwrap();
    early.set_nonblocking(true).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(in_time(async {
        HttpServer::new(router).listen(socket);
        let mut peer = Peer::new(TcpStream::from_std(early).unwrap());
        assert_eq!(peer.ask(GET).await.text(), "router /hello");
    }));
}

/// Not when the first client comes.
#[test]
fn a_runtime_without_time_is_found_when_serving_begins() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().unwrap();
    let socket = SocketServer::new("127.0.0.1:0").unwrap();
    let begin = std::panic::AssertUnwindSafe(|| HttpServer::new(router).listen(socket));
    assert!(runtime.block_on(async { std::panic::catch_unwind(begin) }).is_err());
}

// Several sockets.

#[tokio::test]
async fn one_server_listens_on_an_array_or_a_vec_of_sockets() {
    in_time(async {
        let sockets = || [(); 3].map(|()| SocketServer::new("127.0.0.1:0").unwrap());
        let http = HttpServer::new(router);
        for listening in [http.listen(sockets()), http.listen(Vec::from(sockets()))] {
            let addresses = listening.local_addresses().to_vec();
            assert_eq!(addresses.iter().collect::<HashSet<_>>().len(), 3);
            for address in &addresses {
                assert_eq!(get(*address).await, "router /hello");
            }
            listening.close().await;
            for address in addresses {
                assert!(TcpStream::connect(address).await.is_err(), "all of them are closed");
            }
        }
    })
    .await;
}

#[tokio::test]
async fn local_addresses_are_in_the_order_of_the_sockets() {
    let sockets: Vec<_> = (0..4).map(|_| SocketServer::new("127.0.0.1:0").unwrap()).collect();
    let addresses: Vec<_> = sockets.iter().filter_map(SocketServer::local_address).collect();
    assert_eq!(HttpServer::new(router).listen(sockets).local_addresses(), addresses);
}

#[tokio::test]
async fn with_reuse_port_two_servers_share_a_port_and_both_are_connected_to() {
    in_time(async {
        let shared = || SocketOptions::new().reuse_port(true);
        let first = SocketServer::with_options("127.0.0.1:0", shared()).unwrap();
        let address = first.local_address().unwrap();
        let second = SocketServer::with_options(address.to_string(), shared()).unwrap();
        assert_eq!(second.local_address(), Some(address));
        let error = refused(SocketServer::new(address.to_string()));
        assert!(matches!(error, SocketError::Listen { source, .. } if source.kind() == io::ErrorKind::AddrInUse));
        let (first, _second) = (named("first").listen(first), named("second").listen(second));
        let mut answers = HashSet::new();
        while answers.len() < 2 {
            answers.insert(get(address).await);
        }
        assert_eq!(answers, HashSet::from(["first".to_owned(), "second".to_owned()]));
        first.close().await;
        for _ in 0..20 {
            assert_eq!(get(address).await, "second");
        }
    })
    .await;
}

#[test]
fn without_reuse_port_a_port_is_not_shared() {
    let first = SocketServer::new("127.0.0.1:0").unwrap();
    let address = first.local_address().unwrap().to_string();
    let error = refused(SocketServer::with_options(address, SocketOptions::default().reuse_port(true)));
    assert!(matches!(error, SocketError::Listen { source, .. } if source.kind() == io::ErrorKind::AddrInUse));
}

// Listening sockets of the app.

#[tokio::test]
async fn listeners_of_std_and_of_tokio_are_taken_over() {
    in_time(async {
        let std = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let tokio = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addresses = [std.local_addr().unwrap(), tokio.local_addr().unwrap()];
        // The one of std blocks, which the server changes.
        for (socket, address) in
            [SocketServer::from(std), SocketServer::try_from(tokio).unwrap()].into_iter().zip(addresses)
        {
            assert_eq!(socket.local_address(), Some(address));
            let listening = HttpServer::new(router).listen(socket);
            assert_eq!(get(address).await, "router /hello");
            listening.close().await;
            assert!(TcpStream::connect(address).await.is_err());
        }
    })
    .await;
}

// Events.

#[test]
fn error_is_the_only_event() {
    let socket = SocketServer::new("127.0.0.1:0").unwrap();
    let error = socket.try_on("text", |_| {}).expect_err("no such event");
    assert_eq!(error.to_string(), "there is no event \"text\" on a SocketServer; its events are error");
    let panic = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| socket.on("Error", |_| {}))).unwrap_err();
    let message = panic.downcast_ref::<String>().unwrap();
    assert_eq!(message, "there is no event \"Error\" on a SocketServer; its events are error; did you mean \"error\"?");
    socket.on("error", |error: &SocketError| eprintln!("{error}"));
    assert!(socket.try_on("error", |_| Ok::<(), io::Error>(())).is_ok());
}

/// In a process of its own, since it uses all descriptors of the process.
#[cfg(unix)]
#[test]
fn a_failing_accept_is_reported_at_most_once_a_second_and_serving_continues() {
    const NAME: &str = "a_failing_accept_is_reported_at_most_once_a_second_and_serving_continues";
    if std::env::var_os(NAME).is_some() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        return runtime.block_on(in_time(run_out_of_descriptors()));
    }
    let mut this = std::process::Command::new(std::env::current_exe().unwrap());
    let output = this.args(["--exact", NAME, "--nocapture"]).env(NAME, "").output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
}

#[cfg(unix)]
async fn run_out_of_descriptors() {
    use std::os::fd::AsRawFd;
    use std::time::Instant;

    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    use socket2::{Domain, Socket, Type};

    let socket = SocketServer::new("127.0.0.1:0").unwrap();
    let address = socket.local_address().unwrap();
    let (tell, mut told) = mpsc::unbounded_channel();
    socket.on("error", |_| -> () { panic!("a listener that fails is in nobody's way") });
    socket.on("error", move |error| {
        let _ = tell.send((Instant::now(), report(error).to_string()));
    });
    let listening = HttpServer::new(router).listen(socket);
    let client = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    // The lowest number that is free: all below it are in use.
    let limit = std::fs::File::open("/dev/null").unwrap().as_raw_fd() as u64;
    let before = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: Some(limit), ..before }).unwrap();
    client.connect(&address.into()).unwrap();
    let (first, text) = told.recv().await.unwrap();
    let (second, _) = told.recv().await.unwrap();
    setrlimit(Resource::Nofile, before).unwrap();
    assert!(text.starts_with("cannot accept a connection: "), "{text}");
    assert!(second - first >= Duration::from_secs(1), "{:?}", second - first);
    client.set_nonblocking(true).unwrap();
    let mut peer = Peer::new(TcpStream::from_std(client.into()).unwrap());
    assert_eq!(peer.ask(GET).await.text(), "router /hello", "who waited is served");
    drop(peer);
    listening.close().await;
    while told.recv().await.is_some() {}
}

// Streams that the app has accepted.

/// Reports the addresses of both ends: of a request, in a `connection`, a `text` and a `close`
/// listener, and after the end of the connection.
fn telling() -> (HttpServer, mpsc::UnboundedReceiver<String>) {
    let (tell, told) = mpsc::unbounded_channel();
    let websocket = WebSocketMiddleware::new();
    let tell_of = tell.clone();
    websocket.on("connection", move |connection: WebSocketConnection| {
        let tell = |when: &'static str| {
            let tell = tell_of.clone();
            move |connection: &WebSocketConnection| {
                let ends = (connection.remote_address(), connection.local_address());
                let _ = tell.send(format!("{when} {ends:?}"));
            }
        };
        let request = connection.request().unwrap();
        let _ = tell_of.send(format!("handshake {:?}", (request.remote_address(), request.local_address())));
        tell("connection")(&connection);
        connection.on("text", tell("text"));
        connection.on("close", tell("close"));
    });
    let router = move |request: ServerRequest| {
        let _ = tell.send(format!("request {:?}", (request.remote_address(), request.local_address())));
        Response::plaintext("ok")
    };
    (HttpServer::new((websocket, router)), told)
}

/// One request and then a whole WebSocket connection.
async fn visit<S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin>(
    mut peer: Peer<S>,
    told: &mut mpsc::UnboundedReceiver<String>,
    remote: Option<SocketAddr>,
    local: Option<SocketAddr>,
) {
    peer.ask(GET).await;
    peer.shake_hands().await;
    peer.send([text("hello"), close(1000, "")].concat()).await;
    assert_eq!(peer.closed().await, (Some(1000), String::new()));
    assert!(peer.ended().await);
    for when in ["request", "handshake", "connection", "text", "close"] {
        assert_eq!(told.recv().await.unwrap(), format!("{when} {:?}", (remote, local)));
    }
}

#[tokio::test]
async fn requests_and_connections_over_tcp_have_the_addresses_of_both_ends() {
    in_time(async {
        let (http, mut told) = telling();
        let (address, _listening) = listen_with(http);
        let peer = Peer::connect(address).await;
        let (remote, local) = (peer.stream.local_addr().unwrap(), peer.stream.peer_addr().unwrap());
        assert_eq!(local, address);
        visit(peer, &mut told, Some(remote), Some(local)).await;
    })
    .await;
}

#[tokio::test]
async fn a_socket_that_listens_on_all_addresses_reports_the_address_of_each_connection() {
    in_time(async {
        let (http, mut told) = telling();
        let socket = SocketServer::new("0.0.0.0:0").unwrap();
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, socket.local_address().unwrap().port()));
        http.listen(socket);
        let peer = Peer::connect(address).await;
        let remote = peer.stream.local_addr().unwrap();
        visit(peer, &mut told, Some(remote), Some(address)).await;
    })
    .await;
}

#[tokio::test]
async fn a_listener_that_waits_is_polled_once_each_time_it_is_woken() {
    in_time(async {
        let (polls, waker) = (Arc::new(AtomicUsize::new(0)), Arc::new(Mutex::new(None)));
        let (counted, waiting) = (polls.clone(), waker.clone());
        let (address, _listening) = listen_with(websockets(move |connection| {
            let (polls, waker) = (counted.clone(), waiting.clone());
            connection.on("text", move |_: Text| {
                let (polls, waker) = (polls.clone(), waker.clone());
                std::future::poll_fn(move |cx| {
                    polls.fetch_add(1, Ordering::Relaxed);
                    *waker.lock().unwrap() = Some(cx.waker().clone());
                    Poll::<()>::Pending
                })
            });
        }));
        let mut peer = Peer::open(address).await;
        peer.send(text("hi")).await;
        for _ in 0..3 {
            // The pings' answers tell that the server has been there and has nothing more to do.
            peer.send(frame(0x89, b"")).await;
            peer.frame().await.unwrap();
            let before = polls.load(Ordering::Relaxed);
            assert!(before > 0);
            waker.lock().unwrap().take().unwrap().wake();
            while polls.load(Ordering::Relaxed) == before {
                tokio::task::yield_now().await;
            }
            assert_eq!(polls.load(Ordering::Relaxed), before + 1);
        }
    })
    .await;
}

#[tokio::test]
async fn after_its_close_a_connection_has_no_addresses() {
    in_time(async {
        let kept = Arc::new(Mutex::new(None));
        let keep = kept.clone();
        let (address, listening) = listen_with(websockets(move |connection| *keep.lock().unwrap() = Some(connection)));
        let peer = Peer::open(address).await;
        let connection = kept.lock().unwrap().unwrap();
        assert_eq!(connection.local_address(), Some(address));
        drop(peer);
        listening.close().await;
        assert_eq!((connection.remote_address(), connection.local_address()), (None, None));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_stream_in_memory_is_served_and_has_no_addresses() {
    let (http, mut told) = telling();
    let (peer, serving) = Peer::serve(&http);
    visit(peer, &mut told, None, None).await;
    serving.await;
}

#[tokio::test(start_paused = true)]
async fn a_stream_in_memory_has_the_addresses_that_are_given_with_it() {
    for (remote, local) in
        [(Some("192.0.2.1:1"), Some("192.0.2.2:2")), (None, Some("192.0.2.2:2")), (Some("[2001:db8::1]:1"), None)]
    {
        let (remote, local) = (remote.map(|text| text.parse().unwrap()), local.map(|text| text.parse().unwrap()));
        let (http, mut told) = telling();
        let (ours, theirs) = tokio::io::duplex(1024);
        let serving = http.serve_with_addresses(theirs, remote, local);
        visit(Peer::new(ours), &mut told, remote, local).await;
        serving.await;
    }
}

#[tokio::test]
async fn a_socket_that_the_app_accepted_is_served_like_any_stream() {
    in_time(async {
        let (http, mut told) = telling();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        for with_addresses in [false, true] {
            let peer = Peer::connect(address).await;
            let (stream, remote) = listener.accept().await.unwrap();
            let (serving, remote, local) = if with_addresses {
                let (remote, local) = (Some(remote), stream.local_addr().ok());
                (http.serve_with_addresses(stream, remote, local), remote, local)
            } else {
                (http.serve(stream), None, None)
            };
            visit(peer, &mut told, remote, local).await;
            serving.await;
        }
    })
    .await;
}

#[tokio::test]
async fn over_such_a_socket_large_messages_arrive_and_are_answered_to_the_last_byte() {
    in_time(async {
        let http = websockets(|connection| {
            connection.on("binary", move |bytes: &[u8]| connection.write_binary(bytes));
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut peer = Peer::connect(listener.local_addr().unwrap()).await;
        let _serving = http.serve(listener.accept().await.unwrap().0);
        peer.shake_hands().await;
        let payload: Vec<u8> = (0..1_000_000u32).map(|n| (n % 251) as u8).collect();
        peer.send(frame(0x82, &payload)).await;
        assert!(peer.frame().await.unwrap().payload == payload);
    })
    .await;
}

#[cfg(unix)]
mod unix {
    use std::os::unix::fs::FileTypeExt;
    use std::os::unix::net::{UnixListener, UnixStream as StdStream};
    use std::path::{Path, PathBuf};
    use std::sync::atomic::{AtomicU32, Ordering};

    use react_websocket::HttpOptions;
    use react_websocket::options::TrustedProxies;
    use tokio::net::UnixStream;

    use super::*;

    /// A directory of its own for the files of a test.
    struct Directory(PathBuf);

    impl Directory {
        fn new() -> Directory {
            static NEXT: AtomicU32 = AtomicU32::new(0);
            let name = format!("rws-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
            let path = std::env::temp_dir().join(name);
            std::fs::create_dir(&path).unwrap();
            Directory(path)
        }

        fn path(&self) -> PathBuf {
            self.0.join("s")
        }

        fn uri(&self) -> String {
            format!("unix://{}", self.path().display())
        }
    }

    impl Drop for Directory {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    fn is_socket(path: &Path) -> bool {
        std::fs::symlink_metadata(path).is_ok_and(|file| file.file_type().is_socket())
    }

    async fn get(path: &Path) -> String {
        Peer::new(UnixStream::connect(path).await.unwrap()).ask(GET).await.text().to_owned()
    }

    #[tokio::test]
    async fn the_file_is_made_by_new_and_is_gone_when_the_server_is_closed() {
        in_time(async {
            let directory = Directory::new();
            let socket = SocketServer::new(directory.uri()).unwrap();
            assert!(is_socket(&directory.path()));
            assert_eq!(socket.local_address(), None);
            assert_eq!(socket.address(), directory.uri());
            let listening = HttpServer::new(router).listen(socket);
            assert!(listening.local_addresses().is_empty());
            assert_eq!(get(&directory.path()).await, "router /hello");
            listening.close().await;
            assert!(!directory.path().exists());
        })
        .await;
    }

    #[tokio::test]
    async fn the_file_of_a_socket_that_is_not_served_goes_with_it() {
        let directory = Directory::new();
        drop(SocketServer::new(directory.uri()).unwrap());
        assert!(!directory.path().exists());
    }

    #[test]
    fn the_file_goes_with_the_runtime_too() {
        let directory = Directory::new();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            HttpServer::new(router).listen(SocketServer::new(directory.uri()).unwrap());
            assert_eq!(get(&directory.path()).await, "router /hello");
        });
        assert!(is_socket(&directory.path()), "dropping a Listening stops nothing");
        drop(runtime);
        assert!(!directory.path().exists());
    }

    #[tokio::test]
    async fn a_file_that_a_dead_process_left_is_replaced() {
        in_time(async {
            let directory = Directory::new();
            drop(UnixListener::bind(directory.path()).unwrap());
            assert!(is_socket(&directory.path()), "std leaves it");
            let socket = SocketServer::new(directory.uri()).unwrap();
            let listening = HttpServer::new(router).listen(socket);
            assert_eq!(get(&directory.path()).await, "router /hello");
            listening.close().await;
            assert!(!directory.path().exists());
        })
        .await;
    }

    #[tokio::test]
    async fn a_file_that_is_listened_on_is_refused_and_left_alone() {
        in_time(async {
            let directory = Directory::new();
            let first = SocketServer::new(directory.uri()).unwrap();
            let mut error = refused(SocketServer::new(directory.uri()));
            let listening = named("first").listen(first);
            for _ in 0..2 {
                let text = report(&error).to_string();
                let SocketError::Listen { uri, source } = error else { panic!("{error:?}") };
                assert_eq!((uri, source.kind()), (directory.uri(), io::ErrorKind::AddrInUse));
                assert_eq!(text, format!("cannot listen on {}: {source}", directory.uri()));
                error = refused(SocketServer::new(directory.uri()));
            }
            assert_eq!(get(&directory.path()).await, "first");
            listening.close().await;
        })
        .await;
    }

    #[test]
    fn of_two_that_begin_at_once_where_a_dead_process_left_its_file_one_listens() {
        for _ in 0..100 {
            let directory = Directory::new();
            drop(UnixListener::bind(directory.path()).unwrap());
            let together = std::sync::Barrier::new(2);
            let begin = || {
                together.wait();
                SocketServer::new(directory.uri())
            };
            let (one, other) = std::thread::scope(|scope| {
                let one = scope.spawn(begin);
                let other = begin();
                (one.join().unwrap(), other)
            });
            assert!(one.is_ok() != other.is_ok(), "{one:?}, {other:?}");
        }
    }

    /// It is alive all the same.
    #[tokio::test]
    async fn a_file_whose_server_does_not_accept_at_present_is_refused_at_once() {
        in_time(async {
            let directory = Directory::new();
            let busy = socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None).unwrap();
            busy.bind(&socket2::SockAddr::unix(directory.path()).unwrap()).unwrap();
            busy.listen(0).unwrap();
            let _waiting = StdStream::connect(directory.path()).unwrap();
            let uri = directory.uri();
            let refused = tokio::task::spawn_blocking(|| refused(SocketServer::new(uri)));
            let error = refused.await.unwrap();
            assert!(matches!(error, SocketError::Listen { source, .. } if source.kind() == io::ErrorKind::AddrInUse));
        })
        .await;
    }

    #[tokio::test]
    async fn a_file_that_is_no_socket_is_refused_and_left_alone() {
        let directory = Directory::new();
        std::fs::write(directory.path(), "precious").unwrap();
        let error = refused(SocketServer::new(directory.uri()));
        assert!(matches!(error, SocketError::Listen { source, .. } if source.kind() == io::ErrorKind::AddrInUse));
        assert_eq!(std::fs::read_to_string(directory.path()).unwrap(), "precious");
        std::fs::remove_file(directory.path()).unwrap();
        std::fs::create_dir(directory.path()).unwrap();
        refused(SocketServer::new(directory.uri()));
        assert!(directory.path().is_dir());
        refused(SocketServer::new(format!("unix://{}/no/such/directory", directory.path().display())));
    }

    #[tokio::test]
    async fn the_file_of_a_successor_is_left_alone() {
        in_time(async {
            for is_served in [false, true] {
                let directory = Directory::new();
                let first = SocketServer::new(directory.uri()).unwrap();
                std::fs::remove_file(directory.path()).unwrap();
                let second = SocketServer::new(directory.uri()).unwrap();
                if is_served {
                    HttpServer::new(router).listen(first).close().await;
                } else {
                    drop(first);
                }
                assert!(is_socket(&directory.path()));
                let listening = named("second").listen(second);
                assert_eq!(get(&directory.path()).await, "second");
                listening.close().await;
                assert!(!directory.path().exists());
            }
        })
        .await;
    }

    #[tokio::test]
    async fn the_files_of_sockets_that_others_made_are_theirs_to_remove() {
        in_time(async {
            for of_tokio in [false, true] {
                let directory = Directory::new();
                let socket = if of_tokio {
                    let listener = tokio::net::UnixListener::bind(directory.path()).unwrap();
                    SocketServer::try_from(listener).unwrap()
                } else {
                    SocketServer::from(UnixListener::bind(directory.path()).unwrap())
                };
                assert_eq!(socket.local_address(), None);
                let listening = HttpServer::new(router).listen(socket);
                assert_eq!(get(&directory.path()).await, "router /hello");
                listening.close().await;
                assert!(is_socket(&directory.path()));
                assert!(StdStream::connect(directory.path()).is_err(), "but nobody listens any more");
            }
        })
        .await;
    }

    #[tokio::test]
    async fn a_peer_that_reads_late_receives_all_in_order_over_a_unix_socket_and_drain_fires() {
        in_time(async {
            // 3 MiB: more than the socket holds, and less than the hard limit.
            const MESSAGES: usize = 48;
            let directory = Directory::new();
            let http = websockets(|connection| {
                connection.on("drain", move || connection.write("drain"));
                connection.on("text", move |_: &str| {
                    let took: Vec<bool> = (0..MESSAGES).map(|n| connection.write_binary([n as u8; 1 << 16])).collect();
                    assert!(took[0] && !took[MESSAGES - 1], "{took:?}");
                });
            });
            let _listening = http.listen(SocketServer::new(directory.uri()).unwrap());
            let mut peer = Peer::new(UnixStream::connect(directory.path()).await.unwrap());
            peer.shake_hands().await;
            peer.send(support::text("go")).await;
            for n in 0..MESSAGES {
                let frame = peer.frame().await.expect("a message");
                assert!(frame.opcode == 2 && frame.payload == [n as u8; 1 << 16], "message {n}: {frame:?}");
            }
            assert_eq!(peer.text().await, "drain");
        })
        .await;
    }

    #[tokio::test]
    async fn requests_and_connections_over_a_unix_socket_have_no_addresses() {
        in_time(async {
            let directory = Directory::new();
            let (http, mut told) = telling();
            let listening = http.listen(SocketServer::new(directory.uri()).unwrap());
            let peer = Peer::new(UnixStream::connect(directory.path()).await.unwrap());
            visit(peer, &mut told, None, None).await;
            listening.close().await;
        })
        .await;
    }

    #[tokio::test]
    async fn with_trusted_proxies_a_peer_over_a_unix_socket_is_a_proxy() {
        in_time(async {
            let proxies = TrustedProxies::x_forwarded_for(["192.0.2.1"]);
            for (proxies, told) in [(Some(proxies), "Some(198.51.100.1:0) None"), (None, "None None")] {
                let directory = Directory::new();
                let http = HttpServer::new(|request: ServerRequest| {
                    Response::plaintext(format!("{:?} {:?}", request.remote_address(), request.peer_address()))
                });
                let http = http.with_options(HttpOptions::new().trusted_proxies(proxies));
                let listening = http.listen(SocketServer::new(directory.uri()).unwrap());
                let mut peer = Peer::new(UnixStream::connect(directory.path()).await.unwrap());
                let request = "GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 6.6.6.6, 198.51.100.1, 192.0.2.1\r\n\r\n";
                assert_eq!(peer.ask(request).await.text(), told);
                drop(peer);
                listening.close().await;
            }
        })
        .await;
    }

    #[tokio::test]
    async fn one_server_listens_on_tcp_and_unix_sockets_together() {
        in_time(async {
            let directory = Directory::new();
            let tcp = SocketServer::new("127.0.0.1:0").unwrap();
            let address = tcp.local_address().unwrap();
            let listening = HttpServer::new(router).listen([SocketServer::new(directory.uri()).unwrap(), tcp]);
            assert_eq!(listening.local_addresses(), [address]);
            assert_eq!(
                (get(&directory.path()).await, super::get(address).await),
                ("router /hello".into(), "router /hello".into())
            );
            listening.close().await;
            assert!(!directory.path().exists());
            assert!(TcpStream::connect(address).await.is_err());
        })
        .await;
    }

    #[tokio::test]
    async fn a_path_that_is_too_long_is_refused() {
        let error = refused(SocketServer::new(format!("unix:///{}", "x".repeat(200))));
        assert!(matches!(error, SocketError::Listen { .. }), "{error:?}");
    }
}

// ----------------------------------------------------------------------------------------------- broadcasts

/// A number of connections at which a broadcast needs several turns.
const MANY: usize = 600;

#[test]
fn a_broadcast_reaches_all_members_though_its_runtime_no_longer_runs() {
    let server = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let websocket = WebSocketMiddleware::new();
    let handlers = (websocket.clone(), router);
    let (address, _listening) = server.block_on(async { listen(handlers) });
    let open = async || {
        let mut peers = Vec::new();
        for _ in 0..MANY {
            peers.push(Peer::open(address).await);
        }
        peers
    };
    let mut peers = server.block_on(in_time(open()));
    assert_eq!(websocket.len(), MANY);
    let mut read = |texts: &[&str]| {
        server.block_on(in_time(async {
            for peer in &mut peers {
                for text in texts {
                    assert_eq!(peer.text().await, *text);
                }
            }
        }))
    };

    let other = tokio::runtime::Builder::new_current_thread().build().unwrap();
    other.block_on(async { websocket.write_all("while it runs") });
    websocket.write_all("when it does not");
    read(&["while it runs", "when it does not"]);
    other.block_on(async { websocket.write_all("before it ends") });
    drop(other);
    read(&["before it ends"]);
}
