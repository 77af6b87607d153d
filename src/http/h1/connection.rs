//! A connection while it speaks HTTP. The connection reads requests one after the other, and sends
//! responses in the same order.
//!
//! This file has the loop over the requests, and every wait for the client: for a head, for a body,
//! and for the acknowledgement of a response. `answering.rs` answers requests that are complete
//! already, without waiting. `sending.rs` sends responses.

use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, ReadBuf};
use tokio::time::{Instant, timeout_at};

use super::disconnect::DisconnectDetector;
use super::encoder::encode_page;
use super::linger::Linger;
use super::parser::{FoundHead, find_head};
use super::request_line::RequestLine;
use super::scanner::HeadScanner;
use super::write_deadline::{CHECK_INTERVAL, WriteDeadline};
use crate::http::HttpError;
use crate::http::context::ServerContext;
use crate::http::handlers::RunningResponse;
use crate::http::lifecycle::{ConnectionPermit, LazyAlarm, Pending, Phase, Upgrade, Upgraded};
use crate::http::message::{Response, ServerRequest};
use crate::runtime::stream::Stream;

/// A connection while it speaks HTTP: it reads one request after the other and responds in order.
pub(crate) struct Connection {
    pub(crate) stream: Stream,
    /// Bytes that are read and not used: the beginning of a request, or pipelined requests.
    pub(crate) buffer: BytesMut,
    /// Responses that have not been sent yet.
    pub(super) out: Vec<u8>,
    pub(crate) server: Arc<ServerContext>,
    accepted: Instant,
    /// `Some` until the first request is complete.
    pending: Option<Pending>,
    /// The client has sent its FIN. It still gets its responses.
    pub(crate) half_closed: bool,
    /// It has made room for another.
    pub(crate) is_evicted: bool,
    alarm: LazyAlarm,
    /// The number of requests with a response.
    pub(crate) answered: u32,
    /// The request line of the current request, as far as it is known.
    pub(crate) line: Option<RequestLine>,
    /// Must be the last field: dropping it signals that the connection is gone.
    pub(crate) permit: ConnectionPermit,
}

/// What the connection does after a response.
pub(crate) enum NextStep {
    NextRequest,
    /// The connection is to be closed.
    Close,
    Upgrade(Box<dyn Upgrade>),
}

/// Why a connection ends.
pub(crate) enum ConnectionEnd {
    /// In order, between requests.
    Idle,
    /// The client is gone, or has to see that the response is incomplete: the connection is dropped without a FIN of its own.
    Broken,
    /// A request could not be read or answered. The client gets an error page if the error has a status.
    Failed(HttpError),
}

impl From<HttpError> for ConnectionEnd {
    fn from(error: HttpError) -> ConnectionEnd {
        ConnectionEnd::Failed(error)
    }
}

impl From<io::Error> for ConnectionEnd {
    fn from(_: io::Error) -> ConnectionEnd {
        ConnectionEnd::Broken
    }
}

/// Bytes that are read at a time: any usual head, and a good part of a body.
const READ: usize = 8 * 1024;

/// Maximum number of bytes read ahead while a request is answered. Reading ahead is how a disconnect is detected.
const READ_AHEAD: usize = 16 * 1024;

impl Connection {
    pub(crate) fn new(
        stream: Stream,
        server: Arc<ServerContext>,
        permit: ConnectionPermit,
        pending: Pending,
    ) -> Connection {
        let (buffer, out, accepted, pending) = (BytesMut::new(), Vec::new(), Instant::now(), Some(pending));
        Connection {
            stream,
            buffer,
            out,
            server,
            accepted,
            pending,
            alarm: LazyAlarm::default(),
            half_closed: false,
            is_evicted: false,
            answered: 0,
            line: None,
            permit,
        }
    }

    /// Sets when the connection was accepted, and the bytes that were read since then.
    pub(crate) fn begun(mut self, accepted: Instant, received: &[u8]) -> Connection {
        self.accepted = accepted;
        self.buffer.extend_from_slice(received);
        self
    }

