//! The header of the PROXY protocol, versions 1 and 2, from bytes (the specification of HAProxy, "The PROXY protocol").
//! Pure.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::unwrap_used, clippy::expect_used)]

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use core::str::FromStr;

/// The beginning of a header of version 1 (section 2.1).
const V1: &[u8] = b"PROXY ";

/// The beginning of a header of version 2 (section 2.2).
const V2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// Maximum length of a header of version 1, with its CRLF (section 2.1).
pub(crate) const V1_MAX: usize = 107;

/// Length of the fixed part of a header of version 2.
const V2_FIXED: usize = 16;

/// Maximum length of what follows the fixed part of version 2: addresses and additional fields.
pub(crate) const V2_MAX: usize = 4 * 1024;

/// The result of parsing the bytes so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Parsed {
    /// The beginning of a header. At least `missing` further bytes are needed.
    Incomplete { missing: usize },
    /// A whole header, which is all of the bytes. `client` is `None` if the header names no client: the connection is of
    /// the proxy itself (a health check), or the proxy does not know the client.
    Header { client: Option<SocketAddr> },
    /// The bytes are not those of a header.
    NoHeader,
}

/// Why a header is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Malformed {
    /// The header violates the grammar.
    Syntax,
    /// The header exceeds [`V1_MAX`], or [`V2_MAX`].
    TooLong,
}

/// Parses the bytes of a connection so far. The caller reads at most the missing bytes, so that it never reads beyond the
/// header.
pub(crate) fn parse(bytes: &[u8]) -> Result<Parsed, Malformed> {
    if begins(bytes, V2) {
        parse_v2(bytes)
    } else if begins(bytes, V1) {
        parse_v1(bytes)
    } else {
        Ok(Parsed::NoHeader)
    }
}

/// Returns whether the bytes are the beginning of `start`, or begin with it.
fn begins(bytes: &[u8], start: &[u8]) -> bool {
    bytes.iter().zip(start).all(|(byte, expected)| byte == expected)
}

fn parse_v1(bytes: &[u8]) -> Result<Parsed, Malformed> {
    let Some(end) = bytes.iter().position(|byte| *byte == b'\n') else {
        return match (bytes.len(), bytes.last()) {
            (V1_MAX.., _) => Err(Malformed::TooLong),
            // Until the signature is complete, only it is read: something else may follow its beginning.
            (length, _) if length < V1.len() => Ok(Parsed::Incomplete { missing: V1.len().saturating_sub(length) }),
            (_, Some(b'\r')) => Ok(Parsed::Incomplete { missing: 1 }),
            (length, _) => {
                let shortest = b"PROXY UNKNOWN\r\n".len();
                Ok(Parsed::Incomplete { missing: shortest.saturating_sub(length).max(2) })
            }
        };
    };
    if end >= V1_MAX {
        return Err(Malformed::TooLong);
    }
    if end.saturating_add(1) != bytes.len() {
        return Err(Malformed::Syntax);
    }
    let line = bytes.strip_suffix(b"\r\n").and_then(|line| line.strip_prefix(V1)).ok_or(Malformed::Syntax)?;
    // Whatever follows UNKNOWN is ignored.
    if line == b"UNKNOWN" || line.starts_with(b"UNKNOWN ") {
        return Ok(Parsed::Header { client: None });
    }
    let line = core::str::from_utf8(line).map_err(|_| Malformed::Syntax)?;
    client_of_line(line).map(|client| Parsed::Header { client: Some(client) }).ok_or(Malformed::Syntax)
}

/// Protocol, two addresses, and two ports, separated by one space each.
fn client_of_line(line: &str) -> Option<SocketAddr> {
    let mut fields = line.split(' ');
    let mut next = || fields.next();
    let (protocol, source, destination) = (next()?, next()?, next()?);
    let (source_port, _destination_port) = (port(next()?)?, port(next()?)?);
    let client = match protocol {
        "TCP4" => {
            Ipv4Addr::from_str(destination).ok()?;
            IpAddr::V4(source.parse().ok()?)
        }
        "TCP6" => {
            Ipv6Addr::from_str(destination).ok()?;
            IpAddr::V6(source.parse().ok()?)
        }
        _ => return None,
    };
    fields.next().is_none().then_some(SocketAddr::new(client, source_port))
}

