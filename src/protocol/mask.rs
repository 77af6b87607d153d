/// A frame's masking key (RFC 6455 §5.3), turned so that it starts at the next byte of the payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MaskKey(u32);

impl MaskKey {
    /// The key as it stands in the frame's header.
    #[inline]
    pub const fn new(key: [u8; 4]) -> MaskKey {
        MaskKey(u32::from_ne_bytes(key))
    }

    /// Masks or unmasks (it is the same) `payload` in place, and turns the key to where the payload goes on.
    ///
    /// Eight bytes at a time, in a form that the compiler makes wider: a byte loop costs three times as much on large
    /// payloads.
    #[inline]
    pub fn apply(&mut self, payload: &mut [u8]) {
        let word = u64::from(self.0) << 32 | u64::from(self.0);
        let (words, rest) = payload.as_chunks_mut::<8>();
        for bytes in words {
            *bytes = (u64::from_ne_bytes(*bytes) ^ word).to_ne_bytes();
        }
        let (halves, bytes) = rest.as_chunks_mut::<4>();
        for half in halves {
            *half = (u32::from_ne_bytes(*half) ^ self.0).to_ne_bytes();
        }
        for (byte, key) in bytes.iter_mut().zip(self.0.to_ne_bytes()) {
            *byte ^= key;
        }
        // Only the rest, of at most three bytes, can leave the key in mid-turn.
        let turn = (bytes.len() as u32 & 3) << 3;
        self.0 = if cfg!(target_endian = "little") { self.0.rotate_right(turn) } else { self.0.rotate_left(turn) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn byte_by_byte(key: [u8; 4], payload: &[u8]) -> Vec<u8> {
        payload.iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key).collect()
    }

    #[test]
    fn every_length_up_to_40_equals_the_definition() {
        let key = [0x12, 0x34, 0x56, 0x78];
        for length in 0..40u8 {
            let payload: Vec<u8> = (0..length).collect();
            let mut masked = payload.clone();
            MaskKey::new(key).apply(&mut masked);
            assert_eq!(masked, byte_by_byte(key, &payload), "length {length}");
        }
    }

    #[test]
    fn a_payload_may_come_in_any_two_pieces() {
        let key = [9, 8, 7, 6];
        let payload: Vec<u8> = (0..33).collect();
        for cut in 0..=payload.len() {
            let mut masked = payload.clone();
            let mut mask = MaskKey::new(key);
            let (first, second) = masked.split_at_mut(cut);
            mask.apply(first);
            mask.apply(second);
            assert_eq!(masked, byte_by_byte(key, &payload), "cut at {cut}");
        }
    }
}
