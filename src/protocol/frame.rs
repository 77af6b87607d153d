//! Frame headers in both directions (RFC 6455 §5.2).

use super::mask::MaskKey;
use super::{Opcode, ProtocolError};

/// The bit RSV1 of a frame's first byte, which marks a compressed message (RFC 7692 §6).
#[cfg(feature = "deflate")]
pub(crate) const RSV1: u8 = 0x40;

/// Maximum length of a client's frame header in bytes: two, eight for the length, and four for the
/// masking key.
pub const HEADER_MAX: usize = 14;

impl TryFrom<u8> for Opcode {
    type Error = ProtocolError;

    /// Converts the low four bits of a frame's first byte. A reserved opcode is an error.
    #[inline]
    fn try_from(opcode: u8) -> Result<Opcode, ProtocolError> {
        Ok(match opcode {
            0x0 => Opcode::Continuation,
            0x1 => Opcode::Text,
            0x2 => Opcode::Binary,
            0x8 => Opcode::Close,
            0x9 => Opcode::Ping,
            0xA => Opcode::Pong,
            _ => return Err(ProtocolError::ReservedOpcode { opcode }),
        })
    }
}

/// The header of a received frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameHeader {
    /// Whether this is the last frame of its message.
    pub fin: bool,
    /// The type of the frame.
    pub opcode: Opcode,
    /// The number of payload bytes after the header.
    pub payload_length: u64,
    /// The key of the masked payload. [`MaskKey::NONE`] in a frame of a server.
    pub mask: MaskKey,
    /// The number of bytes of the header itself.
    pub header_length: usize,
    /// Whether the frame begins a compressed message: RSV1 (RFC 7692 §6).
    pub compressed: bool,
}

impl FrameHeader {
    /// Reads a client's frame header from the start of `bytes`. Returns `None` while the header is
    /// incomplete.
    ///
    /// # Errors
    /// The first violated rule, as soon as the byte that violates it has arrived. The rules concern
    /// reserved bits and opcodes, the mask, and control frames: they are neither fragmented nor longer
    /// than 125 bytes. A length must have its shortest form, without the top bit.
    #[inline]
    pub fn decode(bytes: &[u8]) -> Result<Option<FrameHeader>, ProtocolError> {
        FrameHeader::decode_as::<true, false>(bytes)
    }

    /// Reads a server's frame header, whose frame is not masked, like [`decode`](FrameHeader::decode).
    ///
    /// # Errors
    /// Like [`decode`](FrameHeader::decode).
    pub fn decode_unmasked(bytes: &[u8]) -> Result<Option<FrameHeader>, ProtocolError> {
        FrameHeader::decode_as::<false, false>(bytes)
    }

    /// Reads the header of a frame. With `DEFLATE` a text or binary frame may have RSV1.
    #[inline(always)]
    pub(super) fn decode_as<const MASKED: bool, const DEFLATE: bool>(
        bytes: &[u8],
    ) -> Result<Option<FrameHeader>, ProtocolError> {
        let Some(&first) = bytes.first() else { return Ok(None) };
        let compressed = DEFLATE && first & 0x70 == 0x40 && matches!(first & 0x0F, 0x1 | 0x2);
        if first & 0x70 != 0 && !compressed {
            return Err(ProtocolError::ReservedBits { bits: first >> 4 & 0x7 });
        }
        let fin = first & 0x80 != 0;
        let opcode = Opcode::try_from(first & 0x0F)?;
        if opcode.is_control() && !fin {
            return Err(ProtocolError::FragmentedControl { opcode });
        }
        let Some(&second) = bytes.get(1) else { return Ok(None) };
        if (second & 0x80 != 0) != MASKED {
            return Err(if MASKED { ProtocolError::Unmasked } else { ProtocolError::Masked });
        }
        let short = second & 0x7F;
        if opcode.is_control() && short > 125 {
            return Err(ProtocolError::ControlTooLong { opcode });
        }
        let (payload_length, key_at) = match short {
            126 => {
                let Some(length) = bytes.get(2..).and_then(<[u8]>::first_chunk) else { return Ok(None) };
                let length = u64::from(u16::from_be_bytes(*length));
                if length < 126 {
                    return Err(ProtocolError::LengthNotMinimal { length });
                }
                (length, 4)
            }
            127 => {
                let Some(length) = bytes.get(2..).and_then(<[u8]>::first_chunk) else { return Ok(None) };
                let length = u64::from_be_bytes(*length);
                if length >> 63 != 0 {
                    return Err(ProtocolError::LengthTopBit);
                }
                if length <= u64::from(u16::MAX) {
                    return Err(ProtocolError::LengthNotMinimal { length });
                }
                (length, 10)
            }
            short => (u64::from(short), 2),
        };
        if !MASKED {
            let mask = MaskKey::NONE;
            return Ok(Some(FrameHeader { fin, opcode, payload_length, mask, header_length: key_at, compressed }));
        }
        let Some(key) = bytes.get(key_at..).and_then(<[u8]>::first_chunk) else { return Ok(None) };
        let mask = MaskKey::new(*key);
        let header_length = key_at.saturating_add(4);
        Ok(Some(FrameHeader { fin, opcode, payload_length, mask, header_length, compressed }))
    }
}

