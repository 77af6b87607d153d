use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::ready;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWriteExt, ReadBuf};
use tokio::time::{Instant, timeout, timeout_at};

use super::options::HttpOptions;
use crate::stream::Stream;

/// How often it is looked whether the client has acknowledged something.
const LOOK: Duration = Duration::from_secs(1);

/// Bytes that are read and dropped at a time.
const READ: usize = 8 * 1024;

/// How long, and for how much, a connection that the server ends is read on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Linger {
    /// While the client neither sends nor acknowledges anything.
    pub(super) silence: Duration,
    /// In all, since the client has acknowledged something last.
    pub(super) time: Duration,
    pub(super) bytes: usize,
}

impl Linger {
    pub(super) fn of(options: &HttpOptions) -> Linger {
        Linger { silence: options.linger, time: options.max_linger_time, bytes: options.max_linger_bytes }
    }

    /// Ends a connection so that the client can read what was sent (RFC 9112 §9.6): says that nothing more comes, then reads
    /// and drops what the client still sends until it ends its side, too. Closing before that would be a reset, which
    /// takes from the client what it has not read yet.
    pub(super) async fn end(self, stream: &mut Stream) {
        if !self.say_end(stream).await {
            return;
        }
        let Linger { silence, time, mut bytes } = self;
        let (mut heard, mut began) = (Instant::now(), Instant::now());
        let mut acknowledged = stream.acknowledged(0);
        loop {
            let now = Instant::now();
            let (silent, lasted) = (now.duration_since(heard), now.duration_since(began));
            let left = silence.saturating_sub(silent).min(time.saturating_sub(lasted));
            if left.is_zero() {
                return;
            }
            match timeout_at(now + left.min(LOOK), discard(stream)).await {
                Ok(Ok(read)) if read > 0 && read < bytes => {
                    bytes -= read;
                    heard = Instant::now();
                }
                // The client's end, or more than is read.
                Ok(_) => return,
                Err(_) => {
                    let before = std::mem::replace(&mut acknowledged, stream.acknowledged(0));
                    // It still takes what was sent, however slowly.
                    if acknowledged.has_grown_since(before) {
                        (heard, began) = (Instant::now(), Instant::now());
                    }
                }
            }
        }
    }

    /// Says that nothing more comes: by a FIN, or by what a stream of another kind has for it, as TLS has close_notify
    /// (RFC 8446 §6.1). Returns whether it was said.
    pub(super) async fn say_end(self, stream: &mut Stream) -> bool {
        matches!(timeout(self.time, stream.shutdown()).await, Ok(Ok(())))
    }
}

/// Reads once and drops it. How many bytes it was.
fn discard(stream: &mut Stream) -> impl Future<Output = io::Result<usize>> {
    std::future::poll_fn(|cx| {
        let mut bytes = [MaybeUninit::uninit(); READ];
        let mut bytes = ReadBuf::uninit(&mut bytes);
        ready!(Pin::new(&mut *stream).poll_read(cx, &mut bytes))?;
        std::task::Poll::Ready(Ok(bytes.filled().len()))
    })
}
