use std::borrow::Cow;
use std::fmt;
use std::ops::Deref;

use bytes::Bytes;
use http::StatusCode;
use http::header::{HeaderName, HeaderValue};

use super::body_stream::{BodyReader, BodyStream};
use crate::emitter::{BoxError, Contained, drop_each};
use crate::http::HttpError;
use crate::http::lifecycle::Upgrade;

/// A response to a request: ReactPHP's `Response`.
///
/// The server adds missing headers: `Server`, `Date`, `Content-Length` or `Transfer-Encoding`, and
/// `Connection`. If the app sets `Server` or `Date` to an empty value, the server omits this
/// header.
///
/// ```
/// use react_websocket::Response;
///
/// let response = Response::html("<h1>Hello</h1>").with_status(404).with_header("Cache-Control", "no-store");
/// assert_eq!(response.status(), 404);
/// ```
#[must_use = "a response is sent when a handler returns it"]
pub struct Response {
    pub(crate) status: StatusCode,
    /// In the app's order and spelling.
    pub(crate) headers: Vec<Header>,
    pub(crate) body: Body,
    pub(crate) upgrade: Option<Box<dyn Upgrade>>,
    /// The error that the server's `error` event reports. A middleware may drop the response
    /// anywhere.
    pub(crate) error: Option<Contained<HttpError>>,
    /// The error has its line in the log, or its listeners elsewhere.
    pub(crate) is_reported: bool,
    /// Why this cannot be sent.
    mistake: Option<Box<str>>,
}

