//! Sends responses: heads, bodies of bytes, and streams that are written meanwhile.

use std::io::{self, IoSlice, Write as _};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Buf;
use http::StatusCode;
use tokio::io::AsyncWrite;

use super::connection::{Connection, ConnectionEnd, NextStep};
use super::disconnect::DisconnectDetector;
use super::encoder::{self, BodyPlan, Plan};
use super::write_deadline::WriteDeadline;
use crate::http::HttpError;
use crate::http::lifecycle::{Phase, Upgrade};
use crate::http::message::{BodyBytes, BodyKind, BodyReader, Cut, Piece, Response};
use crate::runtime::stream::{Stream, Transport};

/// A response, ready to be sent.
struct EncodedResponse {
    head: Vec<u8>,
    plan: Plan,
    rest: Rest,
}

/// What follows a response's head.
enum Rest {
    /// Nothing, or what is short and has been put behind it.
    Nothing,
    Bytes(BodyBytes),
    Stream(BodyReader),
    Upgrade(Box<dyn Upgrade>),
}

/// A body below this is copied behind its head and sent in one piece; above it the copy costs more than it saves.
pub(super) const COPY_MAX: usize = 16 * 1024;

/// From a response to the socket.
impl Connection {
    /// Sends a response.
    pub(crate) fn send(&mut self, response: Response) -> impl Future<Output = Result<NextStep, ConnectionEnd>> {
        let EncodedResponse { head, plan, rest } = self.encode(response);
        async move {
            let is_complete = match rest {
                Rest::Nothing => self.write(&head).await.map(|()| true)?,
                Rest::Upgrade(upgrade) => return self.write(&head).await.map(|()| NextStep::Upgrade(upgrade)),
                Rest::Bytes(body) => Box::pin(self.write_all(Buf::chain(&head[..], &body[..]))).await.map(|()| true)?,
                Rest::Stream(reader) => Box::pin(self.send_stream(head, reader, plan)).await?,
            };
            Ok(if is_complete && plan.keep_alive { NextStep::NextRequest } else { NextStep::Close })
        }
    }

    fn encode(&mut self, response: Response) -> EncodedResponse {
        let (response, has_failed) = self.server.finish(response);
        // Behind the responses that have not been sent yet.
        let mut head = std::mem::take(&mut self.out);
        let (may_persist, line) = (!has_failed && self.may_persist(), self.line.unwrap_or_default());
        let plan = encoder::encode(&mut head, &response, &line, may_persist);
        if let Some(upgrade) = response.upgrade.filter(|_| response.status == StatusCode::SWITCHING_PROTOCOLS) {
            return EncodedResponse { head, plan, rest: Rest::Upgrade(upgrade) };
        }
        let rest = match response.body.0 {
            BodyKind::Stream(reader) => Rest::Stream(reader),
            BodyKind::Bytes(_) if plan.body == BodyPlan::None => Rest::Nothing,
            BodyKind::Bytes(body) if body.len() < COPY_MAX => {
                head.extend_from_slice(&body);
                Rest::Nothing
            }
            BodyKind::Bytes(body) => Rest::Bytes(body),
        };
        EncodedResponse { head, plan, rest }
    }

    /// Whether the server allows another request on the connection.
    pub(super) fn may_persist(&self) -> bool {
        let is_last = self.answered >= self.server.options.max_keep_alive_requests;
        let has_more = !self.half_closed || !self.buffer.is_empty();
        !is_last && has_more && !self.permit.shutdown().is_closing()
    }

    /// Sends what is written to a stream. Returns whether the body has the length that the head declares.
    async fn send_stream(&mut self, head: Vec<u8>, reader: BodyReader, plan: Plan) -> Result<bool, ConnectionEnd> {
        let (phase, stream, mut shuts_down) = (self.permit.shutdown().phase(), reader.stream(), false);
        // Only a reset shows the client that such a body is incomplete.
        let ends_with_connection = plan.body == BodyPlan::UntilClose;
        self.stream.reset_on_close(ends_with_connection);
        let sent = {
            let mut sending = std::pin::pin!(self.send_pieces(head, reader, plan));
            std::future::poll_fn(|cx| {
                // `run` has this polled when the server begins to end.
                if !shuts_down && *phase.borrow() > Phase::Serving {
                    shuts_down = true;
                    stream.shut_down();
                }
                sending.as_mut().poll(cx)
            })
            .await?
        };
        if ends_with_connection {
            self.stream.reset_on_close(false);
        }
        Ok(sent)
    }

