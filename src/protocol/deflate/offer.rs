//! The grammar of `Sec-WebSocket-Extensions` (RFC 6455 §9.1), and the parameters of
//! permessage-deflate in it (RFC 7692 §7.1).

/// The header is malformed (RFC 6455 §9.1). The handshake fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("malformed Sec-WebSocket-Extensions")]
pub struct Malformed;

/// One extension of a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Extension {
    Deflate(Parameters),
    /// permessage-deflate with a parameter that is unknown, repeated, or has an invalid value
    /// (RFC 7692 §7.1).
    InvalidDeflate,
    Other,
}

/// The parameters of permessage-deflate in an offer or in a response.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Parameters {
    pub(super) server_no_context_takeover: bool,
    pub(super) client_no_context_takeover: bool,
    pub(super) server_max_window_bits: Option<u8>,
    /// With or without a value.
    pub(super) client_max_window_bits: Option<Option<u8>>,
}

impl Parameters {
    /// Adds a parameter. `None` if it is unknown, repeated, or has an invalid value.
    fn set(&mut self, name: &[u8], value: Option<&[u8]>) -> Option<()> {
        let is_new = match name {
            b"server_no_context_takeover" if value.is_none() => {
                !std::mem::replace(&mut self.server_no_context_takeover, true)
            }
            b"client_no_context_takeover" if value.is_none() => {
                !std::mem::replace(&mut self.client_no_context_takeover, true)
            }
            b"server_max_window_bits" => self.server_max_window_bits.replace(window_bits(value?)?).is_none(),
            b"client_max_window_bits" => {
                let bits = match value {
                    Some(value) => Some(window_bits(value)?),
                    None => None,
                };
                self.client_max_window_bits.replace(bits).is_none()
            }
            _ => false,
        };
        is_new.then_some(())
    }
}

/// Returns the value of a window size: 8 to 15 without leading zeros (RFC 7692 §7.1.2).
fn window_bits(value: &[u8]) -> Option<u8> {
    let bits = std::str::from_utf8(value).ok()?.parse().ok()?;
    let is_plain = matches!(value, [b'8' | b'9'] | [b'1', b'0'..=b'5']);
    is_plain.then_some(bits)
}

/// Returns the extensions in all lines of the header.
pub(super) fn extensions<'a>(lines: impl IntoIterator<Item = &'a [u8]>) -> Result<Vec<Extension>, Malformed> {
    let mut extensions = Vec::new();
    for line in lines {
        let mut rest = Scanner(line);
        // A list may have empty elements (RFC 9110 §5.6.1.2).
        loop {
            rest.skip_blanks();
            if rest.0.is_empty() {
                break;
            }
            if rest.skip(b',') {
                continue;
            }
            extensions.push(rest.extension()?);
            rest.skip_blanks();
            if !rest.0.is_empty() && !rest.skip(b',') {
                return Err(Malformed);
            }
        }
    }
    Ok(extensions)
}

/// The rest of a line.
struct Scanner<'a>(&'a [u8]);

impl<'a> Scanner<'a> {
    fn extension(&mut self) -> Result<Extension, Malformed> {
        let is_deflate = self.token()? == b"permessage-deflate";
        let mut parameters = Some(Parameters::default());
        loop {
            self.skip_blanks();
            if !self.skip(b';') {
                break;
            }
            self.skip_blanks();
            let name = self.token()?;
            self.skip_blanks();
            let value = if self.skip(b'=') { Some(self.value()?) } else { None };
            parameters = parameters.and_then(|mut parameters| {
                parameters.set(name, value.as_deref())?;
                Some(parameters)
            });
        }
        Ok(match parameters {
            _ if !is_deflate => Extension::Other,
            Some(parameters) => Extension::Deflate(parameters),
            None => Extension::InvalidDeflate,
        })
    }

    fn skip_blanks(&mut self) {
        self.0 = self.0.trim_ascii_start();
    }

    /// Skips a byte if it is the next one.
    fn skip(&mut self, byte: u8) -> bool {
        let Some(rest) = self.0.strip_prefix(&[byte]) else { return false };
        self.0 = rest;
        true
    }

    fn token(&mut self) -> Result<&'a [u8], Malformed> {
        let length = self.0.iter().take_while(|byte| is_token(**byte)).count();
        let (token, rest) = self.0.split_at_checked(length).unwrap_or_default();
        self.0 = rest;
        if token.is_empty() { Err(Malformed) } else { Ok(token) }
    }

    /// A token, or a quoted string whose content is a token (RFC 6455 §9.1).
    fn value(&mut self) -> Result<Vec<u8>, Malformed> {
        self.skip_blanks();
        if !self.skip(b'"') {
            return self.token().map(<[u8]>::to_vec);
        }
        let mut value = Vec::new();
        loop {
            let byte = match self.0 {
                [b'"', rest @ ..] => {
                    self.0 = rest;
                    break;
                }
                [b'\\', byte, rest @ ..] | [byte, rest @ ..] => {
                    self.0 = rest;
                    *byte
                }
                [] => return Err(Malformed),
            };
            value.push(byte);
        }
        if !value.is_empty() && value.iter().all(|byte| is_token(*byte)) { Ok(value) } else { Err(Malformed) }
    }
}

/// Returns whether a byte may be part of a token (RFC 9110 §5.6.2).
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}
