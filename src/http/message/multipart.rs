//! The parts of a multipart body (RFC 2046 section 5.1.1), from bytes. Pure.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::unwrap_used, clippy::expect_used)]

use std::borrow::Cow;

use memchr::memchr;
use memchr::memmem::Finder;

use super::token::is_token;

/// A body that is read part by part.
///
/// A delimiter is a line of `--`, the boundary, optionally another `--`, and optional spaces and
/// tabs. The line end before it belongs to it and not to the part. Some clients end their lines
/// with LF alone. The end of the first delimiter shows which.
pub(crate) struct Multipart<'a> {
    body: &'a [u8],
    /// The start of the next part.
    position: usize,
    /// Finds possible delimiters: a line end, `--`, and the boundary.
    finder: Finder<'a>,
    line_end: &'static [u8],
    is_over: bool,
}

/// The end of a delimiter, behind the boundary.
struct Tail {
    length: usize,
    /// The delimiter ends in `--`: no part follows.
    is_last: bool,
    line_end: &'static [u8],
}

impl<'a> Multipart<'a> {
    /// Goes to the first part. `None` if the body has no delimiter.
    pub(crate) fn new(body: &'a [u8], boundary: &[u8]) -> Option<Multipart<'a>> {
        let with = |line_end: &[u8]| Finder::new(&[line_end, b"--", boundary].concat()).into_owned();
        let at_start = body.strip_prefix(b"--").and_then(|rest| Tail::parse(rest.strip_prefix(boundary)?));
        let (start, tail) = match at_start {
            Some(tail) => (boundary.len().saturating_add(2), tail),
            None => find(&with(b"\n"), body, 0).map(|(_, end, tail)| (end, tail))?,
        };
        let position = start.saturating_add(tail.length);
        Some(Multipart { body, position, finder: with(tail.line_end), line_end: tail.line_end, is_over: tail.is_last })
    }
}

/// The parts, in order. The last item is `None` if that part has no end.
impl<'a> Iterator for Multipart<'a> {
    type Item = Option<&'a [u8]>;

    fn next(&mut self) -> Option<Option<&'a [u8]>> {
        if self.is_over {
            return None;
        }
        // The line end of the last delimiter may also be that of the next one. Then the part is
        // empty.
        let from = self.position.saturating_sub(self.line_end.len());
        let Some((part_end, end, tail)) = find(&self.finder, self.body, from) else {
            self.is_over = true;
            return Some(None);
        };
        let part = self.body.get(self.position..part_end).unwrap_or_default();
        self.position = end.saturating_add(tail.length);
        self.is_over = tail.is_last;
        Some(Some(part))
    }
}

/// Returns the next delimiter: the start of its line end, the end of its boundary, and its tail.
fn find(finder: &Finder<'_>, body: &[u8], from: usize) -> Option<(usize, usize, Tail)> {
    let mut from = from;
    loop {
        let start = from.saturating_add(finder.find(body.get(from..)?)?);
        let end = start.saturating_add(finder.needle().len());
        if let Some(tail) = Tail::parse(body.get(end..)?) {
            return Some((start, end, tail));
        }
        // A line of a part that begins like a delimiter, but is not one.
        from = end;
    }
}

impl Tail {
    /// Parses the tail of a delimiter. `None` if its line continues: then it is not a delimiter.
    fn parse(rest: &[u8]) -> Option<Tail> {
        let (is_last, after) = rest.strip_prefix(b"--").map_or((false, rest), |after| (true, after));
        let padding = after.iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
        let line_end: &'static [u8] = match after.get(padding..)? {
            [b'\n', ..] => b"\n",
            [b'\r', b'\n', ..] => b"\r\n",
            [] => b"",
            _ => return None,
        };
        let length = rest.len().saturating_sub(after.len()).saturating_add(padding).saturating_add(line_end.len());
        Some(Tail { length, is_last, line_end })
    }
}

/// A part of a form: its relevant headers, and its content.
pub(crate) struct Part<'a> {
    pub(crate) disposition: Option<Cow<'a, [u8]>>,
    pub(crate) content_type: Option<Cow<'a, [u8]>>,
    pub(crate) content: &'a [u8],
}

