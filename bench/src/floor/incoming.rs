use super::frame::{HEADER_MAX, Header, Message, unmask};

/// What one connection receives, put together to whole messages. It is one word while nothing is unfinished.
#[derive(Default)]
pub struct Incoming {
    unfinished: Option<Box<Unfinished>>,
}

/// A message, or a frame's header, of which there is more to come.
#[derive(Default)]
struct Unfinished {
    header: [u8; 14],
    header_length: usize,
    opcode: u8,
    /// Room for the header of the answer, and what has arrived of the message, unmasked.
    buffer: Vec<u8>,
    /// Bytes of the present frame that have not arrived.
    remaining: usize,
    key: u32,
    is_last: bool,
    /// A message has begun.
    is_message: bool,
}

/// Fewer bytes than this are not worth a read of their own.
const DIRECT: usize = 16 * 1024;

/// So that a direct read does not fill its buffer to the last byte, which would make another necessary.
const SLACK: usize = 64;

impl Incoming {
    /// Calls `each` with every message that `bytes` end. Those that lie in them whole are not copied. `spare` lends buffers
    /// for the others.
    #[inline(always)]
    pub fn feed(
        &mut self,
        mut bytes: &mut [u8],
        spare: &mut Vec<Vec<u8>>,
        mut each: impl FnMut(Message<'_>, &mut Vec<Vec<u8>>),
    ) {
        loop {
            if self.unfinished.is_some() {
                bytes = self.go_on(bytes, spare, &mut each);
                if self.unfinished.is_some() {
                    return;
                }
            }
            if bytes.is_empty() {
                return;
            }
            match Header::decode(bytes) {
                Some(header) if header.is_last() && header.length <= bytes.len() - header.header_length => {
                    let (frame, following) = bytes.split_at_mut(header.header_length + header.length);
                    unmask(&mut frame[header.header_length..], header.key);
                    each(Message::new(header.opcode(), frame, header.header_length), spare);
                    bytes = following;
                }
                _ => self.unfinished = Some(Box::default()),
            }
        }
    }

    /// Where the rest of a large payload may be read to, if one is under way.
    pub fn direct(&mut self) -> Option<&mut Vec<u8>> {
        let unfinished = self.unfinished.as_deref_mut().filter(|unfinished| unfinished.remaining >= DIRECT)?;
        unfinished.buffer.reserve_exact(unfinished.remaining + SLACK);
        Some(&mut unfinished.buffer)
    }

    /// Takes note of `count` bytes that were appended to [`direct`](Incoming::direct)'s buffer.
    pub fn feed_direct(
        &mut self,
        count: usize,
        spare: &mut Vec<Vec<u8>>,
        each: impl FnMut(Message<'_>, &mut Vec<Vec<u8>>),
    ) {
        let Some(unfinished) = self.unfinished.as_deref_mut() else { return };
        let start = unfinished.buffer.len() - count;
        let ours = count.min(unfinished.remaining);
        let mut following = unfinished.buffer.split_off(start + ours);
        unfinished.key = unmask(&mut unfinished.buffer[start..], unfinished.key);
        unfinished.remaining -= ours;
        // The end of the message, if this is one, is told by the ordinary way.
        self.feed(&mut following, spare, each);
    }

    #[inline(never)]
    fn go_on<'a>(
        &mut self,
        mut bytes: &'a mut [u8],
        spare: &mut Vec<Vec<u8>>,
        each: &mut impl FnMut(Message<'_>, &mut Vec<Vec<u8>>),
    ) -> &'a mut [u8] {
        while let Some(unfinished) = self.unfinished.as_deref_mut() {
            let count = unfinished.remaining.min(bytes.len());
            let (here, following) = bytes.split_at_mut(count);
            unfinished.key = unmask(here, unfinished.key);
            unfinished.buffer.extend_from_slice(here);
            unfinished.remaining -= count;
            bytes = following;
            if unfinished.remaining > 0 {
                break;
            }
            if unfinished.is_message && unfinished.is_last {
                each(Message::new(unfinished.opcode, &mut unfinished.buffer, HEADER_MAX), spare);
                let mut buffer = std::mem::take(&mut unfinished.buffer);
                buffer.clear();
                spare.push(buffer);
                self.unfinished = None;
                break;
            }
            let used = unfinished.header_length;
            let more = bytes.len().min(unfinished.header.len() - used);
            unfinished.header[used..used + more].copy_from_slice(&bytes[..more]);
            let Some(header) = Header::decode(&unfinished.header[..used + more]) else {
                unfinished.header_length += more;
                break;
            };
            bytes = &mut bytes[header.header_length - used..];
            unfinished.begin(header, spare);
        }
        bytes
    }
}

impl Unfinished {
    fn begin(&mut self, header: Header, spare: &mut Vec<Vec<u8>>) {
        if !self.is_message {
            self.opcode = header.opcode();
            self.buffer = spare.pop().unwrap_or_default();
            self.buffer.extend_from_slice(&[0; HEADER_MAX]);
            self.is_message = true;
        }
        // The announced length is trusted: the floor checks nothing.
        self.buffer.reserve_exact(header.length + SLACK);
        self.header_length = 0;
        self.remaining = header.length;
        self.key = header.key;
        self.is_last = header.is_last();
    }
}
