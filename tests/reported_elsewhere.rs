//! Bugs that were reported to other projects, tried here.
//!
//! Each test names the rule that it checks, and the projects and threads of the reports.

mod support;

use std::time::Duration;

#[cfg(unix)]
use react_websocket::SocketServer;
#[cfg(target_os = "linux")]
use react_websocket::errors::{SocketError, report};
use react_websocket::{
    GroupManager, HttpOptions, HttpServer, Response, ServerRequest, WebSocketMiddleware, WebSocketOptions,
};
use support::{HANDSHAKE, Log, Peer, listen_with, router, text, websockets};
use tokio::time::timeout;

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

/// RFC 9112 section 7.1.2: each trailer is a field line. Another line could be a request to a proxy
/// (zoxy-io/zoxy 244, K0M15/webserv 48, indexdata/yaz 197).
#[tokio::test(start_paused = true)]
async fn a_trailer_that_is_not_a_field_line_is_refused() {
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
                // The server stops reading before the end.
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
        // The zone is for the client alone, and some clients do not remove it (RFC 6874 section 4).
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
        // No version of an IP address after 6 is known.
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

/// ReactPHP percent-encodes such characters in `getUri` (hyperium/http 693, puma/puma 3396). The
/// target itself stays as it was sent.
#[tokio::test(start_paused = true)]
async fn a_target_may_have_characters_that_a_uri_cannot_have() {
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

/// RFC 9112 section 3: a request line has a version and ends with CR LF (nodejs/llhttp 877).
#[tokio::test(start_paused = true)]
async fn a_request_line_without_a_version_is_malformed_whatever_ends_it() {
    for (end, told) in [("\n", "line without CR LF"), ("\r\n", "malformed request line"), ("\r", "malformed request line")]
    {
        let http = telling();
        let log = errors(&http);
        let request = format!("GET /a{end}Host: a\r\nContent-Length: 5\r\n\r\nhello");
        assert_eq!(ask(&http, request).await.0, 400, "{end:?}");
        assert_eq!(log.take(), [told]);
    }
}

/// RFC 2046 section 5.1.1: a boundary may have these characters. They should be quoted, and some
/// clients do not quote them (mscdex/busboy 139 and 306). A CR at the end of the content belongs to
/// it (openwrt/luci 6282).
#[tokio::test(start_paused = true)]
async fn an_unquoted_boundary_may_have_any_character_and_content_may_end_with_cr() {
    let http = HttpServer::new(|request: ServerRequest| {
        let form = request.parsed_body().unwrap();
        Response::plaintext(format!("{:?} {:?}", form.get("a"), form.files()[0].content))
    });
    for boundary in ["===1656457491496===", "b/QeEbFgqK9PCZo4T/eXv7f", "a:b", "'()+_,-./:=?", "----a"] {
        let body = format!(
            "--{boundary}\r\nContent-Disposition: form-data; name=f; filename=\"\"\r\n\r\n\r\r\n--{boundary}\r\n\
             Content-Disposition: form-data; name=a\r\n\r\nb\r\n\r\r\n--{boundary}--\r\n"
        );
        let head = format!(
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Type: multipart/form-data; boundary={boundary}; x=y\r\n\
             Content-Length: {}\r\n\r\n",
            body.len()
        );
        assert_eq!(ask(&http, head + &body).await, (200, r#"Some("b\r\n\r") b"\r""#.into()), "{boundary}");
    }
}

// Handshakes.

/// RFC 9110 section 5.6.4: a comma in a quoted string does not separate (websockets/ws 1235). This
/// holds for names in the options and for a closure.
#[tokio::test(start_paused = true)]
async fn a_quoted_name_is_not_an_offered_subprotocol() {
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

/// RFC 9110 section 7.8: a 101 has `Connection: upgrade`, even where another response would have
/// `Connection: close` (actix/actix-web 4116).
#[tokio::test(start_paused = true)]
async fn the_last_request_of_a_connection_may_be_a_handshake() {
    let http = websockets(|connection| _ = connection.on("text", move |text: &str| connection.write(text)));
    let http = http.with_options(HttpOptions::new().max_keep_alive_requests(2));
    for request in [HANDSHAKE.to_owned(), HANDSHAKE.replace("Upgrade\r\n", "close, Upgrade\r\n")] {
        let (mut peer, _serving) = Peer::serve(&http);
        assert_eq!(peer.ask(GET).await.status(), 200);
        let answer = peer.ask(request).await;
        assert_eq!((answer.status(), answer.header("Connection")), (101, Some("upgrade")));
        peer.send(text("a")).await;
        assert_eq!(peer.text().await, "a");
    }
}

/// RFC 9112 section 7.1: an empty chunked body ends with its last chunk. Some proxies add one to a
/// request without a length. The frames follow it (envoyproxy/envoy 3301).
#[tokio::test(start_paused = true)]
async fn frames_are_behind_the_empty_body_of_a_handshake() {
    for body in ["0\r\n\r\n", "00;a=b\r\nX-A: 1\r\n\r\n"] {
        let http = websockets(|connection| _ = connection.on("text", move |text: &str| connection.write(text)));
        let (mut peer, _serving) = Peer::serve(&http);
        let request = handshake("Transfer-Encoding: chunked") + body;
        peer.send([request.as_bytes(), &text("a")].concat()).await;
        assert_eq!(peer.answer().await.status(), 101);
        assert_eq!(peer.text().await, "a");
    }
}

/// A proxy that does not wait for the answer to a handshake takes a request behind it for frames,
/// and lets it pass unchecked (kemalcr/kemal 767).
#[tokio::test(start_paused = true)]
async fn a_request_behind_a_refused_handshake_is_not_answered() {
    let secret = |_: ServerRequest| panic!("it is not a request");
    for request in [
        handshake("Origin: http://evil.example"),
        HANDSHAKE.replace("Version: 13", "Version: 8"),
        HANDSHAKE.replace("Upgrade: websocket\r\n", ""),
        HANDSHAKE.replace("Q==", "Q="),
    ] {
        let http = HttpServer::new((WebSocketMiddleware::new(), move |request| -> Response { secret(request) }));
        let (mut peer, _serving) = Peer::serve(&http);
        let answer = peer.ask(format!("{request}GET /secret HTTP/1.1\r\nHost: a\r\n\r\n")).await;
        assert!(answer.status() >= 400, "{request}");
        assert!(peer.ended().await, "{request}");
    }
}

/// RFC 6455 section 9.1: a server may decline every extension (faye/faye-websocket-node 42,
/// websockets/ws 1235).
#[tokio::test(start_paused = true)]
async fn a_malformed_offer_of_extensions_is_not_taken() {
    let (mut peer, _serving) = Peer::serve(&websockets(|_| {}));
    let offers = ["x-webkit-       -frame", "=;;\"", ",", "x; y=\",permessage-deflate,\""];
    let lines = offers.map(|offer| format!("Sec-WebSocket-Extensions: {offer}")).join("\r\n");
    let answer = peer.ask(handshake(&lines)).await;
    assert_eq!((answer.status(), answer.header("Sec-WebSocket-Extensions")), (101, None));
}

// Groups.

/// The broadcast fails for most members, whose `close` listeners write to the same group
/// (uNetworking/uWebSockets 290 and 334, TooTallNate/Java-WebSocket 902).
#[tokio::test]
async fn a_broadcast_may_end_members_whose_listeners_make_broadcasts() {
    let groups = GroupManager::new();
    let all = groups.clone();
    let http = websockets(move |connection| {
        all.join("room", connection).unwrap();
        let all = all.clone();
        connection.on("close", move || all.write("room", "gone"));
    });
    let (address, _listening) = listen_with(http);
    let mut peer = Peer::open(address).await;
    let mut others = Vec::new();
    for _ in 0..9 {
        others.push(Peer::open(address).await);
        others.last().unwrap().stream.set_zero_linger().unwrap();
    }
    // Nobody has seen the resets yet.
    drop(others);
    groups.write("room", "first");
    let mut received = Vec::new();
    while received.len() < 10 {
        received.push(timeout(Duration::from_secs(10), peer.text()).await.expect("a message"));
    }
    assert_eq!(received, [&["first"][..], &["gone"; 9]].concat());
}

// Sockets.

/// RFC 4007 section 11: the zone of a link-local address is the name or the number of an interface
/// (nodejs/node 34518, DNSCrypt/dnscrypt-proxy 531).
#[cfg(target_os = "linux")]
#[test]
fn an_ipv6_address_may_have_its_zone() {
    if std::net::TcpListener::bind("[::1]:0").is_err() {
        return;
    }
    // The interface is found. It does not have the address.
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

/// The system reads a path up to its first NUL, and would make another file (oven-sh/bun 37002,
/// Kludex/zuvloop 116).
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

/// unix(7): on Linux, a path that begins with a NUL is an abstract name (nix-rust/nix 169).
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
    assert!(report(&error).to_string().contains("in use"), "{error}");
    drop(socket);
    assert!(UnixStream::connect_addr(&address).is_err());
    drop(SocketServer::new(&uri).unwrap());
}
