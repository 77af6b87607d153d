//! The negotiation of permessage-deflate (RFC 7692 section 5). Pure.

use http::header::HeaderValue;

use crate::protocol::deflate::{Agreed, Malformed, Preferences, Share, accept};
use crate::websocket::error::HandshakeError;
use crate::websocket::options::compression::Compression;
use crate::websocket::state::deflate::Agreement;

impl Compression {
    /// Returns what to negotiate, and the memory of the window of the peer's messages. Without memory
    /// there is no such window.
    pub(crate) fn to_negotiate(&self) -> (Preferences, Option<Share>) {
        let share = self.preferences.receive.and_then(|bits| {
            let mut share = self.budget.share();
            share.grow_to(1 << bits).then_some(share)
        });
        let receive = self.preferences.receive.filter(|_| share.is_some());
        (Preferences { receive, ..self.preferences }, share)
    }
}

/// Returns what a server agrees on, and its header. `None` if it declines.
pub(crate) fn agree<'a>(
    lines: impl IntoIterator<Item = &'a [u8]>,
    compression: Option<&Compression>,
) -> Result<Option<(Option<Agreement>, HeaderValue)>, HandshakeError> {
    let Some(compression) = compression else { return Ok(None) };
    let (preferences, share) = compression.to_negotiate();
    let agreed = accept(lines, preferences).map_err(|Malformed| HandshakeError::Extensions)?;
    let Some(Agreed { params, header }) = agreed else { return Ok(None) };
    // The header has no character that a header could not have.
    let header = HeaderValue::try_from(header).map_err(|_| HandshakeError::Extensions)?;
    let agreement = Agreement { params, share: share.filter(|_| params.client.takeover) };
    Ok(Some((Some(agreement), header)))
}
