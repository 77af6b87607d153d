//! Tokens (RFC 9110 section 5.6.2). Pure.

/// Whether text is a token (RFC 9110 section 5.6.2).
pub(crate) fn is_token(text: &[u8]) -> bool {
    !text.is_empty() && text.iter().all(|byte| is_token_byte(*byte))
}

pub(crate) fn is_token_byte(byte: u8) -> bool {
    TOKEN_BYTES.get(usize::from(byte)) == Some(&true)
}

const TOKEN_BYTES: [bool; 256] = letters_digits_and(b"!#$%&'*+-.^_`|~");

/// A table of bytes: ASCII letters and digits, and these.
pub(super) const fn letters_digits_and(others: &[u8]) -> [bool; 256] {
    let (mut table, mut rest, mut byte) = ([false; 256], others, 0);
    while byte < 128 {
        table[byte] = (byte as u8).is_ascii_alphanumeric();
        byte += 1;
    }
    while let [byte, after @ ..] = rest {
        table[*byte as usize] = true;
        rest = after;
    }
    table
}
