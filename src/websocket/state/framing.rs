//! How the frames that a connection sends are added to its outbox.

use crate::protocol::Role;

/// How a message is added to the outbox.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Framing {
    /// As it is, at once.
    #[default]
    Plain,
    /// Behind the message of a [`MessageWriter`](crate::websocket::connection::message_writer::MessageWriter).
    Streaming,
    /// At once. All frames are masked, as a client's are (RFC 6455 §5.3).
    Masked,
    /// As [`Streaming`](Framing::Streaming). All frames are masked.
    MaskedStreaming,
}

impl Framing {
    pub(crate) fn of(role: Role) -> Framing {
        match role {
            Role::Server => Framing::Plain,
            Role::Client => Framing::Masked,
        }
    }

    #[inline(always)]
    pub(crate) fn is_plain(self) -> bool {
        self == Framing::Plain
    }

    /// Returns whether a message is being streamed.
    #[inline(always)]
    pub(crate) fn is_streaming(self) -> bool {
        matches!(self, Framing::Streaming | Framing::MaskedStreaming)
    }

    pub(crate) fn masks(self) -> bool {
        cfg!(feature = "client") && matches!(self, Framing::Masked | Framing::MaskedStreaming)
    }

    pub(crate) fn set_streaming(&mut self, on: bool) {
        *self = match (self.masks(), on) {
            (false, false) => Framing::Plain,
            (false, true) => Framing::Streaming,
            (true, false) => Framing::Masked,
            (true, true) => Framing::MaskedStreaming,
        };
    }
}
