//! Code that the servers on other crates share: accepting, and the loops over a socket that is a
//! `Stream` and a `Sink`.

mod message;

use crate::{Arguments, Trigger, block_on};
use futures_util::{Sink, SinkExt, Stream, StreamExt, TryStreamExt, future};
pub use message::Message;
use std::io;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::broadcast::{self, Sender};

/// What a server does, as its command line says: `PORT [--mode broadcast] [--style forward] [--workers N]`.
#[derive(Clone)]
pub struct Peer<M> {
    everybody: Option<Sender<M>>,
    forwards: bool,
}

impl<M: Message> Peer<M> {
    /// Runs `server`, which gets a listening socket.
    pub fn listen<F>(server: impl FnOnce(TcpListener, Peer<M>) -> F) -> io::Result<()>
    where
        F: Future<Output = io::Result<()>>,
    {
        let arguments = Arguments::of(&["mode", "style", "workers"]);
        let peer = Peer {
            // Far more messages than are broadcast in one go.
            everybody: arguments.is_broadcast().then(|| broadcast::channel(1024).0),
            forwards: arguments.word("style") == Some("forward"),
        };
        block_on(arguments.value("workers", 1), async { server(TcpListener::bind(arguments.address()).await?, peer).await })
    }

    /// Accepts connections and calls `serve` for each of them, as a task of its own.
    pub fn accept<F>(serve: impl Fn(TcpStream, Peer<M>) -> F) -> io::Result<()>
    where
        F: Future<Output: Send> + Send + 'static,
    {
        Peer::listen(async |listener, peer| {
            loop {
                let (stream, _) = listener.accept().await?;
                stream.set_nodelay(true)?;
                tokio::spawn(serve(stream, peer.clone()));
            }
        })
    }

    /// The channel to all connections, if this is a broadcasting server. For crates whose sockets
    /// are no `Stream` and `Sink`.
    pub fn everybody(&self) -> Option<&Sender<M>> {
        self.everybody.as_ref()
    }

    /// Serves one socket to its end.
    pub async fn serve<S, E>(self, mut socket: S)
    where
        S: Stream<Item = Result<M, E>> + Sink<M, Error = E> + Unpin,
    {
        // An error ends the connection, and no other code needs to know it.
        let _ = match &self.everybody {
            Some(everybody) => share(&mut socket, everybody).await,
            None if self.forwards => forward(socket).await,
            None => echo(&mut socket).await,
        };
    }
}

/// A message at a time, which leaves before the next is looked at.
async fn echo<S, M: Message, E>(socket: &mut S) -> Result<(), E>
where
    S: Stream<Item = Result<M, E>> + Sink<M, Error = E> + Unpin,
{
    while let Some(message) = socket.next().await {
        let message = message?;
        if message.is_data() {
            socket.send(message).await?;
        }
    }
    Ok(())
}

/// Messages leave when there are no more of them.
async fn forward<S, M: Message, E>(socket: S) -> Result<(), E>
where
    S: Stream<Item = Result<M, E>> + Sink<M, Error = E> + Unpin,
{
    let (write, read) = socket.split();
    read.try_filter(|message| future::ready(message.is_data())).forward(write).await
}

/// A broadcast channel of tokio's, to which every connection's task listens besides its socket.
async fn share<S, M: Message, E>(socket: &mut S, everybody: &Sender<M>) -> Result<(), E>
where
    S: Stream<Item = Result<M, E>> + Sink<M, Error = E> + Unpin,
{
    let mut others = everybody.subscribe();
    loop {
        tokio::select! {
            message = socket.next() => match message {
                Some(message) => answer(&message?, everybody),
                None => return Ok(()),
            },
            Ok(message) = others.recv() => socket.send(message).await?,
        }
    }
}

/// Sends the messages that `message` requests to all connections.
pub fn answer<M: Message>(message: &M, everybody: &Sender<M>) {
    let Some(trigger) = message.text().and_then(Trigger::read) else { return };
    let message = M::new(trigger.payload());
    for _ in 0..trigger.count {
        // Sending fails without a receiver, but this connection is one.
        let _ = everybody.send(message.clone());
    }
}