    /// Serves the connection until it ends or goes on as something else.
    pub(crate) async fn run(&mut self) -> Option<Box<dyn Upgrade>> {
        let mut phase = self.permit.shutdown().phase();
        tokio::select! {
            biased;
            // First, so that it waits before `serve` looks at the phase: with each change `serve` is polled then, too.
            _ = phase.wait_for(|phase| *phase >= Phase::Terminated) => None,
            upgrade = self.serve() => upgrade,
        }
    }

    /// The parts of the connection for the protocol that follows.
    pub(crate) fn into_upgraded(#[cfg_attr(not(feature = "__tls"), expect(unused_mut))] mut self) -> Upgraded {
        #[cfg(feature = "__tls")]
        self.buffer.extend_from_slice(&self.stream.take_received());
        Upgraded { stream: self.stream, read_ahead: self.buffer.into(), permit: self.permit }
    }

    async fn serve(&mut self) -> Option<Box<dyn Upgrade>> {
        loop {
            let stop = std::future::poll_fn(|cx| Poll::Ready(self.answer_at_once(cx))).await;
            let next_step = self.go_on(stop).await;
            if next_step.is_err() {
                self.pending = None;
            }
            match next_step {
                Ok(NextStep::NextRequest) => {}
                Ok(NextStep::Upgrade(upgrade)) => return Some(upgrade),
                // Rare steps are boxed, so that a connection needs no room for them.
                Ok(NextStep::Close) => {
                    if let Err(error) = Box::pin(self.linger().end(&mut self.stream)).await {
                        self.server.emit_error(error);
                    }
                    return None;
                }
                Err(ConnectionEnd::Idle) => {
                    // Closing a socket says that nothing more comes, closing another stream says nothing.
                    if !self.stream.ends_by_closing() {
                        Box::pin(self.linger().say_end(&mut self.stream)).await;
                    }
                    return None;
                }
                Err(ConnectionEnd::Broken) => return None,
                Err(ConnectionEnd::Failed(error)) => {
                    Box::pin(self.fail(error)).await;
                    return None;
                }
            }
        }
    }

    /// Waits until there is more of a request, or all of the head that has begun.
    pub(super) async fn wait_for_head(&mut self) -> Result<(), ConnectionEnd> {
        self.line = None;
        // An empty line, which may follow a request (RFC 9112 §2.2), is not the beginning of another.
        if !b"\r\n".starts_with(&self.buffer) {
            return Box::pin(self.complete_head()).await;
        }
        let mut deadline = self.request_deadline(Instant::now());
        while b"\r\n".starts_with(&self.buffer) {
            self.wait_for_request(&mut deadline).await?;
        }
        Ok(())
    }

    /// Reads until the head that has begun is complete.
    async fn complete_head(&mut self) -> Result<(), ConnectionEnd> {
        let started = if self.answered == 0 { self.accepted } else { Instant::now() };
        let deadline = self.server.options.header_timeout.and_then(|limit| Some((started.checked_add(limit)?, limit)));
        let mut scanner = HeadScanner::default();
        loop {
            let found = scanner.scan(&self.buffer, &self.server.options.head);
            // Whatever goes wrong now: the error page for a HEAD has no body.
            self.line = scanner.request_line(&self.buffer);
            if found? {
                return Ok(find_head(&self.buffer, &self.server.options.head).map(drop)?);
            }
            let fill = std::future::poll_fn(|cx| self.poll_fill_head(cx));
            let read = match deadline {
                Some((deadline, limit)) => {
                    timeout_at(deadline, fill).await.map_err(|_| HttpError::HeaderTimeout { limit })??
                }
                None => fill.await?,
            };
            if read == 0 {
                return Err(if self.half_closed { HttpError::Incomplete.into() } else { ConnectionEnd::Idle });
            }
        }
    }

