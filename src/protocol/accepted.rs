use super::frame::FrameHeader;
use super::{ProtocolError, Role};

/// The frames that a connection accepts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Accepted {
    /// The frames of a client.
    #[default]
    Masked,
    /// The frames of a server.
    Unmasked,
    /// None, after the peer's Close frame or an error: all further bytes are dropped.
    Nothing,
}

impl Accepted {
    /// Returns the frames that an end accepts.
    pub(super) fn by(role: Role) -> Accepted {
        match role {
            Role::Server => Accepted::Masked,
            Role::Client => Accepted::Unmasked,
        }
    }

    /// Reads the header of a frame of the peer. `None` while it is not complete.
    #[inline]
    pub(super) fn decode(self, bytes: &[u8]) -> Result<Option<FrameHeader>, ProtocolError> {
        match self {
            Accepted::Unmasked => FrameHeader::decode_unmasked(bytes),
            Accepted::Masked | Accepted::Nothing => FrameHeader::decode(bytes),
        }
    }
}
