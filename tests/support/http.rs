//! Helpers of the tests of HTTP: scripts of bytes to send, and expected responses.

use std::time::{Duration, SystemTime};

use super::Log;
use react_websocket::body::BodyWriter;
use react_websocket::errors::report;
use react_websocket::{BodyStream, HttpServer, Response, ServerRequest};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until, timeout};

pub const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

/// The bytes that a server sent until the end, and the number of seconds until the end.
#[derive(Debug, PartialEq)]
pub struct Said {
    pub text: String,
    pub end: f64,
}

/// The idle timeout, after which the server closes a connection that both sides leave open.
pub const OPEN: f64 = 30.0;
pub const CLOSED: f64 = 0.0;

/// The bytes that a client sends, each piece at its time in milliseconds.
pub type Script<'a, B> = &'a [(u64, B)];

/// Speaks to a server, with so many bytes in flight at most. The client itself does not end the connection. Time is paused.
pub async fn play<B: AsRef<[u8]>>(http: &HttpServer, capacity: usize, script: Script<'_, B>) -> Said {
    let (client, server) = tokio::io::duplex(capacity);
    let start = Instant::now();
    let _serving = http.serve(server);
    let (mut read, mut write) = tokio::io::split(client);
    let speak = async {
        for (at, bytes) in script {
            sleep_until(start + millis(*at)).await;
            // A server that has had enough does not take the rest.
            let _ = write.write_all(bytes.as_ref()).await;
        }
    };
    let listen = async {
        let mut said = Vec::new();
        read.read_to_end(&mut said).await.unwrap();
        (said, seconds_since(start))
    };
    let ((), (said, end)) = someday(async { tokio::join!(speak, listen) }).await;
    Said { text: shown(&said), end }
}

/// Like `play`, with all bytes sent at once.
pub async fn say(http: &HttpServer, bytes: impl AsRef<[u8]>) -> Said {
    play(http, 1 << 20, &[(0, bytes)]).await
}

/// Like `say`, with one byte in flight in each direction, so that the server receives every byte
/// alone.
pub async fn say_byte_by_byte(http: &HttpServer, bytes: impl AsRef<[u8]>) -> Said {
    play(http, 1, &[(0, bytes)]).await
}

/// Responses with LF for CR LF, which nothing in these tests has otherwise, and the date, which has to be one, as `*`.
pub fn shown(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let lines = text.split("\r\n").map(|line| {
        assert!(!line.contains(['\r', '\n']), "a lone CR or LF in {text:?}");
        let Some(date) = line.strip_prefix("Date: ") else { return line };
        let date = httpdate::parse_http_date(date).expect("a date");
        assert!(date <= SystemTime::now() && date + Duration::from_secs(60) > SystemTime::now(), "{line}");
        assert!(line.ends_with(" GMT") && line.len() == "Date: Sun, 06 Nov 1994 08:49:37 GMT".len(), "{line}");
        "Date: *"
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// A 200 as it is shown.
pub fn ok(body: &str) -> String {
    ok_with("Content-Type: text/plain; charset=utf-8\n", "", body)
}

/// A 200 with header lines of the app, and some about the connection.
pub fn ok_with(headers: &str, connection: &str, body: &str) -> String {
    let length = body.len();
    format!("HTTP/1.1 200 OK\n{headers}Server: react-websocket\nDate: *\nContent-Length: {length}\n{connection}\n{body}")
}

/// An error page as it is shown.
pub fn page(status: &str) -> String {
    let body = format!("Error {}", status.replacen(' ', ": ", 1));
    let length = body.len();
    format!(
        "HTTP/1.1 {status}\nContent-Type: text/plain\nServer: react-websocket\nDate: *\nContent-Length: {length}\n\
         Connection: close\n\n{body}"
    )
}

/// A server whose router says what it was asked.
pub fn telling() -> HttpServer {
    HttpServer::new(tell)
}

pub fn tell(request: ServerRequest) -> Response {
    let body = String::from_utf8_lossy(request.body()).into_owned();
    Response::plaintext(format!("{} {} {body}", request.method(), request.target()))
}

/// Notes the `error` events of a server.
pub fn errors(http: &HttpServer) -> Log {
    let log = Log::default();
    let noting = log.clone();
    http.on("error", move |error| noting.add(report(error)));
    log
}

pub fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

pub fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// To a tenth of a second.
pub fn seconds_since(start: Instant) -> f64 {
    (start.elapsed().as_secs_f64() * 10.0).round() / 10.0
}

/// Fails a test that would wait for ever, in paused time: a day passes at once.
pub async fn someday<F: Future>(future: F) -> F::Output {
    timeout(seconds(86_400), future).await.expect("an end within a day")
}

/// Like `someday`, but in real time.
pub async fn soon<F: Future>(future: F) -> F::Output {
    timeout(seconds(10), future).await.expect("an end within ten seconds")
}

/// Writes its name to a log when it is dropped.
pub struct Guard(pub Log, pub &'static str);

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.add(self.1);
    }
}

pub const TOO_MANY: &str = "HTTP/1.1 429 Too Many Requests\nContent-Type: text/plain\nRetry-After: 1\n\
    Server: react-websocket\nDate: *\nContent-Length: 28\nConnection: close\n\nError 429: Too Many Requests";

/// A server whose response's body is a stream, which comes with each request. Its events are noted.
pub fn streaming(status: u16, headers: &'static [(&str, &str)]) -> (HttpServer, mpsc::UnboundedReceiver<BodyWriter>, Log) {
    let log = Log::default();
    let noting = log.clone();
    let (tell, streams) = mpsc::unbounded_channel();
    let http = HttpServer::new(move |_: ServerRequest| {
        let stream = watched(&noting);
        tell.send(stream.clone()).unwrap();
        headers
            .iter()
            .fold(Response::new(status), |response, (name, value)| response.with_header(*name, value))
            .with_body(stream)
    });
    (http, streams, log)
}

/// A stream whose events are noted.
pub fn watched(log: &Log) -> BodyStream {
    let stream = BodyStream::new();
    for event in ["drain", "close"] {
        let log = log.clone();
        stream.on(event, move || log.add(event));
    }
    stream
}
