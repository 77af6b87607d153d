/// How much of a peer's messages is accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Maximum size of a message in bytes, all its fragments together. A frame whose header exceeds
    /// it is a [`ProtocolError::MessageTooLarge`].
    ///
    /// [`ProtocolError::MessageTooLarge`]: super::ProtocolError::MessageTooLarge
    pub max_message_size: usize,
    /// Maximum size of a frame in bytes. A header that exceeds it is a
    /// [`ProtocolError::FrameTooLarge`].
    ///
    /// [`ProtocolError::FrameTooLarge`]: super::ProtocolError::FrameTooLarge
    pub max_frame_size: usize,
    /// Maximum number of frames of a message. Empty frames count, too: a server has work with them,
    /// and they cost the peer six bytes. A frame that exceeds it is a
    /// [`ProtocolError::TooManyFragments`].
    ///
    /// [`ProtocolError::TooManyFragments`]: super::ProtocolError::TooManyFragments
    pub max_fragments: u32,
}

impl Limits {
    /// The most bytes that a message of one frame may have. `None` if no message is accepted, not even an empty one, since
    /// [`max_fragments`](Limits::max_fragments) is zero.
    #[inline]
    pub fn max_whole_message(&self) -> Option<usize> {
        (self.max_fragments > 0).then(|| self.max_message_size.min(self.max_frame_size))
    }
}

impl Default for Limits {
    /// 1 MiB in a message and in a frame, 4,096 fragments.
    fn default() -> Limits {
        Limits { max_message_size: 1 << 20, max_frame_size: 1 << 20, max_fragments: 4096 }
    }
}