    async fn send_pieces(&mut self, mut out: Vec<u8>, mut reader: BodyReader, plan: Plan) -> Result<bool, ConnectionEnd> {
        let is_chunked = plan.body == BodyPlan::Chunked;
        let mut deadline = WriteDeadline::new(self.server.options.write_timeout);
        let mut left = match plan.body {
            BodyPlan::None => return self.write(&out).await.map(|()| true),
            BodyPlan::Length(length) => Some(length),
            BodyPlan::Chunked | BodyPlan::UntilClose => None,
        };
        loop {
            // The head does not wait for the first piece.
            if out.is_empty() {
                self.wait_for_piece(&mut reader, &mut deadline).await?;
            }
            match std::future::poll_fn(|cx| Poll::Ready(reader.poll_next(cx))).await {
                Poll::Pending => self.write(&out).await?,
                Poll::Ready(Piece::Cut(cut)) => {
                    // What the app has not asked for is its mistake.
                    if cut != Cut::Closed
                        && let Some(error) = reader.take_error()
                    {
                        self.server.emit_error(HttpError::Handler(error));
                    }
                    return Err(ConnectionEnd::Broken);
                }
                Poll::Ready(Piece::End) => {
                    if is_chunked {
                        out.extend_from_slice(b"0\r\n\r\n");
                    }
                    self.write(&out).await?;
                    let missing = left.unwrap_or(0);
                    if missing > 0 {
                        let mistake = format!("the body stream ended {missing} bytes before its Content-Length");
                        self.server.emit_error(HttpError::Handler(mistake.into()));
                    }
                    return Ok(missing == 0);
                }
                Poll::Ready(Piece::Bytes(pieces)) => {
                    let length: usize = pieces.iter().map(Vec::len).sum();
                    if is_chunked {
                        // Writing to a vector cannot fail.
                        let _ = write!(out, "{length:x}\r\n");
                    }
                    let start = out.len();
                    pieces.iter().for_each(|piece| out.extend_from_slice(piece));
                    if is_chunked {
                        out.extend_from_slice(b"\r\n");
                    }
                    let is_too_long = left.is_some_and(|left| length as u64 > left);
                    if is_too_long {
                        // Cut at the promised length, so that the rest is not taken for another response.
                        out.truncate(start.saturating_add(left.map_or(0, |left| left as usize)));
                    }
                    self.write(&out).await?;
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

    /// Waits until there is something to send, or the client leaves, or it does not acknowledge what was sent before.
    async fn wait_for_piece(&mut self, reader: &mut BodyReader, deadline: &mut WriteDeadline) -> Result<(), ConnectionEnd> {
        let (mut disconnect, mut has_all) = (DisconnectDetector::default(), false);
        std::future::poll_fn(|cx| {
            if reader.poll_ready(cx).is_ready() {
                return Poll::Ready(Ok(()));
            }
            if !has_all && let Poll::Ready(acknowledged) = deadline.poll_acknowledged(&self.stream, cx) {
                acknowledged?;
                has_all = true;
            }
            self.poll_disconnected(cx, &mut disconnect).map(|()| Err(ConnectionEnd::Broken))
        })
        .await
    }

    pub(crate) async fn write(&mut self, bytes: &[u8]) -> Result<(), ConnectionEnd> {
        let mut rest = bytes;
        if !matches!(self.stream.transport, Transport::Other(_)) {
            // Mostly a socket takes all of it at once, and nothing has to be waited for.
            let write = |cx: &mut Context<'_>| Poll::Ready(Pin::new(&mut self.stream).poll_write(cx, bytes));
            if let Poll::Ready(written) = std::future::poll_fn(write).await {
                rest = bytes.get(written?..).unwrap_or_default();
            }
            if rest.is_empty() && self.stream.is_flushed() {
                return Ok(());
            }
        }
        Box::pin(self.write_all(rest)).await
    }

    /// Writes all of it, as long as the client takes any of it.
    async fn write_all(&mut self, mut bytes: impl Buf) -> Result<(), ConnectionEnd> {
        let mut deadline = WriteDeadline::new(self.server.options.write_timeout);
        let stream = &mut self.stream;
        std::future::poll_fn(|cx| {
            while bytes.has_remaining() {
                match poll_write_buf(stream, cx, &mut bytes)? {
                    Poll::Ready(0) => return Poll::Ready(Err(ConnectionEnd::Broken)),
                    Poll::Ready(written) => deadline.accepted(written),
                    Poll::Pending => return deadline.poll(stream, cx).map(|error| Err(error.into())),
                }
            }
            // A socket has nothing to flush; another stream may have, and may fail to.
            let is_flushed = match stream.is_flushed() {
                true => Poll::Ready(()),
                false => Pin::new(&mut *stream).poll_flush(cx)?,
            };
            match is_flushed {
                Poll::Ready(()) => Poll::Ready(Ok(())),
                Poll::Pending => deadline.poll(stream, cx).map(|error| Err(error.into())),
            }
        })
        .await
    }
}

/// Writes what the stream takes, from as many places at once as a response has.
fn poll_write_buf(stream: &mut Stream, cx: &mut Context<'_>, bytes: &mut impl Buf) -> Poll<io::Result<usize>> {
    let mut slices = [IoSlice::new(&[]); 2];
    let written = if stream.is_write_vectored() {
        let filled = bytes.chunks_vectored(&mut slices);
        Pin::new(stream).poll_write_vectored(cx, slices.get(..filled).unwrap_or_default())
    } else {
        Pin::new(stream).poll_write(cx, bytes.chunk())
    };
    let written = ready!(written)?.min(bytes.remaining());
    bytes.advance(written);
    Poll::Ready(Ok(written))
}
