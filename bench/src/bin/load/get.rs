//! Every connection sends some GET requests in one write, waits for all responses, and sends again.

use crate::Result;
use crate::client::PATIENCE;
use crate::options::Options;
use crate::process::Process;
use crate::report::Report;
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use std::io::{ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// The headers of a load tester, ApacheBench.
const TESTER: &str = "User-Agent: load/1.0\r\nAccept: */*\r\n";

/// The headers of Chrome when a page is reloaded.
const BROWSER: &str = "Connection: keep-alive\r\n\
    Cache-Control: max-age=0\r\n\
    sec-ch-ua: \"Chromium\";v=\"130\", \"Google Chrome\";v=\"130\", \"Not?A_Brand\";v=\"99\"\r\n\
    sec-ch-ua-mobile: ?0\r\n\
    sec-ch-ua-platform: \"Linux\"\r\n\
    Upgrade-Insecure-Requests: 1\r\n\
    User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/130.0.0.0 Safari/537.36\r\n\
    Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,image/apng,*/*;q=0.8\r\n\
    Sec-Fetch-Site: none\r\n\
    Sec-Fetch-Mode: navigate\r\n\
    Sec-Fetch-User: ?1\r\n\
    Sec-Fetch-Dest: document\r\n\
    Accept-Encoding: gzip, deflate, br, zstd\r\n\
    Accept-Language: en-US,en;q=0.9\r\n";

pub fn run(options: &Options) -> Result<Report> {
    let address = options.address()?;
    let connections = options.count("connections", 1)?.max(1);
    let depth = options.count("depth", 1)?.max(1);
    let kind = options.word("headers").unwrap_or_else(|| "tester".to_owned());
    let warmup = options.seconds("warmup-seconds", 0.0)?;
    let requests = options.count("messages", usize::MAX)?;
    let seconds = options.seconds("seconds", 60.0)?;
    let process = Process::of(options)?;
    let headers = match kind.as_str() {
        "tester" => TESTER,
        "browser" => BROWSER,
        other => return Err(format!("--headers cannot be {other}").into()),
    };
    let request = format!("GET /hello HTTP/1.1\r\nHost: 127.0.0.1:{}\r\n{headers}\r\n", address.port());

    let mut clients = Clients::open(address, connections, request.repeat(depth).into_bytes(), depth)?;
    clients.exchange(usize::MAX, warmup)?;
    let before = process.usage()?;
    let count = clients.exchange(requests, seconds)?;
    let report = process.report(&before, "messages", count)?;
    Ok(report.count("connections", connections).count("depth", depth).text("headers", &kind))
}

struct Clients {
    poll: Poll,
    streams: Vec<TcpStream>,
    received: Vec<Vec<u8>>,
    requests: Vec<u8>,
    depth: usize,
    /// The length of a response, which is the same for all responses.
    response: usize,
}

impl Clients {
    /// Opens the connections, each with its first exchange, one after the other.
    fn open(address: SocketAddr, connections: usize, requests: Vec<u8>, depth: usize) -> Result<Clients> {
        let (poll, streams, received) = (Poll::new()?, Vec::new(), Vec::new());
        let mut clients = Clients { poll, streams, received, requests, depth, response: 0 };
        for index in 0..connections {
            let mut stream = std::net::TcpStream::connect_timeout(&address, PATIENCE)?;
            stream.set_nodelay(true)?;
            stream.set_read_timeout(Some(PATIENCE))?;
            stream.write_all(&clients.requests)?;
            let mut received = Vec::new();
            while clients.response == 0 || received.len() < clients.response * depth {
                let mut bytes = [0; 4096];
                match stream.read(&mut bytes)? {
                    0 => return Err("the server closed the connection".into()),
                    count => received.extend_from_slice(&bytes[..count]),
                }
                if clients.response == 0 {
                    clients.response = length(&received)?.unwrap_or(0);
                }
            }
            clients.check(&received)?;
            stream.set_nonblocking(true)?;
            let mut stream = TcpStream::from_std(stream);
            clients.poll.registry().register(&mut stream, Token(index), Interest::READABLE)?;
            clients.streams.push(stream);
            clients.received.push(Vec::new());
        }
        Ok(clients)
    }

    /// Exchanges requests until this many are answered or the time is over. Returns the number of answered requests.
    fn exchange(&mut self, requests: usize, time: Duration) -> Result<usize> {
        if time.is_zero() {
            return Ok(0);
        }
        let (start, mut sent, mut waiting) = (Instant::now(), 0, 0);
        let mut events = Events::with_capacity(1024);
        for index in 0..self.streams.len() {
            if sent < requests {
                self.send(index)?;
                sent += self.depth;
                waiting += 1;
            }
        }
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
                if !self.receive(index).map_err(|error| format!("connection {index}: {error}"))? {
                    continue;
                }
                if sent < requests && start.elapsed() < time {
                    self.send(index)?;
                    sent += self.depth;
                } else {
                    waiting -= 1;
                }
            }
        }
        Ok(sent)
    }

    /// Sends requests. All earlier requests have been answered, so the socket has room.
    fn send(&mut self, index: usize) -> Result<()> {
        match self.streams[index].write(&self.requests)? {
            count if count == self.requests.len() => Ok(()),
            _ => Err("an empty socket is full".into()),
        }
    }

    /// Reads until the socket is empty. Returns whether all requests are answered.
    fn receive(&mut self, index: usize) -> Result<bool> {
        let mut bytes = [0; 16 * 1024];
        loop {
            match self.streams[index].read(&mut bytes) {
                Ok(0) => return Err("the server closed the connection".into()),
                Ok(count) => self.received[index].extend_from_slice(&bytes[..count]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error.into()),
            }
        }
        if self.received[index].len() < self.response * self.depth {
            return Ok(false);
        }
        self.check(&self.received[index])?;
        self.received[index].clear();
        Ok(true)
    }

    fn check(&self, received: &[u8]) -> Result<()> {
        let mut responses = received.chunks(self.response);
        if received.len() == self.response * self.depth && responses.all(|response| response.starts_with(b"HTTP/1.1 200 "))
        {
            return Ok(());
        }
        Err(format!("not as many responses as requests: {}", String::from_utf8_lossy(received)).into())
    }
}

/// Returns the length of the response at the start of `bytes`, if its head is complete.
fn length(bytes: &[u8]) -> Result<Option<usize>> {
    let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else { return Ok(None) };
    let head = String::from_utf8_lossy(&bytes[..end]);
    let mut headers = head.lines().filter_map(|line| line.split_once(':'));
    let length = headers.find(|(name, _)| name.eq_ignore_ascii_case("Content-Length")).ok_or("a response has no length")?;
    Ok(Some(end + 4 + length.1.trim().parse::<usize>()?))
}
