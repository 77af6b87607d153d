//! The server that is watched. `/work?room=NAME` is an endpoint with rooms: each message goes to all members of the
//! room, and without a room back to its sender. After the message `bye` the server closes the connection. `/stats`
//! feeds the page, and all other paths belong to the page.

use react_websocket::{
    GroupManager, HttpServer, Response, ServerRequest, WebSocketConnection, WebSocketMiddleware, WebSocketOptions,
};
use tokio::time::Instant;

use super::feed::{self, Watched};

/// Maximum size of a message in bytes.
pub const MESSAGE: usize = 64 * 1024;

/// A client that lets more bytes wait is closed with 1013.
pub const HARD_LIMIT: usize = 128 * 1024;

/// The page may load its own files and connect to its own server, and nothing else.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
    connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; \
    require-trusted-types-for 'script'; trusted-types 'none'";

pub fn server() -> HttpServer {
    let groups = GroupManager::new();
    let options = WebSocketOptions::new().max_message_size(MESSAGE).write_buffer_hard_limit(HARD_LIMIT);
    let websocket = WebSocketMiddleware::new().with_path("/work").with_options(options).with_group_manager(groups.clone());
    websocket.on("connection", work);

    let stats = feed::endpoint("/stats");
    let http = HttpServer::new((websocket.clone(), stats.clone(), page));
    feed::feed(&stats, Watched { http: http.clone(), websocket, groups, start: Instant::now() });
    http
}

fn work(connection: WebSocketConnection) -> Result<(), react_websocket::errors::GroupError> {
    connection.on("text", move |text: &str| match connection.group() {
        _ if text == "bye" => connection.close(),
        Some(room) => room.write(text),
        None => drop(connection.write(text)),
    });
    let query = connection.query_params();
    connection.set_group(query.get("room"))
}

fn page(request: ServerRequest) -> Response {
    let file = |kind, text: &'static str| Response::new(200).with_header("Content-Type", kind).with_body(text);
    let response = match request.path() {
        "/" => Response::html(include_str!("index.html")),
        "/style.css" => file("text/css; charset=utf-8", include_str!("style.css")),
        "/dashboard.js" => file("text/javascript; charset=utf-8", include_str!("dashboard.js")),
        "/measures.js" => file("text/javascript; charset=utf-8", include_str!("measures.js")),
        "/chart.js" => file("text/javascript; charset=utf-8", include_str!("chart.js")),
        "/icon.svg" => file("image/svg+xml", include_str!("icon.svg")),
        _ => Response::plaintext("There is nothing here").with_status(404),
    };
    response
        .with_header("Content-Security-Policy", CONTENT_SECURITY_POLICY)
        .with_header("X-Content-Type-Options", "nosniff")
        .with_header("Referrer-Policy", "no-referrer")
        .with_header("Cache-Control", "no-cache")
}
