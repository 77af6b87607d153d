//! Checks how the server reads request heads. The result is the same for every cut of the bytes,
//! and the server refuses every ambiguous head.
#![no_main]

use libfuzzer_sys::fuzz_target;
use react_websocket::HttpOptions;
use react_websocket_fuzz::exchange::Exchange;
use react_websocket_fuzz::input::{Cuts, Input};
use react_websocket_fuzz::reference::{self, Head, Limits};

fuzz_target!(|data: &[u8]| {
    let mut input = Input::new(data);
    let small = input.byte();
    let cuts = input.cuts();
    let limits = match small {
        0 => Limits { line: 8 * 1024, head: 16 * 1024, headers: 100, body: 64 * 1024 },
        small => {
            let small = usize::from(small);
            Limits { line: small, head: 2 * small, headers: small & 7, body: small & 31 }
        }
    };
    let options = HttpOptions::new()
        .max_request_line(limits.line)
        .max_head_size(limits.head)
        .max_headers(limits.headers)
        .max_body_size(limits.body);
    let bytes = input.rest();

    let whole = Exchange::with_router(options.clone(), bytes, &Cuts::default());
    for cuts in [cuts, Cuts::bytes()] {
        assert_eq!(Exchange::with_router(options.clone(), bytes, &cuts), whole, "{cuts:?}");
    }
    reference::check(bytes, &whole, &limits);
    if let Some(head) = Head::read(bytes)
        && is_beyond_doubt(&head, &limits)
    {
        // What follows it is another matter.
        assert!(!whole.requests.is_empty(), "{head:?} is refused: {:?}", whole.errors);
    }
});

/// Whether a head has only plain parts that every server accepts, and needs no body.
fn is_beyond_doubt(head: &Head, limits: &Limits) -> bool {
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-./".contains(byte);
    let is_name = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'-';
    let hosts = head.all("host");
    limits.allow(head)
        && head.method != b"CONNECT"
        && head.target.starts_with(b"/")
        && head.target.iter().all(is_plain)
        && (head.is_http_10 || !hosts.is_empty())
        && hosts.iter().all(|host| host.iter().all(is_name))
        && head.framing() == Some(reference::Framing::Length(0))
}
