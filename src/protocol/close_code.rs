//! The close codes by name (RFC 6455 section 7.4.1 and the IANA registry of WebSocket close codes).

/// 1000: the purpose of the connection is fulfilled.
pub const NORMAL: u16 = 1000;
/// 1001: the server shuts down, or the user leaves the page.
pub const GOING_AWAY: u16 = 1001;
/// 1002: the peer violated the protocol.
pub const PROTOCOL: u16 = 1002;
/// 1003: the peer sent a kind of data that is not accepted, such as binary messages.
pub const UNSUPPORTED: u16 = 1003;
/// 1005: the Close frame has no code. It is never sent.
pub const NO_STATUS: u16 = 1005;
/// 1006: the connection ended without a Close frame. It is never sent.
pub const ABNORMAL: u16 = 1006;
/// 1007: the peer sent text that is not UTF-8.
pub const INVALID_PAYLOAD: u16 = 1007;
/// 1008: the peer violated a rule of the server.
pub const POLICY: u16 = 1008;
/// 1009: the peer sent a message that exceeds a limit.
pub const TOO_LARGE: u16 = 1009;
/// 1010: the client needs an extension that the server has not negotiated. Only clients send it.
pub const MANDATORY_EXTENSION: u16 = 1010;
/// 1011: the server failed, for example in a listener.
pub const INTERNAL: u16 = 1011;
/// 1012: the server restarts. A client may connect again, after a random delay of 5 to 30 seconds.
pub const SERVICE_RESTART: u16 = 1012;
/// 1013: the server is overloaded, or the peer is a slow consumer. A client may connect again
/// later.
pub const TRY_AGAIN_LATER: u16 = 1013;
/// 1014: the server is a gateway, and the server behind it sent an invalid response.
pub const BAD_GATEWAY: u16 = 1014;
/// 1015: the TLS handshake failed. It is never sent.
pub const TLS_HANDSHAKE: u16 = 1015;
