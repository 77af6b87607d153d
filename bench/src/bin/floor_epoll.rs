//! The floor without a runtime: epoll, one read, unmask, one write. What a server on this machine cannot do without.
//!
//! usage: floor_epoll PORT [--mode broadcast]
#![forbid(unsafe_code)]

use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};
use react_websocket_bench::floor::{Incoming, LARGE, Message, READ_BUFFER, Unsent, answer, append};
use react_websocket_bench::{Arguments, Trigger};
use rustix::buffer::spare_capacity;
use rustix::net::{RecvFlags, recv};
use std::io::{self, ErrorKind, IoSlice, Read, Write};

const LISTENER: Token = Token(usize::MAX);
const CLOSE: u8 = 8;

struct Connection {
    stream: TcpStream,
    /// The request's head, as long as it has not been answered.
    head: Option<Vec<u8>>,
    incoming: Incoming,
    unsent: Unsent,
}

/// What all connections use in turn.
struct Shared {
    read: Vec<u8>,
    written: Vec<u8>,
    spare: Vec<Vec<u8>>,
    is_broadcast: bool,
}

/// What a connection's turn leaves to be done.
enum Outcome {
    Nothing,
    End,
    Broadcast(Trigger),
}

fn main() -> io::Result<()> {
    let arguments = Arguments::of(&["mode"]);
    let mut shared = Shared {
        read: vec![0; READ_BUFFER],
        written: Vec::with_capacity(READ_BUFFER),
        spare: Vec::new(),
        is_broadcast: arguments.is_broadcast(),
    };
    let mut poll = Poll::new()?;
    let mut listener = TcpListener::bind(arguments.address())?;
    poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
    let mut connections: Vec<Option<Connection>> = Vec::new();
    let mut free: Vec<usize> = Vec::new();
    let mut events = Events::with_capacity(1024);
    loop {
        match poll.poll(&mut events, None) {
            Err(error) if error.kind() != ErrorKind::Interrupted => return Err(error),
            _ => {}
        }
        for event in &events {
            if event.token() == LISTENER {
                while let Ok((mut stream, _)) = listener.accept() {
                    stream.set_nodelay(true)?;
                    let index = free.pop().unwrap_or(connections.len());
                    poll.registry().register(&mut stream, Token(index), Interest::READABLE | Interest::WRITABLE)?;
                    if index == connections.len() {
                        connections.push(None);
                    }
                    connections[index] = Some(Connection {
                        stream,
                        head: Some(Vec::new()),
                        incoming: Incoming::default(),
                        unsent: Unsent::default(),
                    });
                }
                continue;
            }
            let index = event.token().0;
            let Some(connection) = &mut connections[index] else { continue };
            if event.is_writable() && !connection.unsent.is_empty() {
                connection.send_unsent(&mut shared.spare);
            }
            if !event.is_readable() {
                continue;
            }
            match connection.turn(&mut shared).unwrap_or(Outcome::End) {
                Outcome::Nothing => {}
                Outcome::End => {
                    connections[index] = None;
                    free.push(index);
                }
                Outcome::Broadcast(trigger) => {
                    shared.written.clear();
                    let payload = trigger.payload();
                    for _ in 0..trigger.count {
                        append(&mut shared.written, 1, payload.as_bytes());
                    }
                    for member in connections.iter_mut().flatten() {
                        member.send(&shared.written, &mut shared.spare);
                    }
                }
            }
        }
    }
}

impl Connection {
    /// Reads all there is, and answers it.
    fn turn(&mut self, shared: &mut Shared) -> io::Result<Outcome> {
        let mut outcome = Outcome::Nothing;
        loop {
            // A short read is the last one: epoll tells when there is more.
            let (count, room) = match self.incoming.direct() {
                Some(buffer) => {
                    let room = buffer.capacity() - buffer.len();
                    let count = match recv(&self.stream, spare_capacity(buffer), RecvFlags::empty()) {
                        Err(error) if error == rustix::io::Errno::AGAIN => return Ok(outcome),
                        received => received?,
                    };
                    self.receive(shared, Received::Direct(count.0), &mut outcome);
                    (count.0, room)
                }
                None => {
                    let count = match self.stream.read(&mut shared.read) {
                        Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(outcome),
                        read => read?,
                    };
                    match &mut self.head {
                        None => self.receive(shared, Received::Buffer(count), &mut outcome),
                        Some(head) => {
                            head.extend_from_slice(&shared.read[..count]);
                            if let Some(answer) = answer(head) {
                                self.head = None;
                                self.send(&answer, &mut shared.spare);
                            }
                        }
                    }
                    (count, shared.read.len())
                }
            };
            if count == 0 {
                return Ok(Outcome::End);
            }
            if count < room || matches!(outcome, Outcome::End) {
                return Ok(outcome);
            }
        }
    }

    fn receive(&mut self, shared: &mut Shared, received: Received, outcome: &mut Outcome) {
        let Shared { read, written, spare, is_broadcast } = shared;
        let Connection { stream, unsent, incoming, .. } = self;
        written.clear();
        let each = |message: Message<'_>, spare: &mut Vec<Vec<u8>>| match message.opcode {
            1 if *is_broadcast => *outcome = asked_for(message.payload()),
            1 | 2 if message.frame.len() >= LARGE && unsent.is_empty() => {
                send(stream, unsent, written, spare, message.frame);
            }
            1 | 2 => written.extend_from_slice(message.frame),
            CLOSE => {
                written.extend_from_slice(message.frame);
                *outcome = Outcome::End;
            }
            _ => {}
        };
        match received {
            Received::Buffer(count) => incoming.feed(&mut read[..count], spare, each),
            Received::Direct(count) => incoming.feed_direct(count, spare, each),
        }
        if !written.is_empty() {
            self.send(written, spare);
        }
    }

    fn send(&mut self, bytes: &[u8], spare: &mut Vec<Vec<u8>>) {
        let sent = if self.unsent.is_empty() { self.stream.write(bytes).unwrap_or(0) } else { 0 };
        self.unsent.keep(&[bytes], sent, spare);
    }

    #[cold]
    fn send_unsent(&mut self, spare: &mut Vec<Vec<u8>>) {
        while !self.unsent.is_empty() {
            let Ok(sent) = self.stream.write(self.unsent.bytes()) else { return };
            self.unsent.advance(sent, spare);
        }
    }
}

#[inline(never)]
fn asked_for(payload: &[u8]) -> Outcome {
    std::str::from_utf8(payload).ok().and_then(Trigger::read).map_or(Outcome::Nothing, Outcome::Broadcast)
}

/// Sends what was written before and a frame, straight from where they lie.
#[inline(never)]
fn send(stream: &mut TcpStream, unsent: &mut Unsent, written: &mut Vec<u8>, spare: &mut Vec<Vec<u8>>, frame: &[u8]) {
    let parts = [&written[..], frame];
    // An error shows when the socket is read.
    let sent = stream.write_vectored(&parts.map(IoSlice::new)).unwrap_or(0);
    unsent.keep(&parts, sent, spare);
    written.clear();
}

/// Where bytes that were read are.
enum Received {
    Buffer(usize),
    Direct(usize),
}
