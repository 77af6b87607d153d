//! A connection to an HTTP server, in memory, by a client that says what it has to say, hears the answers and is gone.

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use react_websocket::handlers::IntoChain;
use react_websocket::types::{HeaderMap, Method, Version};
use react_websocket::{HttpOptions, HttpServer, Response, ServerRequest};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::runtime::Runtime;

use crate::input::Cuts;

/// A request as the router got it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    pub method: Method,
    pub target: String,
    pub uri: String,
    pub version: Version,
    pub headers: HeaderMap,
    /// Headers looked up by name before any other access, which builds no map.
    pub looked_up: Vec<(String, Option<String>)>,
    /// The path and the cookies, before anything has built a URI or a map, and afterwards.
    pub before_and_after: [String; 2],
    pub body: Vec<u8>,
}

/// What came of a connection.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Exchange {
    pub requests: Vec<Request>,
    /// What the server's `error` event told.
    pub errors: Vec<String>,
    /// What the client was sent, but for what depends on the time and on where the bytes were cut.
    pub answers: Vec<u8>,
}

impl Exchange {
    /// Sends bytes to a server that answers every request with an empty page.
    pub fn with_router(options: HttpOptions, bytes: &[u8], cuts: &Cuts) -> Exchange {
        let requests = Arc::new(Mutex::new(Vec::new()));
        let seen = requests.clone();
        let names = names_in(bytes);
        let router = move |request: ServerRequest| {
            let look_up = |name: &String| (name.clone(), request.header(name).map(str::to_owned));
            let looked_up = names.iter().map(look_up).collect();
            let views = || format!("{} {:?} {:?}", request.path(), request.query_params(), request.cookie_params());
            let before = views();
            let (uri, headers) = (request.uri().to_string(), request.headers().clone());
            // Whatever else can be asked of a request must not fail either.
            let _ = request.parsed_body();
            seen.lock().unwrap().push(Request {
                method: request.method().clone(),
                target: request.target().to_owned(),
                uri,
                version: request.version(),
                headers,
                looked_up,
                before_and_after: [before, views()],
                body: request.body().to_vec(),
            });
            Response::new(200)
        };
        let mut exchange = Exchange::with(router, options, bytes, cuts);
        exchange.requests = std::mem::take(&mut requests.lock().unwrap());
        exchange
    }

    /// Sends bytes to a server of one's own. The requests are for it to note.
    pub fn with<M>(handlers: impl IntoChain<M>, options: HttpOptions, bytes: &[u8], cuts: &Cuts) -> Exchange {
        let (errors, written) = (Arc::new(Mutex::new(Vec::new())), Arc::new(Mutex::new(Vec::new())));
        let told = errors.clone();
        let http = HttpServer::new(handlers).with_options(options);
        http.on("error", move |error| told.lock().unwrap().push(format!("{error:?}")));
        let client = Client { bytes: bytes.to_vec(), at: 0, cuts: cuts.clone(), piece: 0, written: written.clone() };
        run(async { http.serve(client).await });
        let errors = std::mem::take(&mut *errors.lock().unwrap());
        let answers = lasting(&written.lock().unwrap());
        Exchange { requests: Vec::new(), errors, answers }
    }
}

/// Everything that may be the name of a header in these bytes, and a name that may be absent.
fn names_in(bytes: &[u8]) -> Vec<String> {
    let before_colons = bytes.split(|byte| *byte == b'\n').filter_map(|line| line.split(|byte| *byte == b':').next());
    let names = before_colons.filter_map(|name| String::from_utf8(name.to_vec()).ok());
    names.chain(["X-Absent".to_owned()]).collect()
}

/// Runs a future to its end in paused time, which passes at once when there is nothing else to do.
pub fn run<T>(future: impl Future<Output = T>) -> T {
    thread_local! {
        static RUNTIME: RefCell<Runtime> = RefCell::new(paused_runtime());
    }
    RUNTIME.with_borrow(|runtime| runtime.block_on(future))
}

/// A runtime on this thread in paused time.
pub fn paused_runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().expect("a runtime")
}

/// The client's end.
struct Client {
    bytes: Vec<u8>,
    at: usize,
    cuts: Cuts,
    piece: usize,
    written: Arc<Mutex<Vec<u8>>>,
}

impl AsyncRead for Client {
    fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let client = self.get_mut();
        let rest = &client.bytes[client.at..];
        let size = rest.len().min(client.cuts.size(client.piece)).min(buf.remaining());
        buf.put_slice(&rest[..size]);
        client.at += size;
        client.piece += 1;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Client {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.written.lock().unwrap().extend_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// Answers without the Date, and without "100 Continue", which is not sent where the body is here already.
fn lasting(answers: &[u8]) -> Vec<u8> {
    const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";
    let mut lasting = Vec::new();
    let mut rest = answers;
    while !rest.is_empty() {
        if let Some(after) = rest.strip_prefix(CONTINUE) {
            rest = after;
            continue;
        }
        let end = rest.iter().position(|byte| *byte == b'\n').map_or(rest.len(), |at| at + 1);
        let (line, after) = rest.split_at(end);
        if !line.starts_with(b"Date: ") {
            lasting.extend_from_slice(line);
        }
        rest = after;
    }
    lasting
}
