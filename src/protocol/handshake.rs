//! The key of the handshake, and the proof that the server speaks WebSocket (RFC 6455 §4.2.2).

use base64::{Engine, engine::general_purpose::STANDARD};
use sha1_smol::Sha1;

/// Returns the `Sec-WebSocket-Accept` value for a `Sec-WebSocket-Key`: base64 of the SHA-1 of the
/// key and a fixed text.
pub fn accept_key(key: &[u8]) -> String {
    let mut sha1 = Sha1::new();
    sha1.update(key);
    sha1.update(b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    STANDARD.encode(sha1.digest().bytes())
}

/// Returns whether a `Sec-WebSocket-Key` looks like 16 bytes in base64 (RFC 6455 section 4.2.1,
/// item 5): 22 characters of the alphabet and `==`.
///
/// The server does not have to decode the key. The last four bits of the 22nd character have no
/// meaning, and the example of RFC 6455 section 4.1 sets them.
pub fn is_valid_key(key: &[u8]) -> bool {
    let is_in_alphabet = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/');
    let characters = key.strip_suffix(b"==").unwrap_or_default();
    characters.len() == 22 && characters.iter().all(is_in_alphabet)
}

/// Returns the value of a header that occurs exactly once. `values`: its values, one for each line.
pub(crate) fn only<'a>(mut values: impl Iterator<Item = &'a [u8]>) -> Option<&'a [u8]> {
    let value = values.next()?;
    values.next().is_none().then_some(value)
}

/// Returns whether a list, over all its lines, contains a token in any case (RFC 9110 section 5.6.1).
pub(crate) fn has_token<'a>(mut lines: impl Iterator<Item = &'a [u8]>, token: &str) -> bool {
    let is_token = |other: &[u8]| other.eq_ignore_ascii_case(token.as_bytes());
    // Usually it is the only element.
    lines.any(|line| is_token(line) || line.split(|byte| *byte == b',').map(<[u8]>::trim_ascii).any(is_token))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 9110 section 5.6.1.
    #[test]
    fn a_token_of_a_list() {
        let has = |lines: &[&str]| has_token(lines.iter().map(|line| line.as_bytes()), "upgrade");
        for lines in [&["Upgrade"][..], &["keep-alive", "UPGRADE"], &["a,\t upgrade ,b"], &[",upgrade"], &[" upgrade"]] {
            assert!(has(lines), "{lines:?}");
        }
        for lines in [&[][..], &[""], &["upgraded"], &["up grade"], &["keep-alive upgrade"], &["upgrade;q=1"]] {
            assert!(!has(lines), "{lines:?}");
        }
    }

    #[test]
    fn a_header_that_occurs_exactly_once() {
        let only = |lines: &[&'static str]| only(lines.iter().map(|line| line.as_bytes()));
        assert_eq!(only(&["a"]), Some(&b"a"[..]));
        assert_eq!((only(&[]), only(&["a", "a"])), (None, None));
    }

    #[test]
    fn the_example_of_the_rfc() {
        assert_eq!(accept_key(b"dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    #[test]
    fn a_key_is_22_characters_of_base64_and_two_equals_signs() {
        // The second is the example of section 4.1, whose last bits are not zero.
        for key in ["dGhlIHNhbXBsZSBub25jZQ==", "AQIDBAUGBwgJCgsMDQ4PEC==", "++++++++++//////////az=="] {
            assert!(is_valid_key(key.as_bytes()), "{key:?}");
        }
        for key in [
            "",
            "==",
            "dGhlIHNhbXBsZSBub25jZQ",
            "dGhlIHNhbXBsZSBub25jZQ=",
            "dGhlIHNhbXBsZSBub25jZSE=",
            "dGhlIHNhbXBsZSBub25=",
            "dGhlIHNhbXBsZSBub25j==",
            "dGhlIHNhbXBsZSBub25jZQQ==",
            "dGhlIHNhbXBsZSBub25jZ===",
            "????IHNhbXBsZSBub25jZQ==",
            "dGhl HNhbXBsZSBub25jZQ==",
            "dGhl-HNhbXBsZSBub25jZ_==",
        ] {
            assert!(!is_valid_key(key.as_bytes()), "{key:?}");
        }
    }
}
