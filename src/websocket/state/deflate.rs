//! Compressed messages of a connection (RFC 7692). They are compressed under the slot's lock, so that
//! the order of the windows is the order of the frames.

use std::cell::Cell;
use std::sync::Arc;

use crate::protocol::Opcode;
use crate::protocol::deflate::{Deflater, Params, Receiver, Sender, Share};
use crate::protocol::frame::{self, RSV1};
use crate::sync::thread_local;
use crate::websocket::state::log::{Frames, Log, Packed};
use crate::websocket::state::shared::Shared;
use crate::websocket::state::slot::State;
use crate::websocket::stats::Deflated;

/// The window of messages that are compressed once for many connections. No message of this thread
/// refers farther back.
const SHARED_BITS: u8 = 12;

/// The state of a connection with compression.
pub(crate) struct Deflate {
    sender: Sender,
    level: u8,
    threshold: usize,
    /// Until the connection's task takes it.
    receiver: Option<Box<Receiver>>,
    pub(crate) traffic: Deflated,
}

/// What both ends have agreed on in the handshake.
#[derive(Debug)]
pub(crate) struct Agreement {
    pub(crate) params: Params,
    /// The memory of the window of the peer's messages.
    pub(crate) share: Option<Share>,
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

impl State {
    /// Begins to compress messages.
    pub(crate) fn begin_deflate(&mut self, Agreement { params, share }: Agreement, shared: &Shared) {
        let Some(compression) = &shared.options.compression else { return };
        let (sent, received) = (params.sent_by(shared.role), params.received_by(shared.role));
        self.framing.set_deflates();
        self.deflate = Some(Box::new(Deflate {
            sender: Sender::new(sent, &compression.budget),
            level: compression.level,
            threshold: compression.threshold_for(sent.takeover),
            receiver: Some(Box::new(Receiver::with_share(received, share))),
            traffic: Deflated::default(),
        }));
    }

    /// Takes what the task needs to decompress messages.
    pub(crate) fn take_receiver(&mut self) -> Option<Receiver> {
        Some(*self.deflate.as_mut()?.receiver.take()?)
    }

    /// Adds a message to the outbox if it becomes smaller. Returns whether it did.
    #[inline(never)]
    pub(crate) fn push_deflated(&mut self, opcode: Opcode, payload: &[u8]) -> bool {
        let Some(deflate) = &mut self.deflate else { return false };
        if payload.len() < deflate.threshold {
            return false;
        }
        with_deflater(|deflater| {
            let Some(packed) = deflate.sender.compress(deflater, deflate.level, payload) else { return false };
            deflate.traffic.note_sent(packed.len(), payload.len());
            let is_masked = self.framing.masks();
            self.outbox.push_packed(opcode, packed, is_masked);
            true
        })
    }

    /// Adds a message of a broadcast's log to the outbox: in its compressed form if this member gets it.
    #[inline(never)]
    pub(crate) fn push_broadcast(&mut self, log: &Arc<Log>, plain: (u32, u32)) {
        let (start, end) = self.deflated_range(log, plain).unwrap_or(plain);
        self.outbox.push_range(log, start, end);
    }

    /// Returns the compressed form of a broadcast, if this member gets it. It is a part of the
    /// member's window then.
    fn deflated_range(&mut self, log: &Log, plain: (u32, u32)) -> Option<(u32, u32)> {
        let deflate = self.deflate.as_mut()?;
        let mut frames = log.read();
        if frames.message(plain)?.1.len() < deflate.threshold {
            return None;
        }
        if frames.packed.as_ref().is_none_or(|packed| packed.plain != plain) {
            drop(frames);
            log.write().pack(plain, deflate.level);
            frames = log.read();
        }
        let (start, end) = frames.packed.as_ref()?.deflated?;
        let (_, payload) = frames.message(plain)?;
        if !deflate.sender.note(payload, SHARED_BITS) {
            return None;
        }
        deflate.traffic.note_sent((end - start) as usize, payload.len());
        Some((start, end))
    }
}

impl Frames {
    /// Adds the compressed form of a message of the log, for the first member that gets it.
    fn pack(&mut self, plain: (u32, u32), level: u8) {
        let deflated = with_deflater(|deflater| {
            let (opcode, payload) = self.message(plain)?;
            let packed = deflater.compress(payload, &[], SHARED_BITS, level)?;
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
