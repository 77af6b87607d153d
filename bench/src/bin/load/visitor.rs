//! One client of a soak: how it behaves is decided when it comes.

use crate::wire::{self, BINARY, CLOSE, Numbers, PING, PONG, Replies, Reply, TEXT, append_message};
use mio::net::TcpStream;
use rustix::net::sockopt::{set_socket_linger, set_socket_recv_buffer_size};
use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::time::{Duration, Instant};

/// Longer than any timeout of the server: a connection that is still open by then is stuck.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long frozen ones stay: the server has to notice them before.
const FROZEN: Duration = Duration::from_secs(45);

/// Rooms to enter. There are more than members for all of them, so they come and go.
const ROOMS: usize = 2000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Manner {
    /// Talks now and then, and leaves with a Close, which it wants to be answered.
    Polite,
    /// Like `Polite`, but closes its socket without a Close frame.
    Silent,
    /// Like `Polite`, but leaves with a reset.
    Reset,
    /// Does not read any more once it is connected.
    Frozen,
    /// Like `Frozen`, but continues to send messages to be echoed.
    FrozenTalker,
    /// Sends what is wrong once it is connected, and waits for the server to end it.
    Garbage,
    /// Does the same instead of a handshake; what is wrong may be nothing but that it is plain HTTP.
    NoWebSocket,
}

/// How a visit ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// As the visitor wanted it.
    AsPlanned,
    /// The server did not want it.
    Refused,
    /// The server ended it, though nothing was wrong.
    ByServer,
    /// The server did not end it.
    Stuck,
}

#[derive(Debug, PartialEq, Eq)]
enum Step {
    Connecting,
    /// With what has come of the answer.
    Shaking(Vec<u8>),
    Open,
    /// All is said; the server's end is awaited.
    Leaving,
}

/// What came back, of all visitors.
#[derive(Default)]
pub struct Heard {
    pub echoes: usize,
    pub news: usize,
    pub said: usize,
    pub pings: usize,
    /// Neither an echo that was due nor anything else that can be.
    pub wrong: usize,
}

pub struct Visitor {
    pub stream: TcpStream,
    manner: Manner,
    step: Step,
    unsent: Vec<u8>,
    replies: Replies,
    /// The lengths of echoes that are due, in order.
    due: VecDeque<usize>,
    /// When it leaves, or has lost its patience.
    until: Instant,
}

impl Visitor {
    /// Comes, to stay for so long on average if it is one of those who talk.
    pub fn come(address: SocketAddr, stay: Duration, numbers: &mut Numbers) -> io::Result<Visitor> {
        let stream = TcpStream::connect(address)?;
        // In a thousand.
        let manner = match below(numbers, 1000) {
            0..5 => Manner::Frozen,
            5..10 => Manner::FrozenTalker,
            10..20 => Manner::Reset,
            20..27 => Manner::Garbage,
            27..40 => Manner::NoWebSocket,
            40..520 => Manner::Silent,
            _ => Manner::Polite,
        };
        let stay = match manner {
            Manner::Frozen | Manner::FrozenTalker => FROZEN,
            Manner::Garbage | Manner::NoWebSocket => PATIENCE,
            _ => stay * below(numbers, 2000) as u32 / 1000,
        };
        if manner == Manner::FrozenTalker {
            set_socket_recv_buffer_size(&stream, 4096)?;
        }
        let unsent = match manner {
            Manner::NoWebSocket => no_handshake(numbers),
            _ => wire::upgrade(address.port()),
        };
        Ok(Visitor {
            stream,
            manner,
            step: Step::Connecting,
            unsent,
            replies: Replies::default(),
            due: VecDeque::new(),
            until: Instant::now() + stay,
        })
    }