/// A decimal number without sign and leading zeros.
fn port(text: &str) -> Option<u16> {
    let is_number = text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    text.parse().ok().filter(|_| is_number)
}

fn parse_v2(bytes: &[u8]) -> Result<Parsed, Malformed> {
    let Some((fixed, rest)) = bytes.split_first_chunk::<V2_FIXED>() else {
        // Until the signature is complete, only it is read: something else may follow its beginning.
        let whole = if bytes.len() < V2.len() { V2.len() } else { V2_FIXED };
        return Ok(Parsed::Incomplete { missing: whole.saturating_sub(bytes.len()) });
    };
    let [.., version_command, family_protocol, high, low] = *fixed;
    let is_local = match version_command {
        0x20 => true,
        0x21 => false,
        _ => return Err(Malformed::Syntax),
    };
    // Higher values are reserved, and must be rejected. The family of LOCAL is ignored.
    let (family, protocol) = (family_protocol >> 4, family_protocol & 0xF);
    if !is_local && (family > 3 || protocol > 2) {
        return Err(Malformed::Syntax);
    }
    let length = usize::from(u16::from_be_bytes([high, low]));
    if length > V2_MAX {
        return Err(Malformed::TooLong);
    }
    let addresses = [0, 12, 36, 216].get(usize::from(family)).copied().unwrap_or_default();
    if !is_local && length < addresses {
        return Err(Malformed::Syntax);
    }
    match rest.len().checked_sub(length) {
        Some(0) => {}
        Some(_) => return Err(Malformed::Syntax),
        None => return Ok(Parsed::Incomplete { missing: length.saturating_sub(rest.len()) }),
    }
    // Only TCP has clients here. A receiver takes the valid combinations that it does not support as unspecified.
    let client = match family_protocol {
        _ if is_local => None,
        0x11 => ipv4(rest),
        0x21 => ipv6(rest),
        _ => None,
    };
    Ok(Parsed::Header { client })
}

fn ipv4(rest: &[u8]) -> Option<SocketAddr> {
    let (source, rest) = rest.split_first_chunk::<4>()?;
    let port = rest.get(4..)?.first_chunk::<2>()?;
    Some(SocketAddr::new(IpAddr::from(*source), u16::from_be_bytes(*port)))
}

