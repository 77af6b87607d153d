use std::io;
#[cfg(feature = "__tls")]
use std::sync::Arc;
use std::time::Duration;

use http::header::{HOST, HeaderMap};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use super::body::ResponseBody;
use super::error::ResponseError;
use super::response_head::{self, HEAD_MAX, ResponseHead};
use super::url::Url;
use crate::http::ServerRequest;
use crate::runtime::stream::Stream;

/// Minimum room for a read.
const READ_MIN: usize = 4 * 1024;

/// How long the response may take after the request could not be sent.
const LATE_RESPONSE: Duration = Duration::from_secs(1);

/// A stream on which requests of HTTP are sent, and the bytes that were read behind the last response.
pub(crate) struct Exchange {
    pub(crate) stream: Stream,
    pub(crate) received: Vec<u8>,
    /// What TLS knows of the server.
    #[cfg(feature = "__tls")]
    pub(crate) peer: Option<Arc<crate::tls::PeerInfo>>,
}

impl Exchange {
    pub(crate) fn new(stream: Stream) -> Exchange {
        Exchange {
            stream,
            received: Vec::new(),
            #[cfg(feature = "__tls")]
            peer: None,
        }
    }

    /// Returns the handshake that was sent, as [`request`](crate::WebSocketConnection::request) has it.
    pub(crate) fn sent_request(&self, url: &Url, headers: &HeaderMap) -> Option<ServerRequest> {
        let mut headers = headers.clone();
        if let (false, Ok(host)) = (headers.contains_key(HOST), url.host_header().try_into()) {
            headers.insert(HOST, host);
        }
        let Stream { remote, local, .. } = &self.stream;
        let request = ServerRequest::sent(url.target.clone(), headers, *remote, local.clone());
        #[cfg(feature = "__tls")]
        let request = request.map(|request| request.with_tls(self.peer.as_ref()));
        request
    }

    /// Sends a request, and returns the head of its response. Interim responses are skipped (RFC 9110
    /// section 15.2).
    pub(crate) async fn request(&mut self, request: &[u8]) -> Result<ResponseHead, ResponseError> {
        let sent = async {
            self.stream.write_all(request).await?;
            self.stream.flush().await
        };
        // A server may refuse a request before it has read all of it, and its response says why.
        match sent.await {
            Ok(()) => self.response().await,
            Err(error) => match timeout(LATE_RESPONSE, self.response()).await {
                Ok(Ok(head)) => Ok(head),
                _ => Err(error.into()),
            },
        }
    }

    async fn response(&mut self) -> Result<ResponseHead, ResponseError> {
        let (mut searched, mut room) = (0, HEAD_MAX);
        loop {
            if let Some(end) = response_head::find_end(&self.received, searched, room)? {
                let head = self.received.drain(..end).collect::<Vec<u8>>();
                let head = response_head::parse(&head)?;
                if !head.is_interim() {
                    return Ok(head);
                }
                (searched, room) = (0, room.saturating_sub(end));
                continue;
            }
            searched = self.received.len();
            if self.read().await? == 0 {
                return Err(ResponseError::Ended);
            }
        }
    }

    /// Reads the body of a response, until it is complete or the stream ends. The bytes so far are
    /// in `body` if the future is dropped before.
    pub(crate) async fn read_body(&mut self, body: &mut ResponseBody) {
        while !body.is_done() && self.read_part(body).await {}
    }

    /// Reads the next bytes of a body. Returns `false` if the stream has ended.
    pub(crate) async fn read_part(&mut self, body: &mut ResponseBody) -> bool {
        if self.received.is_empty() && !matches!(self.read().await, Ok(1..)) {
            return false;
        }
        body.push(&self.received);
        self.received.clear();
        true
    }

    async fn read(&mut self) -> io::Result<usize> {
        self.received.reserve(READ_MIN);
        self.stream.read_buf(&mut self.received).await
    }
}
