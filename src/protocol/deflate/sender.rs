use super::deflater::Deflater;
use super::inflater::{InflateError, Inflater};
use super::window::Window;
use super::{Budget, Direction, Share};

/// The window of a sender that compresses each message by itself. A larger one would gain little
/// and take more memory in each thread.
const ALONE: u8 = 12;

/// The sending half of one connection.
#[derive(Debug)]
pub struct Sender {
    bits: u8,
    /// `None` without context takeover.
    window: Option<Window>,
}

impl Sender {
    /// Creates the sending half, with the parameters of the messages that it sends.
    pub fn new(direction: Direction, budget: &Budget) -> Sender {
        let bits = if direction.takeover { direction.bits } else { direction.bits.min(ALONE) };
        Sender { bits, window: direction.takeover.then(|| Window::new(bits, Some(budget.share()))) }
    }

    /// Compresses a message at `level`, 1 to 9. The result is the payload of a frame with RSV1
    /// (RFC 7692 §7.2.1).
    ///
    /// Returns `None` if the message would not become smaller. Then it must be sent uncompressed,
    /// which does not change the window.
    pub fn compress<'a>(&mut self, deflater: &'a mut Deflater, level: u8, message: &[u8]) -> Option<&'a [u8]> {
        let window = self.window.as_ref().map_or(&[][..], Window::bytes);
        let packed = deflater.compress(message, window, self.bits, level)?;
        if let Some(window) = &mut self.window {
            window.push(message);
        }
        Some(packed)
    }

    /// Notes that a message is sent that was compressed by itself, for many connections. Returns
    /// `false` if it must not be, because the agreed window is smaller than `bits` and the message.
    pub fn note(&mut self, message: &[u8], bits: u8) -> bool {
        if self.bits < bits && message.len() > 1usize.checked_shl(self.bits.into()).unwrap_or(0) {
            return false;
        }
        if let Some(window) = &mut self.window {
            window.push(message);
        }
        true
    }

    /// Returns the memory of the window in bytes.
    pub fn memory(&self) -> usize {
        self.window.as_ref().map_or(0, Window::capacity)
    }
}

/// The receiving half of one connection.
#[derive(Debug)]
pub struct Receiver {
    /// `None` without context takeover.
    window: Option<Window>,
}

impl Receiver {
    /// Creates the receiving half, with the parameters of the messages that it receives.
    pub fn new(direction: Direction) -> Receiver {
        Receiver::with_share(direction, None)
    }

    /// Like [`new`](Receiver::new), with the part of a budget that has the window in it.
    pub(crate) fn with_share(direction: Direction, share: Option<Share>) -> Receiver {
        Receiver { window: direction.takeover.then(|| Window::new(kept_bits(direction.bits), share)) }
    }

    /// Returns the memory of a window of 2^`bits` bytes.
    pub(crate) fn window_bytes(bits: u8) -> usize {
        1usize.checked_shl(kept_bits(bits).into()).unwrap_or(usize::MAX)
    }

    /// Returns whether nothing is kept between two messages.
    pub(crate) fn keeps_nothing(&self) -> bool {
        self.window.is_none()
    }

    /// Decompresses the payloads of all frames of a message (RFC 7692 §7.2.2), and passes the
    /// pieces of the message to `take`.
    ///
    /// # Errors
    /// The payload is not DEFLATE, ends early, or results in more than `limit` bytes. Or the error
    /// of `take`. The connection must fail.
    pub fn inflate<E: From<InflateError>>(
        &mut self,
        inflater: &mut Inflater,
        payload: &[u8],
        limit: usize,
        take: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let window = self.window.as_ref().map_or(&[][..], Window::bytes);
        let (earlier, latest) = inflater.inflate(payload, window, limit, take)?;
        if let Some(window) = &mut self.window {
            window.push(earlier);
            window.push(latest);
        }
        Ok(())
    }
}

/// Some compressors take 9 where 8 was agreed on.
fn kept_bits(bits: u8) -> u8 {
    bits.max(9)
}
