//! The floor on tokio: one task for each connection, one buffer to read into for each thread, writes straight to the socket.
//!
//! usage: floor_tokio PORT [--mode broadcast] [--workers N]
#![forbid(unsafe_code)]

use react_websocket_bench::floor::{Incoming, LARGE, Message, READ_BUFFER, Unsent, answer, append};
use react_websocket_bench::{Arguments, Trigger, block_on_without_time};
use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker, ready};
use tokio::io::{AsyncRead, AsyncReadExt, ReadBuf};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};

const CLOSE: u8 = 8;

/// What the connections of a thread use in turn.
struct Shared {
    read: Box<[MaybeUninit<u8>]>,
    written: Vec<u8>,
    spare: Vec<Vec<u8>>,
}

thread_local! {
    static SHARED: RefCell<Shared> = RefCell::new(Shared {
        read: Box::new_uninit_slice(READ_BUFFER),
        written: Vec::with_capacity(READ_BUFFER),
        spare: Vec::new(),
    });
}

fn main() -> io::Result<()> {
    let arguments = Arguments::of(&["mode", "workers"]);
    let is_broadcast = arguments.is_broadcast();
    block_on_without_time(arguments.value("workers", 1), async move {
        let listener = TcpListener::bind(arguments.address()).await?;
        let members = Members::default();
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            if is_broadcast {
                tokio::spawn(serve_member(stream, members.clone()));
            } else {
                tokio::spawn(serve_echo(stream));
            }
        }
    })
}

/// The handshake is boxed, so that an idle connection's task is small.
async fn handshake(mut stream: TcpStream) -> io::Result<TcpStream> {
    let mut head = Vec::with_capacity(1024);
    loop {
        if stream.read_buf(&mut head).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if let Some(answer) = answer(&head) {
            // A fresh socket has room for it.
            stream.try_write(&answer)?;
            return Ok(stream);
        }
    }
}

async fn serve_echo(stream: TcpStream) -> io::Result<()> {
    let stream = Box::pin(handshake(stream)).await?;
    let mut connection = Connection { stream, incoming: Incoming::default(), unsent: Unsent::default() };
    poll_fn(|context| connection.poll(context)).await
}

struct Connection {
    stream: TcpStream,
    incoming: Incoming,
    unsent: Unsent,
}

impl Connection {
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        SHARED.with_borrow_mut(|shared| {
            loop {
                while !self.unsent.is_empty() {
                    if let Ok(sent) = self.stream.try_write(self.unsent.bytes()) {
                        self.unsent.advance(sent, &mut shared.spare);
                    } else if self.stream.poll_write_ready(context)?.is_pending() {
                        break;
                    }
                }
                if ready!(self.poll_turn(context, shared))? {
                    return Poll::Ready(Ok(()));
                }
            }
        })
    }

    /// One read, and its answers. True when the connection has ended.
    fn poll_turn(&mut self, context: &mut Context<'_>, shared: &mut Shared) -> Poll<io::Result<bool>> {
        let Shared { read, written, spare } = shared;
        let Connection { stream, incoming, unsent } = self;
        let mut is_over = false;
        let count;
        if let Some(buffer) = incoming.direct() {
            count = ready!(pin!(stream.read_buf(&mut limited(buffer))).poll(context))?;
            incoming.feed_direct(count, spare, |message, spare| echo(stream, unsent, written, spare, &message));
        } else {
            let mut buffer = ReadBuf::uninit(read);
            ready!(Pin::new(&mut *stream).poll_read(context, &mut buffer))?;
            count = buffer.filled().len();
            incoming.feed(buffer.filled_mut(), spare, |message, spare| {
                is_over |= message.opcode == CLOSE;
                echo(stream, unsent, written, spare, &message);
            });
        }
        if !written.is_empty() {
            let sent = if unsent.is_empty() { stream.try_write(written).unwrap_or(0) } else { 0 };
            unsent.keep(&[written], sent, spare);
            written.clear();
        }
        Poll::Ready(Ok(is_over || count == 0))
    }
}

#[inline(always)]
fn echo(stream: &TcpStream, unsent: &mut Unsent, written: &mut Vec<u8>, spare: &mut Vec<Vec<u8>>, message: &Message<'_>) {
    match message.opcode {
        1 | 2 if message.frame.len() >= LARGE && unsent.is_empty() => send(stream, unsent, written, spare, message.frame),
        1 | 2 | CLOSE => written.extend_from_slice(message.frame),
        _ => {}
    }
}

