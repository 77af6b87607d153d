use super::frame::FrameHeader;
use super::{ProtocolError, Role};

/// The frames that a connection accepts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Accepted {
    /// The frames of a client.
    #[default]
    Masked,
    /// The frames of a client. Messages may be compressed.
    #[cfg(feature = "deflate")]
    MaskedDeflate,
    /// The frames of a server.
    Unmasked,
    /// The frames of a server. Messages may be compressed.
    #[cfg(feature = "deflate")]
    UnmaskedDeflate,
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

    /// Returns the frames that an end accepts after permessage-deflate was agreed on.
    #[cfg(feature = "deflate")]
    pub(super) fn deflate_by(role: Role) -> Accepted {
        match role {
            Role::Server => Accepted::MaskedDeflate,
            Role::Client => Accepted::UnmaskedDeflate,
        }
    }

    /// Returns whether these are the frames of a client.
    #[inline(always)]
    pub(super) fn are_masked(self) -> bool {
        #[cfg(feature = "deflate")]
        if self == Accepted::MaskedDeflate {
            return true;
        }
        self == Accepted::Masked
    }

    /// Returns whether these are the frames of a server.
    #[inline(always)]
    pub(super) fn are_unmasked(self) -> bool {
        #[cfg(feature = "deflate")]
        if self == Accepted::UnmaskedDeflate {
            return true;
        }
        self == Accepted::Unmasked
    }

    /// Reads the header of a frame of the peer. `None` while it is not complete.
    #[inline]
    pub(super) fn decode(self, bytes: &[u8]) -> Result<Option<FrameHeader>, ProtocolError> {
        match self {
            Accepted::Unmasked => FrameHeader::decode_unmasked(bytes),
            Accepted::Masked | Accepted::Nothing => FrameHeader::decode(bytes),
            #[cfg(feature = "deflate")]
            Accepted::MaskedDeflate => FrameHeader::decode_as::<true, true>(bytes),
            #[cfg(feature = "deflate")]
            Accepted::UnmaskedDeflate => FrameHeader::decode_as::<false, true>(bytes),
        }
    }
}
