//! A chain of middlewares. The first middleware logs all requests and their times, and the second
//! asks for a password on `/admin`. Two more middlewares are WebSocket endpoints. The router
//! answers all other requests, and answers `/clock` with server-sent events.
//!
//! Try it:
//!
//! ```text
//! curl -i http://127.0.0.1:8000/
//! curl -i http://127.0.0.1:8000/admin
//! curl -i http://127.0.0.1:8000/admin -u ann:secret
//! curl -N http://127.0.0.1:8000/clock
//! npx wscat -c ws://127.0.0.1:8000/echo
//! npx wscat -c ws://127.0.0.1:8000/shout
//! ```

use react_websocket::body::BodyWriter;
use react_websocket::errors::report;
use react_websocket::handlers::Next;
use react_websocket::{
    BodyStream, Error, HttpServer, Loop, Response, ServerRequest, SocketServer, WebSocketConnection, WebSocketMiddleware,
};
use std::time::Instant;

/// The user who has logged in. One middleware attaches it, and the handlers after it can read it.
struct User(&'static str);

#[tokio::main]
async fn main() -> Result<(), Error> {
    let http = server();
    http.on("error", |error| eprintln!("{}", report(error)));
    let socket = SocketServer::new("127.0.0.1:8000")?;
    println!("http://127.0.0.1:8000/");
    http.listen(socket).await
}

/// The server, which the tests in `tests/examples_middleware.rs` use without a socket.
pub fn server() -> HttpServer {
    // A middleware that awaits the rest of the chain, and changes the response.
    let log = |request: ServerRequest, next: Next| async move {
        let (start, line) = (Instant::now(), format!("{} {}", request.method(), request.target()));
        let response = next.run(request).await;
        println!("{line} {} {:?}", response.status(), start.elapsed());
        response.with_header("X-Served-By", "middleware example")
    };

    // A middleware that answers itself, or attaches a value and passes the request on. The password
    // is "ann:secret" in base64, as browsers send it.
    let authenticate = |request: ServerRequest, next: Next| async move {
        let is_ann = request.header("Authorization") == Some("Basic YW5uOnNlY3JldA==");
        match request.path() {
            "/admin" if !is_ann => {
                Response::plaintext("Who are you?").with_status(401).with_header("WWW-Authenticate", "Basic")
            }
            _ if is_ann => next.run(request.with_attribute(User("Ann"))).await,
            _ => next.run(request).await,
        }
    };

    // A request for another path is passed on to the next handler.
    let echo = WebSocketMiddleware::new().with_path("/echo");
    echo.on("connection", |connection: WebSocketConnection| {
        connection.on("text", move |text: &str| connection.write(text));
    });
    let shout = WebSocketMiddleware::new().with_path("/shout");
    shout.on("connection", |connection: WebSocketConnection| {
        connection.on("text", move |text: &str| connection.write(text.to_uppercase()));
    });

    let router = |request: ServerRequest| match request.path() {
        "/" => Response::html("<h1>Hello</h1>"),
        "/admin" => match request.attribute::<User>() {
            Some(User(name)) => Response::plaintext(format!("Hello {name}")),
            None => Response::new(500),
        },
        "/clock" => clock(),
        _ => Response::plaintext("There is nothing here").with_status(404),
    };

    HttpServer::new((log, authenticate, echo, shout, router))
}

/// Server-sent events: a body that is written while it is sent.
fn clock() -> Response {
    let (events, start) = (BodyStream::new(), Instant::now());
    let writer = events.writer();
    let timer = Loop::add_periodic_timer(1.0, move || writer.write(format!("data: {:?}\n\n", start.elapsed())));
    events.on("shutdown", |events: &BodyWriter| events.end());
    events.on("close", move || Loop::cancel_timer(timer));
    Response::new(200).with_header("Content-Type", "text/event-stream").with_body(events)
}
