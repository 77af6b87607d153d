//! Where a request head ends, in bytes that are still arriving (RFC 9112 sections 2.2 and 3). Pure.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::unwrap_used, clippy::expect_used)]

use http::Version;
use memchr::{memchr, memchr_iter};

use super::request_line::{ConnectionOptions, RequestLine};
use crate::http::HttpError;
use crate::http::context::HeadLimits;
use crate::http::message::is_token_byte;

/// Finds the end of a head in a growing buffer and looks at every byte once.
///
/// The scanner judges the request line while it arrives, and of the other lines their ends, number
/// and size. The first wrong byte decides, so the verdict does not depend on how the bytes are cut
/// into reads.
#[derive(Debug, Default)]
pub(crate) struct HeadScanner {
    /// Where the request line begins: behind the one empty line that may precede it (section 2.2).
    start: usize,
    line_start: usize,
    scanned: usize,
    /// Complete lines, the request line included.
    lines: usize,
    request_line: RequestLineJudge,
}

impl HeadScanner {
    /// Returns whether the head in `buffer` is complete.
    ///
    /// `buffer` begins with the bytes of the last call.
    pub(crate) fn scan(&mut self, buffer: &[u8], limits: &HeadLimits) -> Result<bool, HttpError> {
        let fresh = buffer.get(self.scanned..).unwrap_or_default();
        for found in memchr_iter(b'\n', fresh) {
            let end = self.scanned.saturating_add(found);
            let line = buffer.get(self.line_start..end).unwrap_or_default();
            let next_line = end.saturating_add(1);
            if self.lines == 0 {
                self.judge(line, limits)?;
                if line == b"\r" {
                    (self.start, self.line_start) = (next_line, next_line);
                    continue;
                }
                self.request_line.finish(line)?;
            }
            let Some(line) = line.strip_suffix(b"\r") else {
                self.check_size(end, limits)?;
                return Err(HttpError::LineEnd);
            };
            self.line_start = next_line;
            self.check_size(self.line_start, limits)?;
            if line.is_empty() {
                return Ok(true);
            }
            self.lines = self.lines.saturating_add(1);
            if self.lines.saturating_sub(1) > limits.headers {
                return Err(HttpError::TooManyHeaders { limit: limits.headers });
            }
        }
        self.scanned = buffer.len();
        if self.lines == 0 {
            self.judge(buffer.get(self.line_start..).unwrap_or_default(), limits)?;
        }
        self.check_size(self.scanned, limits)?;
        Ok(false)
    }

    /// Returns what an error page needs to know of the request, if its method has arrived. `head`
    /// is what was scanned, with or without the empty line before it.
    ///
    /// The version counts when the request line is complete. Until then it is HTTP/1.1.
    pub(crate) fn request_line(&self, head: &[u8]) -> Option<RequestLine> {
        let line = head.strip_prefix(b"\r\n").unwrap_or(head);
        let is_head = line.get(..self.request_line.method_length?)? == b"HEAD";
        let version = self.request_line.version;
        Some(RequestLine { is_head, version, connection: ConnectionOptions::default() })
    }

    /// Judges the first line as far as it has arrived. `line` has no LF.
    fn judge(&mut self, line: &[u8], limits: &HeadLimits) -> Result<(), HttpError> {
        if self.start == 0 && line.first() == Some(&b'\r') {
            return if line.len() == 1 { Ok(()) } else { Err(HttpError::LineEnd) };
        }
        let limit = limits.request_line.min(limits.head);
        let wrong = self.request_line.advance(line);
        // The CR of a line that is just long enough is not too much.
        let is_too_long = line.len() > limit && line.get(limit) != Some(&b'\r');
        if is_too_long && wrong.is_none_or(|wrong| wrong >= limit) {
            return Err(match limits.head < limits.request_line {
                true => HttpError::HeadTooLarge { limit },
                false => HttpError::RequestLineTooLong { limit },
            });
        }
        match wrong {
            None => Ok(()),
            Some(place) if line.get(..place).is_some_and(|before| before.ends_with(b"\r")) => Err(HttpError::LineEnd),
            Some(_) => Err(HttpError::RequestLine),
        }
    }

