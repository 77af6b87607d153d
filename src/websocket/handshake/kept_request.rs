//! What a connection keeps of its handshake: the subprotocol, the request's target and a few
//! headers. They share one allocation. If there is nothing but the target `/`, nothing is
//! allocated, so that an idle connection costs no more.

use std::sync::Arc;

use crate::http::{Params, ServerRequest};
use crate::websocket::options::WebSocketOptions;
use crate::websocket::state::handle::WebSocketConnection;

/// Returns what the options keep of the handshake, if anything: the request, with lines that end in
/// LF, then the subprotocol.
pub(crate) fn keep(request: &ServerRequest, subprotocol: Option<&str>, options: &WebSocketOptions) -> Option<Box<[u8]>> {
    let mut bytes = Vec::new();
    if !options.keep_request {
        request.reduce_into(&mut bytes, &options.keep_headers);
    }
    bytes.extend_from_slice(subprotocol.unwrap_or_default().as_bytes());
    (!bytes.is_empty()).then(|| bytes.into())
}

fn parts(kept: &[u8]) -> (&[u8], &[u8]) {
    let end = kept.iter().rposition(|byte| *byte == b'\n').map_or(0, |last| last + 1);
    kept.split_at(end)
}

/// # Facts
impl WebSocketConnection {
    /// Returns the request of the connection's handshake: PHP's `getRequest`. Returns `None` when
    /// the connection has ended and its `close` listeners have been called.
    ///
    /// In the middleware's `connection` and `error` listeners this is the whole request. After
    /// these listeners the request is reduced, so that an idle connection takes little memory. A
    /// reduced request has the target (path and query), the addresses of the client and of the
    /// server, whether the connection is [secure](ServerRequest::is_secure) by itself, and the headers that
    /// [`WebSocketOptions::keep_headers`](crate::WebSocketOptions::keep_headers) names. It does not
    /// have other headers, the attributes that middlewares attached, the
    /// certificates of the client, and the
    /// [`peer_address`](ServerRequest::peer_address).
    /// [`WebSocketOptions::keep_request`](crate::WebSocketOptions::keep_request) keeps the whole
    /// request.
    ///
    /// Each call builds a new reduced request.
    ///
    /// ```
    /// use react_websocket::{WebSocketConnection, WebSocketMiddleware, WebSocketOptions};
    ///
    /// let options = WebSocketOptions::new().keep_headers(["user-agent"]);
    /// let websocket = WebSocketMiddleware::new().with_options(options);
    /// websocket.on("connection", |connection: WebSocketConnection| {
    ///     connection.on("text", move |text: &str| {
    ///         if let Some(request) = connection.request() {
    ///             println!("{} {:?}: {text}", request.path(), request.header("User-Agent"));
    ///         }
    ///     });
    /// });
    /// ```
    pub fn request(&self) -> Option<ServerRequest> {
        let mut state = self.lock()?;
        if let Some(request) = state.cold_if_any().and_then(|cold| cold.request.clone()) {
            return Some(request);
        }
        let (client, local) = (state.remote.get(), state.local.clone());
        let kept = state.app_state_if_any().and_then(|own| own.handshake.clone());
        drop(state);
        let (request, _) = parts(kept.as_deref().unwrap_or_default());
        ServerRequest::restore(request, client, local)
    }

    /// Returns the decoded parameters of the request's query, as
    /// [`ServerRequest::query_params`] does. The result is empty if the connection has ended.
    ///
    /// ```
    /// use react_websocket::{WebSocketConnection, WebSocketMiddleware};
    ///
    /// let websocket = WebSocketMiddleware::new();
    /// websocket.on("connection", |connection: WebSocketConnection| {
    ///     let query = connection.query_params();
    ///     connection.set_group(Some(query.get("room").unwrap_or("lobby")))
    /// });
    /// ```
    pub fn query_params(&self) -> Params {
        self.request().map(|request| request.query_params()).unwrap_or_default()
    }

    /// Returns the negotiated subprotocol. Returns `None` if there is no subprotocol, or if the
    /// connection has ended.
    pub fn subprotocol(&self) -> Option<Arc<str>> {
        let mut state = self.lock()?;
        let shared = state.shared.clone()?;
        let (_, agreed) = parts(state.app_state_if_any()?.handshake.as_deref()?);
        let configured = shared.options.subprotocols.iter().find(|name| name.as_bytes() == agreed);
        // A subprotocol that a closure has selected need not be configured.
        let selected = || std::str::from_utf8(agreed).ok().filter(|name| !name.is_empty()).map(Arc::from);
        configured.cloned().or_else(selected)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::websocket::state::slot::AppState;

    fn request(bytes: &[u8]) -> ServerRequest {
        ServerRequest::restore(bytes, None, None).unwrap()
    }

    fn kept(bytes: &[u8], subprotocol: Option<&str>, headers: &[&str]) -> Option<String> {
        let options = WebSocketOptions::new().keep_headers(headers);
        keep(&request(bytes), subprotocol, &options).map(|kept| String::from_utf8(kept.into()).unwrap())
    }

    #[test]
    fn nothing_is_kept_of_a_request_that_says_nothing() {
        assert_eq!(kept(b"", None, &[]), None);
        assert_eq!(kept(b"/\n", None, &["user-agent"]), None);
        assert_eq!(kept(b"/\nuser-agent:me\n", None, &[]), None);
        assert_eq!(keep(&request(b"/a\n"), None, &WebSocketOptions::new().keep_request(true)), None, "it is kept as it is");
    }

    #[test]
    fn the_target_the_chosen_headers_and_the_subprotocol_are_kept() {
        assert_eq!(kept(b"/a?b\nx:1\ny:2\nx:3\n", None, &["X"]).unwrap(), "/a?b\nx:1\nx:3\n");
        assert_eq!(kept(b"/\nx:1\n", None, &["x"]).unwrap(), "/\nx:1\n");
        assert_eq!(kept(b"/\n", Some("chat"), &["x"]).unwrap(), "chat");
        assert_eq!(kept(b"/a\n", Some("chat"), &["x"]).unwrap(), "/a\nchat");
    }

    /// Many connections keep it for as long as they live, and the allocator's next size is a
    /// quarter larger.
    #[test]
    fn what_a_connection_in_a_group_has_is_small() {
        assert!(size_of::<AppState>() <= 40, "{}", size_of::<AppState>());
    }
}
