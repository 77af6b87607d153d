//! Checks how the server reads request bodies. The result is the same for every cut of the bytes,
//! and the same as that of a very simple decoder. The body never exceeds the limit.
#![no_main]

use libfuzzer_sys::fuzz_target;
use react_websocket::HttpOptions;
use react_websocket_fuzz::exchange::Exchange;
use react_websocket_fuzz::input::{Cuts, Input};
use react_websocket_fuzz::reference::{self, Body, Framing, Limits};

/// Extensions and trailers together have a limit of 8 KiB, which the plain decoder has not.
const LENGTH_MAX: usize = 8 * 1024;

const NEXT: &[u8] = b"GET /next HTTP/1.1\r\nHost: a\r\n\r\n";

fuzz_target!(|data: &[u8]| {
    if data.len() > LENGTH_MAX {
        return;
    }
    let mut input = Input::new(data);
    let (kind, limit) = (input.byte(), 3 * usize::from(input.byte()));
    let cuts = input.cuts();
    let length = u64::from(input.byte()) * if kind & 4 == 0 { 1 } else { 0x0101_0101_0101_0101 };
    let (framing, line) = match kind & 3 {
        0 => (Framing::Length(length), format!("Content-Length: {length}")),
        _ => (Framing::Chunked, "Transfer-Encoding: chunked".to_owned()),
    };
    let mut body = if kind & 3 == 1 { chunks(&mut input) } else { input.rest().to_vec() };
    if kind & 8 != 0 {
        body.extend_from_slice(NEXT);
    }
    let head = format!("POST / HTTP/1.1\r\nHost: a\r\n{line}\r\n\r\n");
    let bytes = [head.as_bytes(), &body].concat();
    let options = HttpOptions::new().max_body_size(limit);

    let whole = Exchange::with_router(options.clone(), &bytes, &Cuts::default());
    for cuts in [cuts, Cuts::bytes()] {
        assert_eq!(Exchange::with_router(options.clone(), &bytes, &cuts), whole, "{cuts:?}");
    }
    let limits = Limits { line: 8 * 1024, head: 16 * 1024, headers: 100, body: limit };
    let rest = reference::check(&bytes, &whole, &limits);
    let only_error = |name: &str| {
        assert!(whole.requests.is_empty(), "{:?}", whole.requests);
        assert!(whole.errors.len() == 1 && whole.errors[0].starts_with(name), "{name}: {:?}", whole.errors);
    };
    match framing.body(&body, limit) {
        Body::Complete(_, length) => {
            assert!(!whole.requests.is_empty(), "refused: {:?}", whole.errors);
            if &body[length..] == NEXT {
                assert_eq!((whole.requests.len(), rest), (2, &[][..]), "{:?}", whole.errors);
            }
        }
        Body::Incomplete => only_error("Incomplete"),
        Body::Malformed => only_error("Chunk"),
        Body::TooLarge => only_error("BodyTooLarge"),
    }
});

/// Chunks with correct sizes, which the fuzzer could not guess (RFC 9112 section 7.1). Input of
/// each chunk: a byte whose low bits are the size and whose high bits select an irregularity, and
/// then the bytes of the chunk.
fn chunks(input: &mut Input<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let kind = input.byte();
        let chunk = input.take(usize::from(kind & 0x1F));
        let size = match kind >> 5 {
            1 => format!("{:X}", chunk.len()),
            2 => format!("{:016x}", chunk.len()),
            3 => format!("{:017x}", chunk.len()),
            _ => format!("{:x}", chunk.len()),
        };
        bytes.extend_from_slice(size.as_bytes());
        if kind >> 5 == 4 {
            bytes.push(b';');
            bytes.extend_from_slice(input.short());
        }
        bytes.extend_from_slice(b"\r\n");
        if chunk.is_empty() {
            break;
        }
        bytes.extend_from_slice(chunk);
        bytes.extend_from_slice(b"\r\n");
    }
    // Trailers, the empty line, whatever comes.
    bytes.extend_from_slice(input.rest());
    bytes
}
