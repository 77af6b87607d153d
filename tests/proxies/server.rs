//! The server of `tests/proxies/run`: the app of docs/deployment.md, with options.
//!
//! usage: proxies ADDRESS [NAME=VALUE...]
//!
//! ADDRESS is `activated` for a socket that systemd passes on. The output has a line for each
//! WebSocket that closes. Times are in milliseconds.
#![forbid(unsafe_code)]

use std::io::{Write, stdout};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use react_websocket::body::BodyWriter;
use react_websocket::errors::BoxError;
use react_websocket::options::{ProxyProtocol, TrustedProxies};
use react_websocket::{
    BodyStream, HttpOptions, HttpServer, Loop, Response, ServerRequest, Signal, SocketOptions, SocketServer,
    WebSocketConnection, WebSocketMiddleware, WebSocketOptions,
};

struct Options {
    socket: SocketOptions,
    http: HttpOptions,
    websocket: WebSocketOptions,
    /// From SIGTERM to the shutdown.
    drain: Duration,
}

#[tokio::main(worker_threads = 2)]
async fn main() -> Result<(), BoxError> {
    let mut arguments = std::env::args().skip(1);
    let address = arguments.next().ok_or("no address")?;
    let mut options = Options {
        socket: SocketOptions::new().unix_mode(0o660),
        http: HttpOptions::new(),
        websocket: WebSocketOptions::new(),
        drain: Duration::ZERO,
    };
    for argument in arguments {
        options = set(options, &argument)?;
    }
    let drain = options.drain;

    let websocket = WebSocketMiddleware::new().with_options(options.websocket);
    websocket.on("connection", |connection: WebSocketConnection| {
        connection.on("text", move |text: &str| answer(connection, text));
        connection.on("binary", move |bytes: &[u8]| connection.write_binary(bytes));
        connection.on("close", |code: u16, reason: &str| print(&format!("close {code} {reason}")));
    });
    let ending = Arc::new(AtomicBool::new(false));
    let (is_ending, handshakes) = (ending.clone(), websocket.clone());
    let router = move |request: ServerRequest| match request.path() {
        "/health" if is_ending.load(Ordering::Relaxed) => Response::new(503),
        "/health" => Response::plaintext("ok"),
        "/events" => events(&request),
        "/size" => Response::plaintext(request.body().len().to_string()),
        "/stats" => Response::plaintext(format!("{:?}", handshakes.stats().not_upgraded)),
        _ => Response::plaintext(describe(&request)),
    };

    let socket = listen(&address, options.socket)?;
    let port = socket.local_address().map_or(0, |address| address.port());
    let listening = HttpServer::new((websocket, router)).with_options(options.http).listen(socket);
    for signal in [Signal::TERM, Signal::INT] {
        let (ending, listening) = (ending.clone(), listening.clone());
        Loop::add_signal(signal, move || {
            ending.store(true, Ordering::Relaxed);
            let listening = listening.clone();
            Loop::add_timer(drain, move || drop(listening.close()));
        })?;
    }
    print(&format!("listening {port}"));
    Ok(listening.await?)
}

fn listen(address: &str, options: SocketOptions) -> Result<SocketServer, BoxError> {
    #[cfg(unix)]
    if address == "activated" {
        let socket = listenfd::ListenFd::from_env().take_tcp_listener(0)?.ok_or("systemd passes on no socket")?;
        return Ok(socket.into());
    }
    Ok(SocketServer::with_options(address, options)?)
}

fn set(mut options: Options, argument: &str) -> Result<Options, BoxError> {
    let (name, value) = argument.split_once('=').ok_or("write NAME=VALUE")?;
    let number = || value.parse::<u64>();
    let http = options.http.clone();
    match name {
        "x_forwarded_for" => {
            options.http = http.trusted_proxies(TrustedProxies::x_forwarded_for(value.split(',')).x_forwarded_proto());
        }
        "proxy_protocol" => {
            options.socket = options.socket.clone().proxy_protocol(ProxyProtocol::required(value.split(',')));
        }
        "forwarded" => options.http = http.trusted_proxies(TrustedProxies::forwarded(value.split(','))),
        "keep_alive_timeout" => options.http = http.keep_alive_timeout(Duration::from_millis(number()?)),
        "max_body_size" => options.http = http.max_body_size(value.parse()?),
        "max_connections_per_ip" => options.http = http.max_connections_per_ip(value.parse::<u32>()?),
        "ping_interval" if value == "off" => options.websocket = options.websocket.ping_interval(None),
        "ping_interval" => options.websocket = options.websocket.ping_interval(Duration::from_millis(number()?)),
        "drain" => options.drain = Duration::from_millis(number()?),
        _ => return Err(format!("no option {name}").into()),
    }
    Ok(options)
}

/// What the server knows of the client.
fn describe(request: &ServerRequest) -> String {
    let client = request.remote_address().map_or("none".to_owned(), |address| address.ip().to_string());
    format!("{client} {} {}", request.scheme(), request.host().unwrap_or("none"))
}

fn answer(connection: WebSocketConnection, text: &str) {
    match text {
        "close" => connection.close_with(4001, "by the server"),
        "client" => {
            let client = connection.remote_address().map_or("none".to_owned(), |address| address.ip().to_string());
            connection.write(client);
        }
        _ => drop(connection.write(text)),
    }
}

/// Server-sent events: one at once, the others when `every` milliseconds have passed.
fn events(request: &ServerRequest) -> Response {
    let every = request.query_params().get("every").and_then(|every| every.parse().ok()).unwrap_or(60_000);
    let (events, mut number) = (BodyStream::new(), 0);
    let writer = events.writer();
    writer.write("data: 0\n\n");
    let timer = Loop::add_periodic_timer(Duration::from_millis(every), move || {
        number += 1;
        writer.write(format!("data: {number}\n\n"));
    });
    events.on("shutdown", |events: &BodyWriter| events.end());
    events.on("close", move || Loop::cancel_timer(timer));
    let response = Response::new(200).with_header("Content-Type", "text/event-stream").with_body(events);
    match request.query_params().get("accel") {
        Some(value) => response.with_header("X-Accel-Buffering", value),
        None => response,
    }
}

/// Prints a line for the runner. Without a runner the process ends.
fn print(line: &str) {
    if writeln!(stdout(), "{line}").is_err() {
        std::process::exit(1);
    }
}
