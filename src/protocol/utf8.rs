use super::ProtocolError;
use super::buffer_pool::BufferPool;

/// Checks a complete text.
#[inline]
pub(crate) fn check(bytes: &[u8]) -> Result<&str, ProtocolError> {
    simdutf8::basic::from_utf8(bytes).map_err(|_| ProtocolError::InvalidUtf8)
}

/// Text that arrives in pieces, checked as it arrives. It fails at the first byte that cannot be
/// part of UTF-8. RFC 6455 §8.1 allows that, so a peer that sends a large malformed text learns of
/// it at once.
///
/// Every byte is checked once. Up to three bytes of an incomplete character are kept beside the
/// text.
#[derive(Debug, Default)]
pub(super) struct TextBuffer {
    text: String,
    unfinished: [u8; 4],
    unfinished_length: usize,
}

impl TextBuffer {
    /// Returns the number of bytes that have arrived.
    pub(super) fn len(&self) -> usize {
        self.text.len().saturating_add(self.unfinished_length)
    }

    /// Adds the next piece.
    pub(super) fn push(&mut self, mut piece: &[u8], pool: &mut BufferPool) -> Result<(), ProtocolError> {
        pool.make_room_in_text(&mut self.text, piece.len().saturating_add(self.unfinished.len()));
        while self.unfinished_length > 0 {
            let Some((byte, rest)) = piece.split_first() else { return Ok(()) };
            piece = rest;
            self.complete_character(*byte)?;
        }
        let (whole, unfinished) =
            piece.split_at_checked(piece.len().saturating_sub(unfinished_at_end(piece))).unwrap_or((piece, &[]));
        self.text.push_str(check(whole)?);
        for byte in unfinished {
            self.complete_character(*byte)?;
        }
        Ok(())
    }

    /// Returns how many bytes can be added without a larger buffer.
    #[cfg(feature = "deflate")]
    pub(super) fn room(&self) -> usize {
        self.text.capacity().saturating_sub(self.text.len()).saturating_sub(self.unfinished.len())
    }

    /// Makes room for `additional` bytes, and for a character that is incomplete in between.
    #[cfg(feature = "deflate")]
    pub(super) fn make_exact_room(&mut self, additional: usize, pool: &mut BufferPool) {
        pool.make_exact_room_in_text(&mut self.text, additional.saturating_add(self.unfinished.len()));
    }

    /// Returns the text, unless it ends inside of a character.
    pub(super) fn finish(self) -> Result<String, ProtocolError> {
        if self.unfinished_length == 0 { Ok(self.text) } else { Err(ProtocolError::InvalidUtf8) }
    }

    fn complete_character(&mut self, byte: u8) -> Result<(), ProtocolError> {
        let Some(place) = self.unfinished.get_mut(self.unfinished_length) else {
            return Err(ProtocolError::InvalidUtf8);
        };
        *place = byte;
        self.unfinished_length = self.unfinished_length.saturating_add(1);
        match std::str::from_utf8(self.unfinished.get(..self.unfinished_length).unwrap_or_default()) {
            Ok(character) => {
                self.text.push_str(character);
                self.unfinished_length = 0;
                Ok(())
            }
            // The character may still be completed.
            Err(error) if error.error_len().is_none() => Ok(()),
            Err(_) => Err(ProtocolError::InvalidUtf8),
        }
    }
}

/// Text that is read directly into its buffer, instead of being copied there after its check.
///
/// It is checked twice, since Rust only makes a `str` of bytes by a check of all of them. For large
/// text that costs less than the copies.
#[derive(Debug)]
pub(super) struct DirectText {
    pub(super) bytes: Vec<u8>,
    /// How many of the bytes have been checked.
    checked: usize,
}

impl From<TextBuffer> for DirectText {
    fn from(text: TextBuffer) -> DirectText {
        let (mut bytes, unfinished) = (text.text.into_bytes(), text.unfinished);
        let checked = bytes.len();
        bytes.extend_from_slice(unfinished.get(..text.unfinished_length).unwrap_or_default());
        DirectText { bytes, checked }
    }
}

impl DirectText {
    /// Checks the bytes that have arrived since the last call, as [`TextBuffer`] does.
    pub(super) fn check(&mut self) -> Result<(), ProtocolError> {
        match simdutf8::compat::from_utf8(self.bytes.get(self.checked..).unwrap_or_default()) {
            Ok(text) => self.checked = self.checked.saturating_add(text.len()),
            Err(error) if error.error_len().is_none() => self.checked = self.checked.saturating_add(error.valid_up_to()),
            Err(_) => return Err(ProtocolError::InvalidUtf8),
        }
        Ok(())
    }
}

/// Returns the number of bytes, 0 to 3, of an incomplete character at the end of `piece`.
fn unfinished_at_end(piece: &[u8]) -> usize {
    for (found, byte) in (1..=3).zip(piece.iter().rev()) {
        let length = match byte {
            0x80..=0xBF => continue,
            0xC0..=0xDF => 2,
            0xE0..=0xEF => 3,
            0xF0..=0xFF => 4,
            _ => 1,
        };
        return if length > found { found } else { 0 };
    }
    0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(pieces: &[&[u8]]) -> Result<String, ProtocolError> {
        let mut text = TextBuffer::default();
        for piece in pieces {
            text.push(piece, &mut BufferPool::default())?;
        }
        text.finish()
    }

    #[test]
    fn any_cut_gives_the_verdict_of_std() {
        let samples: &[&[u8]] = &[
            b"",
            b"plain",
            "aé日𝄞z".as_bytes(),
            "𝄞".as_bytes(),
            b"\xed\xa0\x80",
            b"\xf4\x90\x80\x80",
            b"\xc0\xaf",
            b"ab\xff",
            b"\xe6\x97",
            b"\x80",
            b"ok\xf0\x9d\x84",
        ];
        for sample in samples {
            let expected = std::str::from_utf8(sample).map(str::to_owned).map_err(|_| ProtocolError::InvalidUtf8);
            for first in 0..=sample.len() {
                for second in first..=sample.len() {
                    let pieces = [&sample[..first], &sample[first..second], &sample[second..]];
                    assert_eq!(verdict(&pieces), expected, "{sample:x?} cut at {first} and {second}");
                }
            }
        }
    }

    #[test]
    fn the_first_impossible_byte_fails() {
        let mut text = TextBuffer::default();
        assert!(text.push(b"\xf4", &mut BufferPool::default()).is_ok());
        assert_eq!(text.push(b"\x90", &mut BufferPool::default()), Err(ProtocolError::InvalidUtf8));
        let mut text = TextBuffer::default();
        assert_eq!(text.push(b"a\xed\xa0", &mut BufferPool::default()), Err(ProtocolError::InvalidUtf8));
    }
}
