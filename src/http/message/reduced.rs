//! A request reduced to its target and a few headers, as bytes: what is worth keeping for as long as a connection lives.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{HeaderMap, HeaderName, HeaderValue};
use http::{Method, Version};

use super::head::Head;
use super::request::ServerRequest;
use super::target::parse_target;

/// Ends the target and each header line. Neither can have it.
const END: u8 = b'\n';

/// Stands in front of the target if the connection is TLS. No target has it.
const TLS: u8 = 0;

impl ServerRequest {
    /// Adds the target and the lines of these headers. Nothing is added for `/` without any of them, unless the connection is
    /// TLS.
    pub(crate) fn reduce_into(&self, bytes: &mut Vec<u8>, names: &[HeaderName]) {
        let target = self.raw_target();
        if target == b"/" && !self.is_tls() && !names.iter().any(|name| self.has_header(name)) {
            return;
        }
        if self.is_tls() {
            bytes.push(TLS);
        }
        bytes.extend_from_slice(target);
        bytes.push(END);
        for name in names {
            for value in self.values(name) {
                bytes.extend_from_slice(name.as_str().as_bytes());
                bytes.push(b':');
                bytes.extend_from_slice(value);
                bytes.push(END);
            }
        }
    }

    /// The GET request that was reduced to these bytes.
    pub(crate) fn restore(
        bytes: &[u8],
        client: Option<SocketAddr>,
        local: Option<Arc<SocketAddr>>,
    ) -> Option<ServerRequest> {
        let is_tls = bytes.first() == Some(&TLS);
        let mut lines = bytes.strip_prefix(&[TLS]).unwrap_or(bytes).split(|byte| *byte == END);
        let target = match lines.next() {
            None | Some([]) => Bytes::from_static(b"/"),
            Some(target) => Bytes::copy_from_slice(target),
        };
        let mut headers = HeaderMap::new();
        for line in lines {
            let Some(colon) = line.iter().position(|byte| *byte == b':') else { continue };
            let (name, value) = line.split_at(colon);
            let value = HeaderValue::from_bytes(value.get(1..).unwrap_or_default());
            headers.append(HeaderName::from_bytes(name).ok()?, value.ok()?);
        }
        Some(ServerRequest::get(target, headers, client, local)?.restored(is_tls))
    }

    /// The GET request that a client has sent. `remote` is the server's address.
    #[cfg(feature = "client")]
    pub(crate) fn sent(
        target: String,
        headers: HeaderMap,
        remote: Option<SocketAddr>,
        local: Option<Arc<SocketAddr>>,
    ) -> Option<ServerRequest> {
        ServerRequest::get(target.into(), headers, remote, local)
    }

    fn get(
        target: Bytes,
        headers: HeaderMap,
        client: Option<SocketAddr>,
        local: Option<Arc<SocketAddr>>,
    ) -> Option<ServerRequest> {
        let uri = parse_target(&Method::GET, &target).ok()?;
        let head = Head::new(Method::GET, Version::HTTP_11, target, Some(uri), headers);
        Some(ServerRequest::of(head, client, None, local, None))
    }
}
