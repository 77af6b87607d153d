//! Bodies of HTML forms, from bytes. Pure.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::unwrap_used, clippy::expect_used)]

use bytes::Bytes;
use memchr::memmem;

use super::params::Params;

/// The fields and files of a form.
#[derive(Clone, Debug, Default)]
pub struct Form {
    fields: Params,
    files: Vec<UploadedFile>,
}

impl Form {
    /// The value of a field; of several with the same name, the last, as in PHP.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.fields.get(name)
    }

    /// All fields.
    pub fn fields(&self) -> &Params {
        &self.fields
    }

    /// All files.
    pub fn files(&self) -> &[UploadedFile] {
        &self.files
    }
}

/// A file that came with a form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UploadedFile {
    /// The name of the form's field.
    pub field: String,
    /// What the client calls the file. Do not make a path of it.
    pub file_name: String,
    /// What the client says is in it.
    pub content_type: Option<String>,
    /// The file itself.
    pub content: Bytes,
}

/// More parts than any form has, so that a body of empty ones does not cost much more than its size.
const PARTS_MAX: usize = 1024;

/// Header lines of one part; three are in use.
const PART_HEADERS_MAX: usize = 16;

pub(super) fn parse(content_type: &[u8], body: &Bytes) -> Form {
    let (media_type, parameters) = split_at_byte(content_type, b';');
    let media_type = media_type.trim_ascii();
    if media_type.eq_ignore_ascii_case(b"application/x-www-form-urlencoded") {
        return Form { fields: Params::from_urlencoded(body), files: Vec::new() };
    }
    let mut form = Form::default();
    if media_type.eq_ignore_ascii_case(b"multipart/form-data")
        && let Some(boundary) = parameter(parameters, "boundary").filter(|boundary| !boundary.is_empty())
    {
        for part in parts(body, &boundary).take(PARTS_MAX) {
            form.add(part, body);
        }
    }
    form
}

impl Form {
    /// RFC 7578 §4: a part's name and file name stand in its Content-Disposition. One without a name is skipped.
    fn add(&mut self, part: &[u8], body: &Bytes) {
        let mut headers = [httparse::EMPTY_HEADER; PART_HEADERS_MAX];
        let Ok(httparse::Status::Complete((length, headers))) = httparse::parse_headers(part, &mut headers) else {
            return;
        };
        let content = part.get(length..).unwrap_or_default();
        let header = |name: &str| headers.iter().find(|header| header.name.eq_ignore_ascii_case(name));
        let Some(disposition) = header("Content-Disposition") else { return };
        let (kind, parameters) = split_at_byte(disposition.value, b';');
        let Some(name) = parameter(parameters, "name") else { return };
        if !kind.trim_ascii().eq_ignore_ascii_case(b"form-data") {
            return;
        }
        match parameter(parameters, "filename") {
            None => self.fields.push(name, String::from_utf8_lossy(content).into_owned()),
            Some(file_name) => self.files.push(UploadedFile {
                field: name,
                file_name,
                content_type: header("Content-Type").map(|header| String::from_utf8_lossy(header.value).into_owned()),
                content: body.slice_ref(content),
            }),
        }
    }
}

/// The parts of a multipart body (RFC 2046 §5.1.1), as far as they are complete.
fn parts<'a>(body: &'a [u8], boundary: &str) -> impl Iterator<Item = &'a [u8]> {
    let delimiter = format!("\r\n--{boundary}");
    // The first delimiter may stand at the very start, without the CR LF.
    let start = match body.strip_prefix(delimiter.trim_ascii_start().as_bytes()) {
        Some(after) => Some(after),
        None => memmem::find(body, delimiter.as_bytes()).and_then(|at| body.get(at.saturating_add(delimiter.len())..)),
    };
    let mut rest = start;
    std::iter::from_fn(move || {
        // After a delimiter: CR LF, or "--" at the end of all.
        let part = rest.take()?.strip_prefix(b"\r\n")?;
        // A part without headers begins with the CR LF that ends none, which may be the delimiter's own.
        let end = memmem::find(part, delimiter.as_bytes())?;
        rest = part.get(end.saturating_add(delimiter.len())..);
        part.get(..end)
    })
}

