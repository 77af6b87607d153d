//! Which parameters both ends agree on (RFC 7692 §5 and §7.1).

use super::offer::{Extension, Malformed, Parameters, extensions};
use crate::protocol::Role;

/// The smallest window of the [`Deflater`](super::Deflater), as a power of two.
const DEFLATER_MIN: u8 = 9;

/// The largest window of the format.
const MAX: u8 = 15;

/// The windows that one end wants, as powers of two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Preferences {
    /// The window of this end's messages, 9 to 15. `None`: each message is compressed by itself.
    pub send: Option<u8>,
    /// The window of the peer's messages, 8 to 15. `None`: the peer compresses each by itself.
    pub receive: Option<u8>,
}

impl Default for Preferences {
    /// A window of 4 KiB for sending, and none for receiving.
    fn default() -> Preferences {
        Preferences { send: Some(12), receive: None }
    }
}

/// The agreed parameters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AgreedParams {
    /// What the server sends.
    pub server: Direction,
    /// What the client sends.
    pub client: Direction,
}

/// The agreed parameters of the messages of one end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Direction {
    /// Whether a message may refer to earlier messages: context takeover (RFC 7692 §7.1.1).
    pub takeover: bool,
    /// The size of the window as a power of two, 8 to 15 (RFC 7692 §7.1.2).
    pub bits: u8,
}

impl AgreedParams {
    /// Returns the parameters of the messages that an end sends.
    pub fn sent_by(&self, role: Role) -> Direction {
        match role {
            Role::Server => self.server,
            Role::Client => self.client,
        }
    }

    /// Returns the parameters of the messages that an end receives.
    pub fn received_by(&self, role: Role) -> Direction {
        match role {
            Role::Server => self.client,
            Role::Client => self.server,
        }
    }
}

/// An accepted offer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Agreed {
    /// The agreed parameters.
    pub params: AgreedParams,
    /// The server's response, the value of `Sec-WebSocket-Extensions`.
    pub header: String,
}

/// A server's decision: accepts the first acceptable offer in the lines of the header. `None` if no
/// offer is acceptable, and the response has no such header (RFC 7692 §5.1).
///
/// # Errors
/// The header is malformed. The handshake fails with 400.
pub fn accept<'a>(
    lines: impl IntoIterator<Item = &'a [u8]>,
    preferences: Preferences,
) -> Result<Option<Agreed>, Malformed> {
    Ok(extensions(lines)?.iter().find_map(|extension| match extension {
        Extension::Deflate(offer) => accept_offer(offer, preferences),
        Extension::InvalidDeflate | Extension::Other => None,
    }))
}

fn accept_offer(offer: &Parameters, preferences: Preferences) -> Option<Agreed> {
    let mut header = "permessage-deflate".to_owned();
    let own = preferences.send.unwrap_or(MAX).clamp(DEFLATER_MIN, MAX);
    let server = Direction {
        takeover: preferences.send.is_some() && !offer.server_no_context_takeover,
        bits: offer.server_max_window_bits.map_or(own, |bits| bits.min(own)),
    };
    if server.bits < DEFLATER_MIN {
        return None;
    }
    if !server.takeover {
        header += "; server_no_context_takeover";
    }
    // Some clients refuse a parameter that they did not offer.
    if offer.server_max_window_bits.is_some() {
        header += &format!("; server_max_window_bits={}", server.bits);
    }
    let client = match (preferences.receive, offer.client_max_window_bits) {
        _ if offer.client_no_context_takeover => None,
        (None, _) => None,
        (Some(wanted), Some(hint)) => Some(wanted.min(hint.unwrap_or(MAX))),
        // A client that did not offer it cannot be given a smaller window (§7.1.2.2).
        (Some(wanted), None) => (wanted >= MAX).then_some(MAX),
    };
    match client {
        None => header += "; client_no_context_takeover",
        Some(bits) if bits < MAX => header += &format!("; client_max_window_bits={bits}"),
        Some(_) => {}
    }
    let client = Direction { takeover: client.is_some(), bits: client.unwrap_or(MAX) };
    Some(Agreed { params: AgreedParams { server, client }, header })
}

/// Returns a client's offer, the value of `Sec-WebSocket-Extensions`.
pub fn offer(preferences: Preferences) -> String {
    let mut offer = "permessage-deflate".to_owned();
    match preferences.receive {
        None => offer += "; server_no_context_takeover",
        Some(bits) if bits < MAX => offer += &format!("; server_max_window_bits={bits}"),
        Some(_) => {}
    }
    // Hints: what this end is not going to use, the server need not keep (§7.1.1.2, §7.1.2.2).
    match preferences.send {
        None => offer += "; client_no_context_takeover; client_max_window_bits",
        Some(bits) if bits < MAX => offer += &format!("; client_max_window_bits={}", bits.max(DEFLATER_MIN)),
        Some(_) => offer += "; client_max_window_bits",
    }
    offer
}

/// The response of a server does not fit the offer (RFC 7692 §5.1). The client fails the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the response does not fit the offer of permessage-deflate")]
pub struct InvalidResponse;

/// A client's check of the server's response to its [`offer`]. `None` if the server has declined.
///
/// # Errors
/// The response is malformed, has an extension that was not offered, or its parameters do not fit the
/// offer.
pub fn check_response<'a>(
    lines: impl IntoIterator<Item = &'a [u8]>,
    preferences: Preferences,
) -> Result<Option<AgreedParams>, InvalidResponse> {
    let response = match extensions(lines).map_err(|Malformed| InvalidResponse)?[..] {
        [] => return Ok(None),
        [Extension::Deflate(response)] => response,
        _ => return Err(InvalidResponse),
    };
    // Only an offer may have it without a value (§7.1.2.2).
    if response.client_max_window_bits == Some(None) {
        return Err(InvalidResponse);
    }
    let server =
        Direction { takeover: !response.server_no_context_takeover, bits: response.server_max_window_bits.unwrap_or(MAX) };
    let is_as_offered = match preferences.receive {
        None => !server.takeover,
        Some(bits) => server.bits <= bits,
    };
    if !is_as_offered {
        return Err(InvalidResponse);
    }
    let own = preferences.send.unwrap_or(MAX).clamp(DEFLATER_MIN, MAX);
    let client = Direction {
        takeover: preferences.send.is_some() && !response.client_no_context_takeover,
        bits: response.client_max_window_bits.flatten().map_or(own, |bits| bits.min(own)),
    };
    Ok(Some(AgreedParams { server, client }))
}
