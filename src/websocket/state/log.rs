//! The frames of a turn's broadcasts.

use std::ops::{Deref, DerefMut};

use parking_lot::RwLock;

#[cfg(feature = "deflate")]
use crate::protocol::{Opcode, frame::FrameHeader};

/// The frames of a turn's broadcasts, each encoded once. Every member notes the range that it has
/// still to send.
pub(crate) type Log = RwLock<Frames>;

#[derive(Debug, Default)]
pub(crate) struct Frames {
    bytes: Vec<u8>,
    /// The message that was compressed last.
    #[cfg(feature = "deflate")]
    pub(crate) packed: Option<Packed>,
}

/// Where a message is in the log, and where its compressed form is, if that is smaller.
#[cfg(feature = "deflate")]
#[derive(Debug)]
pub(crate) struct Packed {
    pub(crate) plain: (u32, u32),
    pub(crate) deflated: Option<(u32, u32)>,
}

impl Frames {
    pub(crate) fn clear(&mut self) {
        self.bytes.clear();
        #[cfg(feature = "deflate")]
        {
            self.packed = None;
        }
    }

    /// Returns the opcode and the payload of the frame in a range.
    #[cfg(feature = "deflate")]
    pub(crate) fn message(&self, (start, end): (u32, u32)) -> Option<(Opcode, &[u8])> {
        let frame = self.bytes.get(start as usize..end as usize)?;
        let header = FrameHeader::decode_unmasked(frame).ok()??;
        Some((header.opcode, frame.get(header.header_length..)?))
    }
}

impl Deref for Frames {
    type Target = Vec<u8>;

    #[inline]
    fn deref(&self) -> &Vec<u8> {
        &self.bytes
    }
}

impl DerefMut for Frames {
    #[inline]
    fn deref_mut(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }
}