/// A parameter of a header's value: `; name=token` or `; name="quoted"`.
fn parameter(parameters: &[u8], name: &str) -> Option<String> {
    let mut rest = parameters;
    loop {
        let (key, after) = split_at_byte(rest, b'=');
        let after = after.trim_ascii_start();
        let (value, tail) = match after.strip_prefix(b"\"") {
            Some(quoted) => unquote(quoted),
            None => {
                let (value, tail) = split_at_byte(after, b';');
                (value.trim_ascii().to_vec(), tail)
            }
        };
        if key.trim_ascii().eq_ignore_ascii_case(name.as_bytes()) {
            return Some(String::from_utf8_lossy(&value).into_owned());
        }
        if tail.is_empty() {
            return None;
        }
        rest = tail.trim_ascii_start().strip_prefix(b";").unwrap_or(tail);
    }
}

/// A quoted string from behind its first quote, and what follows it. Browsers escape only the quote, and older ones send
/// paths with bare backslashes: only `\"` and `\\` are escapes here.
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

/// What stands before and after the first `byte`.
fn split_at_byte(text: &[u8], byte: u8) -> (&[u8], &[u8]) {
    let mut sides = text.splitn(2, |other| *other == byte);
    (sides.next().unwrap_or_default(), sides.next().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn multipart(body: &str) -> Form {
        parse(b"multipart/form-data; boundary=\"XX\"", &Bytes::copy_from_slice(body.as_bytes()))
    }

    #[test]
    fn urlencoded() {
        let body = Bytes::from_static(b"a=1&b=%C3%A9+x&a=2");
        let form = parse(b"Application/X-WWW-Form-Urlencoded; charset=utf-8", &body);
        assert_eq!((form.get("a"), form.get("b"), form.get("c")), (Some("2"), Some("é x"), None));
        assert_eq!(form.fields().len(), 3);
    }

    #[test]
    fn fields_and_files() {
        let form = multipart(
            "preamble\r\n--XX\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n1\r\n2\r\n--XX\r\n\
             content-disposition: form-data; name=f; filename=\"x \\\"y\\\";.txt\"\r\nContent-Type: text/plain\r\n\r\n\
             data\r\n--XX--\r\nepilogue",
        );
        assert_eq!(form.get("a"), Some("1\r\n2"));
        let file = UploadedFile {
            field: "f".into(),
            file_name: "x \"y\";.txt".into(),
            content_type: Some("text/plain".into()),
            content: Bytes::from_static(b"data"),
        };
        assert_eq!(form.files(), [file]);
    }

    #[test]
    fn what_is_no_part_is_skipped() {
        for body in [
            "",
            "--XX",
            "--XX--",
            "--XX\r\n",
            "--XX\r\nContent-Disposition: form-data; name=a\r\n\r\nno end",
            "--XX\r\n\r\nno headers\r\n--XX--",
            "--XX\r\nContent-Disposition form-data; name=a\r\n\r\nno colon\r\n--XX--",
            "--XX\r\nContent-Disposition: form-data; name=a\r\nheaders without an end\r\n--XX--",
            "--XX\r\nContent-Disposition: form-data\r\n\r\nno name\r\n--XX--",
            "--XX\r\nContent-Disposition: attachment; name=a\r\n\r\nno form data\r\n--XX--",
            "--YY\r\nContent-Disposition: form-data; name=a\r\n\r\nother boundary\r\n--YY--",
        ] {
            let form = multipart(body);
            assert!(form.fields().is_empty() && form.files().is_empty(), "{body:?}");
        }
        let form = parse(b"text/plain", &Bytes::from_static(b"a=1"));
        assert!(form.fields().is_empty());
    }

    #[test]
    fn a_quoted_name_without_an_end_goes_to_the_end_of_its_line() {
        let form = multipart("--XX\r\nContent-Disposition: form-data; name=\"a; b\r\n\r\n1\r\n--XX--");
        assert_eq!(form.get("a; b"), Some("1"));
    }

    #[test]
    fn no_more_parts_than_a_form_has() {
        let part = "--XX\r\nContent-Disposition: form-data; name=a\r\n\r\n\r\n";
        let form = multipart(&format!("{}--XX--", part.repeat(2000)));
        assert_eq!(form.fields().len(), PARTS_MAX);
    }
}
