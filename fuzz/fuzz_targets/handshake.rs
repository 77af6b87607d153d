//! Opening handshakes: a request is accepted exactly if it has everything that RFC 6455 section
//! 4.2.1 requires. A second, plain reading of the request decides that. The response proves that
//! the key was read.
#![no_main]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use libfuzzer_sys::fuzz_target;
use react_websocket::options::Origins;
use react_websocket::{HttpOptions, Response, ServerRequest, WebSocketConnection, WebSocketMiddleware, WebSocketOptions};
use react_websocket_fuzz::exchange::Exchange;
use react_websocket_fuzz::input::Input;
use react_websocket_fuzz::reference::{Body, Framing, Head, trim};
use tungstenite::handshake::derive_accept_key;

/// What a good handshake has. Each is there unless its bit in the input is set; more may follow.
const GOOD: [(&str, &[u8]); 6] = [
    ("Host", b"a:80"),
    ("Upgrade", b"websocket"),
    ("Connection", b"Upgrade"),
    ("Sec-WebSocket-Key", b"dGhlIHNhbXBsZSBub25jZQ=="),
    ("Sec-WebSocket-Version", b"13"),
    ("Origin", b"http://a"),
];

const MORE: [&str; 4] = ["Sec-WebSocket-Protocol", "Content-Length", "Transfer-Encoding", "X-Other"];

const SUBPROTOCOLS: [&str; 2] = ["chat", "b"];

/// The server's default limit.
const BODY_MAX: usize = 64 * 1024;

