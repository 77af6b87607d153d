//! What goes over the wire, written for the load generator alone.

pub const TEXT: u8 = 1;
pub const BINARY: u8 = 2;
pub const CLOSE: u8 = 8;
pub const PING: u8 = 9;
pub const PONG: u8 = 10;

/// Whether the server speaks Socket.IO, by the environment variable `LOAD_SOCKETIO`.
pub fn speaks_socket_io() -> bool {
    std::env::var_os("LOAD_SOCKETIO").is_some()
}

/// The upgrade to Socket.IO, and the packet that connects to its default namespace.
fn upgrade_to_socket_io(port: u16) -> Vec<u8> {
    let mut bytes = upgrade_at("/socket.io/?EIO=4&transport=websocket", port);
    append_message(&mut bytes, TEXT, b"40", 1, &mut Numbers::new());
    bytes
}

/// Whether a message is a part of Socket.IO's own handshake: the session, or the namespace.
pub fn belongs_to_socket_io(message: &[u8]) -> bool {
    message.starts_with(b"0{") || message.starts_with(b"40{")
}

pub fn upgrade(port: u16) -> Vec<u8> {
    if speaks_socket_io() { upgrade_to_socket_io(port) } else { upgrade_at("/", port) }
}

/// The key of RFC 6455's own example: its answer is known without hashing.
fn upgrade_at(target: &str, port: u16) -> Vec<u8> {
    format!(
        "GET {target} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    )
    .into_bytes()
}

/// How long the head at the start of `bytes` is, if it is whole and accepts our upgrade.
pub fn accepted(bytes: &[u8]) -> Result<Option<usize>, String> {
    let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else { return Ok(None) };
    let head = String::from_utf8_lossy(&bytes[..end]);
    let accept = head.lines().filter_map(|line| line.split_once(':')).any(|(name, value)| {
        name.eq_ignore_ascii_case("Sec-WebSocket-Accept") && value.trim() == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
    });
    if head.starts_with("HTTP/1.1 101 ") && accept { Ok(Some(end + 4)) } else { Err(format!("not accepted: {head}")) }
}

/// Numbers that look random and are the same in every run (xorshift).
pub struct Numbers(u64);

impl Numbers {
    pub fn new() -> Numbers {
        Numbers(0x9E37_79B9_7F4A_7C15)
    }

    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}

/// A message of a client in so many frames, each masked with another key.
pub fn append_message(out: &mut Vec<u8>, opcode: u8, payload: &[u8], fragments: usize, numbers: &mut Numbers) {
    let fragments = fragments.max(1);
    for index in 0..fragments {
        let (start, end) = (payload.len() * index / fragments, payload.len() * (index + 1) / fragments);
        let fin = if index + 1 == fragments { 0x80 } else { 0 };
        let opcode = if index == 0 { opcode } else { 0 };
        let part = &payload[start..end];
        out.push(fin | opcode);
        match part.len() {
            length @ 0..=125 => out.push(0x80 | length as u8),
            length @ 126..=0xFFFF => {
                out.push(0x80 | 126);
                out.extend_from_slice(&(length as u16).to_be_bytes());
            }
            length => {
                out.push(0x80 | 127);
                out.extend_from_slice(&(length as u64).to_be_bytes());
            }
        }
        let key = (numbers.next() as u32).to_be_bytes();
        out.extend_from_slice(&key);
        out.extend(part.iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key));
    }
}

/// A frame of the server, or a message of several, that has arrived.
pub struct Reply<'a> {
    pub opcode: u8,
    pub length: usize,
    /// The payload, if it was to be kept, and of control frames always.
    pub payload: &'a [u8],
}

/// What one connection receives, frame by frame. Payloads are skipped unless they are to be kept.
#[derive(Default)]
pub struct Replies {
    header: Vec<u8>,
    remaining: usize,
    first: u8,
    /// Of the message under way.
    opcode: u8,
    length: usize,
    kept: Vec<u8>,
    /// Of the control frame under way.
    control: Vec<u8>,
}

