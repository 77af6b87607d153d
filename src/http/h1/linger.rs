use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::ready;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWriteExt, ReadBuf};
use tokio::time::{Instant, timeout, timeout_at};

use super::write_deadline::CHECK_INTERVAL;
use crate::http::HttpError;
use crate::http::context::HttpOptions;
use crate::runtime::stream::Stream;

/// How often a client is looked at, at most, however short the silence is that it may keep.
const SHORTEST_CHECK_INTERVAL: Duration = Duration::from_millis(10);

/// Bytes that are read and dropped at a time.
const READ: usize = 8 * 1024;

/// How long, and for how much, a connection that the server ends is read on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Linger {
    /// While the client, which has acknowledged all that was sent, sends nothing.
    pub(crate) silence: Duration,
    /// While the client has not acknowledged all that was sent, and neither sends nor acknowledges anything.
    pub(crate) write_timeout: Option<Duration>,
    /// In all, since the client has acknowledged something last.
    pub(crate) time: Duration,
    pub(crate) bytes: usize,
}

impl Linger {
    pub(crate) fn of(options: &HttpOptions) -> Linger {
        Linger {
            silence: options.linger,
            write_timeout: options.write_timeout,
            time: options.max_linger_time,
            bytes: options.max_linger_bytes,
        }
    }

    /// Ends a connection so that the client can read the whole response (RFC 9112 §9.6). It sends a
    /// FIN, then reads and drops the client's bytes until the client ends its side. Closing earlier
    /// would cause a reset, and the client would lose the bytes that it has not read yet.
    ///
    /// # Errors
    /// The client has acknowledged nothing for too long.
    pub(crate) async fn end(self, stream: &mut Stream) -> Result<(), HttpError> {
        if !self.say_end(stream).await {
            return Ok(());
        }
        let Linger { silence, write_timeout, time, mut bytes } = self;
        if silence.is_zero() {
            return Ok(());
        }
        let pause = CHECK_INTERVAL.min(silence.max(SHORTEST_CHECK_INTERVAL));
        let (mut heard, mut began, mut looked) = (Instant::now(), Instant::now(), Instant::now());
        let mut acknowledged = stream.acknowledged(0);
        loop {
            let now = Instant::now();
            if now.duration_since(looked) >= pause {
                looked = now;
                let before = std::mem::replace(&mut acknowledged, stream.acknowledged(0));
                // It still takes what was sent, however slowly.
                if acknowledged.has_grown_since(before) {
                    (heard, began) = (now, now);
                }
            }
            let limit = write_timeout.filter(|_| !acknowledged.all);
            let timeout = if acknowledged.all { silence } else { limit.unwrap_or(time) };
            let (silent, lasted) = (now.duration_since(heard), now.duration_since(began));
            let left = timeout.saturating_sub(silent).min(time.saturating_sub(lasted));
            if left.is_zero() {
                // What the system still holds for a client that takes nothing is of no use.
                stream.reset_on_close(!acknowledged.all);
                return limit.map_or(Ok(()), |limit| Err(HttpError::WriteTimeout { limit }));
            }
            match timeout_at((now + left).min(looked + pause), discard(stream)).await {
                Ok(Ok(read)) if read > 0 && read < bytes => {
                    bytes -= read;
                    heard = Instant::now();
                }
                // The client's end, or more than is read.
                Ok(_) => return Ok(()),
                Err(_) => {}
            }
        }
    }

    /// Says that nothing more comes: by a FIN, or by what a stream of another kind has for it, as TLS has close_notify
    /// (RFC 8446 §6.1). Returns whether it was said.
    pub(crate) async fn say_end(self, stream: &mut Stream) -> bool {
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
