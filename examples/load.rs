//! Clients for the example `dashboard`: they join rooms, write, read slowly, and leave in different ways.
//!
//! ```sh
//! cargo run --example dashboard &
//! cargo run --features client --example load -- --clients 200 --rate 4
//! ```
//!
//! The rate and the number of clients rise and fall slowly. Ctrl-C or SIGTERM ends the clients gracefully.

use std::f64::consts::TAU;
use std::io::Write;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use react_websocket::client::Connector;
use react_websocket::errors::BoxError;
use react_websocket::protocol::close_code;
use react_websocket::{Loop, Signal, WebSocketConnection};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream, lookup_host};
use tokio::sync::{Notify, oneshot};
use tokio::task::JoinSet;
use tokio::time::{Instant, interval, sleep, timeout};

const USAGE: &str = "usage: load [OPTION VALUE]…

  --server HOST:PORT  the example `dashboard` (127.0.0.1:8000)
  --clients NUMBER    maximum number of clients (120)
  --rooms NUMBER      number of rooms (10)
  --rate NUMBER       messages that a client sends per second, on average (2)
  --size BYTES        size of a message, on average (600)
  --stay SECONDS      time that a client stays, on average (20)
  --slow PERCENT      clients that stop reading now and then (10)
  --seconds SECONDS   end after this time (never)";

struct Settings {
    server: String,
    clients: usize,
    rooms: usize,
    rate: f64,
    size: usize,
    stay: f64,
    slow: f64,
    seconds: f64,
}

impl Settings {
    fn read(mut arguments: impl Iterator<Item = String>) -> Result<Settings, BoxError> {
        let server = "127.0.0.1:8000".to_owned();
        let mut settings =
            Settings { server, clients: 120, rooms: 10, rate: 2.0, size: 600, stay: 20.0, slow: 10.0, seconds: f64::MAX };
        while let Some(name) = arguments.next() {
            let value = arguments.next().ok_or(USAGE)?;
            match name.as_str() {
                "--server" => settings.server = value,
                "--clients" => settings.clients = value.parse()?,
                "--rooms" => settings.rooms = value.parse::<usize>()?.max(1),
                "--rate" => settings.rate = value.parse()?,
                "--size" => settings.size = value.parse()?,
                "--stay" => settings.stay = value.parse()?,
                "--slow" => settings.slow = value.parse()?,
                "--seconds" => settings.seconds = value.parse()?,
                _ => return Err(USAGE.into()),
            }
        }
        Ok(settings)
    }
}

/// What all clients share.
struct Load {
    settings: Settings,
    address: SocketAddr,
    connector: Connector,
    /// Sends an `Origin` that the server refuses.
    stranger: Connector,
    start: Instant,
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let settings = Settings::read(std::env::args().skip(1)).unwrap_or_else(|error| {
        eprintln!("{error}");
        std::process::exit(2);
    });
    let address = lookup_host(&settings.server).await?.next().ok_or("the server has no address")?;
    let (connector, start) = (Connector::new(), Instant::now());
    let stranger = Connector::new().origin("http://elsewhere.example")?;
    let load = Arc::new(Load { settings, address, connector, stranger, start });
    if let Err(error) = load.dial(false).await {
        eprintln!("no server at {address}: {error}; start it with `cargo run --example dashboard`");
        std::process::exit(1);
    }

    let end = Arc::new(Notify::new());
    for signal in [Signal::INT, Signal::TERM] {
        let end = end.clone();
        Loop::add_signal(signal, move || end.notify_one())?;
    }
    Loop::add_periodic_timer(5.0, {
        let load = load.clone();
        move || println!("{}", load.summary())
    });
    let running = keep_clients(&load);
    tokio::select! {
        () = running => {}
        () = end.notified() => {}
    }
    // Closes all connections with 1001, and waits for the closing handshakes. Slow clients have to read for this.
    load.connector.connections().iter().for_each(WebSocketConnection::resume);
    load.connector.close().await;
    println!("{}", load.summary());
    Ok(())
}

/// Starts clients whenever there are too few, until the time is over.
async fn keep_clients(load: &Arc<Load>) {
    let (mut clients, mut tick) = (JoinSet::new(), interval(Duration::from_millis(100)));
    while load.start.elapsed().as_secs_f64() < load.settings.seconds {
        tick.tick().await;
        while clients.try_join_next().is_some() {}
        let wanted = load.settings.clients as f64 * (0.75 + 0.25 * load.wave(90.0));
        let missing = (wanted as usize).saturating_sub(clients.len());
        // A few at a time, so that they do not all come at the same moment.
        for _ in 0..missing.min(load.settings.clients.div_ceil(50)) {
            let load = load.clone();
            clients.spawn(async move {
                if load.client().await.is_err() {
                    // The server is gone, or has refused the client.
                    sleep(seconds(random(1.0))).await;
                }
            });
        }
    }
}

