//! Frames as a client sends them, made, and as a server sends them, checked.

use crate::input::Input;

/// Maximum size of a message that is made of few bytes of input. A binary message is read in
/// another way when 32 KiB of it have arrived and 32 KiB are missing.
pub const LARGE: usize = 140_000;

/// Frames with correct lengths and masked payloads, which the fuzzer could not guess (RFC 6455
/// section 5.2). Input of each frame: its first byte, a byte whose top bits are two flags, and its
/// payload. The top flag leaves the frame unmasked. The next flag makes its length longer than
/// minimal. After `large` bytes no more large frames follow.
pub fn frames(input: &mut Input<'_>, large: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    while !input.is_empty() {
        let (first, second) = (input.byte(), input.byte());
        let filled: Vec<u8>;
        let payload = match second & 0x3F {
            // Long ones are made of few bytes, so that the input stays small.
            63 => {
                let (length, fill) = (8 * usize::from(input.byte()) * usize::from(input.byte()), input.byte());
                filled = vec![fill; length.min(large.saturating_sub(bytes.len()))];
                &filled[..]
            }
            62 => input.short(),
            length => input.take(length.into()),
        };
        let length = payload.len();
        let (is_masked, is_wide) = (second & 0x80 == 0, second & 0x40 != 0);
        let mask = if is_masked { 0x80 } else { 0 };
        bytes.push(first);
        match length {
            0..126 if !is_wide => bytes.push(mask | length as u8),
            0..=0xFFFF if !is_wide || length < 126 => {
                bytes.push(mask | 126);
                bytes.extend((length as u16).to_be_bytes());
            }
            _ => {
                bytes.push(mask | 127);
                bytes.extend((length as u64).to_be_bytes());
            }
        }
        let key = [first, second, length as u8, 0x5A];
        if is_masked {
            bytes.extend(key);
        }
        let start = bytes.len();
        bytes.extend_from_slice(payload);
        if is_masked {
            for (byte, key) in bytes[start..].iter_mut().zip(key.iter().cycle()) {
                *byte ^= key;
            }
        }
    }
    bytes
}

/// Checks bytes that a server has sent: whole frames, not masked, in the shortest form, in an order that RFC 6455 §5.4
/// allows, and nothing behind a Close. Returns whether the last frame is there whole.
pub fn check_server(bytes: &[u8]) -> bool {
    let (mut rest, mut message, mut is_closed): (_, Option<(u8, Vec<u8>)>, _) = (bytes, None, false);
    while let [first, rest_of_header @ ..] = rest {
        assert!(!is_closed, "a frame {first:x} behind a Close");
        let (fin, opcode) = (first & 0x80 != 0, first & 0x0F);
        assert_eq!(first & 0x70, 0, "a reserved bit");
        let [second, after @ ..] = rest_of_header else { return false };
        assert_eq!(second & 0x80, 0, "a server does not mask");
        let wide = [0, 2, 8][usize::from(second.saturating_sub(125))];
        let Some((length, after)) = after.split_at_checked(wide) else { return false };
        let length = match second {
            0..126 => u64::from(*second),
            _ => length.iter().fold(0, |length, byte| length << 8 | u64::from(*byte)),
        };
        assert!(wide == 0 || length > [0, 0, 125, 0, 0, 0, 0, 0, 0xFFFF][wide], "a length {length} in {wide} bytes");
        let Some((payload, after)) = after.split_at_checked(length as usize) else { return false };
        rest = after;
        match (opcode, &mut message) {
            (0, Some((_, message))) => message.extend_from_slice(payload),
            (1 | 2, message @ None) => *message = Some((opcode, payload.to_vec())),
            (8..=10, _) => {
                assert!(fin && length <= 125, "a control frame of {length} bytes");
                if opcode == 8 {
                    is_closed = true;
                    check_close(payload);
                }
                continue;
            }
            (opcode, message) => panic!("opcode {opcode} in {message:?}"),
        }
        if fin && let Some((1, text)) = message.take() {
            assert!(std::str::from_utf8(&text).is_ok(), "a text {text:?}");
        }
    }
    true
}

/// RFC 6455 §5.5.1, and §7.4 with what IANA has added.
fn check_close(payload: &[u8]) {
    let [high, low, reason @ ..] = payload else {
        return assert!(payload.is_empty(), "half a code");
    };
    let code = u16::from_be_bytes([*high, *low]);
    assert!(matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999), "a Close with {code}");
    assert!(std::str::from_utf8(reason).is_ok(), "a reason {reason:?}");
}