    fn check_size(&self, end: usize, limits: &HeadLimits) -> Result<(), HttpError> {
        match end.saturating_sub(self.start) > limits.head {
            true => Err(HttpError::HeadTooLarge { limit: limits.head }),
            false => Ok(()),
        }
    }
}

/// How far a request line is in order: `method SP target SP HTTP/digit.digit CR` (section 3).
#[derive(Debug)]
struct RequestLineJudge {
    part: Part,
    part_start: usize,
    /// How many bytes have been judged.
    judged: usize,
    /// The method's length, when the space behind it has arrived.
    method_length: Option<usize>,
    version: Version,
}

#[derive(Clone, Copy, Debug)]
enum Part {
    Method,
    Target,
    Version,
}

impl Default for RequestLineJudge {
    fn default() -> Self {
        let (part, version) = (Part::Method, Version::HTTP_11);
        RequestLineJudge { part, part_start: 0, judged: 0, method_length: None, version }
    }
}

impl RequestLineJudge {
    /// Judges the bytes of `line` that are new. Returns the place of the first byte that no request
    /// line has there.
    fn advance(&mut self, line: &[u8]) -> Option<usize> {
        loop {
            let new = line.get(self.judged..).unwrap_or_default();
            let found = match self.part {
                Part::Method => new.iter().position(|byte| *byte == b' ' || !is_token_byte(*byte)),
                Part::Target => target_end(new),
                Part::Version => return self.advance_version(line),
            };
            let Some(found) = found else {
                self.judged = line.len();
                return None;
            };
            let place = self.judged.saturating_add(found);
            if new.get(found) != Some(&b' ') || place == self.part_start {
                return Some(place);
            }
            self.part = match self.part {
                Part::Method => {
                    self.method_length = Some(place);
                    Part::Target
                }
                Part::Target | Part::Version => Part::Version,
            };
            self.part_start = place.saturating_add(1);
            self.judged = self.part_start;
        }
    }

    fn advance_version(&mut self, line: &[u8]) -> Option<usize> {
        let version = line.get(self.part_start..).unwrap_or_default();
        if version == b"HTTP/1.1\r" {
            return None;
        }
        let fits = |place: usize, byte: u8| match place {
            5 | 7 => byte.is_ascii_digit(),
            place => b"HTTP/x.x\r".get(place) == Some(&byte),
        };
        let skip = self.judged.saturating_sub(self.part_start);
        let wrong = version.iter().enumerate().skip(skip).find(|(place, byte)| !fits(*place, **byte));
        self.judged = line.len();
        wrong.map(|(place, _)| self.part_start.saturating_add(place))
    }

    /// Judges the version of a line that has ended with its LF and is in order so far.
    fn finish(&mut self, line: &[u8]) -> Result<(), HttpError> {
        let version = match self.part {
            Part::Version => line.get(self.part_start..).unwrap_or_default(),
            Part::Method | Part::Target => return Err(HttpError::LineEnd),
        };
        match version {
            b"HTTP/1.1\r" => Ok(()),
            b"HTTP/1.0\r" => {
                self.version = Version::HTTP_10;
                Ok(())
            }
            version if version.ends_with(b"\r") => Err(HttpError::Version),
            _ => Err(HttpError::LineEnd),
        }
    }
}

/// The place of the first byte that a target cannot have: a space or a control character.
fn target_end(bytes: &[u8]) -> Option<usize> {
    let is_control = |byte: &u8| *byte < b' ' || *byte == 0x7F;
    let space = memchr(b' ', bytes);
    let target = bytes.get(..space.unwrap_or(bytes.len())).unwrap_or_default();
    // Without an early exit the compiler looks at many bytes at once.
    match target.iter().fold(false, |found, byte| found | is_control(byte)) {
        true => target.iter().position(is_control),
        false => space,
    }
}
