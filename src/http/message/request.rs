use std::any::Any;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, COOKIE, HeaderName};
use http::uri::Authority;
use http::{HeaderMap, Method, Uri, Version};

use super::form::{self, Form};
use super::forwarding::{self, Forwarding};
use super::head::{Framing, Head};
use super::params::Params;
use crate::emitter::Contained;
use crate::http::FormError;
#[cfg(feature = "json")]
use crate::http::JsonError;
#[cfg(feature = "__tls")]
use crate::tls::PeerInfo;

/// A request: ReactPHP's `ServerRequestInterface`. It is cheap to clone.
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
    /// The place of a trusted proxy's description of the client's request.
    forwarding: Option<Forwarding>,
    #[cfg(feature = "__tls")]
    tls: Option<Arc<PeerInfo>>,
}

/// A list that requests share. A request with a further attribute points to the list of the others.
struct Attribute {
    value: Contained<Box<dyn Any + Send + Sync>>,
    before: Option<Arc<Attribute>>,
}

impl ServerRequest {
    pub(crate) fn of(
        head: Head,
        client: Option<SocketAddr>,
        peer: Option<SocketAddr>,
        local: Option<Arc<SocketAddr>>,
        forwarding: Option<Forwarding>,
    ) -> ServerRequest {
        ServerRequest {
            inner: Arc::new(Inner {
                head,
                body: Bytes::new(),
                client,
                peer,
                local,
                forwarding,
                #[cfg(feature = "__tls")]
                tls: None,
            }),
            attributes: None,
        }
    }

    /// Returns the request with its body. The request is not shared yet.
    pub(crate) fn with_body(mut self, body: Bytes) -> ServerRequest {
        if let Some(inner) = Arc::get_mut(&mut self.inner) {
            inner.body = body;
        }
        self
    }

    #[cfg(feature = "__tls")]
    pub(super) fn set_tls(&mut self, tls: Option<Arc<PeerInfo>>) {
        if let Some(inner) = Arc::get_mut(&mut self.inner) {
            inner.tls = tls;
        }
    }

    #[cfg(feature = "__tls")]
    pub(super) fn tls(&self) -> Option<&PeerInfo> {
        self.inner.tls.as_deref()
    }

    /// Returns the request of a connection that is TLS or not, of which nothing else is known.
    pub(super) fn restored(self, is_tls: bool) -> ServerRequest {
        #[cfg(feature = "__tls")]
        if is_tls {
            return self.with_tls(Some(&Arc::default()));
        }
        debug_assert!(!is_tls);
        self
    }

    /// Returns whether the connection itself is TLS.
    pub(super) fn is_tls(&self) -> bool {
        #[cfg(feature = "__tls")]
        return self.inner.tls.is_some();
        #[cfg(not(feature = "__tls"))]
        false
    }

    pub(crate) fn framing(&self) -> Framing {
        self.inner.head.framing
    }

    /// Returns the method. Methods are case-sensitive, and every token is a valid method.
    pub fn method(&self) -> &Method {
        &self.inner.head.method
    }

    /// Returns the request target as a URI: the path and the query, or a whole URI if the client
    /// sent the absolute form. Non-ASCII bytes, quotes, backticks, `<` and `>` are percent-encoded,
    /// as in ReactPHP.
    ///
    /// A proxy may have changed the target. For the client's scheme and host use
    /// [`scheme`](ServerRequest::scheme) and [`host`](ServerRequest::host).
    pub fn uri(&self) -> &Uri {
        self.inner.head.uri()
    }

    /// Returns the request target exactly as in the request line: ReactPHP's `getRequestTarget`.
    ///
    /// The target is not decoded. The server answers a target that is not UTF-8 with 400.
    pub fn target(&self) -> &str {
        std::str::from_utf8(self.inner.head.target()).unwrap_or_default()
    }