    /// Something has happened on the socket.
    pub fn ready(&mut self, buffer: &mut [u8], numbers: &mut Numbers, heard: &mut Heard) -> Option<End> {
        if self.step == Step::Connecting {
            match self.stream.peer_addr() {
                Ok(_) => self.step = Step::Shaking(Vec::new()),
                Err(error) if error.kind() == ErrorKind::NotConnected => return None,
                Err(_) => return Some(End::Refused),
            }
        }
        let sent = self.send();
        let is_frozen = matches!(self.manner, Manner::Frozen | Manner::FrozenTalker) && self.step == Step::Open;
        if is_frozen {
            return sent.is_err().then_some(End::AsPlanned);
        }
        // An error of sending is one of reading, too, after what can still be read.
        loop {
            match self.stream.read(buffer) {
                Ok(count) if count > 0 => {
                    if let Err(end) = self.receive(&buffer[..count], numbers, heard) {
                        return Some(end);
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return None,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                _ => return Some(self.ended_by_server()),
            }
        }
    }

    /// Its time has come: to say something, or to leave. When it comes again, or how the visit ended.
    pub fn act(&mut self, is_over: bool, numbers: &mut Numbers) -> Result<Instant, End> {
        let now = Instant::now();
        let is_waiting = self.step == Step::Leaving || matches!(self.manner, Manner::Garbage | Manner::NoWebSocket);
        if is_waiting {
            return if now < self.until { Ok(self.until) } else { Err(End::Stuck) };
        }
        if now >= self.until || is_over {
            return self.leave(now);
        }
        if self.step == Step::Open {
            match self.manner {
                Manner::Frozen => {}
                // A server that is slow has enough to do.
                _ if self.unsent.len() > 64 * 1024 => {}
                Manner::FrozenTalker => self.say(BINARY, &[b'x'; 64 * 1024], 1, numbers),
                _ => self.talk(numbers),
            }
            // What goes wrong is told when the socket is ready.
            let _ = self.send();
        }
        let pause = if self.manner == Manner::FrozenTalker { 250 } else { 1000 + below(numbers, 8000) };
        Ok(self.until.min(now + Duration::from_millis(pause as u64)))
    }

    fn leave(&mut self, now: Instant) -> Result<Instant, End> {
        match self.manner {
            Manner::Reset => {
                // It can only fail for a socket that is no socket.
                let _ = set_socket_linger(&self.stream, Some(Duration::ZERO));
                Err(End::AsPlanned)
            }
            Manner::Polite if self.step == Step::Open => {
                append_message(&mut self.unsent, CLOSE, &1000u16.to_be_bytes(), 1, &mut Numbers::new());
                self.step = Step::Leaving;
                self.until = now + PATIENCE;
                let _ = self.send();
                Ok(self.until)
            }
            _ => Err(End::AsPlanned),
        }
    }

    fn ended_by_server(&self) -> End {
        match (&self.step, self.manner) {
            (_, Manner::Garbage | Manner::NoWebSocket) | (Step::Leaving, _) => End::AsPlanned,
            (Step::Connecting | Step::Shaking(_), _) => End::Refused,
            _ => End::ByServer,
        }
    }

    fn receive(&mut self, bytes: &[u8], numbers: &mut Numbers, heard: &mut Heard) -> Result<(), End> {
        if self.manner == Manner::NoWebSocket {
            return Ok(());
        }
        if let Step::Shaking(head) = &mut self.step {
            head.extend_from_slice(bytes);
            let Some(end) = wire::accepted(head).map_err(|_| End::Refused)? else { return Ok(()) };
            let rest = head.split_off(end);
            self.step = Step::Open;
            if self.manner == Manner::Garbage {
                self.send_garbage(numbers);
            }
            return self.take(&rest, heard);
        }
        self.take(bytes, heard)
    }

    fn take(&mut self, bytes: &[u8], heard: &mut Heard) -> Result<(), End> {
        let Visitor { replies, due, unsent, manner, .. } = self;
        let answers = *manner != Manner::Garbage;
        let mut each = |reply: Reply<'_>| match reply.opcode {
            TEXT if reply.payload.starts_with(b"news ") => heard.news += 1,
            TEXT if reply.payload.starts_with(b"say ") => heard.said += 1,
            TEXT | BINARY if due.pop_front() == Some(reply.length) && reply.payload.iter().all(|byte| *byte == b'x') => {
                heard.echoes += 1;
            }
            PING => {
                heard.pings += 1;
                if answers {
                    append_message(unsent, PONG, reply.payload, 1, &mut Numbers::new());
                }
            }
            PONG | CLOSE => {}
            _ => heard.wrong += 1,
        };
        let understood = replies.receive(bytes, true, |reply| {
            each(reply);
            Ok(())
        });
        if understood.is_err() {
            heard.wrong += 1;
        }
        let _ = self.send();
        Ok(())
    }

    /// Something, of the kinds that there are.
    fn talk(&mut self, numbers: &mut Numbers) {
        let (what, size) = (below(numbers, 100), below(numbers, 400));
        let room = below(numbers, ROOMS);
        match what {
            0..60 => self.say(TEXT, &vec![b'x'; size], 1, numbers),
            60..75 => self.say(BINARY, &vec![b'x'; 10 * size], 1, numbers),
            75..80 => self.say(TEXT, &vec![b'x'; 3 * size], 3, numbers),
            80 => self.say(BINARY, &vec![b'x'; 400 * size], 1, numbers),
            81..84 => append_message(&mut self.unsent, PING, b"?", 1, numbers),
            84..93 => append_message(&mut self.unsent, TEXT, format!("enter {room}").as_bytes(), 1, numbers),
            93..96 => append_message(&mut self.unsent, TEXT, b"leave", 1, numbers),
            _ => append_message(&mut self.unsent, TEXT, b"say hello", 1, numbers),
        }
    }

    /// What comes back.
    fn say(&mut self, opcode: u8, payload: &[u8], fragments: usize, numbers: &mut Numbers) {
        append_message(&mut self.unsent, opcode, payload, fragments, numbers);
        self.due.push_back(payload.len());
    }

    fn send_garbage(&mut self, numbers: &mut Numbers) {
        let garbage: &[u8] = match below(numbers, 6) {
            // An unmasked frame, an unknown opcode, invalid UTF-8, and an impossible length (RFC
            // 6455 sections 5.1, 5.2 and 8.1).
            0 => &[0x81, 2, b'h', b'i'],
            1 => &[0x83, 0x80, 0, 0, 0, 0],
            2 => &[0x81, 0x82, 0, 0, 0, 0, 0xC3, 0x28],
            3 => &[0x82, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF],
            // The begin of a frame, and then nothing, or the end.
            _ => &[0x81, 0xFE, 1, 0, 1, 2, 3, 4, 5, 6, 7],
        };
        self.unsent.extend_from_slice(garbage);
        let ends = below(numbers, 2) == 0;
        // The socket is fresh and has room for it.
        if self.send().is_ok() && ends {
            let _ = self.stream.shutdown(Shutdown::Write);
        }
    }

    /// What the socket has room for.
    fn send(&mut self) -> io::Result<()> {
        while !self.unsent.is_empty() {
            match self.stream.write(&self.unsent) {
                Ok(count) => drop(self.unsent.drain(..count)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// What a visitor says who wants no WebSocket, or does not know how to ask for one.
fn no_handshake(numbers: &mut Numbers) -> Vec<u8> {
    let requests = [
        "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n\
         POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello",
        "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
        "GET /nothing HTTP/1.0\r\n\r\n",
        "\x16\x03\x01\x02\x00\x01\x00\x01\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: localhost\r\nX-Unfinished: ",
        "GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
    ];
    requests[below(numbers, requests.len())].into()
}

/// A number from 0 to less than that.
pub fn below(numbers: &mut Numbers, most: usize) -> usize {
    ((numbers.next() >> 32) as usize) % most
}
