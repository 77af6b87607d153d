use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use http::header::{CONNECTION, EXPECT, HeaderMap};
use http::{StatusCode, Version};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt, ReadBuf};
use tokio::sync::watch;
use tokio::time::{Instant, Sleep, sleep, timeout, timeout_at};

use super::HttpError;
use super::admission::Pending;
use super::body::BodyDecoder;
use super::body_stream::{BodyReader, Piece};
use super::encoder::{self, BodyPlan, ConnectionOptions, Plan, RequestLine};
use super::lifetime::Phase;
use super::middleware::{Answer, poll_contained};
use super::parser::{Head, HeadScanner};
use super::request::ServerRequest;
use super::response::{BodyKind, Response};
use super::server::Server;
use super::upgrade::Upgrade;
use crate::stream::{Stream, Transport};

/// A connection while it speaks HTTP: one request after the other, answered in order.
pub(super) struct Connection {
    stream: Stream,
    /// What has been read and not been used: a request's beginning, or pipelined requests, which wait here.
    buffer: BytesMut,
    server: Arc<Server>,
    phase: watch::Receiver<Phase>,
    accepted: Instant,
    /// The client has said that it sends nothing more. It still gets its answers.
    half_closed: bool,
    answered: u32,
    /// That of the request under way, as far as it is known.
    line: Option<RequestLine>,
}

/// What a connection goes on as, and the bytes that came behind the request.
pub(super) type Upgraded = (Box<dyn Upgrade>, Stream, BytesMut);

/// What follows an answer.
enum Then {
    NextRequest,
    End,
    Upgrade(Box<dyn Upgrade>),
}

/// Why a connection ends. The errors are told to the client, as far as there is one.
enum Stop {
    /// There is nothing to say.
    Quiet,
    Failed(HttpError),
}

impl From<HttpError> for Stop {
    fn from(error: HttpError) -> Stop {
        Stop::Failed(error)
    }
}

impl From<io::Error> for Stop {
    /// The client is gone, and there is nobody to tell.
    fn from(_: io::Error) -> Stop {
        Stop::Quiet
    }
}

/// Room for one read: any ordinary request, and few bytes of memory while a client thinks.
const READ_SIZE: usize = 4 * 1024;

/// A body below this is copied behind its head and sent in one piece; above it the copy costs more than it saves.
const COPY_MAX: usize = 16 * 1024;

/// Bytes of later requests that are taken from a client whose request is being answered. Reading on is how it is seen that
/// the client leaves.
const READ_AHEAD: usize = 16 * 1024;

/// Bytes that are read and dropped, at the end of a connection.
const LINGER_MAX: usize = 64 * 1024;

impl Connection {
    pub(super) fn new(stream: Stream, server: Arc<Server>, phase: watch::Receiver<Phase>) -> Connection {
        let (buffer, accepted) = (BytesMut::new(), Instant::now());
        Connection { stream, buffer, server, phase, accepted, half_closed: false, answered: 0, line: None }
    }

    /// Serves the connection until it ends or goes on as something else.
    pub(super) async fn run(mut self, pending: Pending) -> Option<Upgraded> {
        let mut phase = self.phase.clone();
        tokio::select! {
            biased;
            upgrade = self.serve(pending) => {
                let upgrade = upgrade?;
                Some((upgrade, self.stream, self.buffer))
            }
            _ = phase.wait_for(|phase| *phase >= Phase::Cut) => None,
        }
    }

    async fn serve(&mut self, pending: Pending) -> Option<Box<dyn Upgrade>> {
        let mut pending = Some(pending);
        loop {
            let answered = match self.read_head().await {
                Ok(head) => {
                    pending = None;
                    self.answer(head).await
                }
                Err(stop) => Err(stop),
            };
            drop(pending.take());
            match answered {
                Ok(Then::NextRequest) => {}
                Ok(Then::Upgrade(upgrade)) => return Some(upgrade),
                Ok(Then::End) => {
                    self.linger().await;
                    return None;
                }
                Err(Stop::Quiet) => return None,
                Err(Stop::Failed(error)) => {
                    self.refuse(error).await;
                    return None;
                }
            }
        }
    }

