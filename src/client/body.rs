//! The body of a refusal, from bytes. Pure.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::unwrap_used, clippy::expect_used)]

use super::response_head::BodyLength;
use crate::http::{BodyDecoder, Framing};

/// Maximum number of bytes that are kept of a body.
pub(crate) const BODY_MAX: usize = 64 * 1024;

/// A body that is arriving. What exceeds [`BODY_MAX`] is dropped.
#[derive(Debug)]
pub(crate) struct RefusalBody {
    /// `None` if the body ends with the connection, or is malformed from here on.
    decoder: Option<BodyDecoder>,
    bytes: Vec<u8>,
    is_done: bool,
}

impl RefusalBody {
    pub(crate) fn new(length: BodyLength) -> RefusalBody {
        let framing = match length {
            BodyLength::Exactly(length) => Some(Framing::Length(length)),
            BodyLength::Chunked => Some(Framing::Chunked),
            BodyLength::UntilEnd => None,
        };
        let decoder = framing.and_then(|framing| BodyDecoder::new(framing, usize::MAX).ok());
        let is_done = decoder.as_ref().is_some_and(BodyDecoder::is_done);
        RefusalBody { decoder, bytes: Vec::new(), is_done }
    }

    /// Returns whether no more bytes are needed.
    pub(crate) fn is_done(&self) -> bool {
        self.is_done
    }

    /// Takes bytes that have arrived.
    pub(crate) fn push(&mut self, input: &[u8]) {
        match &mut self.decoder {
            // Malformed: what has arrived before is kept.
            Some(decoder) => self.is_done |= decoder.decode(input, &mut self.bytes).is_err() || decoder.is_done(),
            None => self.bytes.extend_from_slice(input),
        }
        self.is_done |= self.bytes.len() >= BODY_MAX;
        self.bytes.truncate(BODY_MAX);
    }

    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(length: BodyLength, input: &[u8], size: usize) -> (String, bool) {
        let mut body = RefusalBody::new(length);
        for piece in input.chunks(size) {
            if !body.is_done() {
                body.push(piece);
            }
        }
        let is_done = body.is_done();
        (String::from_utf8(body.into_bytes()).unwrap(), is_done)
    }

    #[test]
    fn bodies_of_each_kind_in_pieces_of_each_size() {
        use BodyLength::*;
        for (length, input, text, is_done) in [
            (Exactly(0), "", "", true),
            (Exactly(5), "hello, world", "hello", true),
            (Exactly(50), "hello", "hello", false),
            (Chunked, "3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\nmore", "hello", true),
            (Chunked, "3\r\nhel\r\n", "hel", false),
            (Chunked, "3\r\nhel\r\nx", "hel", true),
            (UntilEnd, "hello", "hello", false),
        ] {
            for size in 1..=input.len().max(1) {
                assert_eq!(decoded(length, input.as_bytes(), size), (text.to_owned(), is_done), "{input:?} by {size}");
            }
        }
    }

    #[test]
    fn so_many_bytes_are_kept() {
        let many = vec![b'a'; 2 * BODY_MAX];
        for length in [BodyLength::UntilEnd, BodyLength::Exactly(u64::MAX)] {
            let (text, is_done) = decoded(length, &many, 8 * 1024);
            assert_eq!((text.len(), is_done), (BODY_MAX, true));
        }
        let chunked = [format!("{:x}\r\n", many.len()).as_bytes(), &many].concat();
        let (text, is_done) = decoded(BodyLength::Chunked, &chunked, 8 * 1024);
        assert_eq!((text.len(), is_done), (BODY_MAX, true));
    }
}
