//! The end of streams on which no connection was opened.

use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::time::timeout;

use super::body::{BODY_MAX, ResponseBody};
use super::dial::Deadline;
use super::error::{ConnectError, ConnectPhase};
use super::exchange::Exchange;
use super::response_head::ResponseHead;
use super::url::Url;
use crate::http::{Phase, Shutdown};
use crate::protocol::{close, close_code, frame};
use crate::runtime::stream::Stream;

/// How long the last bytes may take: the Close frame of a failed listener, or the end of TLS.
const LAST_BYTES: Duration = Duration::from_secs(1);

/// Ends a connection for this reason. Over TLS this sends a close_notify (RFC 8446 section 6.1).
pub(super) async fn end(mut exchange: Exchange, url: &Url, reason: ConnectError) -> ConnectError {
    if url.is_secure {
        let _ = timeout(LAST_BYTES, exchange.stream.shutdown()).await;
    }
    reason
}

/// Sends a Close frame after the failure of a listener, and ends the connection.
pub(super) async fn send_close(stream: &mut Stream) {
    let (mut close, mut masked) = (Vec::new(), Vec::new());
    close::encode(&mut close, close_code::INTERNAL, "internal error");
    frame::mask_frames(&mut masked, &close, rand::random);
    let ended = async {
        stream.write_all(&masked).await?;
        stream.shutdown().await
    };
    let _ = timeout(LAST_BYTES, ended).await;
}

/// Reads the body of a refusal, as far as it arrives in time.
pub(super) async fn refused(head: ResponseHead, mut exchange: Exchange, url: &Url, deadline: Deadline) -> ConnectError {
    let mut body = ResponseBody::new(head.body_length(), BODY_MAX);
    let _ = deadline.within(ConnectPhase::Handshake, exchange.read_body(&mut body)).await;
    let mut response = http::Response::new(body.into_bytes().into());
    (*response.status_mut(), *response.headers_mut()) = (head.status, head.headers);
    end(exchange, url, ConnectError::Refused { response: Box::new(response) }).await
}

/// Opens a connection, unless its connector is closed meanwhile.
pub(super) async fn unless_closed<T>(
    shutdown: &Shutdown,
    open: impl Future<Output = Result<T, ConnectError>>,
) -> Result<T, ConnectError> {
    tokio::select! {
        biased;
        () = shutdown.reached(Phase::Closing) => Err(ConnectError::Closed),
        opened = open => opened,
    }
}
