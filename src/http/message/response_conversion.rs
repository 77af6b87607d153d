//! Responses from and to those of the `http` crate.

use bytes::Bytes;
use http::HeaderName;

use super::response::{Body, Response};

impl<B: Into<Body>> From<http::Response<B>> for Response {
    /// The version and the extensions are dropped.
    fn from(response: http::Response<B>) -> Response {
        let (parts, body) = response.into_parts();
        let mut converted = Response::new(200).with_body(body);
        converted.status = parts.status;
        for (name, value) in &parts.headers {
            converted.headers.push((name.as_str().to_owned().into(), value.clone()));
        }
        converted
    }
}

impl TryFrom<Response> for http::Response<Bytes> {
    type Error = Response;

    /// Converts the response to the form that the client gets, without the headers that the server
    /// adds. If a response cannot be sent, for example because of a malformed header, the result is
    /// its 500 page.
    ///
    /// # Errors
    /// Returns the response itself in three cases. Its body is a [`BodyStream`](crate::BodyStream).
    /// It upgrades the connection to a WebSocket. It has more headers than a
    /// [`HeaderMap`](crate::types::HeaderMap) can hold.
    fn try_from(response: Response) -> Result<http::Response<Bytes>, Response> {
        let response = response.checked();
        let Some(body) = response.body.as_bytes().filter(|_| response.upgrade.is_none()) else { return Err(response) };
        let mut converted = http::Response::new(body.clone());
        *converted.status_mut() = response.status;
        for (name, value) in &response.headers {
            let appended =
                HeaderName::from_bytes(name.as_bytes()).map(|name| converted.headers_mut().try_append(name, value.clone()));
            if !matches!(appended, Ok(Ok(_))) {
                return Err(response);
            }
        }
        Ok(converted)
    }
}
