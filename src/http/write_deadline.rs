use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep};

use super::HttpError;
use crate::acknowledged::Acknowledged;
use crate::stream::Stream;

/// How often a client that a write waits for is looked at.
const LOOK: Duration = Duration::from_secs(1);

/// Judges whether a client still takes what is sent to it.
///
/// That its socket is full says nothing: the system reports room when a third of a buffer of megabytes is free, which a slow
/// client may need minutes for. So while a write waits, what the client has acknowledged is looked at. It has no timer, and
/// costs nothing, until a write has to wait.
pub(super) struct WriteDeadline {
    limit: Option<Duration>,
    /// Bytes that the stream has accepted.
    accepted: u64,
    waiting: Option<Waiting>,
}

struct Waiting {
    /// When the client was last seen to take something, and what it had acknowledged then.
    since: Instant,
    acknowledged: Acknowledged,
    next_look: Pin<Box<Sleep>>,
}

impl WriteDeadline {
    pub(super) fn new(limit: Option<Duration>) -> WriteDeadline {
        WriteDeadline { limit, accepted: 0, waiting: None }
    }

    /// The stream has accepted so many bytes more. A full one does that only for a client that takes something.
    pub(super) fn accepted(&mut self, bytes: usize) {
        self.accepted = self.accepted.wrapping_add(bytes as u64);
        self.waiting = None;
    }

    /// To be asked when a write has to wait. Ready when the client has acknowledged nothing for the limit.
    pub(super) fn poll(&mut self, stream: &Stream, cx: &mut Context<'_>) -> Poll<HttpError> {
        let Some(limit) = self.limit else { return Poll::Pending };
        let pause = LOOK.min(limit / 4);
        let waiting = self.waiting.get_or_insert_with(|| Waiting {
            since: Instant::now(),
            acknowledged: stream.acknowledged(self.accepted),
            next_look: Box::pin(sleep(pause)),
        });
        loop {
            ready!(waiting.next_look.as_mut().poll(cx));
            let (now, acknowledged) = (Instant::now(), stream.acknowledged(self.accepted));
            if acknowledged.has_grown_since(waiting.acknowledged) {
                (waiting.since, waiting.acknowledged) = (now, acknowledged);
            }
            let left = limit.saturating_sub(now.duration_since(waiting.since));
            if left.is_zero() {
                return Poll::Ready(HttpError::WriteTimeout { limit });
            }
            stream.keep_little_unsent();
            waiting.next_look = Box::pin(sleep(pause.min(left)));
        }
    }
}
