//! The payload of a Close frame (RFC 6455 §5.5.1, §7.4).

use super::frame::{self, EncodedHeader};
use super::{Opcode, ProtocolError, close_code};

/// Maximum length of a reason in bytes: the 125 bytes of a control frame minus two bytes for the
/// code.
pub const REASON_MAX: usize = 123;

/// Returns whether `code` may be in a Close frame (§7.4): 1000 to 1003, 1007 to 1014, 3000 to 4999.
#[inline]
pub const fn is_valid_on_the_wire(code: u16) -> bool {
    matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999)
}

/// Returns the code and reason of a peer's Close frame, or `None` if its payload is empty.
///
/// # Errors
/// The payload has only one byte, the code must not be sent, or the reason is not UTF-8.
pub fn parse(payload: &[u8]) -> Result<Option<(u16, &str)>, ProtocolError> {
    match payload {
        [] => Ok(None),
        [_] => Err(ProtocolError::TruncatedCloseCode),
        [high, low, reason @ ..] => {
            let code = u16::from_be_bytes([*high, *low]);
            if !is_valid_on_the_wire(code) {
                return Err(ProtocolError::InvalidCloseCode { code });
            }
            let reason = std::str::from_utf8(reason).map_err(|_| ProtocolError::InvalidCloseReason)?;
            Ok(Some((code, reason)))
        }
    }
}

/// Returns the code to send for `code`. A code that may be sent, and [`close_code::NO_STATUS`],
/// stay unchanged. For [`close_code::NO_STATUS`] the Close frame has no code. Any other code
/// becomes [`close_code::INTERNAL`].
pub const fn sendable(code: u16) -> u16 {
    if is_valid_on_the_wire(code) || code == close_code::NO_STATUS { code } else { close_code::INTERNAL }
}

/// Returns the part of a reason that fits into a Close frame: at most [`REASON_MAX`] bytes, cut
/// between characters.
pub fn sendable_reason(reason: &str) -> &str {
    let end = (0..=reason.len().min(REASON_MAX)).rev().find(|end| reason.is_char_boundary(*end));
    reason.get(..end.unwrap_or_default()).unwrap_or_default()
}

/// Appends a Close frame with the [`sendable`] code and the [`sendable_reason`].
pub fn encode(out: &mut Vec<u8>, code: u16, reason: &str) {
    let code = sendable(code);
    if code == close_code::NO_STATUS {
        return frame::encode(out, true, Opcode::Close, &[]);
    }
    let code = code.to_be_bytes();
    let reason = sendable_reason(reason);
    let header = EncodedHeader::new(true, Opcode::Close, code.len().saturating_add(reason.len()));
    for piece in [header.as_bytes(), &code, reason.as_bytes()] {
        out.extend_from_slice(piece);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_65536_codes() {
        let valid = (0..=u16::MAX).filter(|code| parse(&code.to_be_bytes()).is_ok());
        assert!(valid.eq((1000..=1003).chain(1007..=1014).chain(3000..=4999)));
    }

    #[test]
    fn payloads() {
        assert_eq!(parse(b""), Ok(None));
        assert_eq!(parse(b"\x03"), Err(ProtocolError::TruncatedCloseCode));
        assert_eq!(parse(b"\x03\xe8"), Ok(Some((1000, ""))));
        assert_eq!(parse(b"\x0f\xa1bye"), Ok(Some((4001, "bye"))));
        assert_eq!(parse(b"\x03\xe8\xff"), Err(ProtocolError::InvalidCloseReason));
    }

    /// RFC 6455 section 7.4.1 and the IANA registry: 1005, 1006 and 1015 are never sent.
    #[test]
    fn all_named_codes_but_three_may_be_sent() {
        use close_code::*;
        for code in [
            NORMAL,
            GOING_AWAY,
            PROTOCOL,
            UNSUPPORTED,
            INVALID_PAYLOAD,
            POLICY,
            TOO_LARGE,
            MANDATORY_EXTENSION,
            INTERNAL,
            SERVICE_RESTART,
            TRY_AGAIN_LATER,
            BAD_GATEWAY,
        ] {
            assert!(is_valid_on_the_wire(code), "{code}");
        }
        assert_eq!([NO_STATUS, ABNORMAL, TLS_HANDSHAKE].map(is_valid_on_the_wire), [false; 3]);
    }

    #[test]
    fn only_codes_that_may_be_sent_are_sent() {
        for code in 0..=u16::MAX {
            let mut out = Vec::new();
            encode(&mut out, code, "x");
            match (code, parse(&out[2..])) {
                (close_code::NO_STATUS, sent) => assert_eq!(sent, Ok(None)),
                (code, sent) if is_valid_on_the_wire(code) => assert_eq!(sent, Ok(Some((code, "x")))),
                (_, sent) => assert_eq!(sent, Ok(Some((close_code::INTERNAL, "x")))),
            }
        }
    }

    #[test]
    fn a_long_reason_is_cut_between_characters() {
        for (reason, length) in [("a".repeat(123), 123), ("a".repeat(124), 123), ("é".repeat(62), 122)] {
            let mut out = Vec::new();
            encode(&mut out, 1000, &reason);
            assert_eq!(out.len(), 4 + length);
            assert!(parse(&out[2..]).is_ok());
        }
    }
}