impl Load {
    /// Between -1 and 1, rising and falling in this number of seconds.
    fn wave(&self, period: f64) -> f64 {
        (self.start.elapsed().as_secs_f64() * TAU / period - TAU / 4.0).sin()
    }

    fn summary(&self) -> String {
        let stats = self.connector.stats();
        format!(
            "{:4.0} s: {} open, {} messages sent, {} received, closed: {:?}, failed: {:?}",
            self.start.elapsed().as_secs_f64(),
            stats.open,
            stats.messages_out,
            stats.messages_in,
            stats.closed,
            stats.refused,
        )
    }

    /// The life of a client: it loads the page, opens a WebSocket, writes until its time is over, and leaves.
    async fn client(&self) -> Result<(), BoxError> {
        let (is_slow, is_stranger) = (chance(self.settings.slow), chance(2.0));
        self.get(if chance(3.0) { "missing page" } else { "/" }).await?;
        let stream = self.dial(is_slow).await?;
        // Both handles are of the same socket.
        let stream = stream.into_std()?;
        let raw = stream.try_clone()?;

        let room = fastrand::usize(..self.settings.rooms);
        let url = format!("ws://{}/work?room=room-{room}", self.settings.server);
        let connector = if is_stranger { &self.stranger } else { &self.connector };
        let (tell, mut closed) = oneshot::channel();
        let connecting = connector.connect_on(TcpStream::from_std(stream)?, url, |connection: WebSocketConnection| {
            connection.once("close", move || tell.send(()).is_ok());
        });
        let connection = connecting.await?;
        let stay = async {
            match is_slow {
                true => tokio::join!(self.write(connection), read_now_and_then(connection)).0,
                false => self.write(connection).await,
            }
        };
        tokio::select! {
            _ = timeout(seconds(exponential(self.settings.stay)), stay) => leave(connection, raw)?,
            _ = &mut closed => return Ok(()),
        }
        Ok(closed.await?)
    }

    /// Writes messages of random sizes at random moments.
    async fn write(&self, connection: WebSocketConnection) {
        loop {
            let rate = self.settings.rate * (1.0 + 0.6 * self.wave(40.0));
            sleep(seconds(exponential(1.0 / rate))).await;
            let size = exponential(self.settings.size as f64).min(60_000.0);
            // Waits while too many bytes are unsent.
            if connection.send("x".repeat(size as usize)).await.is_err() {
                return;
            }
        }
    }

    /// Loads a page. A path with a space makes the request malformed (RFC 9112 section 3).
    async fn get(&self, path: &str) -> Result<(), BoxError> {
        let mut stream = self.dial(false).await?;
        let request = format!("GET {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", self.settings.server);
        stream.write_all(request.as_bytes()).await?;
        stream.read_to_end(&mut Vec::new()).await?;
        Ok(())
    }

    /// Opens a socket. The kernel buffers little for a slow client, so that the unsent bytes stay with the server.
    async fn dial(&self, is_slow: bool) -> Result<TcpStream, BoxError> {
        let socket = if self.address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        if is_slow {
            socket.set_recv_buffer_size(4 * 1024)?;
            // As on a real network. The loopback interface has segments of 64 KiB, and large buffers for them.
            #[cfg(unix)]
            socket2::SockRef::from(&socket).set_tcp_mss(1_400)?;
        }
        Ok(socket.connect(self.address).await?)
    }
}

async fn read_now_and_then(connection: WebSocketConnection) {
    loop {
        sleep(seconds(random(6.0))).await;
        connection.pause();
        sleep(seconds(4.0 + random(16.0))).await;
        connection.resume();
    }
}

/// Leaves in one of five ways.
fn leave(connection: WebSocketConnection, mut raw: std::net::TcpStream) -> std::io::Result<()> {
    connection.resume();
    match fastrand::u8(..100) {
        0..50 => connection.close(),
        50..65 => connection.close_with(close_code::GOING_AWAY, "the user has left the page"),
        // The server closes.
        65..82 => drop(connection.write("bye")),
        // Without a Close frame.
        82..94 => connection.terminate(),
        // A frame with reserved bits (RFC 6455 section 5.2).
        94.. => raw.write_all(&[0xff; 14])?,
    }
    Ok(())
}

fn random(most: f64) -> f64 {
    most * fastrand::f64()
}

fn chance(percent: f64) -> bool {
    random(100.0) < percent
}

/// A random value with this mean, as of the time between events that do not depend on each other.
fn exponential(mean: f64) -> f64 {
    -mean * (1.0 - fastrand::f64()).ln()
}

fn seconds(number: f64) -> Duration {
    Duration::try_from_secs_f64(number).unwrap_or(Duration::MAX)
}
