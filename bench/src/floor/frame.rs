/// The start of a frame as a client sends it.
#[derive(Clone, Copy)]
pub(super) struct Header {
    pub(super) first: u8,
    pub(super) length: usize,
    pub(super) key: u32,
    pub(super) header_length: usize,
}

impl Header {
    /// `None` while it is not complete.
    #[inline(always)]
    pub(super) fn decode(bytes: &[u8]) -> Option<Header> {
        let [first, second, ..] = *bytes else { return None };
        let (length, key_at) = match second & 0x7F {
            126 => (usize::from(u16::from_be_bytes(*bytes.get(2..)?.first_chunk()?)), 4),
            127 => (u64::from_be_bytes(*bytes.get(2..)?.first_chunk()?) as usize, 10),
            short => (usize::from(short), 2),
        };
        let key = u32::from_ne_bytes(*bytes.get(key_at..)?.first_chunk()?);
        Some(Header { first, length, key, header_length: key_at + 4 })
    }

    pub(super) fn is_last(self) -> bool {
        self.first & 0x80 != 0
    }

    pub(super) fn opcode(self) -> u8 {
        self.first & 0x0F
    }
}

/// Unmasks bytes that start at the key's first byte, and returns the key for those that follow them.
#[inline(always)]
pub(super) fn unmask(bytes: &mut [u8], key: u32) -> u32 {
    let word = u64::from(key) << 32 | u64::from(key);
    let turned = key.rotate_right((bytes.len() as u32 & 3) * 8);
    let (words, rest) = bytes.as_chunks_mut::<8>();
    for bytes in words {
        *bytes = (u64::from_ne_bytes(*bytes) ^ word).to_ne_bytes();
    }
    let (halves, rest) = rest.as_chunks_mut::<4>();
    if let [half] = halves {
        *half = (u32::from_ne_bytes(*half) ^ key).to_ne_bytes();
    }
    for (byte, key) in rest.iter_mut().zip(key.to_ne_bytes()) {
        *byte ^= key;
    }
    turned
}

/// The longest header that a server sends.
pub(super) const HEADER_MAX: usize = 10;

/// A whole message, unmasked, and made into the frame that sends it back: that one's header is never longer than the one it
/// came with.
pub struct Message<'a> {
    /// 1 for text, 2 for binary, and those of control frames.
    pub opcode: u8,
    /// The answer.
    pub frame: &'a [u8],
    header_length: usize,
}

impl<'a> Message<'a> {
    /// The payload begins at `start` of `bytes`, and what is before may be written over.
    #[inline(always)]
    pub(super) fn new(opcode: u8, bytes: &'a mut [u8], start: usize) -> Message<'a> {
        let length = bytes.len() - start;
        let header_length = if length < 126 {
            bytes[start - 2] = 0x80 | opcode;
            bytes[start - 1] = length as u8;
            2
        } else {
            let (header, header_length) = header_of(opcode, length);
            bytes[start - header_length..start].copy_from_slice(&header[..header_length]);
            header_length
        };
        Message { opcode, frame: &bytes[start - header_length..], header_length }
    }

    /// The payload of the frame.
    pub fn payload(&self) -> &[u8] {
        &self.frame[self.header_length..]
    }
}

fn header_of(opcode: u8, length: usize) -> ([u8; HEADER_MAX], usize) {
    let first = 0x80 | opcode;
    let [a, b, c, d, e, f, g, h] = (length as u64).to_be_bytes();
    match length {
        0..=125 => ([first, h, 0, 0, 0, 0, 0, 0, 0, 0], 2),
        126..=0xFFFF => ([first, 126, g, h, 0, 0, 0, 0, 0, 0], 4),
        _ => ([first, 127, a, b, c, d, e, f, g, h], 10),
    }
}

/// Appends a frame as a server sends it.
pub fn append(out: &mut Vec<u8>, opcode: u8, payload: &[u8]) {
    let (header, length) = header_of(opcode, payload.len());
    out.extend_from_slice(&header[..length]);
    out.extend_from_slice(payload);
}
