use std::io;
use std::task::Context;

#[cfg(feature = "__tls")]
use crate::runtime::stream::ReadHalf;
use crate::websocket::driver::scratch::ReadScratch;
use crate::websocket::driver::{Budget, Driver};

/// Reads without an event of the socket.
impl Driver {
    /// Reads bytes that the system has and tokio does not know of.
    #[cold]
    pub(crate) fn read_unknown(&mut self, scratch: &mut ReadScratch, cx: &mut Context<'_>, budget: &mut Budget) {
        if !self.may_read() {
            return;
        }
        #[cfg(feature = "__tls")]
        if let Some(ReadHalf::Tls(half)) = &mut self.read {
            scratch.plaintext.clear();
            let read = half.read_unasked(&mut scratch.plaintext);
            return self.opened(read, scratch, cx, budget);
        }
        match self.read.as_ref().and_then(|stream| stream.read_unasked(&mut scratch.bytes)) {
            None => {}
            Some(Err(error)) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
            Some(Ok(bytes)) if !bytes.is_empty() => self.deliver_read(bytes, &mut scratch.pool, cx, budget),
            Some(read) => self.note_stream_end(read.err()),
        }
    }
}
