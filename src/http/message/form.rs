//! Bodies of HTML forms, from bytes. Pure.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::unwrap_used, clippy::expect_used)]

use bytes::Bytes;

use super::multipart::{Multipart, Part, parameter, split_at_byte};
use super::params::Params;
use crate::http::FormError;

/// The fields and files of a form.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Form {
    fields: Params,
    files: Vec<UploadedFile>,
}

impl Form {
    /// Returns the value of a field, or `None`. If several fields have this name, returns the last
    /// value, as in PHP.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.fields.get(name)
    }

    /// Returns the values of all fields with this name, in the order of the body. PHP converts the
    /// fields `b[]` to an array; here `b[]` is the name of the fields.
    pub fn get_all<'a>(&'a self, name: &str) -> impl DoubleEndedIterator<Item = &'a str> {
        self.fields.get_all(name)
    }

    /// Returns all fields.
    pub fn fields(&self) -> &Params {
        &self.fields
    }

    /// Returns all files.
    pub fn files(&self) -> &[UploadedFile] {
        &self.files
    }
}

/// A file that was sent with a form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UploadedFile {
    /// The name of the form's field.
    pub field: String,
    /// The file name that the client sent. Do not use it as a path.
    pub file_name: String,
    /// The content type that the client sent.
    pub content_type: Option<String>,
    /// The content of the file.
    pub content: Bytes,
}

/// Maximum number of parts. No form needs more, and a body of empty parts does not cost much more
/// memory than its size.
const PARTS_MAX: usize = 1024;

/// RFC 2046 section 5.1.1.
const BOUNDARY_MAX: usize = 70;

pub(crate) fn parse(content_type: &[u8], body: &Bytes) -> Result<Form, FormError> {
    let (media_type, parameters) = split_at_byte(content_type, b';');
    let media_type = media_type.trim_ascii();
    let mut form = Form::default();
    if media_type.eq_ignore_ascii_case(b"application/x-www-form-urlencoded") {
        form.fields = Params::from_urlencoded(body);
    } else if media_type.eq_ignore_ascii_case(b"multipart/form-data") {
        let boundary = parameter(parameters, "boundary").unwrap_or_default();
        if !(1..=BOUNDARY_MAX).contains(&boundary.len()) {
            return Err(FormError::Boundary { length: boundary.len(), limit: BOUNDARY_MAX });
        }
        let parts = Multipart::new(body, &boundary).ok_or(FormError::NoDelimiter)?;
        for (part, bytes) in (1..).zip(parts) {
            let bytes = bytes.ok_or(FormError::UnfinishedPart { part })?;
            if part > PARTS_MAX {
                return Err(FormError::TooManyParts { limit: PARTS_MAX });
            }
            let read = Part::parse(bytes).ok_or(FormError::PartHeader { part })?;
            form.add(read, body).ok_or(FormError::PartName { part })?;
        }
    }
    Ok(form)
}

