//! What a connection and a thread need to compress messages (RFC 7692).

use std::cell::Cell;

use crate::protocol::Role;
use crate::protocol::deflate::{AgreedParams, Deflater, Receiver, Sender, Share};
use crate::protocol::frame::{self, RSV1};
use crate::sync::thread_local;
use crate::websocket::options::compression::Compression;
use crate::websocket::state::log::{Frames, Log, Packed};
use crate::websocket::stats::Deflated;

/// The window of messages that are compressed once for many connections. None of them refers farther
/// back.
const SHARED_BITS: u8 = 12;

/// What both ends have agreed on in the handshake.
#[derive(Debug)]
pub(crate) struct Agreement {
    pub(crate) params: AgreedParams,
    /// The memory of the window of the peer's messages.
    pub(crate) share: Option<Share>,
}

/// The state of a connection with compression. It is used under the slot's lock, so that the order of
/// the windows is the order of the frames.
pub(crate) struct Deflate {
    sender: Sender,
    level: u8,
    threshold: usize,
    /// Until the connection's task takes it.
    pub(crate) receiver: Option<Box<Receiver>>,
    pub(crate) traffic: Deflated,
}

thread_local! {
    static DEFLATER: Cell<Option<Box<Deflater>>> = const { Cell::new(None) };
}

/// Calls `work` with the compressor of this thread.
fn with_deflater<R>(work: impl FnOnce(&mut Deflater) -> R) -> R {
    // When a thread ends, its compressor may no longer exist.
    let mut deflater = DEFLATER.try_with(Cell::take).ok().flatten().unwrap_or_default();
    let result = work(&mut deflater);
    let _ = DEFLATER.try_with(|place| place.set(Some(deflater)));
    result
}

impl Deflate {
    pub(crate) fn new(Agreement { params, share }: Agreement, compression: &Compression, role: Role) -> Deflate {
        let (sent, received) = (params.sent_by(role), params.received_by(role));
        Deflate {
            sender: Sender::new(sent, &compression.budget),
            level: compression.level,
            threshold: compression.threshold_for(sent.takeover),
            receiver: Some(Box::new(Receiver::with_share(received, share))),
            traffic: Deflated::default(),
        }
    }

    /// Passes the compressed form of a message to `push`. Returns `false` if it would not be smaller.
    pub(crate) fn compress(&mut self, message: &[u8], push: impl FnOnce(&[u8])) -> bool {
        if message.len() < self.threshold {
            return false;
        }
        with_deflater(|deflater| {
            let Some(packed) = self.sender.compress(deflater, self.level, message) else { return false };
            self.traffic.note_sent(packed.len(), message.len());
            push(packed);
            true
        })
    }

    /// Returns the compressed form of a broadcast, if this member gets it. It is a part of the
    /// member's window then.
    pub(crate) fn broadcast(&mut self, log: &Log, plain: (u32, u32)) -> Option<(u32, u32)> {
        let mut frames = log.read();
        if frames.message(plain)?.1.len() < self.threshold {
            return None;
        }
        if frames.packed.as_ref().is_none_or(|packed| packed.plain != plain) {
            drop(frames);
            log.write().pack(plain, self.level);
            frames = log.read();
        }
        let (start, end) = frames.packed.as_ref()?.deflated?;
        let (_, message) = frames.message(plain)?;
        if !self.sender.note(message, SHARED_BITS) {
            return None;
        }
        self.traffic.note_sent((end - start) as usize, message.len());
        Some((start, end))
    }
}

impl Frames {
    /// Adds the compressed form of a message of the log, for the first member that gets it.
    fn pack(&mut self, plain: (u32, u32), level: u8) {
        let deflated = with_deflater(|deflater| {
            let (opcode, message) = self.message(plain)?;
            let packed = deflater.compress(message, &[], SHARED_BITS, level)?;
            let start = self.len();
            frame::encode(self, true, opcode, packed);
            mark(self, start);
            u32::try_from(start).ok().zip(u32::try_from(self.len()).ok())
        });
        self.packed = Some(Packed { plain, deflated });
    }
}

/// Sets RSV1 in a frame, which begins a compressed message (RFC 7692 §6).
pub(crate) fn mark(frames: &mut [u8], at: usize) {
    if let Some(first) = frames.get_mut(at) {
        *first |= RSV1;
    }
}
