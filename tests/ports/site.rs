//! `examples/ports/site.rs`: static files, a login by cookie, and two WebSocket endpoints.

#[path = "../../examples/ports/site.rs"]
#[allow(dead_code, reason = "its `main` takes the address from the command line")]
mod example;

use std::net::SocketAddr;

use super::support::{Answer, text};
use super::{Client, expect, handshake, open, open_with, start};

async fn ask(address: SocketAddr, line: &str, lines: &[&str], body: &str) -> Answer {
    let (length, mut client) = (body.len(), Client::connect(address).await);
    let lines: String = lines.iter().flat_map(|line| [*line, "\r\n"]).collect();
    client.ask(format!("{line} HTTP/1.1\r\nHost: example.com\r\nContent-Length: {length}\r\n{lines}\r\n{body}")).await
}

async fn get(address: SocketAddr, path: &str, lines: &[&str]) -> Answer {
    ask(address, &format!("GET {path}"), lines, "").await
}

async fn post(address: SocketAddr, path: &str, lines: &[&str], body: &str) -> Answer {
    let form = "Content-Type: application/x-www-form-urlencoded";
    ask(address, &format!("POST {path}"), &[&[form], lines].concat(), body).await
}

/// The line with the cookie of a user who logs in.
async fn log_in(address: SocketAddr, form: &str) -> String {
    let answer = post(address, "/login", &[], form).await;
    assert_eq!((answer.status(), answer.header("Location")), (303, Some("/")));
    let (cookie, attributes) = answer.header("Set-Cookie").and_then(|line| line.split_once("; ")).expect("a cookie");
    assert_eq!(attributes, "Path=/; HttpOnly; SameSite=Strict");
    format!("Cookie: {cookie}")
}

#[tokio::test]
async fn files_have_their_types() {
    let address = start(example::serve);
    for (path, content_type, first) in [
        ("/", "text/html; charset=utf-8", "<!doctype html>"),
        ("/index.html?from=mail", "text/html; charset=utf-8", "<!doctype html>"),
        ("/style.css", "text/css; charset=utf-8", ":root"),
        ("/site.js", "text/javascript; charset=utf-8", "// Shows the messages"),
    ] {
        let answer = get(address, path, &[]).await;
        assert_eq!((answer.status(), answer.header("Content-Type")), (200, Some(content_type)), "{path}");
        assert!(answer.text().starts_with(first), "{path}");
    }
}

#[tokio::test]
async fn a_file_that_the_client_has_is_not_sent_again() {
    let address = start(example::serve);
    let answer = get(address, "/style.css", &[]).await;
    let tag = answer.header("ETag").expect("a tag");
    let again = get(address, "/style.css", &[&format!("If-None-Match: {tag}")]).await;
    assert_eq!((again.status(), again.header("ETag"), again.text()), (304, Some(tag), ""));
    let other = get(address, "/site.js", &[&format!("If-None-Match: {tag}")]).await;
    assert_eq!(other.status(), 200);
    // A HEAD gets the same head, and nothing after it.
    let mut client = Client::connect(address).await;
    client.send("HEAD /style.css HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await;
    let head = client.head().await;
    assert!(head.starts_with("HTTP/1.1 200 ") && head.contains(&format!("ETag: {tag}")), "{head}");
    assert_eq!(client.rest().await, b"");
}

#[tokio::test]
async fn nothing_outside_of_the_folder_is_sent() {
    let address = start(example::serve);
    for path in [
        "/missing.html",
        "/../site.rs",
        "/../../../Cargo.toml",
        "/style.css/../../site.rs",
        "/%2e%2e/site.rs",
        "/..%2fsite.rs",
        "/..\\site.rs",
        "//etc/passwd",
        "/../../../../../../../../../../../../etc/passwd",
        "/..",
        "/.",
        "/index.html/",
        "/index.html%00.css",
        "http://example.com/../site.rs",
    ] {
        let answer = get(address, path, &[]).await;
        assert_eq!((answer.status(), answer.text()), (404, "Not found\n"), "{path}");
    }
    // Only GET and HEAD get files.
    let answer = post(address, "/index.html", &[], "").await;
    assert_eq!(answer.status(), 404);
}

#[tokio::test]
async fn a_user_logs_in_and_out() {
    let address = start(example::serve);
    let ann = log_in(address, "name=ann&password=apple").await;
    let ben = log_in(address, "password=berry&name=ben").await;
    assert_ne!(ann, ben);
    assert_eq!(get(address, "/user", &[&ann]).await.text(), "ann\n");
    assert_eq!(get(address, "/user", &[&format!("{ben}; theme=dark")]).await.text(), "ben\n");
    assert_eq!(post(address, "/logout", &[&ann], "").await.status(), 303);
    assert_eq!(get(address, "/user", &[&ann]).await.status(), 401);
    assert_eq!(get(address, "/user", &[&ben]).await.text(), "ben\n");
}

#[tokio::test]
async fn a_wrong_password_or_cookie_is_refused() {
    let address = start(example::serve);
    for form in ["", "name=ann", "name=ann&password=berry", "name=Ann&password=apple", "password=apple", "=&&;", "%ff=%"] {
        let answer = post(address, "/login", &[], form).await;
        assert_eq!((answer.status(), answer.header("Set-Cookie")), (403, None), "{form}");
    }
    log_in(address, "name=ann&password=apple").await;
    for cookie in
        ["Cookie: session=", "Cookie: session=00000000000000000000000000000000", "Cookie: ann", "Cookie: user=ann"]
    {
        let answer = get(address, "/user", &[cookie]).await;
        assert_eq!((answer.status(), answer.text()), (401, "Log in first\n"), "{cookie}");
        // The handshake gets the same answer.
        let mut client = Client::connect(address).await;
        let answer = client.ask(handshake("/members", &[cookie])).await;
        assert_eq!((answer.status(), answer.text()), (401, "Log in first\n"), "{cookie}");
    }
}

#[tokio::test]
async fn the_two_endpoints_do_not_hear_each_other() {
    let address = start(example::serve);
    let (ann, ben) = (log_in(address, "name=ann&password=apple").await, log_in(address, "name=ben&password=berry").await);
    let mut echo = open(address, "/echo").await;
    let mut ann = open_with(address, "/members", &[&ann]).await;
    let mut ben = open_with(address, "/members?from=here", &[&ben]).await;
    echo.send(text("echo")).await;
    expect(&mut echo, &["echo"]).await;
    ann.send(text("hello")).await;
    expect(&mut ann, &["ann: hello"]).await;
    expect(&mut ben, &["ann: hello"]).await;
    // In the middle of a message, without a Close.
    ben.send(&text("half")[..4]).await;
    drop(ben);
    ann.send(text("again")).await;
    expect(&mut ann, &["ann: again"]).await;
    echo.send(text("second")).await;
    expect(&mut echo, &["second"]).await;
}

#[tokio::test]
async fn other_paths_are_not_found() {
    let address = start(example::serve);
    for path in ["/login", "/echo", "/members", "/user/"] {
        let answer = get(address, path, &[]).await;
        assert_eq!((answer.status(), answer.text()), (404, "Not found\n"), "{path}");
    }
    let mut client = Client::connect(address).await;
    assert_eq!(client.ask(handshake("/elsewhere", &[])).await.status(), 404);
}
