//! hyper alone, for plain HTTP.
//!
//! usage: peer_hyper PORT [--workers N]
#![forbid(unsafe_code)]

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use react_websocket_bench::peer::Peer;
use std::convert::Infallible;

async fn hello(_request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let mut response = Response::new(Full::new(Bytes::from_static(b"This is a websocket server")));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    Ok(response)
}

fn main() -> std::io::Result<()> {
    Peer::accept(async |stream, _peer: Peer<Bytes>| {
        let mut server = http1::Builder::new();
        server.timer(TokioTimer::new());
        // An error ends the connection and needs no report.
        let _ = server.serve_connection(TokioIo::new(stream), service_fn(hello)).await;
    })
}
