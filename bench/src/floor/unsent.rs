/// What a socket had no room for. It is one word while that is nothing.
#[derive(Default)]
pub struct Unsent {
    rest: Option<Box<Rest>>,
}

#[derive(Default)]
struct Rest {
    bytes: Vec<u8>,
    sent: usize,
}

impl Unsent {
    /// Whether all has been sent.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.rest.is_none()
    }

    /// The next unsent bytes.
    pub fn bytes(&self) -> &[u8] {
        self.rest.as_ref().map_or(&[], |rest| &rest.bytes[rest.sent..])
    }

    /// Keeps what is left of `parts` when so many bytes of them have been sent.
    #[inline(always)]
    pub fn keep(&mut self, parts: &[&[u8]], sent: usize, spare: &mut Vec<Vec<u8>>) {
        let length: usize = parts.iter().map(|part| part.len()).sum();
        if sent < length {
            self.keep_rest(parts, sent, length, spare);
        }
    }

    #[cold]
    fn keep_rest(&mut self, parts: &[&[u8]], mut sent: usize, length: usize, spare: &mut Vec<Vec<u8>>) {
        let rest = self.rest.get_or_insert_with(|| Box::new(Rest { bytes: spare.pop().unwrap_or_default(), sent: 0 }));
        rest.bytes.reserve(length - sent);
        for part in parts {
            let skipped = sent.min(part.len());
            rest.bytes.extend_from_slice(&part[skipped..]);
            sent -= skipped;
        }
    }

    /// Takes note that so many bytes more have been sent.
    pub fn advance(&mut self, sent: usize, spare: &mut Vec<Vec<u8>>) {
        let Some(rest) = self.rest.as_deref_mut() else { return };
        rest.sent += sent;
        if rest.sent == rest.bytes.len() {
            let mut buffer = std::mem::take(&mut rest.bytes);
            buffer.clear();
            spare.push(buffer);
            self.rest = None;
        }
    }
}
