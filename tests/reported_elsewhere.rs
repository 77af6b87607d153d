//! What other servers had reported as bugs, tried here: RFC 9112, RFC 6455 and ReactPHP.
//!
//! Each test names the project and the thread where the report stands.

mod support;

use react_websocket::{
    HttpServer, Response, ServerRequest, SocketError, SocketServer, WebSocketMiddleware, WebSocketOptions,
};
use support::{HANDSHAKE, Log, Peer, router};

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

/// A server whose router tells the target's parts, the host and the body.
fn telling() -> HttpServer {
    HttpServer::new(|request: ServerRequest| {
        let query: Vec<String> = request.query_params().iter().map(|(name, value)| format!("{name}={value}")).collect();
        let body = String::from_utf8_lossy(request.body()).into_owned();
        Response::plaintext([request.path(), &query.join("&"), request.host().unwrap_or_default(), &body].join(" "))
    })
}

/// Notes the `error` events of a server.
fn errors(http: &HttpServer) -> Log {
    let log = Log::default();
    let noting = log.clone();
    http.on("error", move |error| noting.add(error));
    log
}

/// The status of the answer, and its body.
async fn ask(http: &HttpServer, request: impl AsRef<[u8]>) -> (u16, String) {
    let (mut peer, _serving) = Peer::serve(http);
    let answer = peer.ask(request).await;
    (answer.status(), answer.text().to_owned())
}

/// A handshake with more header lines.
fn handshake(lines: &str) -> String {
    HANDSHAKE.replace("\r\n\r\n", &format!("\r\n{lines}\r\n\r\n"))
}

// Requests.

/// RFC 9112 section 7.1.2: trailers are field lines, and whatever is not would be another request
/// to somebody else (zoxy-io/zoxy 244, K0M15/webserv 48, indexdata/yaz 197).
#[tokio::test(start_paused = true)]
async fn what_is_no_field_line_is_no_trailer() {
    let chunked = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n";
    for trailers in ["", "X-A: 1\r\n", "X-A:\r\nx!#$%&'*+-.^_`|~9:\t b \u{e9}:c\r\n", "Content-Length: 5\r\nHost: b\r\n"] {
        let http = telling();
        let log = errors(&http);
        let request = format!("{chunked}{trailers}\r\n");
        assert_eq!(ask(&http, &request).await, (200, "/  a a".into()), "{trailers:?}");
        assert_eq!(log.take(), [""; 0]);
    }
    for trailers in [
        "GET /secret HTTP/1.1\r\nHost: a\r\n",
        "X-A: 1\r\nno colon\r\n",
        "X-A: 1\r\n folded\r\n",
        " X-A: 1\r\n",
        "X-A : 1\r\n",
        "X-A\t: 1\r\n",
        ": 1\r\n",
        "X\u{c4}: 1\r\n",
        "X-A\r\n",
    ] {
        let request = format!("{chunked}{trailers}\r\n{GET}");
        let http = telling();
        let log = errors(&http);
        // All at once, and a byte at a time.
        for capacity in [1 << 20, 1] {
            let (mut peer, _serving) = Peer::serve_with_capacity(&http, capacity);
            let (mut read, mut write) = tokio::io::split(&mut peer.stream);
            let say = async {
                // The server has had enough before the end.
                let _ = tokio::io::AsyncWriteExt::write_all(&mut write, request.as_bytes()).await;
            };
            let mut said = Vec::new();
            let (_, read) = tokio::join!(say, tokio::io::AsyncReadExt::read_to_end(&mut read, &mut said));
            read.unwrap();
            let said = String::from_utf8(said).unwrap();
            assert!(said.starts_with("HTTP/1.1 400 ") && said.matches("HTTP/1.1").count() == 1, "{trailers:?}: {said}");
        }
        assert_eq!(log.take(), ["malformed chunk"; 2], "{trailers:?}");
    }
}

/// RFC 9112 section 3.2, RFC 3986 section 3.2.2: in brackets stands an IPv6 address
/// (caddyserver/caddy 7459).
#[tokio::test(start_paused = true)]
async fn a_host_in_brackets_is_an_ipv6_address() {
    let addresses = [
        ("[::]", true),
        ("[::1]:80", true),
        ("[2001:DB8::192.0.2.33]:", true),
        // With its zone, which some clients do not remove (RFC 6874 section 4).
        ("[fe80::1%25eth0]:8000", true),
        ("[fe80::1%eth0]", true),
        ("[]", false),
        ("[]:80", false),
        ("[12345]", false),
        ("[12345::1]", false),
        ("[123g::1]", false),
        ("[1.2.3.4]", false),
        ("[example.com]:80", false),
        ("[%25eth0]", false),
        ("[fe80::1%]", false),
        ("[fe80::1%25]", false),
        // Nobody knows such an address.
        ("[v1.a]", false),
        ("[::1", false),
        ("::1]", false),
        ("::1", false),
        ("[::1]a", false),
        ("[[::1]]", false),
    ];
    for (host, is_valid) in addresses {
        for (target, header, host) in [("/", host, host), (&format!("http://{host}/"), "a", host)] {
            let http = telling();
            let (status, body) = ask(&http, format!("GET {target} HTTP/1.1\r\nHost: {header}\r\n\r\n")).await;
            assert_eq!(status, if is_valid { 200 } else { 400 }, "Host: {header} of {target}");
            assert!(!is_valid || body == format!("/  {host} "), "{body}");
        }
    }
}

