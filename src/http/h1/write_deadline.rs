use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep};

use crate::http::HttpError;
use crate::runtime::acknowledged::Acknowledged;
use crate::runtime::stream::Stream;

/// How often a client that has not acknowledged everything is looked at.
pub(crate) const CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// Decides whether a client still receives its response.
///
/// A full socket proves nothing. The system reports room when a third of a buffer of megabytes is
/// free, and a slow client may need minutes for this. So while a write waits, the deadline checks
/// the bytes that the client has acknowledged. Until a write has to wait, the deadline has no timer
/// and no cost.
pub(crate) struct WriteDeadline {
    limit: Option<Duration>,
    /// Bytes that the stream has accepted.
    accepted: u64,
    waiting: Option<Waiting>,
}

struct Waiting {
    /// When the client was last seen to take something, and what it had acknowledged then.
    since: Instant,
    acknowledged: Acknowledged,
    next_check: Pin<Box<Sleep>>,
}

impl WriteDeadline {
    pub(crate) fn new(limit: Option<Duration>) -> WriteDeadline {
        WriteDeadline { limit, accepted: 0, waiting: None }
    }

    /// The stream has accepted so many bytes more. A full one does that only for a client that takes something, so this is a sign
    /// by itself. A Unix socket's measure may even fall by it.
    pub(crate) fn accepted(&mut self, bytes: usize) {
        self.accepted = self.accepted.wrapping_add(bytes as u64);
        self.waiting = None;
    }

    /// To be asked when a write has to wait. Ready when the client has acknowledged nothing for the limit.
    pub(crate) fn poll(&mut self, stream: &Stream, cx: &mut Context<'_>) -> Poll<HttpError> {
        if self.limit.is_none() {
            return Poll::Pending;
        }
        loop {
            if let (_, Some(error)) = ready!(self.poll_check(stream, cx)) {
                return Poll::Ready(error);
            }
            stream.keep_little_unsent();
        }
    }

    /// To be asked when all has been written. Ready when the client has acknowledged all of it, or nothing for the limit.
    pub(crate) fn poll_acknowledged(&mut self, stream: &Stream, cx: &mut Context<'_>) -> Poll<Result<(), HttpError>> {
        loop {
            match ready!(self.poll_check(stream, cx)) {
                (true, _) => {
                    self.waiting = None;
                    return Poll::Ready(Ok(()));
                }
                (false, Some(error)) => return Poll::Ready(Err(error)),
                (false, None) => {}
            }
        }
    }

    /// Ready each time that the client has been looked at: whether it has acknowledged everything, and the error if it has
    /// acknowledged nothing for the limit.
    fn poll_check(&mut self, stream: &Stream, cx: &mut Context<'_>) -> Poll<(bool, Option<HttpError>)> {
        let limit = self.limit;
        let pause = limit.map_or(CHECK_INTERVAL, |limit| CHECK_INTERVAL.min(limit / 4));
        let waiting = self.waiting.get_or_insert_with(|| Waiting {
            since: Instant::now(),
            acknowledged: stream.acknowledged(self.accepted),
            next_check: Box::pin(sleep(pause)),
        });
        ready!(waiting.next_check.as_mut().poll(cx));
        let (now, acknowledged) = (Instant::now(), stream.acknowledged(self.accepted));
        if acknowledged.has_grown_since(waiting.acknowledged) {
            (waiting.since, waiting.acknowledged) = (now, acknowledged);
        }
        let left = limit.map_or(pause, |limit| limit.saturating_sub(now.duration_since(waiting.since)));
        waiting.next_check = Box::pin(sleep(pause.min(left)));
        let error = limit.filter(|_| left.is_zero()).map(|limit| HttpError::WriteTimeout { limit });
        Poll::Ready((acknowledged.all, error))
    }
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests {
    use std::task::Waker;

    use tokio::io::AsyncWrite;
    use tokio::net::{TcpListener, TcpStream};

    use super::*;
    use crate::runtime::stream::Transport;

    async fn pair() -> (TcpStream, Stream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (accepted, _) = listener.accept().await.unwrap();
        (client, Stream { transport: Transport::Tcp(accepted), remote: None, local: None })
    }

    /// Writes until nothing more is accepted.
    async fn fill(stream: &mut Stream, deadline: &mut WriteDeadline) {
        let mut cx = Context::from_waker(Waker::noop());
        for _ in 0..100 {
            while let Poll::Ready(written) = Pin::new(&mut *stream).poll_write(&mut cx, &[0; 64 * 1024]) {
                deadline.accepted(written.unwrap());
            }
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn for_a_client_that_is_found_slow_the_system_keeps_little() {
        let (_client, mut stream) = pair().await;
        let mut deadline = WriteDeadline::new(Some(Duration::from_secs(30)));
        fill(&mut stream, &mut deadline).await;
        let Transport::Tcp(socket) = &stream.transport else { unreachable!() };
        let kept = || socket2::SockRef::from(socket).tcp_notsent_lowat().unwrap();
        let before = kept();
        let mut cx = Context::from_waker(Waker::noop());
        assert!(deadline.poll(&stream, &mut cx).is_pending());
        assert_eq!(kept(), before, "it is not slow yet");
        tokio::time::advance(CHECK_INTERVAL).await;
        assert!(deadline.poll(&stream, &mut cx).is_pending());
        assert_eq!(kept(), 128 * 1024);
    }
}