impl<'a> Part<'a> {
    /// Separates a part's headers from its content. Folded lines are unfolded. `None` if a header
    /// is malformed.
    ///
    /// The headers may end with the part. Then the content is empty.
    pub(crate) fn parse(part: &'a [u8]) -> Option<Part<'a>> {
        let mut read = Part { disposition: None, content_type: None, content: part };
        while !read.content.is_empty() {
            let (line, mut rest) = split_line(read.content);
            let mut line = Cow::Borrowed(line);
            if line.is_empty() {
                read.content = rest;
                break;
            }
            while let [b' ' | b'\t', ..] = rest {
                let (more, behind) = split_line(rest);
                line.to_mut().extend_from_slice(more);
                rest = behind;
            }
            read.content = rest;
            read.add(line)?;
        }
        Some(read)
    }

    fn add(&mut self, line: Cow<'a, [u8]>) -> Option<()> {
        let colon = memchr(b':', &line)?;
        let name = line.get(..colon)?.trim_ascii_end();
        if !is_token(name) {
            return None;
        }
        let place = match () {
            () if name.eq_ignore_ascii_case(b"Content-Disposition") => &mut self.disposition,
            () if name.eq_ignore_ascii_case(b"Content-Type") => &mut self.content_type,
            () => return Some(()),
        };
        let start = colon.saturating_add(1);
        let value = match line {
            Cow::Borrowed(line) => Cow::Borrowed(line.get(start..)?.trim_ascii()),
            Cow::Owned(line) => Cow::Owned(line.get(start..)?.trim_ascii().to_vec()),
        };
        place.get_or_insert(value);
        Some(())
    }
}

/// Returns the first line, without its end, and the rest.
fn split_line(text: &[u8]) -> (&[u8], &[u8]) {
    let (line, rest) = split_at_byte(text, b'\n');
    (line.strip_suffix(b"\r").unwrap_or(line), rest)
}

/// Returns a parameter of a header's value: `; name=token` or `; name="quoted"`.
pub(crate) fn parameter(parameters: &[u8], name: &str) -> Option<Vec<u8>> {
    let mut rest = parameters;
    loop {
        let end = rest.iter().position(|byte| matches!(byte, b'=' | b';'))?;
        let (key, behind) = rest.split_at_checked(end)?;
        let (separator, behind) = behind.split_first()?;
        rest = behind;
        if *separator == b';' {
            continue;
        }
        let behind = behind.trim_ascii_start();
        let value = match behind.strip_prefix(b"\"") {
            Some(quoted) => {
                let (value, tail) = unquote(quoted);
                rest = split_at_byte(tail, b';').1;
                value
            }
            None => {
                let (value, tail) = split_at_byte(behind, b';');
                rest = tail;
                value.trim_ascii().to_vec()
            }
        };
        if key.trim_ascii().eq_ignore_ascii_case(name.as_bytes()) {
            return Some(value);
        }
    }
}

/// A quoted string from behind its first quote, and what follows it. Browsers escape only the
/// quote, and older ones send paths with bare backslashes: only `\"` and `\\` are escapes here.
fn unquote(quoted: &[u8]) -> (Vec<u8>, &[u8]) {
    let mut value = Vec::new();
    let mut rest = quoted;
    loop {
        rest = match rest {
            [] => return (value, rest),
            [b'"', tail @ ..] => return (value, tail),
            [b'\\', escaped @ (b'"' | b'\\'), tail @ ..] => {
                value.push(*escaped);
                tail
            }
            [byte, tail @ ..] => {
                value.push(*byte);
                tail
            }
        };
    }
}

/// Returns the bytes before and behind the first `byte`.
pub(crate) fn split_at_byte(text: &[u8], byte: u8) -> (&[u8], &[u8]) {
    let mut sides = text.splitn(2, |other| *other == byte);
    (sides.next().unwrap_or_default(), sides.next().unwrap_or_default())
}