    /// How long the beginning of a request is waited for.
    fn request_deadline(&self, now: Instant) -> Option<Instant> {
        let options = &self.server.options;
        match self.answered {
            0 => self.accepted.checked_add(options.header_timeout?),
            _ => now.checked_add(options.keep_alive_timeout),
        }
    }

    /// Waits for bytes of a request. A client that sends none gets no response, and neither does one whose server ends
    /// meanwhile. A client that has not acknowledged the last response has not been waited for yet: its deadline begins then.
    async fn wait_for_request(&mut self, deadline: &mut Option<Instant>) -> Result<(), ConnectionEnd> {
        let (mut has_response, mut now) = (self.answered == 0, Instant::now());
        while !self.half_closed {
            let check = if has_response { None } else { now.checked_add(CHECK_INTERVAL) };
            let next = [*deadline, check].into_iter().flatten().min();
            if self.fill_until(next, now).await? > 0 {
                return Ok(());
            }
            if self.half_closed || has_response {
                break;
            }
            (has_response, now) = (true, Instant::now());
            if !self.stream.acknowledged(0).all {
                if Box::pin(self.wait_until_acknowledged()).await? > 0 {
                    return Ok(());
                }
                now = Instant::now();
                *deadline = self.request_deadline(now);
            }
        }
        Err(ConnectionEnd::Idle)
    }

    /// Reads once, until the deadline. 0 bytes if it passes, or if the server begins to end.
    async fn fill_until(&mut self, deadline: Option<Instant>, now: Instant) -> io::Result<usize> {
        // The runtime learns of bytes that have arrived when it asks the system once more.
        let mut check = std::pin::pin!(tokio::task::yield_now());
        let (is_first, mut now) = (self.answered == 0, Some(now));
        let read = std::future::poll_fn(|cx| match self.poll_fill_head(cx) {
            // `run` has this polled when the server begins to end.
            Poll::Pending if self.permit.shutdown().is_closing() => check.as_mut().poll(cx).map(|()| Ok(0)),
            Poll::Pending if !is_first => {
                self.poll_passed(deadline, now.take().unwrap_or_else(Instant::now), cx).map(|()| Ok(0))
            }
            read => read,
        });
        match deadline {
            Some(deadline) if is_first => Box::pin(timeout_at(deadline, read)).await.unwrap_or(Ok(0)),
            _ => read.await,
        }
    }

    /// Ready when the deadline has passed. The alarm stays set between requests, which may follow each other closely.
    fn poll_passed(&mut self, deadline: Option<Instant>, now: Instant, cx: &mut Context<'_>) -> Poll<()> {
        match deadline {
            Some(deadline) if now >= deadline => Poll::Ready(()),
            Some(deadline) => {
                self.alarm.wake_at(deadline, now, self.permit.clock(), cx);
                Poll::Pending
            }
            None => Poll::Pending,
        }
    }

    /// Waits until the client has acknowledged everything that was sent to it, or sends something: so many bytes.
    pub(crate) async fn wait_until_acknowledged(&mut self) -> Result<usize, ConnectionEnd> {
        let mut deadline = WriteDeadline::new(self.server.options.write_timeout);
        std::future::poll_fn(|cx| match self.poll_fill(cx)? {
            Poll::Ready(read) => Poll::Ready(Ok(read)),
            Poll::Pending => deadline.poll_acknowledged(&self.stream, cx).map(|acknowledged| Ok(acknowledged.map(|()| 0)?)),
        })
        .await
    }

    /// Reads once, as [`poll_fill`](Connection::poll_fill). A client that has not sent a complete head yet may have to make room
    /// for others while it is waited for: that is an end, too.
    fn poll_fill_head(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        match self.poll_fill(cx) {
            Poll::Pending if self.pending.is_some() => self.poll_evicted(cx).map(|()| Ok(0)),
            read => read,
        }
    }

