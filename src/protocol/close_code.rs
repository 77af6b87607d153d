//! Close codes by name (RFC 6455 §7.4.1 and the IANA registry).

/// The work is done.
pub const NORMAL: u16 = 1000;
/// The server stops, or the visitor leaves the page.
pub const GOING_AWAY: u16 = 1001;
/// The peer broke the protocol.
pub const PROTOCOL: u16 = 1002;
/// The peer sent a kind of data that is not accepted.
pub const UNSUPPORTED: u16 = 1003;
/// Never on the wire: the Close frame carried no code.
pub const NO_STATUS: u16 = 1005;
/// Never on the wire: the connection ended without a Close frame.
pub const ABNORMAL: u16 = 1006;
/// Text that is not UTF-8.
pub const INVALID_PAYLOAD: u16 = 1007;
/// The peer broke a rule of this server.
pub const POLICY: u16 = 1008;
/// A message too large to take.
pub const TOO_LARGE: u16 = 1009;
/// The server failed at something, for example in a listener.
pub const INTERNAL: u16 = 1011;
/// The server is overloaded, or the peer reads too slowly.
pub const TRY_AGAIN_LATER: u16 = 1013;
