use std::any::Any;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, COOKIE};
use http::{HeaderMap, Method, Uri, Version};

use super::form::{self, Form};
use super::options::HttpOptions;
use super::params::Params;
use super::parser::{Framing, Head};
use crate::emitter::Contained;
use crate::stream::Stream;

/// A request: ReactPHP's `ServerRequestInterface`. Cheap to clone.
///
/// ```
/// use react_websocket::{Response, ServerRequest};
///
/// let _router = |request: ServerRequest| match request.path() {
///     "/hello" => Response::plaintext(format!("Hello {}", request.query_params().get("name").unwrap_or("world"))),
///     _ => Response::new(404),
/// };
/// ```
#[derive(Clone)]
pub struct ServerRequest {
    inner: Arc<Inner>,
    attributes: Option<Arc<Attribute>>,
}

struct Inner {
    head: Head,
    body: Bytes,
    client: Option<SocketAddr>,
    peer: Option<SocketAddr>,
    local: Option<Arc<SocketAddr>>,
}

/// A list that requests share: one that is given another attribute points to the others'.
struct Attribute {
    value: Contained<Box<dyn Any + Send + Sync>>,
    before: Option<Arc<Attribute>>,
}

impl ServerRequest {
    /// A request that has come over this stream.
    pub(super) fn new(head: Head, stream: &Stream, options: &HttpOptions) -> ServerRequest {
        let (peer, local) = (stream.remote, stream.local.clone());
        let client = match &options.trusted_proxies {
            Some(proxies) => proxies.client(&head.headers, stream),
            None => peer,
        };
        ServerRequest { inner: Arc::new(Inner { head, body: Bytes::new(), client, peer, local }), attributes: None }
    }

    /// The same request with its body. It is not shared yet.
    pub(super) fn with_body(mut self, body: Bytes) -> ServerRequest {
        if let Some(inner) = Arc::get_mut(&mut self.inner) {
            inner.body = body;
        }
        self
    }

    pub(super) fn framing(&self) -> Framing {
        self.inner.head.framing
    }

    /// The method. Methods are case-sensitive and may be any token.
    pub fn method(&self) -> &Method {
        &self.inner.head.method
    }

    /// The request's target as a URI: path and query, or all of it if the client sent the absolute form. Bytes beyond ASCII
    /// are percent-encoded.
    pub fn uri(&self) -> &Uri {
        &self.inner.head.uri
    }

    /// The target as it stood in the request line: ReactPHP's `getRequestTarget`. Bytes that are not UTF-8 are replaced.
    pub fn target(&self) -> std::borrow::Cow<'_, str> {
        String::from_utf8_lossy(&self.inner.head.target)
    }

    /// The path, not decoded: `/`, `/chat`; empty for `OPTIONS *`.
    pub fn path(&self) -> &str {
        match self.uri().path() {
            "*" => "",
            path => path,
        }
    }

    /// The query's parameters, decoded. As in PHP the last of several with the same name counts.
    pub fn query_params(&self) -> Params {
        Params::from_urlencoded(self.uri().query().unwrap_or_default().as_bytes())
    }

    /// HTTP/1.0 or HTTP/1.1.
    pub fn version(&self) -> Version {
        self.inner.head.version
    }

    /// A header by name, in any case: the first line of it, if that is UTF-8.
    pub fn header(&self, name: &str) -> Option<&str> {
        std::str::from_utf8(self.headers().get(name)?.as_bytes()).ok()
    }

    /// All headers.
    pub fn headers(&self) -> &HeaderMap {
        &self.inner.head.headers
    }

    /// The cookies that the client sent.
    pub fn cookie_params(&self) -> Params {
        let lines = self.headers().get_all(COOKIE).iter();
        Params::from_cookies(lines.map(|line| line.as_bytes()))
    }

    /// The body, all of it. Its size is bounded by [`HttpOptions::max_body_size`](crate::HttpOptions::max_body_size).
    pub fn body(&self) -> &Bytes {
        &self.inner.body
    }

    /// The fields and files of a form, whether `application/x-www-form-urlencoded` or `multipart/form-data`; empty if the
    /// body is neither. ReactPHP's `getParsedBody` and `getUploadedFiles`.
    pub fn parsed_body(&self) -> Form {
        let content_type = self.headers().get(CONTENT_TYPE).map(|value| value.as_bytes()).unwrap_or_default();
        form::parse(content_type, self.body())
    }

    /// What a middleware attached, by its type.
    ///
    /// ```
    /// # use react_websocket::{Next, Response, ServerRequest};
    /// struct User(String);
    ///
    /// let _authenticate = |request: ServerRequest, next: Next| next.run(request.with_attribute(User("ann".into())));
    /// let _router = |request: ServerRequest| match request.attribute::<User>() {
    ///     Some(User(name)) => Response::plaintext(format!("Hello {name}")),
    ///     None => Response::new(401),
    /// };
    /// ```
    pub fn attribute<T: Send + Sync + 'static>(&self) -> Option<&T> {
        let mut next = self.attributes.as_deref();
        while let Some(Attribute { value, before }) = next {
            if let Some(value) = value.downcast_ref() {
                return Some(value);
            }
            next = before.as_deref();
        }
        None
    }

    /// The same request with something attached, for those after this middleware. It replaces what has the same type.
    pub fn with_attribute<T: Send + Sync + 'static>(mut self, value: T) -> ServerRequest {
        let before = self.attributes.take();
        self.attributes = Some(Arc::new(Attribute { value: Contained::new(Box::new(value)), before }));
        self
    }

    /// The client's address; `None` on a Unix socket or a stream that has none.
    ///
    /// Behind [trusted proxies](crate::HttpOptions::trusted_proxies) it is the one that they tell, whose port is 0 if they do
    /// not tell that.
    pub fn remote_address(&self) -> Option<SocketAddr> {
        self.inner.client
    }

    /// The address at the other end of the socket, which may be a proxy's; `None` as with
    /// [`remote_address`](ServerRequest::remote_address).
    pub fn peer_address(&self) -> Option<SocketAddr> {
        self.inner.peer
    }

    /// The same as it is shared.
    pub(crate) fn shared_local_address(&self) -> Option<Arc<SocketAddr>> {
        self.inner.local.clone()
    }

    /// The address that the client connected to.
    pub fn local_address(&self) -> Option<SocketAddr> {
        self.inner.local.as_deref().copied()
    }
}

impl fmt::Debug for ServerRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerRequest")
            .field("method", self.method())
            .field("target", &self.target())
            .field("version", &self.version())
            .field("headers", self.headers())
            .field("body", &format_args!("{} bytes", self.body().len()))
            .field("remote_address", &self.remote_address())
            .finish()
    }
}
