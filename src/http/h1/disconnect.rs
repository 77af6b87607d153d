use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::{Sleep, sleep};

use crate::runtime::acknowledged::Acknowledged;
use crate::runtime::stream::Stream;

/// How often it is looked whether a client has left of which nothing more is read.
const LOOK: Duration = Duration::from_secs(1);

/// For how long a client is believed to be there of which nothing more is read, where nothing tells that it has left: a client
/// may pipeline over TLS and wait for its answer for minutes.
const BLIND: Duration = Duration::from_secs(300);

/// Sees that a client has left, where reading does not tell: it has sent a FIN, which may also mean that it waits for its
/// answer, or so much is read ahead that reading has stopped.
#[derive(Default)]
pub(crate) struct Leaving {
    timer: Option<Pin<Box<Sleep>>>,
    /// It had sent its FIN, or was gone, when the timer was set.
    had_ended: bool,
    /// What it had acknowledged then.
    acknowledged: Acknowledged,
}

impl Leaving {
    /// Ready when the client has sent a FIN and acknowledged nothing for `patience`, or nothing can be known of it for too long.
    /// `half_closed`: the FIN has been read.
    pub(crate) fn poll(
        &mut self,
        stream: &Stream,
        half_closed: bool,
        patience: Duration,
        cx: &mut Context<'_>,
    ) -> Poll<()> {
        loop {
            let Some(timer) = &mut self.timer else {
                let has_ended = if half_closed { Some(true) } else { stream.has_ended() };
                self.had_ended = has_ended.unwrap_or(true);
                self.acknowledged = stream.acknowledged(0);
                let pause = match has_ended {
                    Some(true) => patience,
                    Some(false) => LOOK,
                    None => BLIND,
                };
                self.timer = Some(Box::pin(sleep(pause)));
                continue;
            };
            ready!(timer.as_mut().poll(cx));
            // A client that still takes what was sent before is there, and waits for more.
            if self.had_ended && !stream.acknowledged(0).has_grown_since(self.acknowledged) {
                return Poll::Ready(());
            }
            self.timer = None;
        }
    }
}
