//! A client for the terminal: it sends each line that you type as a message, and prints each message as a line.
//!
//! ```sh
//! cargo run --example echo &
//! cargo run --features client --example client ws://127.0.0.1:8000/
//! ```
//!
//! Over TLS, with the example `echo_tls`, whose certificate is self-signed. The second argument names the file
//! with this certificate, which the client has to trust:
//!
//! ```sh
//! cargo run --features tls --example echo_tls &
//! cargo run --features client,tls --example client wss://localhost:8443/ /tmp/echo_tls.pem
//! ```
//!
//! `/ping` sends a ping, `/close CODE REASON` closes the connection, and so does the end of the input. With the
//! word `hello` behind the URL it is the first example of ReactPHP's Pawl instead.

use react_websocket::client::{ConnectError, Connector, connect};
use react_websocket::errors::BoxError;
use react_websocket::{Message, WebSocketConnection};
use tokio::io::{AsyncBufReadExt, BufReader, stdin};
use tokio::sync::mpsc;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), BoxError> {
    let mut arguments = std::env::args().skip(1);
    let url = arguments.next().unwrap_or_else(|| "ws://127.0.0.1:8000/".to_owned());
    match arguments.next().as_deref() {
        Some("hello") => hello(&url).await,
        roots => talk(connector(roots)?, &url).await?,
    }
    Ok(())
}

/// Trusts the authorities of the system, and the certificates in this file.
#[cfg(any(feature = "tls", feature = "tls-ring"))]
fn connector(roots: Option<&str>) -> Result<Connector, BoxError> {
    use react_websocket::tls::ClientTls;

    let tls = ClientTls::new();
    Ok(Connector::new().tls(match roots {
        Some(file) => tls.root_file(file)?,
        None => tls,
    }))
}

#[cfg(not(any(feature = "tls", feature = "tls-ring")))]
fn connector(roots: Option<&str>) -> Result<Connector, BoxError> {
    match roots {
        Some(_) => Err("build it with `--features client,tls`".into()),
        None => Ok(Connector::new()),
    }
}

/// The terminal.
async fn talk(connector: Connector, url: &str) -> Result<(), ConnectError> {
    let (tell, mut closed) = mpsc::unbounded_channel();
    let connecting = connector.connect(url, move |connection: WebSocketConnection| {
        connection.on("text", |text: &str| println!("{text}"));
        connection.on("binary", |bytes: &[u8]| println!("{} bytes", bytes.len()));
        connection.on("pong", || println!("pong"));
        connection.on("error", |reason: Option<&str>, _: Option<u16>| eprintln!("{}", reason.unwrap_or("an error")));
        connection.on("close", move |code: u16, reason: &str| tell.send(format!("closed: {code} {reason}")).is_ok());
    });
    let connection = match connecting.await {
        // The body of a refusal may have the reason.
        Err(ConnectError::Refused { response }) => {
            eprintln!("{}\n{}", response.status(), String::from_utf8_lossy(response.body()));
            return Ok(());
        }
        connected => connected?,
    };
    let mut lines = BufReader::new(stdin()).lines();
    loop {
        tokio::select! {
            line = lines.next_line() => match line.ok().flatten() {
                Some(line) => obey(connection, &line).await,
                None => break,
            },
            Some(end) = closed.recv() => {
                println!("{end}");
                return Ok(());
            }
        }
    }
    connection.end();
    println!("{}", closed.recv().await.unwrap_or_default());
    Ok(())
}

async fn obey(connection: WebSocketConnection, line: &str) {
    match line.split_once(' ').unwrap_or((line, "")) {
        ("/ping", payload) => _ = connection.ping(payload),
        ("/close", rest) => {
            let (code, reason) = rest.split_once(' ').unwrap_or((rest, ""));
            connection.close_with(code.parse().unwrap_or(1000), reason);
        }
        // `send` waits while the server reads slowly. If the connection is closed, the `close` listener prints that.
        _ => _ = connection.send(line).await,
    }
}

/// The first example of Pawl:
///
/// ```php
/// \Ratchet\Client\connect('ws://127.0.0.1:8000/')->then(function ($conn) {
///     $conn->on('message', function ($msg) use ($conn) {
///         echo "Received: {$msg}\n";
///         $conn->close();
///     });
///     $conn->send('Hello World!');
/// }, function ($e) {
///     echo "Could not connect: {$e->getMessage()}\n";
/// });
/// ```
///
/// In PHP the loop runs until nothing is left to do. Here `main` waits for `close`.
async fn hello(url: &str) {
    let (tell, mut closed) = mpsc::unbounded_channel();
    let connected = connect(url, move |connection: WebSocketConnection| {
        connection.on("message", move |message: Message| {
            println!("Received: {}", String::from_utf8_lossy(message.as_bytes()));
            connection.close();
        });
        connection.on("close", move || tell.send(()).is_ok());
        connection.write("Hello World!");
    });
    match connected.await {
        Ok(_) => _ = closed.recv().await,
        Err(error) => println!("Could not connect: {error}"),
    }
}
