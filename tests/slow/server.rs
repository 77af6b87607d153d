//! The server of `tests/slow/run`. It has the default options, does what its clients ask for, and
//! prints each event.
//!
//! usage: slow ADDRESS [max_body_size=BYTES] [shutdown_grace=SECONDS]
//!
//! A line of the output is the name of a connection and an event. The last segment of its path names
//! a WebSocket. On `/NAME` the server runs the scripts that the client sends as text messages; on
//! `/echo/NAME`, `/relay/NAME` and `/hear/NAME` a listener takes 150 ms for each message. The line
//! `shutdown` on stdin begins a graceful shutdown, and the end of stdin ends the process.
#![forbid(unsafe_code)]

use std::fmt::Display;
use std::io::{Write, stdout};
use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::Duration;

use react_websocket::body::BodyWriter;
use react_websocket::errors::ConnectionError;
use react_websocket::{
    BodyStream, Bytes, Error, GroupManager, HttpOptions, HttpServer, Response, ServerRequest, SocketServer, Text,
    WebSocketConnection, WebSocketMiddleware,
};
use tokio::io::{AsyncBufReadExt, BufReader, stdin};
use tokio::sync::Notify;
use tokio::time::sleep;

/// What a listener takes for a message on `/echo`, `/relay` and `/hear`.
const PAUSE: Duration = Duration::from_millis(150);

/// Bytes that a streamed body is written in.
const PIECE: usize = 50_000;

const ROOM: &str = "room";

/// Prints a line for the runner. Without a runner the process ends.
fn say(line: impl Display) {
    if writeln!(stdout(), "{line}").is_err() {
        std::process::exit(1);
    }
}

#[tokio::main(worker_threads = 2)]
async fn main() -> Result<(), Error> {
    let mut arguments = std::env::args().skip(1);
    let address = arguments.next().expect("an address");
    let socket = SocketServer::new(&address)?;
    let options = arguments.fold(HttpOptions::new(), set);
    let groups = GroupManager::new();
    let websocket = WebSocketMiddleware::new().with_group_manager(groups.clone());
    websocket.on("connection", move |connection: WebSocketConnection| accept(connection, &groups));
    let http = HttpServer::new((websocket, router)).with_options(options);
    http.on("error", |error| say(format_args!("http error {error:?}")));
    match socket.local_address() {
        Some(address) => say(format_args!("listening {}", address.port())),
        None => say(format_args!("listening {}", address.trim_start_matches("unix://"))),
    }
    let listening = http.listen(socket);
    let mut lines = BufReader::new(stdin()).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        assert_eq!(line, "shutdown");
        let closing = listening.close();
        tokio::spawn(async move {
            closing.await;
            say("server over");
        });
    }
    Ok(())
}

fn set(options: HttpOptions, argument: String) -> HttpOptions {
    let (name, value) = argument.split_once('=').expect("NAME=VALUE");
    let value = value.parse().expect("a number");
    match name {
        "max_body_size" => options.max_body_size(value),
        "shutdown_grace" => options.shutdown_grace(Duration::from_secs(value as u64)),
        _ => panic!("no option {name}"),
    }
}

/// ASCII that repeats after 89 bytes, which divides no buffer size. Each message begins at another
/// byte.
fn payload(number: usize, size: usize) -> Vec<u8> {
    let cycle: Vec<u8> = (b'!'..b'!' + 89).collect();
    let mut bytes = cycle.repeat(size / 89 + 2);
    bytes.drain(..number % 89);
    bytes.truncate(size);
    bytes
}

