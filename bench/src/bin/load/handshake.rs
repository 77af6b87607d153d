//! Open, upgrade, close, again and again.

use crate::Result;
use crate::client::PATIENCE;
use crate::options::Options;
use crate::process::Process;
use crate::report::Report;
use crate::wire::{self, CLOSE, Numbers, Replies, append_message};
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use std::io::{ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

pub fn run(options: &Options) -> Result<Report> {
    let concurrency = options.count("concurrency", 16)?.max(1);
    let warmup = options.seconds("warmup-seconds", 0.0)?;
    let count = options.count("count", usize::MAX)?;
    let seconds = options.seconds("seconds", 60.0)?;
    let process = Process::of(options)?;

    let mut door = Door::new(options.address()?)?;
    door.go_through(concurrency, usize::MAX, warmup)?;
    let before = process.usage()?;
    let handshakes = door.go_through(concurrency, count, seconds)?;
    Ok(process.report(&before, "handshakes", handshakes)?.count("concurrency", concurrency))
}

struct Door {
    address: SocketAddr,
    poll: Poll,
    request: Vec<u8>,
    /// A Close frame with code 1000.
    close: Vec<u8>,
}

/// How far a connection has come. The server closes the socket, as RFC 6455 §7.1.1 wants it; so ports are free again here.
enum Step {
    Connecting,
    Upgrading(Vec<u8>),
    Closing(Replies, bool),
}

struct Visit {
    stream: TcpStream,
    step: Step,
}

impl Door {
    fn new(address: SocketAddr) -> Result<Door> {
        let mut close = Vec::new();
        append_message(&mut close, CLOSE, &1000u16.to_be_bytes(), 1, &mut Numbers::new());
        Ok(Door { address, poll: Poll::new()?, request: wire::upgrade(address.port()), close })
    }

    /// Runs handshakes, `concurrency` at a time, until `count` are complete or `time` has passed.
    fn go_through(&mut self, concurrency: usize, count: usize, time: Duration) -> Result<usize> {
        if time.is_zero() {
            return Ok(0);
        }
        let start = Instant::now();
        let mut events = Events::with_capacity(concurrency);
        let mut visits = Vec::new();
        let mut begun = 0;
        while begun < concurrency.min(count) {
            visits.push(Some(self.begin(begun)?));
            begun += 1;
        }
        let mut waiting = visits.len();
        while waiting > 0 {
            match self.poll.poll(&mut events, Some(PATIENCE)) {
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                polled => polled?,
            }
            if events.is_empty() {
                return Err(format!("the server was silent for {PATIENCE:?}").into());
            }
            for event in &events {
                let index = event.token().0;
                let Some(visit) = &mut visits[index] else { continue };
                if !self.go_on(visit).map_err(|error| format!("handshake {begun}: {error}"))? {
                    continue;
                }
                // Dropped before the next one registers: it may get the same file descriptor.
                visits[index] = None;
                if begun < count && start.elapsed() < time {
                    visits[index] = Some(self.begin(index)?);
                    begun += 1;
                } else {
                    waiting -= 1;
                }
            }
        }
        Ok(begun)
    }

    fn begin(&self, index: usize) -> Result<Visit> {
        let mut stream = TcpStream::connect(self.address)?;
        self.poll.registry().register(&mut stream, Token(index), Interest::READABLE | Interest::WRITABLE)?;
        Ok(Visit { stream, step: Step::Connecting })
    }

    /// True when the server has closed the connection.
    fn go_on(&self, visit: &mut Visit) -> Result<bool> {
        let Visit { stream, step } = visit;
        if let Step::Connecting = step {
            if let Err(error) = stream.peer_addr() {
                return if error.kind() == ErrorKind::NotConnected { Ok(false) } else { Err(error.into()) };
            }
            stream.set_nodelay(true)?;
            // A fresh socket has room for it, and later for the Close.
            write(stream, &self.request)?;
            *step = Step::Upgrading(Vec::new());
        }
        let mut buffer = [0; 1024];
        loop {
            let count = match stream.read(&mut buffer) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                read => read?,
            };
            match step {
                Step::Connecting => {}
                Step::Upgrading(head) => {
                    head.extend_from_slice(&buffer[..count]);
                    match wire::accepted(head)? {
                        Some(end) if end == head.len() => {}
                        None if count > 0 => continue,
                        _ => return Err(format!("after {} bytes of the answer, no upgrade", head.len()).into()),
                    }
                    write(stream, &self.close)?;
                    *step = Step::Closing(Replies::default(), false);
                }
                Step::Closing(replies, is_answered) => {
                    if count == 0 {
                        return if *is_answered { Ok(true) } else { Err("closed without a Close".into()) };
                    }
                    replies.receive(&buffer[..count], false, |reply| {
                        *is_answered |= reply.opcode == CLOSE;
                        Ok(())
                    })?;
                }
            }
        }
    }
}

fn write(stream: &mut TcpStream, bytes: &[u8]) -> Result<()> {
    match stream.write(bytes)? {
        count if count == bytes.len() => Ok(()),
        _ => Err("a fresh socket is full".into()),
    }
}
