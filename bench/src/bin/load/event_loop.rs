use crate::Result;
use crate::client::{Client, PATIENCE};
use mio::{Events, Poll};
use std::io::ErrorKind;
use std::net::SocketAddr;

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
        ready.clear();
        match self.poll.poll(&mut self.events, Some(PATIENCE)) {
            Err(error) if error.kind() == ErrorKind::Interrupted => return Ok(()),
            polled => polled?,
        }
        if self.events.is_empty() {
            return Err(format!("the server was silent for {PATIENCE:?}").into());
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
        Ok(())
    }
}
