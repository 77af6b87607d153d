use std::time::Duration;

use bytes::{Buf, Bytes};
use http::Version;
use http::header::EXPECT;
use tokio::time::{Instant, timeout_at};

use super::body::BodyDecoder;
use super::connection::{Connection, ConnectionEnd};
use crate::http::HttpError;
use crate::http::context::HttpOptions;
use crate::http::message::ServerRequest;

impl Connection {
    /// Reads a request's body, whole.
    pub(crate) async fn read_body(&mut self, request: &ServerRequest) -> Result<Bytes, ConnectionEnd> {
        let mut decoder = BodyDecoder::new(request.framing(), self.server.options.body_limit(request)?)?;
        if request.version() == Version::HTTP_11 && expects_continue(request) && self.buffer.is_empty() {
            self.write(b"HTTP/1.1 100 Continue\r\n\r\n").await?;
            // The client may still be reading the response before.
            Box::pin(self.wait_until_acknowledged()).await?;
        }
        let mut body = Vec::new();
        let mut deadline = BodyDeadline::new(&self.server.options);
        loop {
            let before = body.len();
            let used = decoder.decode(&self.buffer, &mut body)?;
            self.buffer.advance(used);
            if decoder.is_done() {
                return Ok(body.into());
            }
            // Sizes, extensions and trailers are no progress.
            if body.len() > before {
                deadline.progressed = Instant::now();
            }
            let read = match deadline.next(body.len()) {
                Some((moment, error)) => timeout_at(moment, self.fill()).await.map_err(|_| error)??,
                None => self.fill().await?,
            };
            if read == 0 {
                return Err(HttpError::Incomplete.into());
            }
        }
    }
}

/// By when more of a body has to be there.
struct BodyDeadline {
    timeout: Option<Duration>,
    rate: Option<u32>,
    began: Instant,
    /// When the last byte of the body itself was there.
    progressed: Instant,
}

/// For how long the rate of a body is not looked at, where `body_timeout` is switched off.
const GRACE: Duration = Duration::from_secs(10);

impl BodyDeadline {
    fn new(options: &HttpOptions) -> BodyDeadline {
        let now = Instant::now();
        BodyDeadline { timeout: options.body_timeout, rate: options.min_body_rate, began: now, progressed: now }
    }

    /// The moment at which `received` bytes are too few, and what is wrong then.
    fn next(&self, received: usize) -> Option<(Instant, HttpError)> {
        let stalled = self.timeout.and_then(|limit| {
            let moment = self.progressed.checked_add(limit)?;
            Some((moment, HttpError::BodyTimeout { limit }))
        });
        let too_slow = self.rate.and_then(|rate| {
            let due = Duration::from_millis((received as u64).saturating_mul(1000).checked_div(rate.into())?);
            let moment = self.began.checked_add(self.timeout.unwrap_or(GRACE))?.checked_add(due)?;
            Some((moment, HttpError::BodyTooSlow { limit: rate }))
        });
        stalled.into_iter().chain(too_slow).min_by_key(|(moment, _)| *moment)
    }
}

/// RFC 9110 section 10.1.1. Other expectations are ignored, as in ReactPHP.
fn expects_continue(request: &ServerRequest) -> bool {
    let mut members = request.values(&EXPECT).flat_map(|line| line.split(|byte| *byte == b','));
    members.any(|member| member.trim_ascii().eq_ignore_ascii_case(b"100-continue"))
}
