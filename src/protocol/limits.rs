/// The limits of a peer's messages and frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Maximum size of a message in bytes, all its fragments together. Default: 1 MiB. A larger
    /// message is a [`ProtocolError::MessageTooLarge`].
    ///
    /// [`ProtocolError::MessageTooLarge`]: super::ProtocolError::MessageTooLarge
    pub max_message_size: usize,
    /// Maximum size of a frame in bytes. Default: 1 MiB. A larger frame is a
    /// [`ProtocolError::FrameTooLarge`].
    ///
    /// [`ProtocolError::FrameTooLarge`]: super::ProtocolError::FrameTooLarge
    pub max_frame_size: usize,
    /// Maximum number of frames of a message. Default: 4,096. A further frame is a
    /// [`ProtocolError::TooManyFragments`]. Empty frames count too, because they cost the server
    /// work, and the peer only six bytes.
    ///
    /// [`ProtocolError::TooManyFragments`]: super::ProtocolError::TooManyFragments
    pub max_fragments: u32,
}

impl Limits {
    /// Returns the maximum size of a message of one frame, in bytes. Returns `None` if
    /// [`max_fragments`](Limits::max_fragments) is zero, because then no message is accepted.
    #[inline]
    pub fn max_whole_message(&self) -> Option<usize> {
        (self.max_fragments > 0).then(|| self.max_message_size.min(self.max_frame_size))
    }

    /// Returns the limits of payloads on the wire. Compression makes some messages a little larger.
    #[inline]
    pub(crate) fn of(&self, is_packed: bool) -> Limits {
        let packed = |size: usize| size.saturating_add(size / 16).saturating_add(64);
        match cfg!(feature = "deflate") && is_packed {
            true => Limits {
                max_message_size: packed(self.max_message_size),
                max_frame_size: packed(self.max_frame_size),
                ..*self
            },
            false => *self,
        }
    }
}

impl Default for Limits {
    /// 1 MiB in a message and in a frame, 4,096 fragments.
    fn default() -> Limits {
        Limits { max_message_size: 1 << 20, max_frame_size: 1 << 20, max_fragments: 4096 }
    }
}
