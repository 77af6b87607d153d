//! How the frames that a connection sends are added to its outbox.

use crate::protocol::Role;

/// How a message is added to the outbox: as it is, at once, unless one of these bits is set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Framing(u8);

/// Behind the message of a [`MessageWriter`](crate::websocket::connection::message_writer::MessageWriter).
const STREAMING: u8 = 1;

/// All frames are masked, as a client's are (RFC 6455 §5.3).
const MASKED: u8 = 2;

/// Messages may be compressed (RFC 7692).
#[cfg(feature = "deflate")]
const DEFLATES: u8 = 4;

impl Framing {
    pub(crate) fn of(role: Role) -> Framing {
        match role {
            Role::Server => Framing::default(),
            Role::Client => Framing(MASKED),
        }
    }

    #[inline(always)]
    pub(crate) fn is_plain(self) -> bool {
        self.0 == 0
    }

    /// Returns whether a message only needs to be masked.
    #[inline(always)]
    pub(crate) fn is_only_masked(self) -> bool {
        self.0 == MASKED
    }

    /// Returns whether a message is being streamed.
    #[inline(always)]
    pub(crate) fn is_streaming(self) -> bool {
        self.0 & STREAMING != 0
    }

    pub(crate) fn masks(self) -> bool {
        cfg!(feature = "client") && self.0 & MASKED != 0
    }

    #[cfg(feature = "deflate")]
    pub(crate) fn deflates(self) -> bool {
        self.0 & DEFLATES != 0
    }

    pub(crate) fn set_streaming(&mut self, on: bool) {
        self.0 = if on { self.0 | STREAMING } else { self.0 & !STREAMING };
    }

    #[cfg(feature = "deflate")]
    pub(crate) fn set_deflates(&mut self) {
        self.0 |= DEFLATES;
    }
}