fuzz_target!(|data: &[u8]| {
    let mut input = Input::new(data);
    let (without, start, options) = (input.byte(), input.byte(), input.byte());
    let cuts = input.cuts();
    let mut bytes = match start & 0x0F {
        1 => b"POST / HTTP/1.1\r\n".to_vec(),
        2 => b"GET / HTTP/1.0\r\n".to_vec(),
        3 => b"HEAD / HTTP/1.1\r\n".to_vec(),
        4 => b"GET http://b/ HTTP/1.1\r\n".to_vec(),
        _ => b"GET / HTTP/1.1\r\n".to_vec(),
    };
    let mut line = |name: &str, value: &[u8]| bytes.extend([name.as_bytes(), b": ", value, b"\r\n"].concat());
    for (place, (name, value)) in GOOD.iter().enumerate() {
        if without & 1 << place == 0 {
            line(name, value);
        }
    }
    while !input.is_empty() {
        let name = usize::from(input.byte()) % (GOOD.len() + MORE.len());
        let name = GOOD.get(name).map_or_else(|| MORE[name - GOOD.len()], |(name, _)| name);
        line(name, input.short());
    }
    bytes.extend_from_slice(b"\r\n");

    let rules = Rules { any_origin: options & 1 != 0, requires_subprotocol: options & 2 != 0 };
    let origins = if rules.any_origin { Origins::any() } else { Origins::same_host() };
    let websocket = WebSocketMiddleware::new().with_options(
        WebSocketOptions::new().origins(origins).subprotocols(SUBPROTOCOLS).require_subprotocol(rules.requires_subprotocol),
    );
    let (opened, refused) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let count = |counter: Arc<AtomicUsize>| {
        move |_: WebSocketConnection| {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    };
    websocket.on("connection", count(opened.clone()));
    websocket.on("error", count(refused.clone()));
    let router = |_: ServerRequest| Response::new(200);
    // How much a head may have is for another target to ask.
    let limits = HttpOptions::new().max_headers(100_000).max_head_size(1 << 20);
    let exchange = Exchange::with((websocket.clone(), router), limits, &bytes, &cuts);

    let answer = Head::read(&as_request(&exchange.answers)).expect("an answer");
    let status = std::str::from_utf8(&answer.target).unwrap_or_default();
    assert!(websocket.is_empty(), "the client has left");
    let head = Head::read(&bytes);
    let verdict = head.as_ref().map_or(Verdict::Refused, |head| rules.verdict(head, &bytes[head.start + head.length..]));
    let told = (opened.load(Ordering::Relaxed), refused.load(Ordering::Relaxed));
    match verdict {
        Verdict::Accepted { may_be_refused: true } if status == "403" => assert_eq!(told, (0, 1)),
        Verdict::Accepted { may_be_refused: true } if status == "400" => assert_eq!(told, (0, 0)),
        Verdict::Accepted { .. } => {
            assert_eq!((status, told), ("101", (1, 0)), "{:?}", String::from_utf8_lossy(&bytes));
            let head = head.expect("a head");
            let key = head.all("sec-websocket-key")[0];
            assert_eq!(answer.all("sec-websocket-accept"), [derive_accept_key(key).as_bytes()]);
            assert_eq!(answer.all("upgrade"), [b"websocket"]);
            assert_eq!(answer.all("connection"), [b"upgrade"]);
            let subprotocol = subprotocol(&head).map(str::as_bytes);
            assert_eq!(answer.all("sec-websocket-protocol"), subprotocol.as_slice());
        }
        Verdict::Refused => {
            assert_eq!(told.0, 0);
            // 501: an unknown transfer coding (RFC 9112 section 6.1).
            let shown = String::from_utf8_lossy(&bytes);
            assert!(status.starts_with('4') || status == "501", "{status} {shown:?}");
            if status == "426" {
                assert_eq!(answer.all("sec-websocket-version"), [b"13"]);
            }
        }
        // A malformed `Host` or `Content-Length` is rejected before a handler sees the request.
        Verdict::Router => assert!(told == (0, 0) && (status == "200" || status == "400"), "{status}"),
    }
});

struct Rules {
    any_origin: bool,
    requires_subprotocol: bool,
}

enum Verdict {
    /// `may_be_refused`: the origin is unlike those of browsers, or the host is unusual.
    Accepted {
        may_be_refused: bool,
    },
    Refused,
    Router,
}

impl Rules {
    /// `rest`: what stands behind the head, since the value of a field may have been the end of it.
    fn verdict(&self, head: &Head, rest: &[u8]) -> Verdict {
        let framing = head.framing();
        let is_ours = head.method == b"GET"
            && !head.is_http_10
            && has(head, "connection", "upgrade")
            && (has(head, "upgrade", "websocket") || !head.all("sec-websocket-key").is_empty());
        let Some(framing) = framing else { return Verdict::Refused };
        if !is_ours {
            let is_whole = matches!(framing.body(rest, BODY_MAX), Body::Complete(..));
            return if is_whole { Verdict::Router } else { Verdict::Refused };
        }
        let is_good = framing == Framing::Length(0)
            && is_host(head.all("host")[0])
            && has(head, "upgrade", "websocket")
            && matches!(head.all("sec-websocket-key")[..], [key] if is_key(key))
            && head.all("sec-websocket-version") == [b"13"]
            && (!self.requires_subprotocol || subprotocol(head).is_some());
        if !is_good {
            return Verdict::Refused;
        }
        let own = head.all("host")[0].to_ascii_lowercase();
        let is_odd = !own.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-.:".contains(byte));
        // The target in absolute form counts instead of Host (RFC 9112 section 3.2.2).
        let host = if head.target.starts_with(b"http://") { b"b".to_vec() } else { own };
        match head.all("origin")[..] {
            _ if self.any_origin => Verdict::Accepted { may_be_refused: is_odd },
            [] => Verdict::Accepted { may_be_refused: is_odd },
            [origin] => {
                let origin = origin.to_ascii_lowercase();
                let Some((authority, port)) = authority(&origin) else { return Verdict::Refused };
                // Addresses of IPv6 have many spellings.
                let are_bracketed = authority.starts_with(b"[") && host.starts_with(b"[");
                let is_same = are_bracketed || without(authority, port) == without(&host, port);
                let has_path = origin.iter().filter(|byte| b"/?#".contains(byte)).count() > 2;
                if is_same { Verdict::Accepted { may_be_refused: is_odd || has_path } } else { Verdict::Refused }
            }
            _ => Verdict::Refused,
        }
    }
}

/// The first subprotocol of ours that was offered.
fn subprotocol(head: &Head) -> Option<&'static str> {
    let lines = head.all("sec-websocket-protocol");
    let offered: Vec<_> = lines.into_iter().flat_map(unquoted_elements).collect();
    SUBPROTOCOLS.into_iter().find(|name| offered.contains(&name.as_bytes()))
}

