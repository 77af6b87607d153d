//! Headers of the PROXY protocol in front of a request, over a Unix socket: the same wherever the bytes are cut. The request is
//! answered exactly if a valid header precedes it, by a second, plain reading, and has the client of that header.
#![no_main]

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::OnceLock;
use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use react_websocket::options::ProxyProtocol;
use react_websocket::{HttpOptions, HttpServer, Response, ServerRequest, SocketServer};
use react_websocket_fuzz::input::{Cuts, Input};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::runtime::Runtime;
use tokio::time::timeout;

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";

fuzz_target!(|data: &[u8]| {
    let mut input = Input::new(data);
    let cuts = input.cuts();
    let header = input.rest();
    let whole = answer(header, &Cuts::whole());
    assert_eq!(whole, answer(header, &cuts), "cuts make a difference");
    match client_of(header) {
        Some(client) => assert_eq!(whole, Some(format!("{client:?}"))),
        // The header may end before or behind the beginning of the request, and what is left may be a request too.
        None => {
            if let Some(text) = whole {
                let bytes = [header, REQUEST].concat();
                let mut clients = (0..bytes.len()).filter_map(|end| client_of(&bytes[..end]));
                assert!(clients.any(|client| text == format!("{client:?}")), "{text}");
            }
        }
    }
});

/// The client that the router gets, if the request reaches it.
fn answer(header: &[u8], cuts: &Cuts) -> Option<String> {
    static SERVER: OnceLock<(Runtime, PathBuf)> = OnceLock::new();
    let (runtime, path) = SERVER.get_or_init(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        // libFuzzer ends the process without destructors, so the file stays.
        let path = PathBuf::from(format!("{}/target/proxy-{}", env!("CARGO_MANIFEST_DIR"), std::process::id()));
        let _guard = runtime.enter();
        let socket = SocketServer::new(format!("unix://{}", path.display())).expect("a socket");
        let socket = socket.with_proxy_protocol(ProxyProtocol::required(["192.0.2.1"]));
        let http = HttpServer::new(|request: ServerRequest| Response::plaintext(format!("{:?}", request.remote_address())));
        // Nothing of what is malformed is waited for.
        let http = http.with_options(HttpOptions::new().linger(Duration::ZERO));
        http.on("error", |_| ());
        std::mem::forget(http.listen(socket));
        (runtime, path)
    });
    runtime.block_on(async {
        let mut stream = UnixStream::connect(path).await.expect("the server listens");
        let bytes = [header, REQUEST].concat();
        let (mut rest, mut piece) = (&bytes[..], 0);
        while !rest.is_empty() {
            let (now, later) = rest.split_at(cuts.size(piece).min(rest.len()));
            // The server closes a refused connection.
            if stream.write_all(now).await.is_err() {
                break;
            }
            tokio::task::yield_now().await;
            (rest, piece) = (later, piece + 1);
        }
        let _ = stream.shutdown().await;
        let mut answer = Vec::new();
        let read = timeout(Duration::from_secs(20), stream.read_to_end(&mut answer)).await;
        assert!(read.is_ok(), "the connection ends");
        let answer = String::from_utf8_lossy(&answer);
        let (head, body) = answer.split_once("\r\n\r\n")?;
        head.starts_with("HTTP/1.1 200 ").then(|| body.to_owned())
    })
}

/// The client that a header names, or `None` if the bytes are not exactly one valid header.
fn client_of(header: &[u8]) -> Option<Option<SocketAddr>> {
    version_1(header).or_else(|| version_2(header))
}

fn version_1(header: &[u8]) -> Option<Option<SocketAddr>> {
    if header.len() > 107 || header.iter().filter(|byte| **byte == b'\n').count() != 1 {
        return None;
    }
    let line = header.strip_prefix(b"PROXY ")?.strip_suffix(b"\r\n")?;
    if line == b"UNKNOWN" || line.starts_with(b"UNKNOWN ") {
        return Some(None);
    }
    let fields: Vec<&str> = std::str::from_utf8(line).ok()?.split(' ').collect();
    let [protocol, source, destination, source_port, destination_port] = fields[..] else { return None };
    let number = |text: &str| text.parse::<u16>().ok().filter(|port| port.to_string() == text);
    let (source, destination): (IpAddr, IpAddr) = (source.parse().ok()?, destination.parse().ok()?);
    number(destination_port)?;
    let fits = match protocol {
        "TCP4" => source.is_ipv4() && destination.is_ipv4(),
        "TCP6" => source.is_ipv6() && destination.is_ipv6(),
        _ => false,
    };
    fits.then_some(Some(SocketAddr::new(source.to_canonical(), number(source_port)?)))
}

fn version_2(header: &[u8]) -> Option<Option<SocketAddr>> {
    let rest = header.strip_prefix(b"\r\n\r\n\0\r\nQUIT\n")?;
    let [version_command, family, high, low, ref rest @ ..] = *rest else { return None };
    let length = usize::from(high) * 256 + usize::from(low);
    let is_valid = version_command == 0x20 || version_command == 0x21 && family >> 4 <= 3 && family & 0xF <= 2;
    if !is_valid || rest.len() != length || length > 4096 {
        return None;
    }
    if version_command == 0x20 {
        return Some(None);
    }
    let needed = [0, 12, 36, 216][usize::from(family >> 4)];
    if length < needed {
        return None;
    }
    let port = |at: usize| u16::from_be_bytes([rest[at], rest[at + 1]]);
    Some(match family {
        0x11 => Some(SocketAddr::new(<[u8; 4]>::try_from(&rest[..4]).ok()?.into(), port(8))),
        0x21 => Some(SocketAddr::new(IpAddr::from(<[u8; 16]>::try_from(&rest[..16]).ok()?).to_canonical(), port(32))),
        _ => None,
    })
}