/// ReactPHP percent-encodes what no URI has and goes on (hyperium/http 693, puma/puma 3396). The
/// target stays as it was sent.
#[tokio::test(start_paused = true)]
async fn a_target_may_have_characters_that_no_uri_has() {
    for (target, path, query) in [
        ("/?ids=[\"a\"]", "/", "ids=[\"a\"]"),
        ("/?q=<b>", "/", "q=<b>"),
        ("/?q=`|\\^{}", "/", "q=`|\\^{}"),
        ("/a\"b", "/a%22b", ""),
        ("/<a>?", "/%3Ca%3E", ""),
        ("/a`b?c=\u{e9}", "/a%60b", "c=\u{e9}"),
        ("http://a/<b>?c=\"", "/%3Cb%3E", "c=\""),
    ] {
        assert_eq!(
            ask(&telling(), format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n")).await,
            (200, format!("{path} {query} a ")),
            "{target}"
        );
        let http = HttpServer::new(|request: ServerRequest| Response::plaintext(request.target().to_owned()));
        assert_eq!(ask(&http, format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n")).await.1, target);
    }
    for target in ["http://a\"b/", "http://<a>/", "http://a`/", "<", "\"/\""] {
        assert_eq!(ask(&telling(), format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n")).await.0, 400, "{target}");
    }
}

// Handshakes.

/// RFC 9110 section 5.6.1: a comma inside of quotes does not separate (websockets/ws 1235), for
/// the list of the options and for a closure alike.
#[tokio::test(start_paused = true)]
async fn a_name_inside_of_quotes_is_no_offered_subprotocol() {
    let options = || WebSocketOptions::new();
    let selecting = || options().select_subprotocol(|_, offered| offered.contains(&"chat").then_some("chat"));
    for (offer, selected) in [
        ("x, chat", Some("chat")),
        (" ,\tchat ,", Some("chat")),
        ("\"x, chat, y\"", None),
        ("x=\",chat,\"", None),
        ("\"x\\\", chat\"", None),
        ("\"x\", chat", Some("chat")),
    ] {
        for options in [options().subprotocols(["chat"]), selecting()] {
            let websocket = WebSocketMiddleware::new().with_options(options);
            let (mut peer, _serving) = Peer::serve(&HttpServer::new((websocket, router)));
            let answer = peer.ask(handshake(&format!("Sec-WebSocket-Protocol: {offer}"))).await;
            assert_eq!((answer.status(), answer.header("Sec-WebSocket-Protocol")), (101, selected), "{offer}");
        }
    }
}

// Sockets.

/// A link-local address needs its zone, which is mostly the name of an interface (RFC 4007 section
/// 11; nodejs/node 34518, DNSCrypt/dnscrypt-proxy 531). PHP looks the name up, too.
#[cfg(target_os = "linux")]
#[test]
fn an_ipv6_address_may_have_its_zone() {
    if std::net::TcpListener::bind("[::1]:0").is_err() {
        return;
    }
    // The zone is found. No interface of loopback has the address.
    let failure = |uri: &str| match SocketServer::new(uri) {
        Err(SocketError::Listen { source, .. }) => source.kind(),
        other => panic!("{other:?}"),
    };
    for uri in ["[fe80::b:ad%lo]:0", "tcp://[fe80::b:ad%lo]:0", "[fe80::b:ad%1]:0"] {
        assert_eq!(failure(uri), std::io::ErrorKind::AddrNotAvailable, "{uri}");
    }
    assert_ne!(failure("[fe80::b:ad%no-such]:0"), std::io::ErrorKind::AddrNotAvailable);
    let address = SocketServer::new("[::1%1]:0").unwrap().local_address().unwrap();
    assert_eq!(address.ip(), std::net::Ipv6Addr::LOCALHOST);
}

/// The system would read the path up to its NUL and make another file, which nobody removes
/// (oven-sh/bun 37002, Kludex/zuvloop 116).
#[cfg(unix)]
#[test]
fn a_path_with_a_nul_is_refused() {
    let folder = std::env::temp_dir().join(format!("react-websocket-{}-nul", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let path = folder.join("a").to_str().unwrap().to_owned();
    for uri in [format!("unix://{path}\0b"), format!("unix://{path}\0")] {
        let error = SocketServer::new(&uri).unwrap_err();
        assert!(error.to_string().starts_with(&format!("invalid address {uri:?}: ")), "{error}");
        assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 0);
    }
    std::fs::remove_dir(folder).unwrap();
}

/// On Linux a name that begins with a NUL has no file. PHP listens on it in the same way.
#[cfg(target_os = "linux")]
#[test]
fn an_abstract_name_is_listened_on_and_has_no_file() {
    use std::os::linux::net::SocketAddrExt;
    use std::os::unix::net::{SocketAddr, UnixStream};

    let name = format!("react-websocket {} a\0b", std::process::id());
    let address = SocketAddr::from_abstract_name(&name).unwrap();
    let uri = format!("unix://\0{name}");
    let socket = SocketServer::new(&uri).unwrap();
    UnixStream::connect_addr(&address).unwrap();
    let error = SocketServer::new(&uri).unwrap_err();
    assert!(error.to_string().contains("in use"), "{error}");
    drop(socket);
    assert!(UnixStream::connect_addr(&address).is_err());
    SocketServer::new(&uri).unwrap();
}