pub(crate) type Header = (Cow<'static, str>, HeaderValue);

/// The body of a response: bytes, text or a [`BodyStream`], converted with `into()`.
///
/// Dropping the body closes its stream, also if the body was not sent.
#[derive(Debug)]
pub struct Body(pub(crate) BodyKind);

#[derive(Debug)]
pub(crate) enum BodyKind {
    Bytes(BodyBytes),
    Stream(BodyReader),
}

/// Bytes that an app may have made of something of its own, which may panic when it is dropped.
#[derive(Debug)]
pub(crate) struct BodyBytes(Bytes);

impl Deref for BodyBytes {
    type Target = Bytes;

    fn deref(&self) -> &Bytes {
        &self.0
    }
}

impl Drop for BodyBytes {
    fn drop(&mut self) {
        drop_each([std::mem::take(&mut self.0)]);
    }
}

impl Body {
    /// Returns the bytes. `None` if the body is a stream.
    pub fn as_bytes(&self) -> Option<&Bytes> {
        match &self.0 {
            BodyKind::Bytes(bytes) => Some(bytes),
            BodyKind::Stream(_) => None,
        }
    }
}

impl Response {
    /// Creates a response without headers or body.
    ///
    /// A status outside of 200 to 999 is an error of the app, and the client gets a 500. Statuses
    /// below 200 are not final.
    pub fn new(status: u16) -> Response {
        let response = Response {
            status: StatusCode::OK,
            headers: Vec::new(),
            body: Body(BodyKind::Bytes(BodyBytes(Bytes::new()))),
            upgrade: None,
            error: None,
            is_reported: false,
            mistake: None,
        };
        response.with_status(status)
    }

    /// Creates a 200 response with `text/plain; charset=utf-8`.
    pub fn plaintext(text: impl Into<Body>) -> Response {
        Response::of_type(const { HeaderValue::from_static("text/plain; charset=utf-8") }, text.into())
    }

    /// Creates a 200 response with `text/html; charset=utf-8`.
    pub fn html(html: impl Into<Body>) -> Response {
        Response::of_type(const { HeaderValue::from_static("text/html; charset=utf-8") }, html.into())
    }

    /// Creates a 200 response with `application/xml`.
    pub fn xml(xml: impl Into<Body>) -> Response {
        Response::of_type(const { HeaderValue::from_static("application/xml") }, xml.into())
    }

    /// Creates a 200 response with `application/json`. The JSON has indented lines and a line feed
    /// at the end, as in ReactPHP. Slashes and non-ASCII characters are not escaped.
    ///
    /// If a value cannot be converted to JSON, for example a map whose keys are not strings, the
    /// client gets a 500. A float that is infinite or not a number becomes `null`; PHP throws an
    /// exception.
    #[cfg(feature = "json")]
    pub fn json(value: &(impl serde::Serialize + ?Sized)) -> Response {
        let mut json = Vec::new();
        let four_spaces = serde_json::ser::PrettyFormatter::with_indent(b"    ");
        match value.serialize(&mut serde_json::Serializer::with_formatter(&mut json, four_spaces)) {
            Ok(()) => {
                json.push(b'\n');
                Response::of_type(const { HeaderValue::from_static("application/json") }, json.into())
            }
            Err(error) => Response::failed(HttpError::Handler(error.into())),
        }
    }

    /// Replaces the status. A status outside of 200 to 999 is an error of the app, and the client
    /// gets a 500.
    pub fn with_status(mut self, status: u16) -> Response {
        match StatusCode::from_u16(status) {
            Ok(status) => self.status = status,
            Err(_) => self.mistake(format!("{status} is not a status")),
        }
        self
    }

    /// Sets a header, and replaces all lines of this name. The case of the name does not matter for
    /// the comparison, and is kept in the response.
    ///
    /// A malformed header is refused: a name that is not a token, or a value with CR, LF, NUL or
    /// another control character. The client gets a 500 instead, and the server emits `error`. So
    /// no untrusted value can add a header or a second response.
    pub fn with_header(self, name: impl AsRef<str>, value: impl AsRef<[u8]>) -> Response {
        self.without_header(name.as_ref()).with_added_header(name, value)
    }

    /// Adds a header line, and keeps other lines of this name. `Set-Cookie` needs this. A malformed
    /// header is refused as in [`with_header`](Response::with_header).
    pub fn with_added_header(mut self, name: impl AsRef<str>, value: impl AsRef<[u8]>) -> Response {
        let name = name.as_ref();
        match (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_bytes(value.as_ref())) {
            (Ok(_), Ok(value)) => self.headers.push((name.to_owned().into(), value)),
            (Err(_), _) => self.mistake(format!("{name:?} is not a header name")),
            (_, Err(_)) => self.mistake(format!("control character in the value of the header {name}")),
        }
        self
    }

    /// Adds a header that the crate itself says, and that there is nothing to check about.
    pub(crate) fn with_own_header(mut self, name: &'static str, value: HeaderValue) -> Response {
        self.headers.push((name.into(), value));
        self
    }

    /// Removes all lines of a header. The case of `name` does not matter.
    pub fn without_header(mut self, name: &str) -> Response {
        self.headers.retain(|(other, _)| !other.eq_ignore_ascii_case(name));
        self
    }

    /// Replaces the body.
    pub fn with_body(mut self, body: impl Into<Body>) -> Response {
        self.body = body.into();
        self
    }

    /// Returns the status as a number.
    pub fn status(&self) -> u16 {
        self.status.as_u16()
    }

    /// Returns the first line of a header, or `None` if there is no such header or the line is not
    /// text. The case of `name` does not matter.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.header_value(name)?.to_str().ok()
    }

    /// Returns the headers that the app has set, in the app's order and spelling.
    pub fn headers(&self) -> impl Iterator<Item = (&str, &HeaderValue)> {
        self.headers.iter().map(|(name, value)| (&**name, value))
    }

    /// Returns the body.
    pub fn body(&self) -> &Body {
        &self.body
    }

    /// An error page: `Error 404: Not Found`, as in ReactPHP.
    pub(crate) fn error_page(status: StatusCode) -> Response {
        let reason = status.canonical_reason().unwrap_or_default();
        let page = format!("Error {}: {reason}", status.as_u16());
        Response::of_type(const { HeaderValue::from_static("text/plain") }, page.into()).with_status(status.as_u16())
    }

    /// Returns the default error page. `None` if the client has gone.
    pub(crate) fn for_error(error: &HttpError) -> Option<Response> {
        let page = Response::error_page(error.status()?);
        Some(match error {
            HttpError::TooManyConnections { .. } | HttpError::TooManyFromAddress { .. } => {
                page.with_header("Retry-After", "1")
            }
            _ => page,
        })
    }

    /// Returns the error page of an error that the server's `error` event is to report.
    pub(crate) fn failed(error: HttpError) -> Response {
        Response::error_page(error.status().unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)).with_error(error)
    }

    /// Has the server emit `error`, if this response is sent.
    pub(crate) fn with_error(mut self, error: HttpError) -> Response {
        self.error = Some(Contained::new(error));
        self
    }

    /// Returns the error page of an error that has been logged already, or that has been reported
    /// elsewhere.
    pub(crate) fn with_reported_error(self, error: HttpError) -> Response {
        Response { is_reported: true, ..self.with_error(error) }
    }

    /// A 101, whose connection goes on as something else.
    pub(crate) fn switching_protocols(upgrade: Box<dyn Upgrade>) -> Response {
        let mut response = Response::new(101);
        response.upgrade = Some(upgrade);
        response
    }

    pub(crate) fn header_value(&self, name: &str) -> Option<&HeaderValue> {
        self.headers.iter().find(|(other, _)| other.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    fn of_type(content_type: HeaderValue, body: Body) -> Response {
        Response {
            status: StatusCode::OK,
            headers: vec![("Content-Type".into(), content_type)],
            body,
            upgrade: None,
            error: None,
            is_reported: false,
            mistake: None,
        }
    }

    /// Whether this is a usual response: final and valid, with a body of bytes.
    pub(crate) fn is_plain(&self) -> bool {
        let is_in_order = self.mistake.is_none() && self.error.is_none() && self.upgrade.is_none();
        is_in_order && !self.status.is_informational() && matches!(self.body.0, BodyKind::Bytes(_))
    }

    /// Returns the response that is sent: a 500 if the app's response is malformed, as in ReactPHP.
    pub(crate) fn checked(mut self) -> Response {
        if self.status.is_informational() && self.upgrade.is_none() {
            self.mistake(format!("{} is not a final status", self.status));
        }
        if let BodyKind::Stream(reader) = &self.body.0
            && let Some(error) = reader.take_error()
        {
            return Response::failed(HttpError::Handler(error));
        }
        match self.mistake {
            Some(what) => Response::failed(HttpError::Handler(String::from(what).into())),
            None => self,
        }
    }

    /// The response as an error page, which is bytes and nothing more.
    ///
    /// # Errors
    /// What the app has made wrong.
    pub(crate) fn into_page(self) -> Result<Response, BoxError> {
        if let Some(mistake) = self.mistake {
            return Err(String::from(mistake).into());
        }
        if let Some(error) = self.error {
            return Err(error.into_inner().into());
        }
        if self.status.is_informational() || matches!(self.body.0, BodyKind::Stream(_)) {
            return Err("an error page has a final status and a body of bytes".into());
        }
        Ok(self)
    }

    fn mistake(&mut self, what: String) {
        self.mistake.get_or_insert(what.into());
    }
}

impl fmt::Debug for Response {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Response { status, headers, body, upgrade, error, mistake, is_reported: _ } = self;
        let upgrades = upgrade.is_some();
        f.debug_struct("Response")
            .field("status", status)
            .field("headers", headers)
            .field("body", body)
            .field("upgrades", &upgrades)
            .field("error", &error.as_deref())
            .field("mistake", mistake)
            .finish()
    }
}