/// Takes a client's message from the start of `input` and unmasks it. Returns its opcode (text or binary)
/// and its payload. The message must be one complete data frame with a payload of at most `limit`
/// bytes.
///
/// This is the fast path for this form, which nearly all messages have. For all other input,
/// including malformed frames, it returns `None` and leaves the input unchanged for
/// [`Connection::receive`](super::Connection::receive). It also returns `None` for payloads of 64
/// KiB and more, where the fast path would save nothing.
#[inline(always)]
pub fn take_whole_message<'a>(input: &mut &'a mut [u8], limit: usize) -> Option<(Opcode, &'a mut [u8])> {
    let &[first @ (0x81 | 0x82), second @ 0x80..=0xFE, ref after @ ..] = &**input else { return None };
    let (length, header_length, key) = if second == 0xFE {
        let (&[high, low], after) = after.split_first_chunk()?;
        (usize::from(u16::from_be_bytes([high, low])), 8usize, after.first_chunk()?)
    } else {
        (usize::from(second & 0x7F), 6, after.first_chunk()?)
    };
    let (is_minimal, key) = (header_length == 6 || length >= 126, *key);
    let end = header_length.wrapping_add(length);
    if length > limit || end > input.len() || !is_minimal {
        return None;
    }
    let (message, rest) = std::mem::take(input).split_at_mut_checked(end)?;
    *input = rest;
    let payload = message.get_mut(header_length..)?;
    MaskKey::new(key).apply(payload);
    Some((if first == 0x81 { Opcode::Text } else { Opcode::Binary }, payload))
}

/// Takes a server's message, which is not masked, like [`take_whole_message`].
#[inline(always)]
pub fn take_whole_unmasked<'a>(input: &mut &'a mut [u8], limit: usize) -> Option<(Opcode, &'a mut [u8])> {
    let &[first @ (0x81 | 0x82), second @ 0..=0x7E, ref after @ ..] = &**input else { return None };
    let (length, header_length) = if second == 0x7E {
        (usize::from(u16::from_be_bytes(*after.first_chunk()?)), 4usize)
    } else {
        (usize::from(second), 2)
    };
    let is_minimal = header_length == 2 || length >= 126;
    let end = header_length.wrapping_add(length);
    if length > limit || end > input.len() || !is_minimal {
        return None;
    }
    let (message, rest) = std::mem::take(input).split_at_mut_checked(end)?;
    *input = rest;
    let payload = message.get_mut(header_length..)?;
    Some((if first == 0x81 { Opcode::Text } else { Opcode::Binary }, payload))
}

/// The header of a frame that a server sends: unmasked, at most ten bytes.
#[derive(Clone, Copy, Debug)]
pub struct EncodedHeader {
    bytes: [u8; 10],
    length: usize,
}

impl EncodedHeader {
    /// Creates the header of a frame with `payload_length` bytes of payload.
    #[inline]
    pub fn new(fin: bool, opcode: Opcode, payload_length: usize) -> EncodedHeader {
        let first = if fin { 0x80 | opcode as u8 } else { opcode as u8 };
        let [b7, b6, b5, b4, b3, b2, b1, b0] = (payload_length as u64).to_be_bytes();
        let (bytes, length) = match payload_length {
            0..=125 => ([first, b0, 0, 0, 0, 0, 0, 0, 0, 0], 2),
            126..=0xFFFF => ([first, 126, b1, b0, 0, 0, 0, 0, 0, 0], 4),
            _ => ([first, 127, b7, b6, b5, b4, b3, b2, b1, b0], 10),
        };
        EncodedHeader { bytes, length }
    }