    async fn read_head(&mut self) -> Result<Head, Stop> {
        self.line = None;
        let server = self.server.clone();
        let (limits, header_timeout) = (server.options.head, server.options.header_timeout);
        let is_first = self.answered == 0;
        let wait = if is_first { header_timeout } else { Some(server.options.keep_alive_timeout) };
        let wait_from = if is_first { self.accepted } else { Instant::now() };
        let wait_until = wait.and_then(|wait| wait_from.checked_add(wait));
        // An empty line, which may follow a request (RFC 9112 §2.2), is not the beginning of another.
        while b"\r\n".starts_with(&self.buffer) {
            self.wait_for_request(wait_until).await?;
        }
        let started = if is_first { self.accepted } else { Instant::now() };
        let deadline = header_timeout.and_then(|limit| Some((started.checked_add(limit)?, limit)));
        let mut scanner = HeadScanner::default();
        loop {
            if let Some(found) = scanner.scan(&self.buffer, &limits)? {
                let mut head = self.buffer.split_to(found.end).freeze();
                head.advance(found.start);
                return Ok(Head::parse(&head)?);
            }
            let read = match deadline {
                Some((deadline, limit)) => {
                    timeout_at(deadline, self.fill()).await.map_err(|_| HttpError::HeaderTimeout { limit })??
                }
                None => self.fill().await?,
            };
            if read == 0 {
                return Err(HttpError::Incomplete.into());
            }
        }
    }

    /// Waits for bytes of a request. A client that sends none is not told anything, and neither is one whose server ends
    /// meanwhile.
    async fn wait_for_request(&mut self, deadline: Option<Instant>) -> Result<(), Stop> {
        if self.half_closed {
            return Err(Stop::Quiet);
        }
        let mut phase = self.phase.clone();
        let read = async {
            match deadline {
                Some(deadline) => timeout_at(deadline, self.fill()).await.map_err(|_| Stop::Quiet)?.map_err(Stop::from),
                None => self.fill().await.map_err(Stop::from),
            }
        };
        tokio::select! {
            biased;
            read = read => if read? > 0 { Ok(()) } else { Err(Stop::Quiet) },
            _ = phase.wait_for(|phase| *phase >= Phase::Closing) => Err(Stop::Quiet),
        }
    }

    /// Reads the request's body, has it answered and sends the answer.
    async fn answer(&mut self, head: Head) -> Result<Then, Stop> {
        let line = RequestLine {
            method: head.method.clone(),
            version: head.version,
            connection: ConnectionOptions::read(head.headers.get_all(CONNECTION).iter().map(|value| value.as_bytes())),
        };
        self.line = Some(line.clone());
        let body = self.read_body(&head).await?;
        let request = ServerRequest::new(head, body, self.stream.remote, self.stream.local.clone());
        let answer = self.server.chain.run(request);
        let response = self.watch_client(answer).await?;
        self.answered = self.answered.saturating_add(1);
        self.send(response, &line).await
    }

    async fn read_body(&mut self, head: &Head) -> Result<Bytes, Stop> {
        let options = &self.server.options;
        let limit = options.body_timeout;
        let mut decoder = BodyDecoder::new(head.framing, options.max_body_size)?;
        if decoder.is_done() {
            return Ok(Bytes::new());
        }
        if head.version == Version::HTTP_11 && expects_continue(&head.headers) && self.buffer.is_empty() {
            self.write(&b"HTTP/1.1 100 Continue\r\n\r\n"[..]).await?;
        }
        let mut body = Vec::new();
        loop {
            let used = decoder.decode(&self.buffer, &mut body)?;
            self.buffer.advance(used);
            if decoder.is_done() {
                return Ok(body.into());
            }
            let read = match limit {
                Some(limit) => timeout(limit, self.fill()).await.map_err(|_| HttpError::BodyTimeout { limit })??,
                None => self.fill().await?,
            };
            if read == 0 {
                return Err(HttpError::Incomplete.into());
            }
        }
    }

    /// Waits for an answer, and for the client to leave, which drops the answer's future.
    ///
    /// A reset is clear. A FIN is not: the client may have left, or have nothing more to say and wait for its answer. So the
    /// answer gets a little more time then.
    async fn watch_client(&mut self, mut answer: Answer) -> Result<Response, Stop> {
        let linger = self.server.options.linger;
        let mut grace: Option<Pin<Box<Sleep>>> = None;
        std::future::poll_fn(|cx| {
            if let Poll::Ready(response) = poll_contained(&mut answer, cx) {
                return Poll::Ready(Ok(response));
            }
            if self.poll_left(cx, &mut grace, linger).is_ready() {
                return Poll::Ready(Err(HttpError::ClientLeft.into()));
            }
            Poll::Pending
        })
        .await
    }

