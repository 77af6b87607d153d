//! Finds bytes in heads, eight at a time. Pure.
//!
//! Lines of heads are short: for them this costs a third of what memchr does.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::unwrap_used, clippy::expect_used)]

/// The place of the first LF.
pub(super) fn line_feed(bytes: &[u8]) -> Option<usize> {
    find(bytes, |word| zeros(word ^ each(b'\n')), |byte| byte == b'\n')
}

/// The place of the first space or control character.
pub(super) fn space_or_control(bytes: &[u8]) -> Option<usize> {
    find(bytes, |word| below(word, b'!') | zeros(word ^ each(0x7F)), |byte| byte <= b' ' || byte == 0x7F)
}

/// The place of the first byte that a field's value cannot have (RFC 9110 section 5.5): a control character but for the tab.
pub(super) fn control(bytes: &[u8]) -> Option<usize> {
    let is_control = |byte: u8| byte < b' ' && byte != b'\t' || byte == 0x7F;
    find(bytes, |word| below(word, b' ') | zeros(word ^ each(0x7F)), is_control)
}

/// `candidates` has the highest bit of the first byte that may be looked for, and of some behind it.
#[inline(always)]
fn find(bytes: &[u8], candidates: impl Fn(u64) -> u64, is: impl Fn(u8) -> bool) -> Option<usize> {
    let (words, rest) = bytes.as_chunks::<8>();
    for (number, word) in words.iter().enumerate() {
        let found = candidates(u64::from_le_bytes(*word));
        if found != 0 {
            let place = (found.trailing_zeros() / 8) as usize;
            if let Some(behind) = word.iter().skip(place).position(|byte| is(*byte)) {
                return Some(number.saturating_mul(8).saturating_add(place).saturating_add(behind));
            }
        }
    }
    let passed = bytes.len().saturating_sub(rest.len());
    rest.iter().position(|byte| is(*byte)).map(|place| passed.saturating_add(place))
}

/// The byte, eight times.
const fn each(byte: u8) -> u64 {
    u64::from_ne_bytes([byte; 8])
}

/// The highest bit of the first byte that is zero, and of some behind it.
fn zeros(word: u64) -> u64 {
    below(word, 1)
}

/// The highest bit of the first byte that is less than `limit`, which is at most 128, and of some behind it.
fn below(word: u64, limit: u8) -> u64 {
    word.wrapping_sub(each(limit)) & !word & each(0x80)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_of_each_kind_is_found_among_all_bytes_at_all_places() {
        for length in [1, 7, 8, 9, 24, 31] {
            for place in 0..length {
                for byte in 0..=255u8 {
                    for filler in [b'a', 0xFF, b'\t'] {
                        let mut bytes = vec![filler; length];
                        bytes[place] = byte;
                        // What comes later does not count.
                        if let Some(behind) = bytes.get_mut(place + 1) {
                            *behind = b'\n';
                        }
                        let first = |is: fn(u8) -> bool| bytes.iter().position(|byte| is(*byte));
                        assert_eq!(line_feed(&bytes), first(|byte| byte == b'\n'), "{bytes:?}");
                        assert_eq!(space_or_control(&bytes), first(|byte| byte <= b' ' || byte == 0x7F), "{bytes:?}");
                        let is_control = |byte: u8| byte.is_ascii_control() && byte != b'\t';
                        assert_eq!(control(&bytes), first(is_control), "{bytes:?}");
                    }
                }
            }
        }
    }
}