    /// Returns the bytes of the header.
    #[inline]
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }
}

/// Appends a frame in the form that a server sends.
#[inline(always)]
pub fn encode(out: &mut Vec<u8>, fin: bool, opcode: Opcode, payload: &[u8]) {
    if payload.len() < 126 {
        let first = if fin { 0x80 | opcode as u8 } else { opcode as u8 };
        out.extend_from_slice(&[first, payload.len() as u8]);
    } else {
        push_long_header(out, fin, opcode, payload.len());
    }
    out.extend_from_slice(payload);
}

/// Appends a frame in the form that a client sends, masked with `key` (§5.3).
#[inline]
pub fn encode_masked(out: &mut Vec<u8>, fin: bool, opcode: Opcode, payload: &[u8], key: [u8; 4]) {
    if payload.len() < 126 {
        let first = if fin { 0x80 | opcode as u8 } else { opcode as u8 };
        let [k0, k1, k2, k3] = key;
        out.reserve(payload.len().saturating_add(6));
        out.extend_from_slice(&[first, 0x80 | payload.len() as u8, k0, k1, k2, k3]);
    } else {
        push_long_masked_header(out, fin, opcode, payload.len(), key);
    }
    MaskKey::new(key).append(out, payload);
}

#[inline(never)]
fn push_long_masked_header(out: &mut Vec<u8>, fin: bool, opcode: Opcode, payload_length: usize, key: [u8; 4]) {
    // Grows once for header and payload.
    out.reserve(payload_length.saturating_add(HEADER_MAX));
    let mut header = EncodedHeader::new(fin, opcode, payload_length);
    header.bytes[1] |= 0x80;
    out.extend_from_slice(header.as_bytes());
    out.extend_from_slice(&key);
}

/// Appends frames that are encoded in the form of a server in the form of a client. Calls `key` for
/// the masking key of each frame.
pub fn mask_frames(out: &mut Vec<u8>, frames: &[u8], mut key: impl FnMut() -> [u8; 4]) {
    let mut rest = frames;
    while let Ok(Some(FrameHeader { fin, opcode, payload_length, header_length, .. })) = FrameHeader::decode_unmasked(rest)
    {
        let end = usize::try_from(payload_length).map_or(usize::MAX, |length| length.saturating_add(header_length));
        let (frame, after) = rest.split_at_checked(end).unwrap_or((rest, &[]));
        encode_masked(out, fin, opcode, frame.get(header_length..).unwrap_or_default(), key());
        rest = after;
    }
}