    /// Returns the scheme that the client used: `http` or `https`.
    ///
    /// The first source that has a value counts: the [trusted
    /// proxies](crate::HttpOptions::trusted_proxies), a target in absolute form (RFC 9112 section
    /// 3.3), the connection: `https` on a `tls://` socket, and otherwise `http`. A stream that was passed to
    /// [`HttpServer::serve`](crate::HttpServer::serve) counts as `http`, even if it is TLS.
    /// WebSocket schemes count as HTTP schemes: `ws` as `http`, and `wss` as `https`.
    ///
    /// ```
    /// use react_websocket::handlers::Next;
    /// use react_websocket::{Response, ServerRequest};
    ///
    /// let _only_https = |request: ServerRequest, next: Next| async move {
    ///     match (request.scheme(), request.host()) {
    ///         ("http", Some(host)) => {
    ///             let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
    ///             Response::new(308).with_header("Location", format!("https://{host}{path}"))
    ///         }
    ///         _ => next.run(request).await,
    ///     }
    /// };
    /// ```
    pub fn scheme(&self) -> &'static str {
        let connection = if self.is_tls() { "https" } else { "http" };
        let of_target = || forwarding::scheme(self.inner.head.built_uri()?.scheme_str()?.as_bytes());
        self.forwarded_scheme().or_else(of_target).unwrap_or(connection)
    }

    /// Returns whether the client's connection is encrypted: by this server, or by a [trusted
    /// proxy](crate::HttpOptions::trusted_proxies) that says so. Unlike
    /// [`scheme`](ServerRequest::scheme) it does not depend on what the client claims.
    pub fn is_secure(&self) -> bool {
        self.forwarded_scheme().map_or(self.is_tls(), |scheme| scheme == "https")
    }

    fn forwarded_scheme(&self) -> Option<&'static str> {
        self.inner.forwarding?.scheme(self.headers())
    }

    /// Returns the host of the client's request, with its port if the client sent one:
    /// `example.com`, `[::1]:8000`. Returns `None` if an HTTP/1.0 client sent no host.
    ///
    /// The first source that has a value counts: the [trusted
    /// proxies](crate::HttpOptions::trusted_proxies), a target in absolute form (RFC 9112 section
    /// 3.2.2), the `Host` header. The host is valid, but it is only the client's claim. Compare it
    /// with a list before you use it in a link or a redirect. Its case and a default port are kept.
    pub fn host(&self) -> Option<&str> {
        let forwarded = self.inner.forwarding.and_then(|forwarding| forwarding.host(self.headers()));
        let of_target = || self.inner.head.built_uri()?.authority().map(Authority::as_str);
        forwarded.or_else(of_target).or_else(|| self.header("host"))
    }

    pub(crate) fn raw_target(&self) -> &[u8] {
        self.inner.head.target()
    }

    /// Returns the path without decoding: `/`, `/chat`. Returns an empty path for `OPTIONS *`.
    pub fn path(&self) -> &str {
        match self.inner.head.path_and_query().0 {
            "*" => "",
            path => path,
        }
    }

    /// Returns the decoded parameters of the query. If several parameters have one name,
    /// [`get`](Params::get) returns the last, as in PHP.
    pub fn query_params(&self) -> Params {
        Params::from_urlencoded(self.inner.head.path_and_query().1.unwrap_or_default().as_bytes())
    }

    /// Returns the version: HTTP/1.0 or HTTP/1.1.
    pub fn version(&self) -> Version {
        self.inner.head.version
    }

    /// Returns the first line of a header, or `None` if there is no such header or the line is not
    /// UTF-8. The case of `name` does not matter.
    pub fn header(&self, name: &str) -> Option<&str> {
        std::str::from_utf8(self.inner.head.value(name)?).ok()
    }

    /// Returns the elements of a header that is a comma-separated list, such as `Accept-Language`
    /// or `Sec-WebSocket-Protocol`, of all its lines (RFC 9110 section 5.6.1). Empty elements, and
    /// elements that are not UTF-8, are skipped. A comma inside double quotes does not separate
    /// elements.
    ///
    /// ```
    /// use react_websocket::{WebSocketConnection, WebSocketMiddleware};
    ///
    /// let websocket = WebSocketMiddleware::new();
    /// websocket.on("connection", |connection: WebSocketConnection| {
    ///     if let Some(request) = connection.request() {
    ///         let offered: Vec<&str> = request.header_list("Sec-WebSocket-Protocol").collect();
    ///         println!("offered {offered:?}, agreed on {:?}", connection.subprotocol());
    ///     }
    /// });
    /// ```
    pub fn header_list<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a str> + use<'a> {
        let elements = self.headers().get_all(name).iter().flat_map(|line| {
            let (mut quoted, mut escaped) = (false, false);
            line.as_bytes().split(move |byte| {
                let separates = *byte == b',' && !quoted;
                quoted ^= *byte == b'"' && !escaped;
                escaped = quoted && *byte == b'\\' && !escaped;
                separates
            })
        });
        let elements = elements.filter_map(|element| std::str::from_utf8(element).ok());
        elements.map(|element| element.trim_matches([' ', '\t'])).filter(|element| !element.is_empty())
    }

    /// Returns all headers.
    pub fn headers(&self) -> &HeaderMap {
        self.inner.head.headers()
    }

    /// The values of a header, over all its lines.
    pub(crate) fn values<'a>(&'a self, name: &'a HeaderName) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        self.inner.head.values(name)
    }

    pub(crate) fn has_header(&self, name: &HeaderName) -> bool {
        self.values(name).next().is_some()
    }

    /// Returns the cookies that the client sent. If several cookies have one name,
    /// [`get`](Params::get) returns the first.
    pub fn cookie_params(&self) -> Params {
        Params::from_cookies(self.values(&COOKIE))
    }

    /// Returns the whole body. [`HttpOptions::max_body_size`](crate::HttpOptions::max_body_size)
    /// limits its size.
    pub fn body(&self) -> &Bytes {
        &self.inner.body
    }

    /// Parses the body as a form, `application/x-www-form-urlencoded` or `multipart/form-data`:
    /// ReactPHP's `getParsedBody` and `getUploadedFiles`. A body of another content type is an
    /// empty form.
    ///
    /// ```
    /// use react_websocket::errors::FormError;
    /// use react_websocket::{Response, ServerRequest};
    ///
    /// let _router = |request: ServerRequest| -> Result<Response, FormError> {
    ///     let form = request.parsed_body()?;
    ///     Ok(Response::plaintext(format!("Hello {}", form.get("name").unwrap_or("world"))))
    /// };
    /// ```
    ///
    /// # Errors
    /// A [`FormError`] if `Content-Type` is `multipart/form-data` and the body is malformed. If a
    /// router returns this error, the client gets a 400.
    pub fn parsed_body(&self) -> Result<Form, FormError> {
        let content_type = self.values(&CONTENT_TYPE).next().unwrap_or_default();
        form::parse(content_type, self.body())
    }

    /// Parses the body as JSON. The content type is ignored.
    ///
    /// ```
    /// use react_websocket::errors::JsonError;
    /// use react_websocket::{Response, ServerRequest};
    ///
    /// let _router = |request: ServerRequest| -> Result<Response, JsonError> {
    ///     let numbers: Vec<f64> = request.json()?;
    ///     Ok(Response::json(&numbers.iter().sum::<f64>()))
    /// };
    /// ```
    ///
    /// # Errors
    /// A [`JsonError`] if the body is not JSON, or does not fit `T`. If a router returns this
    /// error, the client gets a 400.
    #[cfg(feature = "json")]
    pub fn json<T: serde::de::DeserializeOwned>(&self) -> Result<T, JsonError> {
        serde_json::from_slice(self.body()).map_err(JsonError::new)
    }

    /// Returns the value of this type that a middleware attached, or `None`: ReactPHP's
    /// `getAttribute`.
    ///
    /// ```
    /// # use react_websocket::handlers::Next;
    /// # use react_websocket::{Response, ServerRequest};
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

    /// Returns the request with an attached value, for the handlers after this middleware:
    /// ReactPHP's `withAttribute`. The value replaces an attached value of the same type.
    pub fn with_attribute<T: Send + Sync + 'static>(mut self, value: T) -> ServerRequest {
        let before = self.attributes.take();
        self.attributes = Some(Arc::new(Attribute { value: Contained::new(Box::new(value)), before }));
        self
    }

    /// Returns the client's address. Returns `None` for a Unix socket or a stream without
    /// addresses. An IPv4 client has an IPv4 address here, even on a socket that listens on `[::]`.
    ///
    /// Behind [trusted proxies](crate::HttpOptions::trusted_proxies) this is the address that the
    /// proxies wrote, with port 0 if they wrote no port.
    pub fn remote_address(&self) -> Option<SocketAddr> {
        self.inner.client
    }

    /// Returns the address of the socket's peer, which may be a proxy. With the [PROXY
    /// protocol](crate::SocketOptions::proxy_protocol) the peer is the client. Returns `None` for a Unix
    /// socket or a stream without addresses, and for a request that a WebSocket connection has
    /// [kept](crate::WebSocketConnection::request).
    pub fn peer_address(&self) -> Option<SocketAddr> {
        self.inner.peer
    }

    /// Returns the local address without a copy.
    pub(crate) fn shared_local_address(&self) -> Option<Arc<SocketAddr>> {
        self.inner.local.clone()
    }

    /// Returns the server's address that the peer connected to. Returns `None` for a Unix socket or
    /// a stream without addresses.
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
