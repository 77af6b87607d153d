//! The same transcript with each of the four servers. Node's is left out, unless `MIGRATION_CHAT` names its `chat.mjs`, with `ws`
//! beside it: `examples/migration/run` does that. `docs/migration.md` has what these tests measure.
#![cfg(target_os = "linux")]

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::{Error, Message, WebSocket, client};

const NAMES: [&str; 4] = ["ours", "axum", "tungstenite", "node"];
/// For what has to happen soon.
const TIMEOUT: Duration = Duration::from_secs(20);

/// A process that is killed at the end.
struct Server {
    process: Child,
    address: String,
}

impl Server {
    fn start(name: &str) -> Option<Server> {
        let mut command = match name {
            "ours" => Command::new(env!("CARGO_BIN_EXE_ours")),
            "axum" => Command::new(env!("CARGO_BIN_EXE_with_axum")),
            "tungstenite" => Command::new(env!("CARGO_BIN_EXE_with_tungstenite")),
            _ => {
                let Some(file) = std::env::var_os("MIGRATION_CHAT") else {
                    eprintln!("Node's server is left out: MIGRATION_CHAT does not name it");
                    return None;
                };
                let mut node = Command::new("node");
                node.arg(file);
                node
            }
        };
        let mut process = command.arg("127.0.0.1:0").stdout(Stdio::piped()).spawn().expect("a server");
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let address = line.trim().trim_start_matches("listening on [").trim_end_matches(']').to_owned();
        Some(Server { process, address })
    }

