//! The body of a response, from bytes. Pure.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::unwrap_used, clippy::expect_used)]

use super::response_head::BodyLength;
use crate::http::{BodyDecoder, Framing};

/// Maximum number of bytes that are kept of the body of a refusal.
pub(crate) const BODY_MAX: usize = 64 * 1024;

/// A body that is arriving. The bytes that exceed a limit are dropped.
#[derive(Debug)]
pub(crate) struct ResponseBody {
    /// `None` if the body ends with the connection, or is malformed from here on.
    decoder: Option<BodyDecoder>,
    bytes: Vec<u8>,
    is_done: bool,
    max: usize,
}

impl ResponseBody {
    /// `max`: the number of bytes that are kept.
    pub(crate) fn new(length: BodyLength, max: usize) -> ResponseBody {
        let framing = match length {
            BodyLength::Exactly(length) => Some(Framing::Length(length)),
            BodyLength::Chunked => Some(Framing::Chunked),
            BodyLength::UntilEnd => None,
        };
        let decoder = framing.and_then(|framing| BodyDecoder::new(framing, usize::MAX).ok());
        let is_done = decoder.as_ref().is_some_and(BodyDecoder::is_done);
        ResponseBody { decoder, bytes: Vec::new(), is_done, max }
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
        self.is_done |= self.bytes.len() >= self.max;
        self.bytes.truncate(self.max);
    }

    /// Returns whether all bytes of the body have arrived, when no more can arrive.
    #[cfg(feature = "testing")]
    pub(crate) fn is_complete(&self) -> bool {
        self.decoder.as_ref().is_none_or(BodyDecoder::is_done)
    }

    /// Takes the bytes that have arrived since the last call.
    #[cfg(feature = "testing")]
    pub(crate) fn take(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.bytes)
    }

    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(length: BodyLength, input: &[u8], size: usize) -> (String, bool) {
        let mut body = ResponseBody::new(length, BODY_MAX);
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
