use crate::Result;
use crate::client::{Client, PATIENCE};
use mio::{Events, Poll};
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

/// The open connections, and the waiting for them.
pub struct EventLoop {
    poll: Poll,
    events: Events,
    pub clients: Vec<Client>,
    /// What all of them read into.
    pub buffer: Vec<u8>,
}

impl EventLoop {
    pub fn open(address: SocketAddr, connections: usize) -> Result<EventLoop> {
        let mut event_loop = EventLoop {
            poll: Poll::new()?,
            events: Events::with_capacity(1024),
            clients: Vec::with_capacity(connections),
            buffer: vec![0; 256 * 1024],
        };
        for index in 0..connections {
            event_loop.add(address).map_err(|error| format!("connection {index}: {error}"))?;
        }
        Ok(event_loop)
    }

    pub fn add(&mut self, address: SocketAddr) -> Result<()> {
        let mut client = Client::open(address)?;
        client.register(self.poll.registry(), self.clients.len())?;
        self.clients.push(client);
        Ok(())
    }

    /// Waits for something to happen and fills `ready` with the connections that can be read; those that can be written to
    /// go on sending what they have begun. Silence is an error.
    pub fn wait(&mut self, ready: &mut Vec<usize>) -> Result<()> {
        if self.poll(PATIENCE, ready)? { Ok(()) } else { Err(format!("the server was silent for {PATIENCE:?}").into()) }
    }

    /// Like `wait`, but returns at once, and an empty result is no error.
    pub fn look(&mut self, ready: &mut Vec<usize>) -> Result<()> {
        self.poll(Duration::ZERO, ready).map(drop)
    }

    /// Can be read when something has happened: for who waits for several of these at once.
    pub fn descriptor(&self) -> BorrowedFd<'_> {
        self.poll.registry().as_fd()
    }

    /// False if nothing has happened for so long.
    fn poll(&mut self, time: Duration, ready: &mut Vec<usize>) -> Result<bool> {
        ready.clear();
        match self.poll.poll(&mut self.events, Some(time)) {
            Err(error) if error.kind() == ErrorKind::Interrupted => return Ok(true),
            polled => polled?,
        }
        for event in &self.events {
            let index = event.token().0;
            if event.is_writable() {
                self.clients[index].go_on_sending()?;
            }
            if event.is_readable() {
                ready.push(index);
            }
        }
        Ok(!self.events.is_empty())
    }
}