impl Replies {
    /// Calls `each` for all that `bytes` end. With `keep`, payloads are kept to be looked at.
    pub fn receive(
        &mut self,
        mut bytes: &[u8],
        keep: bool,
        mut each: impl FnMut(Reply<'_>) -> Result<(), String>,
    ) -> Result<(), String> {
        loop {
            if self.remaining > 0 {
                let (here, following) = bytes.split_at(self.remaining.min(bytes.len()));
                if self.is_control() {
                    self.control.extend_from_slice(here);
                } else if keep {
                    self.kept.extend_from_slice(here);
                }
                self.remaining -= here.len();
                bytes = following;
                if self.remaining > 0 {
                    return Ok(());
                }
                self.end_of_frame(&mut each)?;
            }
            if bytes.is_empty() {
                return Ok(());
            }
            let Some((header_length, length)) = self.header_of(bytes)? else { return Ok(()) };
            bytes = &bytes[header_length..];
            self.remaining = length;
            if !self.is_control() {
                self.length += length;
                if self.first & 0x0F != 0 {
                    self.opcode = self.first & 0x0F;
                }
            }
            if length == 0 {
                self.end_of_frame(&mut each)?;
            }
        }
    }

    fn is_control(&self) -> bool {
        self.first & 0x08 != 0
    }

    /// The number of `bytes` that belong to the header, and the payload's length. An incomplete
    /// header is kept for the next call.
    fn header_of(&mut self, bytes: &[u8]) -> Result<Option<(usize, usize)>, String> {
        if self.header.is_empty() {
            let Some(header) = decode(bytes)? else {
                self.header.extend_from_slice(bytes);
                return Ok(None);
            };
            self.first = bytes[0];
            return Ok(Some(header));
        }
        for (index, byte) in bytes.iter().enumerate() {
            self.header.push(*byte);
            if let Some((_, length)) = decode(&self.header)? {
                self.first = self.header[0];
                self.header.clear();
                return Ok(Some((index + 1, length)));
            }
        }
        Ok(None)
    }

    fn end_of_frame(&mut self, each: &mut impl FnMut(Reply<'_>) -> Result<(), String>) -> Result<(), String> {
        if self.is_control() {
            let payload = std::mem::take(&mut self.control);
            return each(Reply { opcode: self.first & 0x0F, length: payload.len(), payload: &payload });
        }
        if self.first & 0x80 != 0 {
            each(Reply { opcode: self.opcode, length: self.length, payload: &self.kept })?;
            self.length = 0;
            self.kept.clear();
        }
        Ok(())
    }
}

/// The lengths of a frame's header and payload, `None` while the header is not whole.
fn decode(bytes: &[u8]) -> Result<Option<(usize, usize)>, String> {
    let [first, second, ..] = *bytes else { return Ok(None) };
    if first & 0x70 != 0 || second & 0x80 != 0 {
        return Err(format!("the server sent no frame: {first:#04x} {second:#04x}"));
    }
    let rest = &bytes[2..];
    Ok(match second {
        126 => rest.first_chunk().map(|length| (4, usize::from(u16::from_be_bytes(*length)))),
        127 => rest.first_chunk().map(|length| (10, u64::from_be_bytes(*length) as usize)),
        short => Some((2, usize::from(short))),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_may_come_in_any_pieces() {
        let mut bytes = vec![0x01, 3, b'a', b'b', b'c', 0x89, 1, b'!', 0x80, 126, 0, 200];
        bytes.extend_from_slice(&[b'd'; 200]);
        bytes.extend_from_slice(&[0x82, 0]);
        for size in 1..bytes.len() {
            let mut replies = Replies::default();
            let mut seen = Vec::new();
            for piece in bytes.chunks(size) {
                let each = |reply: Reply<'_>| {
                    seen.push((reply.opcode, reply.length, reply.payload.len()));
                    Ok(())
                };
                replies.receive(piece, true, each).unwrap();
            }
            assert_eq!(seen, [(PING, 1, 1), (TEXT, 203, 203), (BINARY, 0, 0)], "in pieces of {size}");
        }
    }

    #[test]
    fn a_message_is_masked_frame_by_frame() {
        let mut out = Vec::new();
        append_message(&mut out, TEXT, b"hello world", 2, &mut Numbers::new());
        assert_eq!(out.len(), 11 + 2 * 6);
        assert_eq!((out[0], out[1]), (TEXT, 0x80 | 5));
        let second = 6 + 5;
        assert_eq!((out[second], out[second + 1]), (0x80, 0x80 | 6));
        let key = &out[second + 2..second + 6];
        let plain: Vec<u8> = out[second + 6..].iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key).collect();
        assert_eq!(plain, b" world");
    }
}
