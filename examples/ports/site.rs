//! A site as a chain of middlewares: static files, a login, two WebSocket endpoints, and a router.
//!
//! `site.php` is the same app in PHP. Run this one, and open <http://127.0.0.1:8080/>. The users are
//! in `PASSWORDS`.

use react_websocket::errors::{BoxError, report};
use react_websocket::handlers::Next;
use react_websocket::types::Method;
use react_websocket::{
    Error, GroupManager, HttpServer, Response, ServerRequest, SocketServer, WebSocketConnection, WebSocketMiddleware,
};
use std::collections::HashMap;
use std::ffi::OsStr;
use std::sync::{Arc, Mutex};
use std::time::UNIX_EPOCH;
use tokio::fs;

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/ports/public");
// A real site keeps hashes of its passwords, in a database.
const PASSWORDS: [(&str, &str); 2] = [("ann", "apple"), ("ben", "berry")];

#[derive(Clone)]
struct User(String);

pub async fn serve(socket: SocketServer) -> Result<(), Error> {
    // The users who are logged in, by the token in their cookie.
    let sessions = Arc::new(Mutex::new(HashMap::new()));

    let files = async |request: ServerRequest, next: Next| match file_response(&request).await {
        Some(response) => response,
        None => next.run(request).await,
    };

    let tokens = sessions.clone();
    let login = move |request: ServerRequest, next: Next| {
        let cookies = request.cookie_params();
        let user: Option<User> = tokens.lock().unwrap().get(cookies.get("session").unwrap_or_default()).cloned();
        if let Some(user) = user {
            return next.run(request.with_attribute(user));
        }
        next.run(request)
    };

    let echo = WebSocketMiddleware::new().with_path("/echo");
    echo.on("connection", |connection: WebSocketConnection| {
        connection.on("text", move |text: &str| connection.write(text));
    });

    let members = WebSocketMiddleware::new().with_path("/members").with_group_manager(GroupManager::new());
    members.on("connection", |connection: WebSocketConnection| {
        let Some(User(user)) = connection.request().and_then(|request| request.attribute().cloned()) else {
            connection.reject(Response::plaintext("Log in first\n").with_status(401));
            return Ok(());
        };
        connection.on("text", move |text: &str| {
            if let Some(group) = connection.group() {
                group.write_all(format!("{user}: {text}"));
            }
        });
        connection.set_group(Some("members"))
    });

    let router = move |request: ServerRequest| -> Result<Response, BoxError> {
        let user = request.attribute::<User>();
        Ok(match (request.method(), request.path()) {
            (&Method::POST, "/login") => {
                let form = request.parsed_body()?;
                let name = form.get("name").unwrap_or_default();
                let password = form.get("password").unwrap_or_default();
                if !PASSWORDS.contains(&(name, password)) {
                    return Ok(Response::plaintext("Wrong name or password\n").with_status(403));
                }
                let token = format!("{:032x}", rand::random::<u128>());
                // With TLS the cookie also needs `Secure`.
                let cookie = format!("session={token}; Path=/; HttpOnly; SameSite=Strict");
                sessions.lock().unwrap().insert(token, User(name.to_owned()));
                Response::new(303).with_header("Location", "/").with_header("Set-Cookie", cookie)
            }
            (&Method::POST, "/logout") => {
                let cookies = request.cookie_params();
                sessions.lock().unwrap().remove(cookies.get("session").unwrap_or_default());
                Response::new(303).with_header("Location", "/")
            }
            (&Method::GET, "/user") => match user {
                Some(User(user)) => Response::plaintext(format!("{user}\n")),
                None => Response::plaintext("Log in first\n").with_status(401),
            },
            _ => Response::plaintext("Not found\n").with_status(404),
        })
    };

    let http = HttpServer::new((files, login, echo, members, router));
    http.on("error", |error| eprintln!("{}", report(error)));
    http.listen(socket).await
}

/// The response with a static file, or `None` if there is no such file.
async fn file_response(request: &ServerRequest) -> Option<Response> {
    if ![Method::GET, Method::HEAD].contains(request.method()) {
        return None;
    }
    let path = if request.path() == "/" { "/index.html" } else { request.path() };
    let file = fs::canonicalize(format!("{ROOT}{path}")).await.ok()?;
    let metadata = fs::metadata(&file).await.ok()?;
    if !metadata.is_file() || !file.starts_with(fs::canonicalize(ROOT).await.ok()?) {
        return None;
    }
    let modified = metadata.modified().ok()?.duration_since(UNIX_EPOCH).ok()?.as_secs();
    let tag = format!("\"{modified:x}-{:x}\"", metadata.len());
    if request.header("If-None-Match") == Some(&tag) {
        return Some(Response::new(304).with_header("ETag", tag));
    }
    let content_type = match file.extension().and_then(OsStr::to_str) {
        Some("html") => "text/html; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        _ => "application/octet-stream",
    };
    let body = fs::read(file).await.ok()?;
    Some(Response::new(200).with_header("Content-Type", content_type).with_header("ETag", tag).with_body(body))
}

#[tokio::main]
async fn main() -> Result<(), Error> {
    let address = std::env::args().nth(1).unwrap_or("127.0.0.1:8080".to_owned());
    let socket = SocketServer::new(address)?;
    println!("Listening on {}", socket.address());
    serve(socket).await
}
