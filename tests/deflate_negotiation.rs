//! The negotiation of permessage-deflate by a server (RFC 7692 sections 5 and 7.1).
#![cfg(feature = "deflate")]

mod compressed;
mod support;

use react_websocket::errors::ConnectionError;
use react_websocket::options::Compression;
use react_websocket::{HttpServer, WebSocketConnection, WebSocketMiddleware, WebSocketOptions};
use support::*;

fn server(options: WebSocketOptions) -> (HttpServer, Log) {
    let (log, websocket) = (Log::default(), WebSocketMiddleware::new().with_options(options));
    websocket.on("error", {
        let log = log.clone();
        move |connection: WebSocketConnection| {
            if let Some(ConnectionError::Handshake(error)) = connection.error() {
                log.add(error.cause());
            }
        }
    });
    (HttpServer::new((websocket, router)), log)
}

fn on(compression: Compression) -> WebSocketOptions {
    WebSocketOptions::new().compression(compression)
}

/// Shakes hands with these lines of `Sec-WebSocket-Extensions`.
async fn handshake(http: &HttpServer, lines: &[&str]) -> Answer {
    let lines: String = lines.iter().map(|line| format!("Sec-WebSocket-Extensions: {line}\r\n")).collect();
    let request = HANDSHAKE.replacen("\r\n\r\n", &format!("\r\n{lines}\r\n"), 1);
    let (mut peer, _serving) = Peer::serve(http);
    peer.ask(request).await
}

async fn extensions(http: &HttpServer, lines: &[&str]) -> Option<String> {
    let answer = handshake(http, lines).await;
    assert_eq!(answer.status(), 101, "{}", answer.head);
    assert!(answer.head.to_ascii_lowercase().matches("sec-websocket-extensions").count() < 2, "{}", answer.head);
    answer.header("Sec-WebSocket-Extensions").map(str::to_owned)
}

#[tokio::test(start_paused = true)]
async fn without_the_option_no_offer_is_accepted_or_even_read() {
    let (http, log) = server(WebSocketOptions::new());
    for offer in ["permessage-deflate; client_max_window_bits", "permessage-deflate;;"] {
        assert_eq!(extensions(&http, &[offer]).await, None);
    }
    assert_eq!(log.take(), [""; 0]);
}

/// The offers of Chromium, Firefox and Safari, and of the libraries `ws` and `websockets`.
#[tokio::test(start_paused = true)]
async fn the_offers_of_known_clients_are_accepted() {
    let (http, _) = server(on(Compression::new()));
    for (offer, answer) in [
        ("permessage-deflate; client_max_window_bits", "permessage-deflate; client_no_context_takeover"),
        ("permessage-deflate", "permessage-deflate; client_no_context_takeover"),
        (
            "permessage-deflate; server_max_window_bits=12; client_max_window_bits=12",
            "permessage-deflate; server_max_window_bits=12; client_no_context_takeover",
        ),
    ] {
        assert_eq!(extensions(&http, &[offer]).await.as_deref(), Some(answer), "{offer}");
    }
    assert_eq!(extensions(&http, &[]).await, None, "it was not offered");
}

/// RFC 7692 section 5.1. Section 7.1.2.1: 8 bits are valid, but the compressor cannot do it.
#[tokio::test(start_paused = true)]
async fn unacceptable_offers_are_declined_and_the_first_acceptable_is_taken() {
    let (http, _) = server(on(Compression::new().window(None)));
    for declined in ["permessage-deflate; server_max_window_bits=8", "permessage-deflate; x", "x-webkit-deflate-frame"] {
        assert_eq!(extensions(&http, &[declined]).await, None, "{declined}");
        let next = "permessage-deflate; server_max_window_bits=10";
        let answer =
            "permessage-deflate; server_no_context_takeover; server_max_window_bits=10; client_no_context_takeover";
        assert_eq!(extensions(&http, &[declined, next, "permessage-deflate"]).await.as_deref(), Some(answer));
    }
}

/// RFC 6455 section 9.1.
#[tokio::test(start_paused = true)]
async fn a_malformed_header_is_refused_with_400() {
    let (http, log) = server(on(Compression::new()));
    for malformed in ["permessage-deflate;", "permessage-deflate; a=\"b c\"", "permessage-deflate x", ";"] {
        let answer = handshake(&http, &["permessage-deflate", malformed]).await;
        assert_eq!((answer.status(), answer.text()), (400, "Error 400: malformed Sec-WebSocket-Extensions"));
        assert_eq!(log.take(), ["extensions"]);
    }
}

/// A window of the peer's messages is agreed on only while there is memory for it.
#[tokio::test(start_paused = true)]
async fn a_peer_gets_a_window_while_there_is_memory_for_it() {
    let (http, _) = server(on(Compression::new().peer_window(4096).window_memory(10_000)));
    let request = HANDSHAKE.replacen(
        "\r\n\r\n",
        "\r\nSec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n\r\n",
        1,
    );
    let mut peers = Vec::new();
    for expected in ["; client_max_window_bits=12", "; client_max_window_bits=12", "; client_no_context_takeover"] {
        let (mut peer, serving) = Peer::serve(&http);
        let answer = peer.ask(&request).await;
        assert_eq!(answer.header("Sec-WebSocket-Extensions"), Some(&*format!("permessage-deflate{expected}")));
        peers.push((peer, serving));
    }
    let (peer, serving) = peers.remove(0);
    drop(peer);
    serving.await;
    let offer = "permessage-deflate; client_max_window_bits";
    assert_eq!(extensions(&http, &[offer]).await.as_deref(), Some("permessage-deflate; client_max_window_bits=12"));
}