    #[cold]
    fn poll_evicted(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(pending) = &mut self.pending else { return Poll::Pending };
        let options = &self.server.options;
        let network = self.stream.remote.and_then(|remote| options.network_of(remote.ip()));
        ready!(pending.poll_evicted(!self.buffer.is_empty(), network, options.connections.max_pending, cx));
        self.is_evicted = true;
        self.server.admission.evicted(self.stream.remote);
        Poll::Ready(())
    }

    /// Returns the request that has this head.
    pub(super) fn begin(&mut self, found: FoundHead, bytes: Bytes) -> Result<ServerRequest, HttpError> {
        // Whatever goes wrong now: the error page for a HEAD has no body.
        self.line = Some(found.line);
        let head = found.into_head(bytes)?;
        self.pending = None;
        let (client, forwarding) = self.server.options.client_of(&head, &self.stream);
        let (peer, local) = (self.stream.remote, self.stream.local.clone());
        let request = ServerRequest::of(head, client, peer, local, forwarding);
        #[cfg(feature = "__tls")]
        let request = request.with_tls(self.stream.tls_peer());
        Ok(request)
    }

    /// Waits for the response of the handlers, or for the client to disconnect, which drops the future of the handlers.
    ///
    /// A reset is a disconnect. A FIN may be one, or the client may have sent its last request and wait for the response. So the
    /// handlers get `half_close_timeout` then.
    pub(super) async fn wait_for_response(&mut self, running: &mut RunningResponse) -> Result<Response, ConnectionEnd> {
        let mut disconnect = DisconnectDetector::default();
        std::future::poll_fn(|cx| {
            if let Poll::Ready(response) = Pin::new(&mut *running).poll(cx) {
                return Poll::Ready(Ok(response));
            }
            if self.poll_disconnected(cx, &mut disconnect).is_ready() {
                return Poll::Ready(Err(HttpError::ClientLeft.into()));
            }
            Poll::Pending
        })
        .await
    }

    /// Ready when the client has left, or sent a FIN some time ago.
    pub(crate) fn poll_disconnected(&mut self, cx: &mut Context<'_>, disconnect: &mut DisconnectDetector) -> Poll<()> {
        while !self.half_closed && self.buffer.len() < READ_AHEAD {
            if ready!(self.poll_fill(cx)).is_err() {
                return Poll::Ready(());
            }
        }
        disconnect.poll(&self.stream, self.half_closed, self.server.options.half_close_timeout, cx)
    }

    /// Sends the error page of a request that could not be read or answered, and closes the connection.
    async fn fail(&mut self, error: HttpError) {
        let line = self.line.take().unwrap_or_default();
        let is_sent = match Response::for_error(&error) {
            Some(plain) => self.write(&encode_page(&self.server.error_page(&error, plain), &line)).await.is_ok(),
            None => false,
        };
        // What the system still holds for a client that takes nothing is of no use, and may be megabytes.
        if matches!(error, HttpError::WriteTimeout { .. }) {
            self.stream.reset_on_close(true);
        }
        // Listeners may take long, and this may also call them for errors of other connections.
        self.server.emit_error(error);
        if is_sent {
            let _ = self.linger().end(&mut self.stream).await;
        }
    }

    fn linger(&self) -> Linger {
        Linger::of(&self.server.options)
    }

    /// Reads once. 0 bytes if the client has nothing more to say.
    pub(crate) fn fill(&mut self) -> impl Future<Output = io::Result<usize>> {
        std::future::poll_fn(|cx| self.poll_fill(cx))
    }

    /// It reads into the stack, so that a connection owns no buffer until its client has said something.
    #[inline(never)]
    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let mut bytes = [MaybeUninit::uninit(); READ];
        let mut bytes = ReadBuf::uninit(&mut bytes);
        ready!(Pin::new(&mut self.stream).poll_read(cx, &mut bytes))?;
        let read = bytes.filled();
        self.half_closed |= read.is_empty();
        self.buffer.extend_from_slice(read);
        Poll::Ready(Ok(read.len()))
    }
}
