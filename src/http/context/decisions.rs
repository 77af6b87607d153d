//! The decisions that an [`HttpOptions`] makes about one client, request or error.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use super::hooks::Hook;
use super::options::HttpOptions;
use crate::emitter::contain;
use crate::http::HttpError;
use crate::http::message::{Forwarding, Head, Response, ServerRequest};
use crate::runtime::stream::Stream;

impl HttpOptions {
    /// Returns the network under which a connection is counted: an IPv4 address, or the /64 of an IPv6 address. A
    /// client with one address of a /64 usually has all of them (RFC 4291 §2.5.4, RFC 6177). `None` for a trusted
    /// proxy, which has the connections of many clients.
    pub(crate) fn network_of(&self, address: IpAddr) -> Option<IpAddr> {
        if self.trusted_proxies.as_ref().is_some_and(|proxies| proxies.contains(address)) {
            return None;
        }
        Some(match address {
            IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)).into(),
            address => address,
        })
    }

    /// Returns the client of a request with this head on this stream. If a trusted proxy has sent the request, also
    /// returns the proxy's description of it.
    pub(crate) fn client_of(&self, head: &Head, stream: &Stream) -> (Option<SocketAddr>, Option<Forwarding>) {
        match &self.trusted_proxies {
            Some(proxies) => proxies.client(head, stream),
            None => (stream.remote, None),
        }
    }

    /// Returns the maximum size of a request's body in bytes.
    ///
    /// # Errors
    /// [`HttpError::Handler`] if the app's closure panics.
    pub(crate) fn body_limit(&self, request: &ServerRequest) -> Result<usize, HttpError> {
        match self.max_body_size_for.as_ref().and_then(Hook::get) {
            Some(limit) => contain(|| Ok(limit(request))).map_err(HttpError::Handler),
            None => Ok(self.max_body_size),
        }
    }

    /// Returns the page to send for an error, and the error of the app's closure if it failed. The page is the app's if
    /// it can be sent, else the default page.
    pub(crate) fn page_for(&self, error: &HttpError, page: Response) -> (Response, Option<HttpError>) {
        let Some(make) = self.error_page.as_ref().and_then(Hook::get) else { return (page, None) };
        match contain(|| make(error, page).into_page()) {
            Ok(page) => (page, None),
            Err(failed) => {
                (Response::for_error(error).unwrap_or_else(|| Response::new(500)), Some(HttpError::Handler(failed)))
            }
        }
    }
}
