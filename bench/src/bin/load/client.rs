use crate::Result;
use crate::stream::Stream;
use crate::wire::{self, Numbers, PING, PONG, Replies, Reply};
use mio::{Interest, Registry, Token};
use std::io::{ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

/// A server under a profiler is slow, one that does not answer at all is broken.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// One open WebSocket. It sends frames that were made before the run and are shared by all clients.
pub struct Client {
    stream: Stream,
    replies: Replies,
    sending: Rc<[u8]>,
    sent: usize,
    /// Answers to pings, which go between two messages.
    pongs: Vec<u8>,
}

impl Client {
    /// Connects and upgrades, one after the other: opening is not what is measured here.
    pub fn open(address: SocketAddr) -> Result<Client> {
        let stream = std::net::TcpStream::connect_timeout(&address, PATIENCE)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let mut head = Vec::new();
        let (stream, end) = Stream::open(stream, &wire::upgrade(address.port()), |bytes| {
            head.extend_from_slice(bytes);
            Ok(wire::accepted(&head)?)
        })?;
        let mut client = Client { stream, replies: Replies::default(), sending: Rc::new([]), sent: 0, pongs: Vec::new() };
        // A server may begin to speak at once, with a ping for example.
        client.take(&head[end..], false, |_| Ok(()))?;
        Ok(client)
    }

    pub fn register(&mut self, registry: &Registry, index: usize) -> Result<()> {
        Ok(registry.register(self.stream.socket(), Token(index), Interest::READABLE | Interest::WRITABLE)?)
    }

    /// Begins to send `frames`; those before have been sent, since they have been answered.
    pub fn send(&mut self, frames: &Rc<[u8]>) -> Result<()> {
        self.sending = frames.clone();
        self.sent = 0;
        self.go_on_sending()
    }

    /// Sends what the socket has room for.
    pub fn go_on_sending(&mut self) -> Result<()> {
        self.stream.go_on()?;
        loop {
            let is_pong = self.sent == self.sending.len();
            let bytes = if is_pong { &self.pongs[..] } else { &self.sending[self.sent..] };
            if bytes.is_empty() {
                return Ok(());
            }
            match self.stream.write(bytes) {
                Ok(count) if is_pong => drop(self.pongs.drain(..count)),
                Ok(count) => self.sent += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(format!("sending: {error}").into()),
            }
        }
    }

    /// Reads all there is, and calls `each` for every message.
    pub fn receive(
        &mut self,
        buffer: &mut [u8],
        keep: bool,
        mut each: impl FnMut(Reply<'_>) -> std::result::Result<(), String>,
    ) -> Result<()> {
        loop {
            let count = match self.stream.read(buffer) {
                Ok(0) => return Err("the server closed the connection".into()),
                Ok(count) => count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(format!("receiving: {error}").into()),
            };
            self.take(&buffer[..count], keep, &mut each)?;
            // A short read is the last one: epoll tells when there is more.
            if count < buffer.len() && self.stream.is_plain() {
                return Ok(());
            }
        }
    }

    fn take(
        &mut self,
        bytes: &[u8],
        keep: bool,
        mut each: impl FnMut(Reply<'_>) -> std::result::Result<(), String>,
    ) -> Result<()> {
        let pongs = &mut self.pongs;
        self.replies.receive(bytes, keep, |reply| match reply.opcode {
            wire::TEXT | wire::BINARY => each(reply),
            PING => {
                wire::append_message(pongs, PONG, reply.payload, 1, &mut Numbers::new());
                Ok(())
            }
            PONG => Ok(()),
            opcode => Err(format!("the server sent a frame with opcode {opcode}: {:?}", reply.payload)),
        })?;
        if !self.pongs.is_empty() {
            self.go_on_sending()?;
        }
        Ok(())
    }
}
