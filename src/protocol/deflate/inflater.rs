use std::fmt;

use zlib_rs::{Inflate, InflateFlush, Status};

/// The end that a message lacks (RFC 7692 §7.2.2), and an empty final block. The decoder reaches the
/// end of both if the message was complete, and only then.
const TAIL: [u8; 6] = [0, 0, 0xFF, 0xFF, 0x03, 0x00];

/// Bytes that are decompressed at once: the size of all pieces of a message but the last. Larger than the largest window, which is found in it. With
/// less room the decoder goes byte by byte more often.
pub(crate) const PIECE: usize = 64 * 1024;

/// The largest window of the format.
const WINDOW_MAX: usize = 32 * 1024;

/// Final blocks in a message, and bytes of payload for each further one. A new block after a final
/// block costs far more than its two bytes.
const FINAL_BLOCKS: usize = 16;
const BYTES_PER_FINAL_BLOCK: usize = 256;

/// Why a message cannot be decompressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InflateError {
    /// The payload is not DEFLATE, or ends early.
    #[error("the payload is not DEFLATE")]
    Invalid,
    /// The message exceeds the limit.
    #[error("the message exceeds the limit")]
    TooLarge,
}

/// A decompressor for all connections of a thread. It allocates 48 KB, and 64 KiB when the first
/// message is decompressed.
pub struct Inflater {
    inner: Inflate,
    /// The bytes that were made last, from the start again when it is full.
    room: Vec<u8>,
}

impl Default for Inflater {
    fn default() -> Inflater {
        Inflater { inner: Inflate::new(false, 15), room: Vec::new() }
    }
}

/// The progress of one message.
#[derive(Default)]
struct Progress {
    /// The bytes at the start of the room that are the latest.
    at: usize,
    /// The room has been full.
    wrapped: bool,
    total: usize,
}

impl Progress {
    /// Returns the last bytes that were made, up to the size of the room, in two parts.
    fn latest<'a>(&self, room: &'a [u8]) -> (&'a [u8], &'a [u8]) {
        let (latest, earlier) = room.split_at_checked(self.at).unwrap_or_default();
        (if self.wrapped { earlier } else { &[] }, latest)
    }
}

impl Inflater {
    /// Decompresses a message and passes its pieces to `take`. Returns its last bytes, at least as many
    /// as the largest window has, in two parts.
    pub(super) fn inflate<E: From<InflateError>>(
        &mut self,
        payload: &[u8],
        window: &[u8],
        limit: usize,
        mut take: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(&[u8], &[u8]), E> {
        if payload.is_empty() {
            // An empty message should have one byte (§7.2.3.6), but some peers send none.
            return Ok((&[], &[]));
        }
        if self.room.is_empty() {
            self.room = vec![0; PIECE];
        }
        let mut progress = Progress::default();
        let mut final_blocks = FINAL_BLOCKS.saturating_add(payload.len() / BYTES_PER_FINAL_BLOCK);
        let mut begun = 0;
        self.restart(window, &progress)?;
        for (input, is_tail) in [(payload, false), (&TAIL[..], true)] {
            let mut rest = input;
            loop {
                let status = self.step(&mut rest, &mut progress, limit)?;
                let is_full = progress.at == self.room.len();
                if is_full {
                    take(self.room.get(begun..).unwrap_or_default())?;
                    (begun, progress.at, progress.wrapped) = (0, 0, true);
                }
                match status {
                    Status::StreamEnd if is_tail && rest.is_empty() => {
                        take(self.room.get(begun..progress.at).unwrap_or_default())?;
                        return Ok(progress.latest(&self.room));
                    }
                    // The message goes on at the next byte after a final block (§7.2.3.4).
                    Status::StreamEnd => {
                        final_blocks = final_blocks.checked_sub(1).ok_or(InflateError::Invalid)?;
                        self.restart(window, &progress)?;
                    }
                    // More may have been made than there was room for.
                    Status::Ok | Status::BufError if is_full => continue,
                    Status::Ok | Status::BufError => {}
                }
                if rest.is_empty() {
                    break;
                }
            }
        }
        Err(InflateError::Invalid.into())
    }

    /// Decompresses until the input or the room ends.
    fn step(&mut self, input: &mut &[u8], progress: &mut Progress, limit: usize) -> Result<Status, InflateError> {
        let (before_in, before_out) = (self.inner.total_in(), self.inner.total_out());
        // One byte more than the limit, to notice that it is exceeded.
        let left = limit.saturating_sub(progress.total).saturating_add(1);
        let end = progress.at.saturating_add(left).min(self.room.len());
        let room = self.room.get_mut(progress.at..end).unwrap_or_default();
        let status = self.inner.decompress(input, room, InflateFlush::NoFlush).map_err(|_| InflateError::Invalid)?;
        let taken = self.inner.total_in().saturating_sub(before_in) as usize;
        let made = self.inner.total_out().saturating_sub(before_out) as usize;
        progress.at = progress.at.saturating_add(made);
        progress.total = progress.total.saturating_add(made);
        if progress.total > limit {
            return Err(InflateError::TooLarge);
        }
        if taken == 0 && made == 0 && status != Status::StreamEnd && !input.is_empty() {
            return Err(InflateError::Invalid);
        }
        *input = input.get(taken..).unwrap_or_default();
        Ok(status)
    }

    /// Begins a stream that may refer to the window and to the bytes that were made.
    fn restart(&mut self, window: &[u8], progress: &Progress) -> Result<(), InflateError> {
        self.inner.reset(false);
        let (earlier, latest) = progress.latest(&self.room);
        for part in [window, earlier, latest] {
            let part = part.get(part.len().saturating_sub(WINDOW_MAX)..).unwrap_or_default();
            if !part.is_empty() {
                self.inner.set_dictionary(part).map_err(|_| InflateError::Invalid)?;
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Inflater {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inflater").finish_non_exhaustive()
    }
}