    /// Ready when the client has left, or sent a FIN some time ago.
    fn poll_left(&mut self, cx: &mut Context<'_>, grace: &mut Option<Pin<Box<Sleep>>>, linger: Duration) -> Poll<()> {
        while !self.half_closed && self.buffer.len() < READ_AHEAD {
            let mut bytes = [0; 1024];
            let mut read = ReadBuf::new(&mut bytes);
            match Pin::new(&mut self.stream).poll_read(cx, &mut read) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Err(_)) => return Poll::Ready(()),
                Poll::Ready(Ok(())) if read.filled().is_empty() => self.half_closed = true,
                Poll::Ready(Ok(())) => self.buffer.extend_from_slice(read.filled()),
            }
        }
        if !self.half_closed {
            return Poll::Pending;
        }
        grace.get_or_insert_with(|| Box::pin(sleep(linger))).as_mut().poll(cx)
    }

    async fn send(&mut self, response: Response, line: &RequestLine) -> Result<Then, Stop> {
        let mut response = response.checked();
        let failed = response.error.take();
        let is_last = self.answered >= self.server.options.max_keep_alive_requests;
        let is_closing = *self.phase.borrow() > Phase::Serving;
        let has_more = !self.half_closed || !self.buffer.is_empty();
        let mut head = Vec::with_capacity(256);
        let may_persist = failed.is_none() && !is_last && !is_closing && has_more;
        let plan = encoder::encode(&mut head, &response, line, may_persist);
        if let Some(error) = failed {
            self.server.emit_error(error);
        }
        if let Some(upgrade) = response.upgrade.filter(|_| response.status == StatusCode::SWITCHING_PROTOCOLS) {
            self.write(&head[..]).await?;
            return Ok(Then::Upgrade(upgrade));
        }
        let is_complete = match response.body.0 {
            BodyKind::Stream(reader) => self.send_stream(head, reader, plan).await?,
            BodyKind::Bytes(body) => {
                self.send_bytes(head, body, plan).await?;
                true
            }
        };
        Ok(if is_complete && plan.keep_alive { Then::NextRequest } else { Then::End })
    }

    async fn send_bytes(&mut self, mut head: Vec<u8>, body: Bytes, plan: Plan) -> Result<(), Stop> {
        if plan.body == BodyPlan::None {
            return self.write(&head[..]).await;
        }
        if body.len() < COPY_MAX {
            head.extend_from_slice(&body);
            return self.write(&head[..]).await;
        }
        self.write(Buf::chain(&head[..], body)).await
    }

    /// Sends what is written to a stream. `false` if the client did not get what it was told to expect.
    async fn send_stream(&mut self, mut out: Vec<u8>, mut reader: BodyReader, plan: Plan) -> Result<bool, Stop> {
        let is_chunked = plan.body == BodyPlan::Chunked;
        let mut left = match plan.body {
            BodyPlan::Length(length) => Some(length),
            BodyPlan::None | BodyPlan::Chunked | BodyPlan::UntilClose => None,
        };
        // One that was closed before it was sent is an empty body.
        let is_empty = plan.body == BodyPlan::None || reader.is_closed();
        if is_empty && is_chunked {
            out.extend_from_slice(b"0\r\n\r\n");
        }
        if is_empty {
            self.write(&out[..]).await?;
            return Ok(left.unwrap_or(0) == 0);
        }
        loop {
            // The head does not wait for the first piece.
            if out.is_empty() {
                self.wait_for_piece(&mut reader).await?;
            }
            match std::future::poll_fn(|cx| Poll::Ready(reader.poll_next(cx))).await {
                Poll::Pending => self.write(&out[..]).await?,
                Poll::Ready(Piece::Cut) => return Err(Stop::Quiet),
                Poll::Ready(Piece::End) => {
                    if is_chunked {
                        out.extend_from_slice(b"0\r\n\r\n");
                    }
                    self.write(&out[..]).await?;
                    return Ok(left.unwrap_or(0) == 0);
                }
                Poll::Ready(Piece::Chunks(chunks)) => {
                    let length: usize = chunks.iter().map(Bytes::len).sum();
                    if is_chunked {
                        out.extend_from_slice(format!("{length:x}\r\n").as_bytes());
                    }
                    let start = out.len();
                    chunks.iter().for_each(|chunk| out.extend_from_slice(chunk));
                    if is_chunked {
                        out.extend_from_slice(b"\r\n");
                    }
                    let is_too_long = left.is_some_and(|left| length as u64 > left);
                    if is_too_long {
                        // As much as was promised, so that nobody takes the rest for another response.
                        out.truncate(start.saturating_add(left.map_or(0, |left| left as usize)));
                    }
                    self.write(&out[..]).await?;
                    if is_too_long {
                        let mistake = "a stream longer than its Content-Length";
                        self.server.emit_error(HttpError::Handler(mistake.into()));
                        return Ok(false);
                    }
                    left = left.map(|left| left.saturating_sub(length as u64));
                    reader.sent(length);
                }
            }
            out.clear();
        }
    }

    /// Waits until there is something to send, or the client leaves.
    async fn wait_for_piece(&mut self, reader: &mut BodyReader) -> Result<(), Stop> {
        let linger = self.server.options.linger;
        let mut grace = None;
        std::future::poll_fn(|cx| {
            if reader.poll_ready(cx).is_ready() {
                return Poll::Ready(Ok(()));
            }
            self.poll_left(cx, &mut grace, linger).map(|()| Err(Stop::Quiet))
        })
        .await
    }

    /// Answers a request that could not be read, or not be answered.
    async fn refuse(&mut self, error: HttpError) {
        let response = error.status().map(Response::error_page);
        self.server.emit_error(error);
        let Some(response) = response else { return };
        let line = self.line.take().unwrap_or_default();
        let page = page(&response, &line);
        if self.write(&page[..]).await.is_ok() {
            self.linger().await;
        }
    }

    /// Ends the connection so that the client can read what was sent: closing while it still sends would be a reset, which
    /// throws away what it has not read yet.
    async fn linger(&mut self) {
        let read_on = async {
            if self.stream.shutdown().await.is_err() || self.half_closed {
                return;
            }
            let (mut left, mut bytes) = (LINGER_MAX, [0; 1024]);
            while let Ok(read @ 1..) = self.stream.read(&mut bytes).await
                && left > read
            {
                left -= read;
            }
        };
        let _ = timeout(self.server.options.linger, read_on).await;
    }

    async fn fill(&mut self) -> io::Result<usize> {
        self.buffer.reserve(READ_SIZE);
        let read = self.stream.read_buf(&mut self.buffer).await?;
        self.half_closed |= read == 0;
        Ok(read)
    }

    /// Writes all of it, as long as the client takes any of it.
    async fn write(&mut self, mut bytes: impl Buf) -> Result<(), Stop> {
        let limit = self.server.options.write_timeout;
        while bytes.has_remaining() {
            if in_time(limit, self.stream.write_buf(&mut bytes)).await? == 0 {
                return Err(Stop::Quiet);
            }
        }
        // A socket has nothing to flush; another stream may have, and may fail to.
        if matches!(self.stream.transport, Transport::Other(_)) {
            in_time(limit, self.stream.flush()).await?;
        }
        Ok(())
    }
}

/// What the client has to take within the limit, if there is one.
async fn in_time<T>(limit: Option<Duration>, written: impl Future<Output = io::Result<T>>) -> Result<T, Stop> {
    match limit {
        Some(limit) => Ok(timeout(limit, written).await.map_err(|_| HttpError::WriteTimeout { limit })??),
        None => Ok(written.await?),
    }
}

/// RFC 9110 §10.1.1. Other expectations are ignored, as in ReactPHP.
fn expects_continue(headers: &HeaderMap) -> bool {
    headers.get(EXPECT).is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"100-continue"))
}

/// A response whose body is bytes, and which ends its connection.
pub(super) fn page(response: &Response, line: &RequestLine) -> Vec<u8> {
    let mut page = Vec::new();
    let plan = encoder::encode(&mut page, response, line, false);
    if let BodyKind::Bytes(body) = &response.body.0
        && plan.body != BodyPlan::None
    {
        page.extend_from_slice(body);
    }
    page
}
