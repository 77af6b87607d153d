//! The client's part of the negotiation of permessage-deflate (RFC 7692 section 5).

use http::header::HeaderMap;

use super::error::ResponseError;
use super::handshake::Handshake;
use crate::protocol::deflate::Share;
use crate::websocket::{Agreement, WebSocketOptions};

/// Offers compression if it is on. Returns the memory of the window of the server's messages.
pub(super) fn offer(mut handshake: Handshake, options: &WebSocketOptions) -> (Handshake, Option<Share>) {
    let Some(compression) = &options.compression else { return (handshake, None) };
    let (preferences, share) = compression.to_negotiate();
    handshake.offer_deflate(preferences);
    (handshake, share)
}

/// Returns what the server has agreed on.
pub(super) fn check(
    handshake: &Handshake,
    headers: &HeaderMap,
    share: Option<Share>,
) -> Result<Option<Agreement>, ResponseError> {
    let params = handshake.check_extensions(headers)?;
    Ok(params.map(|params| Agreement { params, share: share.filter(|_| params.server.takeover) }))
}
