use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{HeaderMap, HeaderName, HeaderValue};
use http::{Method, Version};

use super::head::Head;
use super::request::ServerRequest;
use super::target::parse_target;
use crate::http::HttpError;

/// A builder of a [`ServerRequest`] without a connection, for unit tests of handlers: see
/// [`ServerRequest::builder`].
#[derive(Debug)]
#[must_use = "a builder does nothing until `build` is called"]
pub struct RequestBuilder {
    method: Method,
    target: Bytes,
    headers: HeaderMap,
    body: Bytes,
    remote: Option<SocketAddr>,
    local: Option<SocketAddr>,
    /// The first malformed part.
    failed: Option<HttpError>,
}

impl ServerRequest {
    /// Returns a builder of a request. Default: `GET /` in HTTP/1.1, without headers, body and
    /// addresses.
    ///
    /// Call a handler with the request directly, or a whole chain with
    /// [`HttpServer::handle`](crate::HttpServer::handle). `into()` converts an
    /// [`http::Request`](https://docs.rs/http/latest/http/request/struct.Request.html) whose body
    /// is bytes into a `ServerRequest`.
    ///
    /// ```
    /// use react_websocket::errors::HttpError;
    /// use react_websocket::{Response, ServerRequest};
    ///
    /// fn greet(request: ServerRequest) -> Response {
    ///     Response::plaintext(format!("Hello {}", request.query_params().get("name").unwrap_or("world")))
    /// }
    ///
    /// # fn main() -> Result<(), HttpError> {
    /// let request = ServerRequest::builder().uri("/greet?name=Ann").header("Accept", "text/plain").build()?;
    /// assert_eq!(greet(request).body().as_bytes().unwrap(), "Hello Ann");
    /// # Ok(())
    /// # }
    /// ```
    pub fn builder() -> RequestBuilder {
        RequestBuilder {
            method: Method::GET,
            target: Bytes::from_static(b"/"),
            headers: HeaderMap::new(),
            body: Bytes::new(),
            remote: None,
            local: None,
            failed: None,
        }
    }
}

impl RequestBuilder {
    /// Sets the method: a name, or a [`Method`]. Default: `GET`.
    pub fn method(mut self, method: impl AsRef<str>) -> RequestBuilder {
        match Method::from_bytes(method.as_ref().as_bytes()) {
            Ok(method) => self.method = method,
            Err(_) => self.fail(HttpError::RequestLine),
        }
        self
    }

    /// Sets the request target as in a request line: `/chat?room=1`, or `http://example.com/chat`.
    /// Default: `/`.
    pub fn uri(mut self, target: impl AsRef<str>) -> RequestBuilder {
        self.target = Bytes::copy_from_slice(target.as_ref().as_bytes());
        self
    }

    /// Adds a header line.
    pub fn header(mut self, name: impl AsRef<str>, value: impl AsRef<[u8]>) -> RequestBuilder {
        let line = HeaderName::from_bytes(name.as_ref().as_bytes()).ok().zip(HeaderValue::from_bytes(value.as_ref()).ok());
        if line.is_none_or(|(name, value)| self.headers.try_append(name, value).is_err()) {
            self.fail(HttpError::Header);
        }
        self
    }

    /// Sets the body. Default: empty. The builder adds no header for the body, and applies no limit
    /// to it.
    pub fn body(mut self, body: impl Into<Bytes>) -> RequestBuilder {
        self.body = body.into();
        self
    }

    /// Sets the client's [address](ServerRequest::remote_address), which is also the [peer's
    /// address](ServerRequest::peer_address).
    pub fn remote_address(mut self, address: SocketAddr) -> RequestBuilder {
        self.remote = Some(address);
        self
    }

    /// Sets the [address](ServerRequest::local_address) that the client has connected to.
    pub fn local_address(mut self, address: SocketAddr) -> RequestBuilder {
        self.local = Some(address);
        self
    }

    /// Builds the request. The `Host` header, which HTTP/1.1 requires of clients, may be missing.
    ///
    /// # Errors
    /// The error that a server reports for such a request. A method that is not a token is
    /// [`HttpError::RequestLine`] (RFC 9110 section 9.1). A malformed header, or too many headers,
    /// are [`HttpError::Header`]. A target that is not valid in a request is [`HttpError::Target`],
    /// [`HttpError::RequestLineTooLong`] or [`HttpError::Connect`] (RFC 9112 section 3.2).
    pub fn build(self) -> Result<ServerRequest, HttpError> {
        let RequestBuilder { method, target, headers, body, remote, local, failed } = self;
        if let Some(failed) = failed {
            return Err(failed);
        }
        // Such a byte ends the target in a request line.
        if target.iter().any(|byte| *byte <= b' ' || *byte == 0x7F) {
            return Err(HttpError::Target);
        }
        let uri = parse_target(&method, &target)?;
        let head = Head::new(method, Version::HTTP_11, target, Some(uri), headers);
        Ok(ServerRequest::of(head, remote, remote, local.map(Arc::new), None).with_body(body))
    }

    fn fail(&mut self, error: HttpError) {
        self.failed.get_or_insert(error);
    }
}

impl<B: Into<Bytes>> From<http::Request<B>> for ServerRequest {
    /// The request has no addresses. Its extensions are dropped.
    fn from(request: http::Request<B>) -> ServerRequest {
        let (parts, body) = request.into_parts();
        ServerRequest::from_parts(parts, body.into(), None)
    }
}

impl ServerRequest {
    /// Returns the request of a client with this address. The extensions of `parts` are dropped.
    pub(crate) fn from_parts(parts: http::request::Parts, body: Bytes, client: Option<SocketAddr>) -> ServerRequest {
        let http::request::Parts { method, uri, version, headers, .. } = parts;
        let target = uri.to_string().into();
        let head = Head::new(method, version, target, Some(uri), headers);
        ServerRequest::of(head, client, client, None, None).with_body(body)
    }
}