/// The elements of a list, where a comma inside of double quotes does not separate (RFC 9110 §5.6.4).
fn unquoted_elements(line: &[u8]) -> Vec<&[u8]> {
    let (mut elements, mut begin, mut at, mut quoted) = (Vec::new(), 0, 0, false);
    while let Some(byte) = line.get(at) {
        match byte {
            b'\\' if quoted => at += 1,
            b'"' => quoted = !quoted,
            b',' if !quoted => {
                elements.push(&line[begin..at]);
                begin = at + 1;
            }
            _ => {}
        }
        at += 1;
    }
    elements.push(&line[begin..]);
    elements.into_iter().map(trim).collect()
}

fn has(head: &Head, field: &str, token: &str) -> bool {
    tokens(head, field).iter().any(|other| other.eq_ignore_ascii_case(token.as_bytes()))
}

fn tokens<'a>(head: &'a Head, field: &str) -> Vec<&'a [u8]> {
    head.all(field).into_iter().flat_map(|line| line.split(|byte| *byte == b',')).map(trim).collect()
}

/// 22 characters of base64 and two equals signs.
fn is_key(key: &[u8]) -> bool {
    let is_digit = |byte: &u8| byte.is_ascii_alphanumeric() || b"+/".contains(byte);
    key.len() == 24 && key[..22].iter().all(is_digit) && key[22..] == *b"=="
}

/// `name`, or `name:port`; what else there may be is not looked at.
fn is_host(host: &[u8]) -> bool {
    if let Some(rest) = host.strip_prefix(b"[") {
        // An address of IPv6, and perhaps its zone (RFC 3986 §3.2.2, RFC 6874).
        let Some((address, port)) = std::str::from_utf8(rest).ok().and_then(|rest| rest.split_once(']')) else {
            return false;
        };
        let address = address.split('%').next().unwrap_or_default();
        let port = port.strip_prefix(':').unwrap_or(port);
        return address.parse::<std::net::Ipv6Addr>().is_ok() && (port.is_empty() || port.parse::<u16>().is_ok());
    }
    let mut sides = host.splitn(2, |byte| *byte == b':');
    let (name, port) = (sides.next().unwrap_or_default(), sides.next().unwrap_or_default());
    let port = std::str::from_utf8(port).ok();
    !name.is_empty() && port.is_some_and(|port| port.is_empty() || port.parse::<u16>().is_ok())
}

/// What stands between the scheme and the path of an origin, and the port that goes without saying.
fn authority(origin: &[u8]) -> Option<(&[u8], &'static [u8])> {
    let (rest, port) = match origin.strip_prefix(b"http://") {
        Some(rest) => (rest, &b":80"[..]),
        None => (origin.strip_prefix(b"https://")?, &b":443"[..]),
    };
    Some((rest.split(|byte| b"/?#".contains(byte)).next()?, port))
}

fn without<'a>(host: &'a [u8], port: &[u8]) -> &'a [u8] {
    host.strip_suffix(port).or_else(|| host.strip_suffix(b":")).unwrap_or(host)
}

/// A response's head as if it were a request's, so that it can be read like one: `HTTP/1.1 101 …` as `HTTP/1.1 101
/// HTTP/1.1`.
fn as_request(answer: &[u8]) -> Vec<u8> {
    let end = answer.windows(2).position(|two| two == b"\r\n").unwrap_or(answer.len());
    [b"A ", answer.get(9..12).unwrap_or_default(), b" HTTP/1.1", &answer[end..]].concat()
}
