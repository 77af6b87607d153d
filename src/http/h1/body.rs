//! Request bodies, from bytes (RFC 9112 §6, §7). Pure: no socket, no clock.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::unwrap_used, clippy::expect_used)]

use crate::http::HttpError;
use crate::http::message::{Framing, is_token_byte};

/// Takes a request's body out of what arrives.
#[derive(Debug)]
pub(crate) struct BodyDecoder {
    state: State,
    /// Bytes of extensions and trailers so far.
    ignored: usize,
    /// Digits of the present chunk's size.
    digits: usize,
    limit: usize,
}

#[derive(Debug, PartialEq, Eq)]
enum State {
    /// The body ends after this many bytes.
    Length(u64),
    /// The digits of a chunk's size, so far.
    Size(Option<u64>),
    /// The rest of the line after the size: extensions, which are ignored.
    Extension(u64),
    /// The LF of that line.
    SizeEnd(u64),
    /// The chunk ends after this many bytes.
    Chunk(u64),
    /// CR and LF after a chunk.
    ChunkCr,
    ChunkLf,
    /// The beginning of a line: of a trailer, which is dropped, or of the empty line behind them.
    Trailer,
    /// The rest of a trailer's name.
    TrailerName,
    TrailerValue,
    /// The LF of a trailer.
    TrailerEnd,
    /// The LF of the empty line.
    LastLf,
    Done,
}

/// Bytes of extensions and trailers in one body. There is no use for either; a peer that sends more only keeps us busy.
const IGNORED_MAX: usize = 8 * 1024;

/// Digits of a chunk's size: those of the largest number there is.
const DIGITS_MAX: usize = 16;

impl BodyDecoder {
    /// # Errors
    /// [`HttpError::BodyTooLarge`], if that is known already.
    pub(crate) fn new(framing: Framing, limit: usize) -> Result<BodyDecoder, HttpError> {
        let state = match framing {
            Framing::Length(length) if length > limit as u64 => return Err(HttpError::BodyTooLarge { limit }),
            Framing::Length(0) => State::Done,
            Framing::Length(length) => State::Length(length),
            Framing::Chunked => State::Size(None),
        };
        Ok(BodyDecoder { state, ignored: 0, digits: 0, limit })
    }

    pub(crate) fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// Moves what `input` has of the body to `body`, and returns how many bytes of `input` it used up: all, unless the body
    /// is [done](BodyDecoder::is_done).
    pub(crate) fn decode(&mut self, input: &[u8], body: &mut Vec<u8>) -> Result<usize, HttpError> {
        let mut rest = input;
        while let Some((&byte, after)) = rest.split_first() {
            match self.state {
                State::Done => break,
                State::Length(left) | State::Chunk(left) => {
                    let length = usize::try_from(left).unwrap_or(usize::MAX).min(rest.len());
                    let (piece, after) = rest.split_at_checked(length).unwrap_or_default();
                    body.extend_from_slice(piece);
                    rest = after;
                    let left = left.saturating_sub(length as u64);
                    self.state = match self.state {
                        State::Length(_) if left == 0 => State::Done,
                        State::Length(_) => State::Length(left),
                        _ if left == 0 => State::ChunkCr,
                        _ => State::Chunk(left),
                    };
                    continue;
                }
                State::Size(size) => self.state = self.size(size, byte)?,
                State::Extension(size) => {
                    self.ignore(byte)?;
                    if byte == b'\r' {
                        self.state = State::SizeEnd(size);
                    }
                }
                State::SizeEnd(size) => {
                    expect(byte, b'\n')?;
                    self.digits = 0;
                    self.state = if size == 0 { State::Trailer } else { State::Chunk(self.admit(size, body)?) };
                }
                State::ChunkCr => {
                    expect(byte, b'\r')?;
                    self.state = State::ChunkLf;
                }
                State::ChunkLf => {
                    expect(byte, b'\n')?;
                    self.state = State::Size(None);
                }
                State::Trailer | State::TrailerName | State::TrailerValue => {
                    self.ignore(byte)?;
                    self.state = self.trailer(byte)?;
                }
                State::TrailerEnd => {
                    expect(byte, b'\n')?;
                    self.state = State::Trailer;
                }
                State::LastLf => {
                    expect(byte, b'\n')?;
                    self.state = State::Done;
                }
            }
            rest = after;
        }
        Ok(input.len().saturating_sub(rest.len()))
    }

    fn size(&mut self, size: Option<u64>, byte: u8) -> Result<State, HttpError> {
        self.digits = self.digits.saturating_add(1);
        match (char::from(byte).to_digit(16), size) {
            (Some(digit), size) if self.digits <= DIGITS_MAX => {
                let larger = size.unwrap_or(0).checked_mul(16).and_then(|size| size.checked_add(u64::from(digit)));
                Ok(State::Size(Some(larger.ok_or(HttpError::Chunk)?)))
            }
            (None, Some(size)) if byte == b'\r' => Ok(State::SizeEnd(size)),
            // White space before an extension is "bad" in the RFC and refused here.
            (None, Some(size)) if byte == b';' => Ok(State::Extension(size)),
            _ => Err(HttpError::Chunk),
        }
    }

    /// Each trailer is a field line (section 7.1.2). A line that is not checked could be a request
    /// to a proxy that ends the body earlier.
    fn trailer(&self, byte: u8) -> Result<State, HttpError> {
        match (&self.state, byte) {
            (State::Trailer, b'\r') => Ok(State::LastLf),
            (State::TrailerName, b':') => Ok(State::TrailerValue),
            (State::TrailerValue, b'\r') => Ok(State::TrailerEnd),
            (State::TrailerValue, _) => Ok(State::TrailerValue),
            (_, byte) if is_token_byte(byte) => Ok(State::TrailerName),
            _ => Err(HttpError::Chunk),
        }
    }

    /// Whether a chunk of `size` bytes is accepted.
    fn admit(&self, size: u64, body: &[u8]) -> Result<u64, HttpError> {
        if size.saturating_add(body.len() as u64) > self.limit as u64 {
            return Err(HttpError::BodyTooLarge { limit: self.limit });
        }
        Ok(size)
    }

    /// Counts a byte of what is dropped.
    fn ignore(&mut self, byte: u8) -> Result<(), HttpError> {
        self.ignored = self.ignored.saturating_add(1);
        let is_text = byte == b'\t' || byte == b'\r' || (byte >= b' ' && byte != 0x7F);
        if is_text && self.ignored <= IGNORED_MAX { Ok(()) } else { Err(HttpError::Chunk) }
    }
}

fn expect(byte: u8, expected: u8) -> Result<(), HttpError> {
    if byte == expected { Ok(()) } else { Err(HttpError::Chunk) }
}