    fn stream(&self) -> TcpStream {
        let stream = TcpStream::connect(&self.address).expect("a connection");
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(TIMEOUT)).unwrap();
        stream
    }

    fn join(&self, query: &str) -> WebSocket<TcpStream> {
        client(format!("ws://{}/ws{query}", self.address), self.stream()).expect("a handshake").0
    }

    /// The resident memory in KiB.
    fn memory(&self) -> usize {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }

    /// Sends a signal, and returns how long the process takes to end, and whether it was content.
    fn end(&mut self, signal: &str) -> (Duration, bool) {
        let sent = Instant::now();
        Command::new("kill").args([signal, &self.process.id().to_string()]).status().unwrap();
        let status = self.process.wait().unwrap();
        (sent.elapsed(), status.success())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The next message that is no ping.
fn next(socket: &mut WebSocket<TcpStream>) -> Message {
    loop {
        match socket.read().expect("a message") {
            Message::Ping(_) => {}
            message => return message,
        }
    }
}

fn text(socket: &mut WebSocket<TcpStream>) -> String {
    next(socket).into_text().expect("a text").to_string()
}

fn close_code(socket: &mut WebSocket<TcpStream>) -> u16 {
    match next(socket) {
        Message::Close(Some(CloseFrame { code, .. })) => code.into(),
        other => panic!("{other:?} instead of a Close frame"),
    }
}

/// What ends a connection: a Close frame or an error. Messages before it are skipped.
fn end_of(socket: &mut WebSocket<TcpStream>) -> String {
    loop {
        match socket.read() {
            Ok(Message::Close(frame)) => return format!("{frame:?}"),
            Ok(_) => {}
            Err(error) => return error.to_string(),
        }
    }
}

/// Waits until both get the messages of the other. With axum and tungstenite a client has its 101 before it is in its room.
fn meet(one: &mut WebSocket<TcpStream>, other: &mut WebSocket<TcpStream>) {
    for attempt in 0.. {
        let word = format!("attempt {attempt}");
        other.send(word.as_str().into()).unwrap();
        one.get_mut().set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        let received = one.read();
        one.get_mut().set_read_timeout(Some(TIMEOUT)).unwrap();
        match received {
            Ok(message) => {
                let mut message = message;
                while message != Message::from(word.as_str()) {
                    message = next(one);
                }
                break;
            }
            Err(Error::Io(_)) if attempt < 100 => {}
            Err(error) => panic!("{error}"),
        }
    }
    one.send("here".into()).unwrap();
    assert_eq!(text(other), "here");
}

/// A message gets to the others of its room, in order, and a member that has left gets no more.
fn rooms(server: &Server) {
    let (mut ann, mut bob) = (server.join("?room=caf%C3%A9+1"), server.join("?a=b&room=caf%C3%A9%201"));
    let (mut eve, mut joe) = (server.join(""), server.join("?room=lobby"));
    // An echo of one's own, or a message of the other room, would show up before the answers.
    meet(&mut ann, &mut bob);
    meet(&mut eve, &mut joe);
    ann.send(Message::Binary(vec![1].into())).unwrap();
    for number in 0..1000 {
        ann.write(number.to_string().into()).unwrap();
    }
    ann.flush().unwrap();
    for number in 0..1000 {
        assert_eq!(text(&mut bob), number.to_string());
    }
    bob.close(Some(CloseFrame { code: 4001.into(), reason: "bye".into() })).unwrap();
    println!("  the answer to Close 4001 \"bye\": {}", end_of(&mut bob));
    let mut bob = server.join("?room=caf%C3%A9+1");
    meet(&mut ann, &mut bob);
}

/// The first line of the response to the handshake of a web page of another host.
fn foreign_page(server: &Server) -> String {
    let mut page = server.stream();
    let head = "GET /ws HTTP/1.1\r\nHost: example.com\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nOrigin: https://evil.example\r\n\r\n";
    page.write_all(head.as_bytes()).unwrap();
    let mut line = String::new();
    BufReader::new(page).read_line(&mut line).unwrap();
    line.trim().to_owned()
}

/// Requests and frames that do not belong here end no connection of others.
fn strangers(server: &Server) {
    let mut ann = server.join("?room=strangers");
    assert!(client(format!("ws://{}/other", server.address), server.stream()).is_err());
    let mut plain = server.stream();
    plain.write_all(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").unwrap();
    let mut page = Vec::new();
    let _ = plain.read_to_end(&mut page);
    println!("  GET /: {:?}", String::from_utf8_lossy(&page).lines().next());
    let mut rude = server.join("?room=strangers");
    // Unmasked (RFC 6455 section 5.1).
    rude.get_mut().write_all(b"\x81\x01a").unwrap();
    println!("  an unmasked frame: {}", end_of(&mut rude));
    let mut large = server.join("?room=strangers");
    let _ = large.send("x".repeat(64 * 1024 + 1).into());
    println!("  a message of 64 KiB and a byte: {}", end_of(&mut large));
    println!("  a web page of another host: {}", foreign_page(server));
    let mut bob = server.join("?room=strangers");
    meet(&mut ann, &mut bob);
}

/// A member that does not read costs the others no time, and the server a bounded amount of memory.
fn slow_reader(server: &Server) {
    let mut slow = server.join("?room=slow");
    let (mut ann, mut bob) = (server.join("?room=slow"), server.join("?room=slow"));
    meet(&mut ann, &mut bob);
    const MESSAGE: usize = 48 * 1024;
    const ALL: usize = 2048 * MESSAGE;
    let message = "x".repeat(MESSAGE);
    let before = server.memory();
    let (mut most, mut longest) = (before, Duration::ZERO);
    for _ in 0..ALL / MESSAGE {
        let sent = Instant::now();
        ann.send(message.as_str().into()).unwrap();
        assert_eq!(text(&mut bob).len(), message.len());
        longest = longest.max(sent.elapsed());
        most = most.max(server.memory());
    }
    assert!(most - before < 48 * 1024, "{} KiB", most - before);
    assert!(longest < Duration::from_secs(2), "{longest:?}");
    let mut received = 0;
    let end = loop {
        match slow.read() {
            Ok(Message::Text(text)) => {
                received += text.len();
                assert!(received < ALL, "a member that did not read got everything");
            }
            Ok(Message::Close(frame)) => break format!("{frame:?}"),
            Ok(_) => {}
            Err(error) => break error.to_string(),
        }
    };
    println!(
        "  96 MiB past a member that does not read: {} KiB more memory, the others waited {longest:?} at most, \
         it got {received} bytes, and then {end}",
        most - before
    );
}

/// A Close frame with 1001 for each client, and an end of the process although one client does not answer.
fn shutdown(name: &str) {
    for signal in ["-TERM", "-INT"] {
        let Some(mut server) = Server::start(name) else { return };
        let mut clients = [server.join(""), server.join("?room=other")];
        let reading = std::thread::spawn(move || {
            clients.each_mut().map(|client| {
                let code = close_code(client);
                // This sends the answer.
                while client.read().is_ok() {}
                code
            })
        });
        let (time, is_content) = server.end(signal);
        assert_eq!(reading.join().unwrap(), [1001, 1001]);
        println!("  {signal}: all clients have 1001, and the process ended after {time:?}");
        assert!(time < Duration::from_secs(3), "{time:?}");
        assert!(is_content);
    }
    for case in ["a client that does not answer", "a connection without a request"] {
        let mut server = Server::start(name).expect("a server");
        let _silent = if case.contains("answer") { server.join("").into_inner() } else { server.stream() };
        let (time, is_content) = server.end("-TERM");
        println!("  TERM with {case}: ended after {time:?}, content: {is_content}");
        assert!(time < Duration::from_secs(15), "{time:?}");
    }
}

fn transcript(name: &str) {
    println!("{name}:");
    let Some(server) = Server::start(name) else { return };
    rooms(&server);
    strangers(&server);
    slow_reader(&server);
    shutdown(name);
}

#[test]
fn with_this_crate() {
    transcript("ours");
}

#[test]
fn with_axum() {
    transcript("axum");
}

#[test]
fn with_tungstenite() {
    transcript("tungstenite");
}

#[test]
fn with_node() {
    transcript("node");
}

/// How long the server keeps a stream that sends nothing more, and what it has sent.
fn time_of(since: Instant, mut stream: TcpStream, most: Duration) -> String {
    let mut bytes = Vec::new();
    loop {
        match stream.read_to_end(&mut bytes) {
            Err(error) if error.kind() == ErrorKind::WouldBlock && since.elapsed() < most => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => return format!("open after {most:?}"),
            end => {
                let end = end.map_or_else(|error| error.to_string(), |_| "FIN".to_owned());
                return format!("{end} after {:?}, and {:?}", since.elapsed(), String::from_utf8_lossy(&bytes));
            }
        }
    }
}

/// A client whose system acknowledges everything, but that sends no pong, is gone after the interval and the timeout.
#[test]
#[ignore = "takes a minute"]
fn a_client_without_pongs_is_dropped() {
    for (name, case) in NAMES.map(|name| {
        let case = move || {
            let server = Server::start(name)?;
            let since = Instant::now();
            let socket = server.join("").into_inner();
            Some((time_of(since, socket, Duration::from_secs(70)), since.elapsed()))
        };
        (name, std::thread::spawn(case))
    }) {
        let Some((end, time)) = case.join().unwrap() else { continue };
        println!("{name}, a client without pongs: {end}");
        assert!(time < Duration::from_secs(70));
    }
}

/// What the servers do with half of a request's head is measured, and not asserted.
#[test]
#[ignore = "takes two minutes"]
fn half_of_a_head() {
    for (name, case) in NAMES.map(|name| {
        let case = move || {
            let server = Server::start(name)?;
            let since = Instant::now();
            let mut stream = server.stream();
            stream.write_all(b"GET /ws HTTP/1.1\r\nHost: a\r\n").unwrap();
            Some(time_of(since, stream, Duration::from_secs(120)))
        };
        (name, std::thread::spawn(case))
    }) {
        let Some(end) = case.join().unwrap() else { continue };
        println!("{name}, half of a head: {end}");
    }
}
