use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::{Sleep, sleep};

use crate::runtime::acknowledged::Acknowledged;
use crate::runtime::stream::Stream;

/// How often a connection that is not read any more is checked for the end of its client.
const CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// How long a client counts as connected where the stream is not read any more and cannot be checked. A client may pipeline
/// requests over TLS and wait for a response for minutes.
const UNKNOWN_TIMEOUT: Duration = Duration::from_secs(300);

/// Detects that a client has disconnected in two cases in which reading cannot. The first case is
/// after a FIN, which may also mean that the client waits for its response. The second case is
/// while reading has stopped because enough is read ahead.
#[derive(Default)]
pub(crate) struct DisconnectDetector {
    timer: Option<Pin<Box<Sleep>>>,
    /// It had sent its FIN, or was gone, when the timer was set.
    had_ended: bool,
    /// The client's acknowledgements at that time.
    acknowledged: Acknowledged,
}

impl DisconnectDetector {
    /// Ready when the client has sent a FIN and acknowledged nothing for `timeout`, or nothing can be known of it for too long.
    /// `half_closed`: the FIN has been read.
    pub(crate) fn poll(&mut self, stream: &Stream, half_closed: bool, timeout: Duration, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            let Some(timer) = &mut self.timer else {
                let has_ended = if half_closed { Some(true) } else { stream.has_ended() };
                self.had_ended = has_ended.unwrap_or(true);
                self.acknowledged = stream.acknowledged(0);
                let pause = match has_ended {
                    Some(true) => timeout,
                    Some(false) => CHECK_INTERVAL,
                    None => UNKNOWN_TIMEOUT,
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
