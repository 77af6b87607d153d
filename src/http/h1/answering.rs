use std::cell::Cell;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Buf;

use super::connection::{Connection, ConnectionEnd, NextStep};
use super::encoder;
use super::parser::find_head;
use super::sending::COPY_MAX;
use crate::http::HttpError;
use crate::http::context::BUFFERED_MAX;
use crate::http::handlers::RunningResponse;
use crate::http::message::{BodyKind, Framing, Response, ServerRequest};
use crate::sync::thread_local;

/// Why a connection cannot answer the next request at once.
pub(super) enum Stop {
    /// The head is incomplete or malformed.
    Head,
    /// The request has a body, which may be incomplete.
    Body(ServerRequest),
    /// The handlers have to wait.
    Handlers(Box<RunningResponse>),
    /// The response is large, a stream, an upgrade or a failure.
    Response(Box<Response>),
    /// The request is malformed.
    Failed(HttpError),
    /// The last response ends the connection.
    Close,
    /// The buffer is full, or [`AT_ONCE_MAX`] requests are answered.
    Yield,
}

/// Maximum number of requests that are answered before the task yields to the thread's other tasks.
const AT_ONCE_MAX: usize = 64;

/// Pipelined requests are answered together. Responses are buffered until the connection has to wait, and leave with one
/// write.
impl Connection {
    /// Answers as many requests as possible without waiting.
    pub(super) fn answer_at_once(&mut self, cx: &mut Context<'_>) -> Stop {
        for _ in 0..AT_ONCE_MAX {
            if self.out.len() >= BUFFERED_MAX {
                return Stop::Yield;
            }
            let request = match self.take_request() {
                Ok(Some(request)) => request,
                Ok(None) => return Stop::Head,
                Err(error) => return Stop::Failed(error),
            };
            if request.framing() != Framing::Length(0) {
                return Stop::Body(request);
            }
            let mut running = self.run_handlers(request);
            let Poll::Ready(response) = Pin::new(&mut running).poll(cx) else { return Stop::Handlers(Box::new(running)) };
            drop(running);
            self.answered = self.answered.saturating_add(1);
            if !is_small(&response) {
                return Stop::Response(Box::new(response));
            }
            if !self.buffer_response(&response) {
                return Stop::Close;
            }
        }
        Stop::Yield
    }

    /// Takes a request without its body from the bytes read. `None` if its head is incomplete or malformed:
    /// [`wait_for_head`](Connection::wait_for_head) has the verdict.
    fn take_request(&mut self) -> Result<Option<ServerRequest>, HttpError> {
        if self.buffer.is_empty() {
            return Ok(None);
        }
        let Ok(found) = find_head(&self.buffer, &self.server.options.head) else { return Ok(None) };
        let range = found.range.clone();
        // A buffer without further bytes is taken as a whole, since an idle connection owns no buffer.
        let mut head = match range.end == self.buffer.len() {
            true => std::mem::take(&mut self.buffer).freeze(),
            false => self.buffer.split_to(range.end).freeze(),
        };
        head.advance(range.start);
        self.begin(found, head).map(Some)
    }

    /// Flushes the buffered responses and does the step that has to wait.
    pub(super) async fn go_on(&mut self, stop: Stop) -> Result<NextStep, ConnectionEnd> {
        let response = match stop {
            Stop::Response(response) => return self.send(*response).await,
            stop => {
                self.flush().await?;
                match stop {
                    Stop::Head => return self.wait_for_head().await.map(|()| NextStep::NextRequest),
                    Stop::Yield => {
                        tokio::task::yield_now().await;
                        return Ok(NextStep::NextRequest);
                    }
                    Stop::Failed(error) => return Err(error.into()),
                    Stop::Body(request) => {
                        let body = Box::pin(self.read_body(&request)).await?;
                        let mut running = Box::new(self.run_handlers(request.with_body(body)));
                        self.wait_for_response(&mut running).await?
                    }
                    Stop::Handlers(mut running) => self.wait_for_response(&mut running).await?,
                    Stop::Close | Stop::Response(_) => return Ok(NextStep::Close),
                }
            }
        };
        self.answered = self.answered.saturating_add(1);
        if !is_small(&response) {
            return self.send(response).await;
        }
        if self.buffer_response(&response) {
            return Ok(NextStep::NextRequest);
        }
        drop(response);
        self.flush().await.map(|()| NextStep::Close)
    }

    fn run_handlers(&mut self, request: ServerRequest) -> RunningResponse {
        self.server.admission.counts.requested();
        self.server.chain.run(request)
    }

    /// Adds a small response to the buffer. Returns whether the connection goes on.
    fn buffer_response(&mut self, response: &Response) -> bool {
        if self.out.capacity() == 0 {
            // A thread that ends may have no spare buffer any more.
            self.out = SPARE.try_with(Cell::take).unwrap_or_default();
        }
        let (may_persist, line) = (self.may_persist(), self.line.unwrap_or_default());
        encoder::encode_whole(&mut self.out, response, &line, may_persist).keep_alive
    }

    /// Sends the buffered responses.
    async fn flush(&mut self) -> Result<(), ConnectionEnd> {
        if self.out.is_empty() {
            return Ok(());
        }
        let mut out = std::mem::take(&mut self.out);
        let written = self.write(&out).await;
        out.clear();
        let _ = SPARE.try_with(|spare| spare.set(out));
        written
    }
}

/// Whether a response is copied into the buffer.
fn is_small(response: &Response) -> bool {
    response.is_plain() && matches!(&response.body.0, BodyKind::Bytes(body) if body.len() < COPY_MAX)
}

thread_local! {
    /// A buffer that no connection of this thread uses.
    static SPARE: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}