macro_rules! body_from {
    ($($from:ty: $bytes:expr),+ $(,)?) => {$(
        impl From<$from> for Body {
            fn from(body: $from) -> Body {
                Body(BodyKind::Bytes(BodyBytes($bytes(body))))
            }
        }
    )+};
}
body_from! {
    Bytes: |bytes| bytes,
    Vec<u8>: Bytes::from,
    String: Bytes::from,
    &str: |text: &str| Bytes::copy_from_slice(text.as_bytes()),
    &String: |text: &String| Bytes::copy_from_slice(text.as_bytes()),
    &[u8]: Bytes::copy_from_slice,
}

impl From<BodyStream> for Body {
    fn from(stream: BodyStream) -> Body {
        Body(BodyKind::Stream(BodyReader::new(stream)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// From 128 bytes on, Clippy warns about functions of an app that return one as `Err`.
    #[test]
    fn a_response_is_small_enough_to_be_an_error() {
        assert!(size_of::<Response>() < 128, "{}", size_of::<Response>());
    }

    /// ReactPHP has `json_encode` print with `JSON_PRETTY_PRINT | JSON_UNESCAPED_SLASHES |
    /// JSON_UNESCAPED_UNICODE | JSON_PRESERVE_ZERO_FRACTION`.
    #[cfg(feature = "json")]
    #[test]
    fn json_is_printed_as_reactphp_prints_it() {
        use std::collections::BTreeMap;

        let text = |response: Response| String::from_utf8(response.body().as_bytes().unwrap().to_vec()).unwrap();
        let mut value = BTreeMap::from([("list", vec![1.0, 0.5]), ("empty", Vec::new())]);
        assert_eq!(
            text(Response::json(&value)),
            "{\n    \"empty\": [],\n    \"list\": [\n        1.0,\n        0.5\n    ]\n}\n"
        );
        value.clear();
        assert_eq!(text(Response::json(&value)), "{}\n");
        assert_eq!(text(Response::json("a/\u{e9}\"\n\u{1}")), "\"a/\u{e9}\\\"\\n\\u0001\"\n");
        assert_eq!(Response::json(&value).header("Content-Type"), Some("application/json"));
        let keys = BTreeMap::from([(vec![1], 1)]);
        assert_eq!(Response::json(&keys).status(), 500);
    }

    #[test]
    fn a_header_is_found_replaced_and_removed_by_its_name_in_any_case() {
        let response = Response::new(200).with_header("Link", "a").with_header("X-Other", "b").with_header("LINK", "c");
        let headers = |response: &Response| -> Vec<_> {
            response.headers().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect()
        };
        assert_eq!(headers(&response), ["X-Other: b", "LINK: c"]);
        assert_eq!(response.header("link"), Some("c"));
        let response = response.without_header("lInK").without_header("not there");
        assert_eq!(headers(&response), ["X-Other: b"]);
    }
}