fn accept(connection: WebSocketConnection, groups: &GroupManager) {
    let path = connection.request().expect("the handshake").path().to_owned();
    let (behaviour, name) = path.rsplit_once('/').expect("a path");
    let name: Arc<str> = name.into();
    let failed = name.clone();
    connection.on("error", move |error: &ConnectionError| say(format_args!("{failed} error {} {error}", error.cause())));
    let closed = name.clone();
    connection.on("close", move |code: u16, reason: &str| say(format_args!("{closed} close {code} {reason}")));
    if behaviour.is_empty() {
        let groups = groups.clone();
        connection.on("text", move |text: &str| {
            let (groups, name, text) = (groups.clone(), name.clone(), text.to_owned());
            let mut script = Box::pin(async move { run(connection, &groups, &name, &text).await });
            // Commands that need not wait run within the listener.
            if script.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending() {
                tokio::spawn(script);
            }
        });
        return;
    }
    connection.set_group(Some(ROOM)).expect("room in the group");
    let behaviour = behaviour.to_owned();
    connection.on("text", move |text: Text| {
        let (behaviour, name) = (behaviour.clone(), name.clone());
        async move {
            sleep(PAUSE).await;
            say(format_args!("{name} text {text}"));
            match behaviour.as_str() {
                "/echo" => drop(connection.write(text)),
                "/relay" => connection.group().expect("the group").write_all(text),
                _ => {}
            }
        }
    });
}

/// Runs commands that are separated by semicolons.
async fn run(connection: WebSocketConnection, groups: &GroupManager, name: &str, script: &str) {
    for command in script.split("; ") {
        let (word, rest) = command.split_once(' ').unwrap_or((command, ""));
        let numbers: Vec<usize> = rest.split(' ').filter_map(|number| number.parse().ok()).collect();
        match (word, &numbers[..]) {
            ("write", &[count, size]) => {
                for n in 0..count {
                    connection.write_binary(payload(n, size));
                }
            }
            ("send", &[count, size]) => {
                for n in 0..count {
                    if connection.send_binary(payload(n, size)).await.is_err() {
                        return say(format_args!("{name} closed in send {n}"));
                    }
                }
            }
            ("drain", &[count, size]) => {
                let drained = Arc::new(Notify::new());
                let drain = drained.clone();
                connection.on("drain", move || drain.notify_one());
                for n in 0..count {
                    if !connection.write_binary(payload(n, size)) && n + 1 < count {
                        drained.notified().await;
                    }
                }
            }
            ("broadcast", &[count, size]) => {
                let room = groups.get(ROOM).expect("a member");
                (0..count).for_each(|n| room.write_binary(payload(n, size)));
            }
            ("join", _) => connection.set_group(Some(ROOM)).expect("room in the group"),
            ("text", _) => drop(connection.write(rest)),
            ("sleep", &[seconds]) => sleep(Duration::from_secs(seconds as u64)).await,
            ("print", _) => say(format_args!("{name} {rest}")),
            ("end", _) => connection.end(),
            ("end_with", _) => connection.end_with(rest),
            ("close", _) => connection.close(),
            ("close_with", &[code]) => {
                connection.close_with(code as u16, rest.split_once(' ').map_or("", |(_, reason)| reason));
            }
            _ => panic!("no command {command}"),
        }
    }
}

/// `GET /bytes/SIZE` answers with a whole body, `/send/SIZE` and `/drain/SIZE` stream it. `POST /upload`
/// answers how many bytes were received.
fn router(request: ServerRequest) -> Response {
    let path: Vec<&str> = request.path().split('/').skip(1).collect();
    match path[..] {
        ["upload"] => {
            let body = request.body();
            let is_intact = body[..] == payload(0, body.len());
            Response::plaintext(format!("{} {}", body.len(), if is_intact { "intact" } else { "damaged" }))
        }
        [way, size] => {
            let body = Bytes::from(payload(0, size.parse().expect("a size")));
            if way == "bytes" {
                return Response::new(200).with_body(body);
            }
            let stream = BodyStream::new();
            stream.on("close", || say("http stream closed"));
            tokio::spawn(stream_body(stream.writer(), body, way == "drain"));
            Response::new(200).with_body(stream)
        }
        _ => Response::new(404),
    }
}

async fn stream_body(stream: BodyWriter, body: Bytes, heeds_drain: bool) {
    let drained = Arc::new(Notify::new());
    let drain = drained.clone();
    stream.on("drain", move || drain.notify_one());
    for piece in body.chunks(PIECE) {
        if heeds_drain {
            if !stream.write(piece) {
                drained.notified().await;
            }
        } else if !stream.send(piece).await {
            return say("http closed in send");
        }
    }
    stream.end();
}
