use std::io;
use std::task::{Context, Poll, ready};

use crate::runtime::stream::{Opened, ReadHalf};
use crate::websocket::driver::scratch::ReadScratch;
use crate::websocket::driver::{Budget, Driver};

/// Reading over TLS. Its records are opened into a buffer of the thread.
impl Driver {
    /// Like [`poll_read`](Driver::poll_read), for TLS.
    pub(crate) fn poll_read_tls(
        &mut self,
        scratch: &mut ReadScratch,
        cx: &mut Context<'_>,
        budget: &mut Budget,
    ) -> Poll<()> {
        let Some(ReadHalf::Tls(half)) = &mut self.read else { return Poll::Pending };
        scratch.plaintext.clear();
        let read = half.try_read(&mut scratch.plaintext);
        if matches!(&read, Err(error) if error.kind() == io::ErrorKind::WouldBlock)
            && let Some(stream) = &self.read
        {
            if let Err(error) = ready!(stream.poll_read_ready(cx)) {
                self.note_stream_end(Some(error));
            }
            return Poll::Ready(());
        }
        self.opened(read, scratch, cx, budget);
        Poll::Ready(())
    }

    /// Delivers what a read over TLS has opened, and notes the end behind it.
    #[inline]
    pub(crate) fn opened(
        &mut self,
        read: io::Result<Opened>,
        scratch: &mut ReadScratch,
        cx: &mut Context<'_>,
        budget: &mut Budget,
    ) {
        match read {
            Ok(Opened { is_dry, end }) => {
                budget.is_dry = is_dry;
                if !scratch.plaintext.is_empty() {
                    self.deliver_read(&mut scratch.plaintext, &mut scratch.pool, cx, budget);
                }
                if let Some(end) = end {
                    self.note_stream_end(end.into());
                }
            }
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
            Err(error) => self.note_stream_end(Some(error)),
        }
    }
}
