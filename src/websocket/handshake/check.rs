//! The server's side of the opening handshake (RFC 6455 section 4.2). Pure: a request goes in, a
//! decision comes out.

use std::sync::Arc;

#[cfg(feature = "deflate")]
use http::header::SEC_WEBSOCKET_EXTENSIONS;
use http::header::{CONNECTION, HeaderValue, ORIGIN, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, UPGRADE};
use http::{Method, Version};

use crate::http::{Response, ServerRequest};
use crate::protocol::handshake::{self, has_token, only};
use crate::websocket::error::HandshakeError;
#[cfg(feature = "deflate")]
use crate::websocket::handshake::extensions;
use crate::websocket::options::WebSocketOptions;
use crate::websocket::options::subprotocol::offered;
#[cfg(feature = "deflate")]
use crate::websocket::state::deflate::Agreement;

/// A handshake that is valid under the protocol.
#[derive(Debug)]
pub(crate) struct Handshake {
    accept: HeaderValue,
    pub(crate) subprotocol: Option<Arc<str>>,
    /// The agreement about compression, until the connection takes it, and the header of the
    /// response.
    #[cfg(feature = "deflate")]
    deflate: Option<(Option<Agreement>, HeaderValue)>,
}

/// What a request asks of a middleware.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Intent {
    /// A WebSocket. The handshake is accepted or refused.
    WebSocket,
    /// A WebSocket, but the request lost the upgrade on the way. The cause is that of
    /// [`not_upgraded`](crate::stats::WebSocketStats::not_upgraded).
    NotUpgraded(&'static str),
    Other,
}

impl Intent {
    pub(crate) fn of(request: &ServerRequest) -> Intent {
        let looks_like_a_handshake = *request.method() == Method::GET
            && (request.has_header(&SEC_WEBSOCKET_KEY) || has_token(request.values(&UPGRADE), "websocket"));
        if !looks_like_a_handshake {
            return Intent::Other;
        }
        // RFC 9110 section 7.8: a server ignores `Upgrade` in HTTP/1.0, and where `Connection` does
        // not name it.
        if request.version() != Version::HTTP_11 {
            Intent::NotUpgraded("http_1_0")
        } else if !has_token(request.values(&CONNECTION), "upgrade") {
            Intent::NotUpgraded("connection_header")
        } else {
            Intent::WebSocket
        }
    }
}

/// Checks the origin, and the requirements of section 4.2.1, of a request whose [`Intent`] is a
/// WebSocket.
pub(crate) fn check(request: &ServerRequest, options: &WebSocketOptions) -> Result<Handshake, HandshakeError> {
    if !has_token(request.values(&UPGRADE), "websocket") {
        return Err(HandshakeError::Upgrade);
    }
    if !request.body().is_empty() {
        return Err(HandshakeError::Body);
    }
    if only(request.values(&SEC_WEBSOCKET_VERSION)) != Some(b"13") {
        return Err(HandshakeError::Version);
    }
    let key =
        only(request.values(&SEC_WEBSOCKET_KEY)).filter(|key| handshake::is_valid_key(key)).ok_or(HandshakeError::Key)?;
    if request.has_header(&ORIGIN) {
        options
            .origins
            .check(request.headers(), || request.host())
            .map_err(|origin| HandshakeError::Origin { origin, host: request.host().unwrap_or_default().to_owned() })?;
    }
    let subprotocol = select_subprotocol(request, options)?;
    // Base64 has no character that a header could not have.
    let accept = HeaderValue::try_from(handshake::accept_key(key)).map_err(|_| HandshakeError::Key)?;
    #[cfg(feature = "deflate")]
    let deflate = extensions::agree(request.values(&SEC_WEBSOCKET_EXTENSIONS), options.compression.as_ref())?;
    Ok(Handshake {
        accept,
        subprotocol,
        #[cfg(feature = "deflate")]
        deflate,
    })
}

impl Handshake {
    /// Takes what was agreed on about compression.
    #[cfg(feature = "deflate")]
    pub(crate) fn take_agreement(&mut self) -> Option<Agreement> {
        self.deflate.as_mut()?.0.take()
    }

    /// Adds the headers of the 101 (section 4.2.2).
    pub(crate) fn complete(self, response: Response) -> Response {
        let response = response
            .with_own_header("Upgrade", HeaderValue::from_static("websocket"))
            .with_own_header("Sec-WebSocket-Accept", self.accept);
        #[cfg(feature = "deflate")]
        let response = match self.deflate {
            Some((_, header)) => response.with_own_header("Sec-WebSocket-Extensions", header),
            None => response,
        };
        match self.subprotocol {
            Some(name) => response.with_header("Sec-WebSocket-Protocol", name.as_bytes()),
            None => response,
        }
    }
}

impl HandshakeError {
    /// Returns the page for the client. It names the rule that a broken client violates.
    pub(crate) fn page(&self) -> Response {
        let text = match self {
            // The reason is for the app's author, so only the `error` event has it.
            HandshakeError::Origin { .. } => "Error 403: Forbidden".to_owned(),
            HandshakeError::Listener(_) => "Error 500: Internal Server Error".to_owned(),
            HandshakeError::Timeout { .. } => "Error 503: Service Unavailable".to_owned(),
            error => format!("Error {}: {error}", self.status()),
        };
        let page = Response::new(self.status()).with_header("Content-Type", "text/plain").with_body(text);
        let page = page.with_header("Connection", "close");
        match self {
            // RFC 9110 section 15.5.22: what to upgrade to.
            HandshakeError::Version => page.with_header("Upgrade", "websocket").with_header("Sec-WebSocket-Version", "13"),
            _ => page,
        }
    }
}

/// Selects a subprotocol. `Ok(None)`: no subprotocol is agreed on.
fn select_subprotocol(request: &ServerRequest, options: &WebSocketOptions) -> Result<Option<Arc<str>>, HandshakeError> {
    let selected = match &options.select_subprotocol {
        Some(selector) => selector.select(request)?,
        None => options.subprotocols.iter().find(|name| offered(request).any(|other| other == name.as_ref())).cloned(),
    };
    match selected {
        None if options.require_subprotocol => Err(HandshakeError::Subprotocol),
        selected => Ok(selected),
    }
}