/// Sends what was written before and a frame, straight from where they lie.
#[inline(never)]
fn send(stream: &TcpStream, unsent: &mut Unsent, written: &mut Vec<u8>, spare: &mut Vec<Vec<u8>>, frame: &[u8]) {
    let parts = [&written[..], frame];
    // An error shows when the socket is read.
    let sent = stream.try_write_vectored(&parts.map(IoSlice::new)).unwrap_or(0);
    unsent.keep(&parts, sent, spare);
    written.clear();
}

/// All the room that a buffer has, and no more: it would grow for a byte.
fn limited(buffer: &mut Vec<u8>) -> bytes::buf::Limit<&mut Vec<u8>> {
    let room = buffer.capacity() - buffer.len();
    bytes::BufMut::limit(buffer, room)
}

type Members = Arc<Mutex<Vec<Arc<Member>>>>;

/// The part of a connection that other tasks use to broadcast to it.
struct Member {
    write: OwnedWriteHalf,
    outbox: Mutex<Outbox>,
}

#[derive(Default)]
struct Outbox {
    unsent: Unsent,
    /// The member's task, which goes on when the socket has room again.
    waker: Option<Waker>,
}

impl Member {
    fn send(&self, bytes: &[u8], spare: &mut Vec<Vec<u8>>) {
        let mut outbox = self.outbox.lock().unwrap_or_else(PoisonError::into_inner);
        let sent = if outbox.unsent.is_empty() { self.write.try_write(bytes).unwrap_or(0) } else { 0 };
        if sent < bytes.len() {
            outbox.unsent.keep(&[bytes], sent, spare);
            if let Some(waker) = outbox.waker.take() {
                waker.wake();
            }
        }
    }

    fn poll_send(&self, context: &mut Context<'_>, spare: &mut Vec<Vec<u8>>) {
        let mut outbox = self.outbox.lock().unwrap_or_else(PoisonError::into_inner);
        while !outbox.unsent.is_empty() {
            if let Ok(sent) = self.write.try_write(outbox.unsent.bytes()) {
                outbox.unsent.advance(sent, spare);
            } else if self.write.as_ref().poll_write_ready(context).is_pending() {
                return;
            }
        }
        if !outbox.waker.as_ref().is_some_and(|waker| waker.will_wake(context.waker())) {
            outbox.waker = Some(context.waker().clone());
        }
    }
}

async fn serve_member(stream: TcpStream, members: Members) -> io::Result<()> {
    let stream = Box::pin(handshake(stream)).await?;
    let (mut read, write) = stream.into_split();
    let member = Arc::new(Member { write, outbox: Mutex::default() });
    members.lock().unwrap_or_else(PoisonError::into_inner).push(member.clone());
    let mut incoming = Incoming::default();
    let result = poll_fn(|context| poll_member(context, &mut read, &mut incoming, &member, &members)).await;
    members.lock().unwrap_or_else(PoisonError::into_inner).retain(|other| !Arc::ptr_eq(other, &member));
    result
}

fn poll_member(
    context: &mut Context<'_>,
    read: &mut OwnedReadHalf,
    incoming: &mut Incoming,
    member: &Member,
    members: &Members,
) -> Poll<io::Result<()>> {
    SHARED.with_borrow_mut(|shared| {
        member.poll_send(context, &mut shared.spare);
        loop {
            let mut buffer = ReadBuf::uninit(&mut shared.read);
            ready!(Pin::new(&mut *read).poll_read(context, &mut buffer))?;
            let mut is_over = buffer.filled().is_empty();
            incoming.feed(buffer.filled_mut(), &mut shared.spare, |message, spare| {
                is_over |= message.opcode == CLOSE;
                if let Some(trigger) = std::str::from_utf8(message.payload()).ok().and_then(Trigger::read) {
                    broadcast(trigger, &mut shared.written, spare, members);
                }
            });
            if is_over {
                return Poll::Ready(Ok(()));
            }
        }
    })
}

/// Encodes once, and writes once to each member.
fn broadcast(trigger: Trigger, written: &mut Vec<u8>, spare: &mut Vec<Vec<u8>>, members: &Members) {
    written.clear();
    let payload = trigger.payload();
    for _ in 0..trigger.count {
        append(written, 1, payload.as_bytes());
    }
    for member in members.lock().unwrap_or_else(PoisonError::into_inner).iter() {
        member.send(written, spare);
    }
    written.clear();
}
