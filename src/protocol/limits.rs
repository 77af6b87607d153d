/// How much of a peer's messages is accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes in one message, all its fragments together. Past it: [`ProtocolError::MessageTooLarge`], decided when a
    /// frame's header has arrived.
    ///
    /// [`ProtocolError::MessageTooLarge`]: super::ProtocolError::MessageTooLarge
    pub max_message_size: usize,
    /// Bytes in one frame. Past it: [`ProtocolError::FrameTooLarge`], decided when its header has arrived.
    ///
    /// [`ProtocolError::FrameTooLarge`]: super::ProtocolError::FrameTooLarge
    pub max_frame_size: usize,
    /// Frames in one message, empty ones counted: they cost us work and the peer six bytes.
    /// Past it: [`ProtocolError::TooManyFragments`].
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
