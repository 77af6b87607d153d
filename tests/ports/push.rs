//! The port `push`: messages by POST, server-sent events, and WebSockets.

#[path = "../../examples/ports/push.rs"]
#[allow(dead_code, reason = "its `main` listens on a socket")]
mod example;

use std::net::SocketAddr;

use serde_json::{Value, json};
use tokio::net::TcpStream;

use crate::page::{Page, in_time};
use crate::start;
use crate::support::{Answer, Peer, connect_with_little_room};

const FORM: &str = "application/x-www-form-urlencoded";
const JSON: &str = "application/json; charset=utf-8";

async fn post(publisher: &mut Peer<TcpStream>, topic: &str, kind: &str, body: &str) -> Answer {
    let length = body.len();
    let head = format!("POST {topic} HTTP/1.1\r\nHost: a\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n\r\n");
    publisher.ask(head + body).await
}

/// The number of clients that a message was sent to.
fn clients(answer: Answer) -> usize {
    assert_eq!(answer.status(), 202, "{answer:?}");
    let answer: Value = serde_json::from_slice(&answer.body).expect("JSON");
    answer["clients"].as_u64().expect("a number") as usize
}

async fn publish(publisher: &mut Peer<TcpStream>, topic: &str, text: &str) -> usize {
    clients(post(publisher, topic, JSON, &json!({"text": text}).to_string()).await)
}

/// A client of server-sent events.
struct EventSource {
    peer: Peer<TcpStream>,
    received: String,
}

impl EventSource {
    async fn open(address: SocketAddr, topic: &str) -> EventSource {
        EventSource::open_over(TcpStream::connect(address).await.expect("a connection"), topic).await
    }

    async fn open_over(stream: TcpStream, topic: &str) -> EventSource {
        let mut peer = Peer::new(stream);
        peer.send(format!("GET {topic} HTTP/1.1\r\nHost: a\r\n\r\n")).await;
        let answer = Answer { head: peer.head().await, body: Vec::new() };
        assert_eq!((answer.status(), answer.header("Content-Type")), (200, Some("text/event-stream")));
        EventSource { peer, received: String::new() }
    }

    /// The lines of the next event.
    async fn next(&mut self) -> String {
        loop {
            if let Some((event, rest)) = self.received.split_once("\n\n") {
                let event = event.to_owned();
                self.received = rest.to_owned();
                return event;
            }
            let size = usize::from_str_radix(&self.peer.line().await, 16).expect("a size");
            assert_ne!(size, 0, "the end of the stream");
            let chunk = self.peer.exactly(size).await;
            self.received.push_str(std::str::from_utf8(&chunk).expect("text"));
            assert_eq!(self.peer.line().await, "");
        }
    }
}

#[tokio::test]
async fn a_message_is_pushed_to_all_subscribers_of_its_topic() {
    in_time(async {
        let address = start(example::serve);
        let mut publisher = Peer::connect(address).await;
        assert_eq!(publish(&mut publisher, "/news", "nobody is there").await, 0);

        let (mut page, mut elsewhere) = (Page::open(address, "/news").await, Page::open(address, "/other").await);
        let mut events = EventSource::open(address, "/news").await;
        for (kind, body, text) in [
            (FORM, "text=Tea+is+ready%0AMilk%3F", "Tea is ready\nMilk?"),
            (JSON, r#"{"text": "Tea is ready\nMilk?"}"#, "Tea is ready\nMilk?"),
            (FORM, "text=", ""),
        ] {
            assert_eq!(clients(post(&mut publisher, "/news", kind, body).await), 2);
            assert_eq!(page.next_json().await, json!({"text": text}));
            assert_eq!(events.next().await, format!("data: {}", json!({"text": text})));
        }
        assert_eq!(publish(&mut publisher, "/other", "for the other topic").await, 1);
        assert_eq!(elsewhere.next_json().await, json!({"text": "for the other topic"}));

        // A client that disconnects is forgotten.
        drop(events);
        while publish(&mut publisher, "/news", "one less").await > 1 {}
        assert_eq!(page.next_json().await, json!({"text": "one less"}));
        drop(page);
        while publish(&mut publisher, "/news", "nobody again").await > 0 {}
    })
    .await;
}

#[tokio::test]
async fn a_malformed_message_is_refused() {
    in_time(async {
        let address = start(example::serve);
        let mut page = Page::open(address, "/news").await;
        for (kind, body) in [
            (FORM, "message=Hello"),
            (FORM, ""),
            ("text/plain", "Hello"),
            (JSON, r#"{"text": 5}"#),
            (JSON, "{}"),
            (JSON, "{"),
            (JSON, ""),
        ] {
            let mut publisher = Peer::connect(address).await;
            assert_eq!(post(&mut publisher, "/news", kind, body).await.status(), 400, "{body}");
        }
        let mut publisher = Peer::connect(address).await;
        let answer = publisher.ask("DELETE /news HTTP/1.1\r\nHost: a\r\n\r\n").await;
        assert_eq!((answer.status(), answer.header("Allow")), (405, Some("GET, POST")));
        publish(&mut publisher, "/news", "a good one").await;
        assert_eq!(page.next_json().await, json!({"text": "a good one"}), "nothing before it");
    })
    .await;
}

/// The server keeps at most 64 KiB and one message for it: at the hard limit of 4 MiB a body would be cut off.
#[tokio::test]
async fn a_slow_reader_of_events_misses_messages_and_delays_nobody() {
    in_time(async {
        let address = start(example::serve);
        let mut publisher = Peer::connect(address).await;
        let mut page = Page::open(address, "/news").await;
        let mut slow = EventSource::open_over(connect_with_little_room(address).await, "/news").await;
        let texts: Vec<String> = (0..200).map(|number| format!("{number} {}", "x".repeat(60_000))).collect();
        for text in &texts {
            assert_eq!(publish(&mut publisher, "/news", text).await, 2);
            assert_eq!(page.next_json().await, json!({"text": text}));
        }

        let mut received = 0;
        let missed = loop {
            let event = slow.next().await;
            if let Some(missed) = event.strip_prefix("event: missed\ndata: ") {
                break missed.parse::<usize>().expect("a number");
            }
            assert_eq!(event, format!("data: {}", json!({"text": texts[received]})));
            received += 1;
        };
        assert_eq!(received + missed, texts.len());
        publish(&mut publisher, "/news", "it has caught up").await;
        assert_eq!(slow.next().await, r#"data: {"text":"it has caught up"}"#);
    })
    .await;
}
