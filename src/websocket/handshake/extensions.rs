//! The negotiation of permessage-deflate (RFC 7692 section 5). Pure.

use http::header::HeaderValue;

use crate::protocol::deflate::{Agreed, Malformed, Preferences, Receiver, Share, accept};
use crate::websocket::error::HandshakeError;
use crate::websocket::options::compression::Compression;
use crate::websocket::state::deflate::Agreement;

impl Compression {
    /// Returns what to negotiate, and the memory of the window of the peer's messages. Without memory
    /// there is no such window.
    pub(crate) fn to_negotiate(&self) -> (Preferences, Option<Share>) {
        let share = self.preferences.receive.and_then(|bits| {
            let mut share = self.budget.share();
            share.grow_to(Receiver::window_bytes(bits)).then_some(share)
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

#[cfg(test)]
mod tests {
    use super::*;

    /// A receiver must not forget its window (RFC 7692 section 7.1.1), so all of it is counted before it
    /// is agreed on. The smallest is kept as 512 bytes.
    #[test]
    fn the_window_of_a_receiver_is_in_the_memory_or_is_not_agreed_on() {
        for (size, kept) in [(256, 512), (512, 512), (32 * 1024, 32 * 1024)] {
            let compression = Compression::new().peer_window(size).window_memory(2 * kept - 1);
            let (preferences, share) = compression.to_negotiate();
            assert_eq!((preferences.receive, compression.budget.used()), (compression.preferences.receive, kept), "{size}");
            let (further, none) = compression.to_negotiate();
            assert!(further.receive.is_none() && none.is_none(), "one byte is missing");
            drop(share);
            assert_eq!(compression.budget.used(), 0);
        }
    }
}
