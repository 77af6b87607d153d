//! The server of Rust's tungstenite. usage: with_tungstenite PORT

use std::net::TcpListener;
use std::thread;

use tungstenite::handshake::server::{ErrorResponse, Request, Response};
use tungstenite::protocol::CloseFrame;
use tungstenite::{Message, accept_hdr};

#[expect(clippy::result_large_err, reason = "it is tungstenite's signature")]
fn decide(request: &Request, mut response: Response) -> Result<Response, ErrorResponse> {
    if request.uri().path() == "/refused" {
        let refusal = tungstenite::http::Response::builder().status(403).body(Some("not here".to_owned()));
        return Err(refusal.expect("a response"));
    }
    response.headers_mut().append("Sec-WebSocket-Protocol", "echo".parse().expect("a value"));
    Ok(response)
}

fn main() {
    let port: u16 = std::env::args().nth(1).and_then(|port| port.parse().ok()).expect("a port");
    for client in TcpListener::bind(("127.0.0.1", port)).expect("a listener").incoming().flatten() {
        thread::spawn(move || {
            let Ok(mut socket) = accept_hdr(client, decide) else { return };
            while let Ok(message) = socket.read() {
                let _ = match &message {
                    Message::Text(text) if text.as_str() == "close" => {
                        socket.close(Some(CloseFrame { code: 4001.into(), reason: "bye".into() }))
                    }
                    Message::Text(text) if text.as_str() == "ping me" => socket.send(Message::Ping("x".into())),
                    Message::Text(_) | Message::Binary(_) => socket.send(message),
                    _ => Ok(()),
                };
            }
        });
    }
}
