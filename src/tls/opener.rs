use std::io;
use std::sync::Arc;

use parking_lot::Mutex;

use super::buffers::Buffers;
use super::records::{End, Records};

/// The result of a read.
#[derive(Debug)]
pub(crate) struct Opened {
    /// The read has taken everything that had arrived.
    pub(crate) is_dry: bool,
    pub(crate) end: Option<End>,
}

/// Opens the records that the peer sends.
pub(crate) struct Opener {
    connection: Arc<Mutex<dyn Records>>,
    /// Length of the connection's unfinished input.
    unfinished: usize,
    /// How the stream has ended, once it has.
    end: Option<Box<End>>,
}

impl Opener {
    /// `unfinished`: the length of the input that the connection has not used up. `is_ended`: the peer
    /// has sent a close_notify.
    pub(super) fn new(connection: Arc<Mutex<dyn Records>>, unfinished: usize, is_ended: bool) -> Opener {
        Opener { connection, unfinished, end: is_ended.then(|| Box::new(End::Closed)) }
    }

    /// Reads once with `receive`, and adds the plaintext of all complete records to `plaintext`.
    ///
    /// # Errors
    /// Those of `receive`. Nothing has been read then.
    #[inline]
    pub(crate) fn read(
        &mut self,
        plaintext: &mut Vec<u8>,
        receive: impl FnOnce(&mut [u8]) -> io::Result<usize>,
    ) -> io::Result<Opened> {
        if let Some(end) = &self.end {
            return Ok(Opened { is_dry: false, end: Some(End::clone(end)) });
        }
        let mut buffers = Buffers::take();
        let read = self.read_into(&mut buffers.received, plaintext, receive);
        buffers.put_back();
        read
    }

    #[inline]
    fn read_into(
        &mut self,
        buffer: &mut [u8],
        plaintext: &mut Vec<u8>,
        receive: impl FnOnce(&mut [u8]) -> io::Result<usize>,
    ) -> io::Result<Opened> {
        let (before, room) = buffer.split_at_mut_checked(self.unfinished).unwrap_or_default();
        if !before.is_empty() {
            before.copy_from_slice(self.connection.lock().unfinished());
        }
        let size = room.len();
        let received = receive(room)?;
        if received == 0 {
            self.end = Some(Box::new(End::Truncated));
            return Ok(Opened { is_dry: false, end: Some(End::Truncated) });
        }
        let input = buffer.get_mut(..self.unfinished + received).unwrap_or_default();
        let mut connection = self.connection.lock();
        let end = connection.open(input, plaintext);
        self.unfinished = connection.unfinished().len();
        self.end = end.clone().map(Box::new);
        Ok(Opened { is_dry: received < size, end })
    }
}