fn ipv6(rest: &[u8]) -> Option<SocketAddr> {
    let (source, rest) = rest.split_first_chunk::<16>()?;
    let port = rest.get(16..)?.first_chunk::<2>()?;
    Some(SocketAddr::new(IpAddr::from(*source), u16::from_be_bytes(*port)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(text: &str) -> Result<Parsed, Malformed> {
        Ok(Parsed::Header { client: Some(text.parse().unwrap()) })
    }

    const NONE: Result<Parsed, Malformed> = Ok(Parsed::Header { client: None });

    /// Reads a header as the caller does: no more than is missing, and `size` bytes at a time.
    fn read(bytes: &[u8], size: usize) -> (Result<Parsed, Malformed>, usize) {
        let mut end = 0;
        loop {
            match parse(&bytes[..end]) {
                Ok(Parsed::Incomplete { missing }) => {
                    assert!(missing > 0);
                    let next = end.saturating_add(missing.min(size)).min(bytes.len());
                    if next == end {
                        return (Ok(Parsed::Incomplete { missing }), end);
                    }
                    end = next;
                }
                parsed => return (parsed, end),
            }
        }
    }

    fn v2(version_command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
        [V2, &[version_command, family], &length, rest].concat()
    }

    /// Section 2.1.
    #[test]
    fn version_1() {
        let line = |rest: &str| format!("PROXY {rest}\r\n").into_bytes();
        let cases = [
            ("TCP4 192.0.2.1 198.51.100.1 56324 443", client("192.0.2.1:56324")),
            ("TCP4 255.255.255.255 255.255.255.255 65535 65535", client("255.255.255.255:65535")),
            ("TCP4 1.1.1.1 1.1.1.1 0 0", client("1.1.1.1:0")),
            ("TCP6 2001:db8::1 2001:DB8::2 1 2", client("[2001:db8::1]:1")),
            ("UNKNOWN", NONE),
            ("UNKNOWN ffff:f...f:ffff ffff:f...f:ffff 65535 65535", NONE),
            ("UNKNOWNX", Err(Malformed::Syntax)),
            ("TCP4 192.0.2.1 198.51.100.1 56324", Err(Malformed::Syntax)),
            ("TCP4 192.0.2.1 198.51.100.1 56324 443 1", Err(Malformed::Syntax)),
            ("TCP4 192.0.2.1  198.51.100.1 56324 443", Err(Malformed::Syntax)),
            (" TCP4 192.0.2.1 198.51.100.1 56324 443", Err(Malformed::Syntax)),
            ("TCP4 192.0.2.1 198.51.100.1 56324 443 ", Err(Malformed::Syntax)),
            ("TCP4 192.0.2.01 198.51.100.1 56324 443", Err(Malformed::Syntax)),
            ("TCP4 192.0.2.256 198.51.100.1 56324 443", Err(Malformed::Syntax)),
            ("TCP4 192.0.2.1 198.51.100.1 65536 443", Err(Malformed::Syntax)),
            ("TCP4 192.0.2.1 198.51.100.1 1 443x", Err(Malformed::Syntax)),
            ("TCP4 192.0.2.1 198.51.100.1 +1 443", Err(Malformed::Syntax)),
            ("TCP4 192.0.2.1 198.51.100.1 01 443", Err(Malformed::Syntax)),
            ("TCP4 192.0.2.1 ::1 1 443", Err(Malformed::Syntax)),
            ("TCP4 ::1 ::1 1 443", Err(Malformed::Syntax)),
            ("TCP6 192.0.2.1 192.0.2.1 1 443", Err(Malformed::Syntax)),
            ("TCP6 [::1] ::1 1 443", Err(Malformed::Syntax)),
            ("TCP5 ::1 ::1 1 443", Err(Malformed::Syntax)),
            ("tcp4 192.0.2.1 198.51.100.1 56324 443", Err(Malformed::Syntax)),
            ("\u{e4}", Err(Malformed::Syntax)),
            ("", Err(Malformed::Syntax)),
        ];
        for (rest, expected) in cases {
            let bytes = [line(rest), b"GET / HTTP/1.1\r\n".to_vec()].concat();
            for size in [1, 2, 7, usize::MAX] {
                let (parsed, end) = read(&bytes, size);
                assert_eq!(parsed, expected, "{rest:?} by {size}");
                if parsed.is_ok() {
                    assert_eq!(end, line(rest).len(), "nothing behind it is read: {rest:?} by {size}");
                }
            }
        }
        assert_eq!(read(b"PROXY TCP4 1.1.1.1 1.1.1.1 1 1\n", 1).0, Err(Malformed::Syntax));
    }

    /// Section 2.1: 107 bytes are the longest line.
    #[test]
    fn a_line_that_is_too_long() {
        let line = |length: usize| format!("PROXY UNKNOWN {}\r\n", "x".repeat(length - 16)).into_bytes();
        assert_eq!(read(&line(V1_MAX), 1), (NONE, V1_MAX));
        for size in [1, 50, usize::MAX] {
            assert_eq!(read(&line(V1_MAX + 1), size).0, Err(Malformed::TooLong), "{size}");
            assert_eq!(read(&line(5000), size).0, Err(Malformed::TooLong), "{size}");
        }
    }

    /// Section 2.2.
    #[test]
    fn version_2() {
        let four = [&[192, 0, 2, 1], &[198, 51, 100, 1], &[0xDC, 0x04, 1, 0xBB][..]].concat();
        let mut six = vec![0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
        six.extend([0; 16]);
        six.extend([0xDC, 0x04, 1, 0xBB]);
        let with_fields = [&four[..], &[0x04, 0, 3, 1, 2, 3]].concat();
        let cases = [
            (v2(0x21, 0x11, &four), client("192.0.2.1:56324")),
            (v2(0x21, 0x11, &with_fields), client("192.0.2.1:56324")),
            (v2(0x21, 0x21, &six), client("[2001:db8::1]:56324")),
            (v2(0x21, 0x31, &[b'/'; 216]), NONE),
            (v2(0x21, 0x00, &[]), NONE),
            (v2(0x21, 0x00, b"anything"), NONE),
            (v2(0x21, 0x12, &four), NONE),
            (v2(0x20, 0x00, &[]), NONE),
            (v2(0x20, 0x11, &four), NONE),
            (v2(0x20, 0x11, &[]), NONE),
            (v2(0x21, 0x11, &four[..11]), Err(Malformed::Syntax)),
            (v2(0x21, 0x21, &six[..35]), Err(Malformed::Syntax)),
            (v2(0x21, 0x31, &[0; 215]), Err(Malformed::Syntax)),
            (v2(0x11, 0x11, &four), Err(Malformed::Syntax)),
            (v2(0x31, 0x11, &four), Err(Malformed::Syntax)),
            (v2(0x22, 0x11, &four), Err(Malformed::Syntax)),
            (v2(0x21, 0x41, &four), Err(Malformed::Syntax)),
            (v2(0x21, 0x13, &four), Err(Malformed::Syntax)),
            (v2(0x20, 0x13, &four), NONE),
            (v2(0x20, 0xFF, b""), NONE),
            (v2(0x21, 0x00, &[0; V2_MAX]), NONE),
            (v2(0x21, 0x00, &[0; V2_MAX + 1]), Err(Malformed::TooLong)),
        ];
        for (header, expected) in cases {
            let bytes = [&header[..], b"GET / HTTP/1.1\r\n"].concat();
            for size in [1, 2, 7, usize::MAX] {
                let (parsed, end) = read(&bytes, size);
                assert_eq!(parsed, expected, "{:x?} by {size}", &header[12..16]);
                if parsed.is_ok() {
                    assert_eq!(end, header.len(), "nothing behind it is read");
                }
            }
        }
    }

    /// A header that is cut anywhere is incomplete, and says how much is certainly missing.
    #[test]
    fn headers_cut_at_every_byte() {
        for header in [b"PROXY TCP4 1.1.1.1 2.2.2.2 3 4\r\n".to_vec(), v2(0x21, 0x11, &[1; 20])] {
            for cut in 0..header.len() {
                let Ok(Parsed::Incomplete { missing }) = parse(&header[..cut]) else { panic!("cut at {cut}") };
                assert!(cut + missing <= header.len(), "cut at {cut}");
            }
            assert!(matches!(parse(&header), Ok(Parsed::Header { client: Some(_) })));
        }
    }

    /// Whatever is not a header is known at its first other byte, and no more than a signature is read of it.
    #[test]
    fn other_protocols_have_no_header() {
        for bytes in [
            &b"GET / HTTP/1.1\r\n"[..],
            b"POST / HTTP/1.1\r\n",
            b"PROPFIND / HTTP/1.1\r\n",
            b"\x16\x03\x01\x02",
            b"\r\nGET / HTTP/1.1\r\n",
            b"PROXIES\r\n",
        ] {
            for size in [1, usize::MAX] {
                let (parsed, end) = read(bytes, size);
                assert_eq!(parsed, Ok(Parsed::NoHeader), "{bytes:?}");
                assert!(end <= V2.len());
            }
        }
    }

    /// Any bytes, also behind a signature: an answer, and no panic.
    #[test]
    fn any_bytes_have_an_answer() {
        use proptest::prelude::*;
        let start = prop_oneof![Just(Vec::new()), Just(V1.to_vec()), Just(V2.to_vec()), Just([V2, &[0x21, 0x11]].concat())];
        let rest = proptest::collection::vec(any::<u8>(), 0..300);
        let mut runner = proptest::test_runner::TestRunner::default();
        let checked = runner.run(&(start, rest, 1..20usize), |(start, rest, size)| {
            let bytes = [start, rest].concat();
            let (parsed, end) = read(&bytes, size);
            prop_assert!(end <= bytes.len());
            if let Ok(Parsed::Header { .. }) = parsed {
                prop_assert_eq!(parse(&bytes[..end]), parsed);
            }
            let _ = parse(&bytes);
            Ok(())
        });
        checked.unwrap();
    }
}