#[inline(never)]
fn push_long_header(out: &mut Vec<u8>, fin: bool, opcode: Opcode, payload_length: usize) {
    // Grows once for header and payload.
    out.reserve(payload_length.saturating_add(10));
    out.extend_from_slice(EncodedHeader::new(fin, opcode, payload_length).as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: [u8; 4] = [1, 2, 3, 4];

    fn header(start: &[u8]) -> Vec<u8> {
        [start, &KEY].concat()
    }

    fn decode(bytes: &[u8]) -> Result<Option<FrameHeader>, ProtocolError> {
        FrameHeader::decode(bytes)
    }

    #[test]
    fn every_prefix_of_a_header_asks_for_more() {
        for start in [&[0x81, 0x85][..], &[0x82, 0xFE, 1, 0], &[0x82, 0xFF, 0, 0, 0, 0, 0, 1, 0, 0]] {
            let bytes = header(start);
            for end in 0..bytes.len() {
                assert_eq!(decode(&bytes[..end]), Ok(None), "{bytes:x?} to {end}");
            }
            assert_eq!(decode(&bytes).unwrap().unwrap().header_length, bytes.len());
        }
    }

    #[test]
    fn lengths_at_their_edges() {
        let cases: &[(&[u8], u64)] = &[
            (&[0x82, 0x80], 0),
            (&[0x82, 0x80 | 125], 125),
            (&[0x82, 0xFE, 0, 126], 126),
            (&[0x82, 0xFE, 0xFF, 0xFF], 65_535),
            (&[0x82, 0xFF, 0, 0, 0, 0, 0, 1, 0, 0], 65_536),
            (&[0x82, 0xFF, 0x7F, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF], u64::MAX >> 1),
        ];
        for (start, length) in cases {
            assert_eq!(decode(&header(start)).unwrap().unwrap().payload_length, *length);
        }
    }

    #[test]
    fn a_broken_rule_shows_at_the_byte_that_breaks_it() {
        use ProtocolError::*;
        let cases: &[(&[u8], ProtocolError)] = &[
            (&[0xC1], ReservedBits { bits: 0b100 }),
            (&[0xA1], ReservedBits { bits: 0b010 }),
            (&[0x91], ReservedBits { bits: 0b001 }),
            (&[0x83], ReservedOpcode { opcode: 3 }),
            (&[0x8F], ReservedOpcode { opcode: 15 }),
            (&[0x09], FragmentedControl { opcode: Opcode::Ping }),
            (&[0x81, 0x05], Unmasked),
            (&[0x89, 0xFE], ControlTooLong { opcode: Opcode::Ping }),
            (&[0x88, 0xFF], ControlTooLong { opcode: Opcode::Close }),
            (&[0x81, 0xFE, 0, 125], LengthNotMinimal { length: 125 }),
            (&[0x81, 0xFF, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF], LengthNotMinimal { length: 65_535 }),
            (&[0x81, 0xFF, 0x80, 0, 0, 0, 0, 0, 0, 0], LengthTopBit),
        ];
        for (bytes, error) in cases {
            assert_eq!(decode(bytes), Err(*error), "{bytes:x?}");
        }
    }

    #[test]
    fn only_a_whole_message_is_taken_and_nothing_else_is_touched() {
        for (first, length, limit, is_taken) in [
            (0x81, 0, 0, true),
            (0x82, 5, 5, true),
            (0x81, 125, 125, true),
            (0x82, 126, 126, true),
            (0x82, 65_535, 65_535, true),
            // Over the limit; a fragment; a reserved bit; a continuation; a control frame; 64 KiB.
            (0x81, 6, 5, false),
            (0x01, 5, 1000, false),
            (0xC1, 5, 1000, false),
            (0x80, 5, 1000, false),
            (0x89, 5, 1000, false),
            (0x82, 65_536, 1 << 20, false),
        ] {
            let payload: Vec<u8> = (0..length).map(|n| n as u8).collect();
            let mut masked = payload.clone();
            MaskKey::new(KEY).apply(&mut masked);
            let head = match length {
                0..=125 => header(&[first, 0x80 | length as u8]),
                126..=0xFFFF => header(&[first, 0xFE, (length >> 8) as u8, length as u8]),
                _ => header(&[&[first, 0xFF][..], &(length as u64).to_be_bytes()].concat()),
            };
            let bytes = [&head[..], &masked, b"next"].concat();
            for end in [bytes.len(), bytes.len() - 4, bytes.len() - 5, head.len().min(3), 1, 0] {
                let mut bytes = bytes[..end].to_vec();
                let before = bytes.clone();
                let mut input = &mut bytes[..];
                let taken = take_whole_message(&mut input, limit).map(|(opcode, payload)| (opcode as u8, payload.to_vec()));
                let left = input.to_vec();
                if is_taken && end >= head.len() + length {
                    assert_eq!(
                        (taken, &left[..]),
                        (Some((first & 0x0F, payload.clone())), &b"next"[..end - head.len() - length])
                    );
                } else {
                    assert_eq!((taken, &left), (None, &before), "{first:x} {length} to {end}");
                }
            }
        }
        let mut not_minimal = header(&[0x81, 0xFE, 0, 5]);
        not_minimal.extend([0; 5]);
        assert_eq!(take_whole_message(&mut &mut not_minimal[..], 1000), None);
        let mut unmasked = *b"\x81\x01aaaaaaaa";
        assert_eq!(take_whole_message(&mut &mut unmasked[..], 1000), None);
    }

    #[test]
    fn encoded_lengths_take_the_shortest_form() {
        for (length, head) in [
            (0, &[0x82, 0][..]),
            (125, &[0x82, 125]),
            (126, &[0x82, 126, 0, 126]),
            (65_535, &[0x82, 126, 0xFF, 0xFF]),
            (65_536, &[0x82, 127, 0, 0, 0, 0, 0, 1, 0, 0]),
        ] {
            let payload = vec![7; length];
            let mut out = Vec::new();
            encode(&mut out, true, Opcode::Binary, &payload);
            assert_eq!(out, [head, &payload].concat());
            assert_eq!(EncodedHeader::new(true, Opcode::Binary, length).as_bytes(), head);
        }
        let mut out = Vec::new();
        encode(&mut out, false, Opcode::Text, b"a");
        assert_eq!(out, [0x01, 1, b'a']);
    }
}
