//! Every connection sends some messages in one write, waits for all replies, and sends again.

use crate::Result;
use crate::event_loop::EventLoop;
use crate::options::Options;
use crate::process::Process;
use crate::report::Report;
use crate::wire::{BINARY, Numbers, TEXT, append_message, belongs_to_socket_io, speaks_socket_io};
use std::rc::Rc;
use std::time::{Duration, Instant};

pub fn run(options: &Options) -> Result<Report> {
    let connections = options.count("connections", 1)?;
    let depth = options.count("depth", 1)?.max(1);
    let payload = options.count("payload", 20)?;
    let kind = options.word("kind").unwrap_or_else(|| "text".to_owned());
    let fragments = options.count("fragments", 1)?;
    let warmup = options.seconds("warmup-seconds", 0.0)?;
    let messages = options.count("messages", usize::MAX)?;
    let seconds = options.seconds("seconds", 60.0)?;
    let process = Process::of(options)?;

    let mut echo = Echo::open(options, connections, depth, &kind, payload, fragments)?;
    echo.exchange(usize::MAX, warmup)?;
    let before = process.usage()?;
    let count = echo.exchange(messages, seconds)?;
    let report = process.report(&before, "messages", count)?;
    Ok(report
        .count("connections", connections)
        .count("depth", depth)
        .count("payload", payload)
        .count("fragments", fragments)
        .text("kind", &kind))
}

pub struct Echo {
    event_loop: EventLoop,
    burst: Rc<[u8]>,
    depth: usize,
    opcode: u8,
    payload: Vec<u8>,
    /// Replies that each connection waits for.
    awaited: Vec<usize>,
    ready: Vec<usize>,
    is_socket_io: bool,
}

impl Echo {
    /// Opens the connections, and lets each of them exchange one burst whose replies are compared byte for byte.
    pub fn open(
        options: &Options,
        connections: usize,
        depth: usize,
        kind: &str,
        length: usize,
        fragments: usize,
    ) -> Result<Echo> {
        let mut numbers = Numbers::new();
        let (opcode, payload) = payload(kind, length, &mut numbers)?;
        let mut burst = Vec::new();
        for _ in 0..depth {
            append_message(&mut burst, opcode, &payload, fragments, &mut numbers);
        }
        let mut echo = Echo {
            event_loop: EventLoop::open(options.address()?, 0)?,
            burst: burst.into(),
            depth,
            opcode,
            payload,
            awaited: Vec::new(),
            ready: Vec::new(),
            is_socket_io: speaks_socket_io(),
        };
        for _ in 0..connections {
            echo.add(options)?;
        }
        Ok(echo)
    }

    /// Opens one more connection, with its first burst.
    pub fn add(&mut self, options: &Options) -> Result<()> {
        let index = self.event_loop.clients.len();
        self.event_loop.add(options.address()?).map_err(|error| format!("connection {index}: {error}"))?;
        self.awaited.push(0);
        self.send(index)?;
        while self.awaited[index] > 0 {
            self.wait(true)?;
        }
        Ok(())
    }

    /// Exchanges messages until so many are answered or the time is over, and returns how many there were.
    fn exchange(&mut self, messages: usize, time: Duration) -> Result<usize> {
        let start = Instant::now();
        let mut sent = 0;
        let mut waiting = 0;
        if time.is_zero() {
            return Ok(0);
        }
        for index in 0..self.event_loop.clients.len() {
            if sent < messages {
                self.send(index)?;
                sent += self.depth;
                waiting += 1;
            }
        }
        while waiting > 0 {
            self.wait(false)?;
            let goes_on = start.elapsed() < time;
            for position in 0..self.ready.len() {
                let index = self.ready[position];
                if goes_on && sent < messages {
                    self.send(index)?;
                    sent += self.depth;
                } else {
                    waiting -= 1;
                }
            }
        }
        Ok(sent)
    }

    fn send(&mut self, index: usize) -> Result<()> {
        self.awaited[index] = self.depth;
        self.event_loop.clients[index].send(&self.burst)
    }

    /// Waits, and leaves in `ready` those connections that have all their replies.
    fn wait(&mut self, compare: bool) -> Result<()> {
        self.event_loop.wait(&mut self.ready)?;
        let Echo { event_loop, opcode, payload, awaited, ready, is_socket_io, .. } = self;
        let mut failed = None;
        ready.retain(|index| {
            let awaited = &mut awaited[*index];
            let was_waiting = *awaited > 0;
            let received = event_loop.clients[*index].receive(&mut event_loop.buffer, compare, |reply| {
                // Its own handshake, and its pings, whose answers have much time.
                if *is_socket_io && (reply.length == 1 || compare && belongs_to_socket_io(reply.payload)) {
                    return Ok(());
                }
                if reply.opcode != *opcode || reply.length != payload.len() || compare && reply.payload != *payload {
                    return Err(format!("not what was sent: opcode {}, {} bytes", reply.opcode, reply.length));
                }
                *awaited = awaited.checked_sub(1).ok_or("a reply too many")?;
                Ok(())
            });
            if let Err(error) = received {
                failed = Some(format!("connection {index}: {error}"));
            }
            was_waiting && *awaited == 0
        });
        failed.map_or(Ok(()), |error| Err(error.into()))
    }
}

/// An opcode, and a payload of `length` bytes.
fn payload(kind: &str, length: usize, numbers: &mut Numbers) -> Result<(u8, Vec<u8>)> {
    Ok(match kind {
        "text" if speaks_socket_io() => {
            let text: String = (0..length).map(|_| char::from(b'a' + (numbers.next() % 26) as u8)).collect();
            (TEXT, format!("42[\"message\",\"{text}\"]").into_bytes())
        }
        "text" => (TEXT, (0..length).map(|_| b'a' + (numbers.next() % 26) as u8).collect()),
        "binary" => (BINARY, (0..length).map(|_| numbers.next() as u8).collect()),
        "utf8" => {
            let mut text = String::new();
            for character in "日本語のテキスト、Ünïcödé и кириллица ".chars().cycle() {
                if text.len() + character.len_utf8() > length {
                    break;
                }
                text.push(character);
            }
            let missing = length - text.len();
            text.push_str(&"-".repeat(missing));
            (TEXT, text.into_bytes())
        }
        other => return Err(format!("--kind cannot be {other}").into()),
    })
}