impl Form {
    /// Adds a part, whose name and file name stand in its `Content-Disposition` (RFC 7578 section
    /// 4.2). `None` if it has no name.
    fn add(&mut self, part: Part<'_>, body: &Bytes) -> Option<()> {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let (kind, parameters) = split_at_byte(part.disposition.as_deref()?, b';');
        if !kind.trim_ascii().eq_ignore_ascii_case(b"form-data") {
            return None;
        }
        let name = text(&parameter(parameters, "name")?);
        match parameter(parameters, "filename") {
            None => self.fields.push(name, text(part.content)),
            Some(file_name) => self.files.push(UploadedFile {
                field: name,
                file_name: text(&file_name),
                content_type: part.content_type.as_deref().map(text),
                content: body.slice_ref(part.content),
            }),
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "Content-Disposition: form-data; name=a\r\n";

    fn form_of(content_type: &str, body: &str) -> Result<Form, FormError> {
        parse(content_type.as_bytes(), &Bytes::copy_from_slice(body.as_bytes()))
    }

    fn multipart(body: &str) -> Result<Form, FormError> {
        form_of("multipart/form-data; boundary=\"XX\"", body)
    }

    /// The fields of a form, and its files with what is in them.
    fn shown(form: Result<Form, FormError>) -> String {
        let form = match form {
            Ok(form) => form,
            Err(error) => return error.to_string(),
        };
        let fields = form.fields().iter().map(|(name, value)| format!("{name}={value}"));
        let file =
            |file: &UploadedFile| format!("{}:{}={}", file.field, file.file_name, String::from_utf8_lossy(&file.content));
        fields.chain(form.files().iter().map(file)).collect::<Vec<_>>().join(" ").escape_default().to_string()
    }

    #[test]
    fn urlencoded() {
        let form = form_of("Application/X-WWW-Form-Urlencoded; charset=utf-8", "a=1&b=%C3%A9+x&a=2&c[]=3&c[]=4").unwrap();
        assert_eq!((form.get("a"), form.get("b"), form.get("d")), (Some("2"), Some("\u{e9} x"), None));
        assert_eq!((form.fields().len(), form.get_all("c[]").collect::<Vec<_>>()), (5, vec!["3", "4"]));
    }

    #[test]
    fn fields_and_files() {
        let form = multipart(
            "preamble\r\n--XX\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n1\r\n2\r\n--XX\r\n\
             content-disposition: form-data; name=f; filename=\"x \\\"y\\\";.txt\"\r\nContent-Type: text/plain\r\n\r\n\
             data\r\n--XX--\r\nepilogue",
        )
        .unwrap();
        assert_eq!(form.get("a"), Some("1\r\n2"));
        let file = UploadedFile {
            field: "f".into(),
            file_name: "x \"y\";.txt".into(),
            content_type: Some("text/plain".into()),
            content: Bytes::from_static(b"data"),
        };
        assert_eq!(form.files(), [file]);
    }

    /// RFC 2046 section 5.1.1: preamble, transport padding, epilogue; and the line ends of clients
    /// that have LF alone.
    #[test]
    fn delimiters() {
        for (body, expected) in [
            ("--XX\r\nA\r\n1\r\n--XX--", "a=1"),
            ("--XX\r\nA\r\n1\r\n--XX--\r\n", "a=1"),
            ("\r\n--XX\r\nA\r\n1\r\n--XX--\r\n", "a=1"),
            ("preamble\r\n--XX is not it\r\n--XX\r\nA\r\n1\r\n--XX--\r\nepilogue\r\n--XX\r\n", "a=1"),
            ("--XX \t\r\nA\r\n1\r\n--XX\t \r\nA\r\n2\r\n--XX-- \r\nepilogue", "a=1 a=2"),
            ("--XX\r\nA\r\n1\r\n--XX--\t", "a=1"),
            ("--XX--", ""),
            ("--XX--\r\n", ""),
            ("--XX\r\nA\r\n\r\n--XX--", "a="),
            ("--XX\r\nA\r\n\r\n\r\n--XX--", "a=\\r\\n"),
            // A line that only begins like a delimiter is content.
            (
                "--XX\r\nA\r\n--XXX\r\n--XX-\r\n--XX--X\r\n--X\r\n -- XX\r\n--XX--",
                "a=--XXX\\r\\n--XX-\\r\\n--XX--X\\r\\n--X\\r\\n -- XX",
            ),
            ("--XX\r\nA\r\n1\n--XX\n2\r\n--XX--", "a=1\\n--XX\\n2"),
            ("--XX\r\nA\r\n1 --XX--\r\n--XX--", "a=1 --XX--"),
            // LF alone.
            ("--XX\nA\n1\n2\n--XX\nA\n3\n--XX--\n", "a=1\\n2 a=3"),
            ("preamble\n--XX\nA\n1\n--XX--", "a=1"),
            ("--XX \nA\n\r\n--XX--\nepilogue", "a=\\r"),
        ] {
            let disposition = "Content-Disposition: form-data; name=a";
            let body =
                body.replace("A\r\n", &format!("{disposition}\r\n\r\n")).replace("A\n", &format!("{disposition}\n\n"));
            assert_eq!(shown(multipart(&body)), expected, "{body:?}");
        }
    }

    #[test]
    fn headers_of_parts() {
        for (headers, expected) in [
            // The part may end with its headers.
            (A, "a="),
            ("Content-Disposition: form-data; name=a", "a="),
            ("Content-Disposition: form-data; name=a\r\n\r\n1", "a=1"),
            // Folded lines (RFC 822 section 3.1.1).
            ("Content-Disposition: form-data;\r\n name=a\r\n\r\n1", "a=1"),
            ("Content-Disposition:\r\n\tform-data;\r\n\tname=\"a\";\r\n filename=\"b\r\n c\"\r\nX: y\r\n\r\n1", "a:b c=1"),
            ("content-disposition : FORM-DATA ; NAME = a ; x\r\n\r\n1", "a=1"),
            ("X-Other: name=b\r\nContent-Disposition: form-data; filename=f; name=a\r\n\r\n1", "a:f=1"),
            ("Content-Disposition: form-data; x; name=a\r\n\r\n1", "a=1"),
            ("Content-Disposition: form-data; x=\"name=b; name=c\"; name=a\r\n\r\n1", "a=1"),
            ("Content-Disposition: form-data; x=\"y\" z; name=a\r\n\r\n1", "a=1"),
            ("Content-Disposition: form-data; name=a\r\nContent-Disposition: form-data; name=b\r\n\r\n1", "a=1"),
            ("Content-Disposition: form-data; name=\"\"\r\n\r\n1", "=1"),
            ("Content-Disposition: form-data; name=\"a[b]\"; filename=\"\"\r\n\r\n", "a[b]:="),
            ("Content-Disposition: form-data; name=\"a; b\r\n\r\n1", "a; b=1"),
            ("Content-Disposition: form-data; name=\"\u{e9}\"\r\n\r\n\u{fc}", "\\u{e9}=\\u{fc}"),
        ] {
            assert_eq!(shown(multipart(&format!("--XX\r\n{headers}\r\n--XX--"))), expected, "{headers:?}");
        }
    }

    /// A malformed form is not an empty one.
    #[test]
    fn what_is_wrong_is_told() {
        let good = format!("--XX\r\n{A}\r\n1\r\n");
        let unfinished = |part| FormError::UnfinishedPart { part };
        for (body, error) in [
            (String::new(), FormError::NoDelimiter),
            ("--YY\r\n\r\n--YY--".into(), FormError::NoDelimiter),
            (" --XX--".into(), FormError::NoDelimiter),
            ("--XX-- x".into(), FormError::NoDelimiter),
            ("--XX".into(), unfinished(1)),
            ("--XX\r\n".into(), unfinished(1)),
            (format!("--XX\r\n{A}\r\n1"), unfinished(1)),
            (format!("{good}--XX\r\n"), unfinished(2)),
            (format!("{good}--XX\r\n{A}\r\n1\n--XX--"), unfinished(2)),
            (format!("{good}--XX-"), unfinished(1)),
            (format!("{good}--XX\r\nno colon\r\n\r\n1\r\n--XX--"), FormError::PartHeader { part: 2 }),
            (format!("{good}--XX\r\n: no name\r\n\r\n1\r\n--XX--"), FormError::PartHeader { part: 2 }),
            (format!("--XX\r\n folded\r\n{A}\r\n1\r\n--XX--"), FormError::PartHeader { part: 1 }),
            (format!("--XX\r\n{A}headers without an end\r\n--XX--"), FormError::PartHeader { part: 1 }),
            ("--XX\r\n--XX--".into(), FormError::PartName { part: 1 }),
            ("--XX\r\n\r\nno headers\r\n--XX--".into(), FormError::PartName { part: 1 }),
            ("--XX\r\nX: y\r\n\r\n1\r\n--XX--".into(), FormError::PartName { part: 1 }),
            ("--XX\r\nContent-Disposition: form-data\r\n\r\n1\r\n--XX--".into(), FormError::PartName { part: 1 }),
            ("--XX\r\nContent-Disposition: attachment; name=a\r\n\r\n1\r\n--XX--".into(), FormError::PartName { part: 1 }),
        ] {
            assert_eq!(multipart(&body), Err(error), "{body:?}");
        }
    }

    #[test]
    fn a_boundary_may_be_quoted_and_has_1_to_70_bytes() {
        for (content_type, boundary, expected) in [
            ("multipart/form-data; boundary=", "XX", "a=1"),
            ("Multipart/Form-Data;charset=utf-8;BOUNDARY=", "XX", "a=1"),
            ("multipart/form-data; charset; boundary = ", "XX", "a=1"),
            ("multipart/form-data; boundary=", &"b".repeat(70), "a=1"),
            ("multipart/form-data; boundary=", &"b".repeat(71), "malformed form: boundary of 71 bytes, not of 1 to 70"),
            ("multipart/form-data; boundary=", "", "malformed form: boundary of 0 bytes, not of 1 to 70"),
            ("multipart/form-data; x=", "XX", "malformed form: boundary of 0 bytes, not of 1 to 70"),
        ] {
            let body = format!("--{boundary}\r\n{A}\r\n1\r\n--{boundary}--");
            for content_type in [format!("{content_type}{boundary}"), format!("{content_type}\"{boundary}\"; x=y")] {
                assert_eq!(shown(form_of(&content_type, &body)), expected, "{content_type}");
            }
        }
        let body = format!("--a b:=?\r\n{A}\r\n1\r\n--a b:=?--");
        assert_eq!(shown(form_of("multipart/form-data; boundary=\"a b:=?\"", &body)), "a=1");
        assert_eq!(shown(form_of("multipart/form-data", &body)), "malformed form: boundary of 0 bytes, not of 1 to 70");
    }

    /// PHP's `$_POST` is empty then, too.
    #[test]
    fn a_body_of_another_type_is_an_empty_form() {
        for content_type in ["", "text/plain", "application/json", "multipart/mixed; boundary=XX", "form-data", "\u{fffd}"]
        {
            assert_eq!(form_of(content_type, "--XX\r\na=1"), Ok(Form::default()), "{content_type}");
        }
    }

    #[test]
    fn a_form_has_1024_parts_at_most() {
        let part = format!("--XX\r\n{A}\r\n\r\n");
        let form_of = |parts| multipart(&format!("{}--XX--", part.repeat(parts)));
        assert_eq!(form_of(1024).unwrap().fields().len(), 1024);
        assert_eq!(form_of(1025), Err(FormError::TooManyParts { limit: 1024 }));
    }
}
