//! Broadcasts to members with compression (RFC 7692): one compressed form for all, and correct windows.
#![cfg(feature = "deflate")]

mod compressed;
mod support;

use std::sync::mpsc;
use std::time::Duration;

use compressed::*;
use react_websocket::options::{Compression, SlowMemberPolicy};
use react_websocket::protocol::deflate::Direction;
use react_websocket::{
    ConnectionGroup, GroupManager, HttpServer, WebSocketConnection, WebSocketMiddleware, WebSocketOptions,
};
use support::*;
use tokio::io::DuplexStream;
use tokio::time::timeout;

/// A server whose connections are members of one group.
struct Server {
    http: HttpServer,
    groups: GroupManager,
    opened: mpsc::Receiver<WebSocketConnection>,
}

/// A member, and what it knows of its window.
struct Member {
    peer: Peer<DuplexStream>,
    connection: WebSocketConnection,
    codec: Codec,
}

impl Member {
    /// Returns the next message, and whether it was compressed.
    async fn receive(&mut self) -> (Vec<u8>, bool) {
        let frame = self.peer.frame().await.expect("a message");
        assert!(frame.fin && frame.opcode & 0x3F == 1, "{frame:?}");
        let is_packed = frame.opcode & 0x40 != 0;
        (if is_packed { self.codec.unpack(&frame.payload) } else { frame.payload }, is_packed)
    }

    async fn expect(&mut self, message: &str, is_packed: bool) {
        let (received, was_packed) = self.receive().await;
        assert!(received == message.as_bytes(), "{} bytes instead of {}", received.len(), message.len());
        assert_eq!(was_packed, is_packed, "{} bytes", message.len());
    }
}

impl Server {
    fn new(options: WebSocketOptions) -> Server {
        let (groups, (open, opened)) = (GroupManager::new(), mpsc::channel());
        let websocket = WebSocketMiddleware::new().with_options(options).with_group_manager(groups.clone());
        websocket.on("connection", move |connection: WebSocketConnection| {
            connection.set_group(Some("all")).expect("a group");
            open.send(connection).is_ok()
        });
        Server { http: HttpServer::new((websocket, router)), groups, opened }
    }

    fn group(&self) -> ConnectionGroup {
        self.groups.get("all").expect("it has members")
    }

    async fn join(&self, offer: Option<&str>, receives: Direction, capacity: usize) -> Member {
        let line =
            offer.map_or_else(String::new, |offer| format!("Sec-WebSocket-Extensions: permessage-deflate{offer}\r\n"));
        let (mut peer, _serving) = Peer::serve_with_capacity(&self.http, capacity);
        let answer = peer.ask(HANDSHAKE.replacen("\r\n\r\n", &format!("\r\n{line}\r\n"), 1)).await;
        assert_eq!(answer.header("Sec-WebSocket-Extensions").is_some(), offer.is_some());
        Member { peer, connection: self.opened.try_recv().expect("a connection"), codec: Codec::new(ALONE, receives) }
    }
}

fn options() -> WebSocketOptions {
    WebSocketOptions::new().ping_interval(None).compression(Compression::new().window(32 * 1024))
}

/// RFC 7692 section 7.1.1.1: what was sent compressed is a part of each window, plain messages are not.
#[tokio::test(start_paused = true)]
async fn members_of_all_kinds_get_all_messages_and_keep_their_windows() {
    let server = Server::new(options());
    let bits = |bits| Direction { takeover: true, bits };
    let mut plain = server.join(None, ALONE, 1 << 20).await;
    let mut takeover = server.join(Some(""), TAKEOVER, 1 << 20).await;
    let mut small = server.join(Some("; server_max_window_bits=9"), bits(9), 1 << 20).await;
    let mut alone = server.join(Some("; server_no_context_takeover"), ALONE, 1 << 20).await;
    for round in 0..3 {
        for count in [3, 20, 200, 3_000] {
            let message = format!("{round}: {}", words(count));
            server.group().write(&message);
            let is_packed = message.len() >= 64;
            plain.expect(&message, false).await;
            takeover.expect(&message, is_packed).await;
            // A distance in the form for all might be larger than this window.
            small.expect(&message, is_packed && message.len() <= 512).await;
            alone.expect(&message, message.len() >= 256).await;
        }
        // What each gets for itself refers to what all have got.
        for member in [&mut takeover, &mut small] {
            let own = words(25 + round);
            member.connection.write(&own);
            member.expect(&own, true).await;
        }
        let text = String::from_utf8(noise(3_000).iter().map(|byte| byte & 0x7F).collect()).unwrap();
        server.group().write(&text);
        for member in [&mut plain, &mut takeover, &mut small, &mut alone] {
            assert!(member.receive().await.0 == text.as_bytes());
        }
    }
}

/// Several broadcasts of a turn have one log.
#[tokio::test(start_paused = true)]
async fn the_broadcasts_of_a_turn_arrive_in_their_order() {
    let server = Server::new(options());
    let mut plain = server.join(None, ALONE, 1 << 20).await;
    let mut takeover = server.join(Some(""), TAKEOVER, 1 << 20).await;
    for _ in 0..3 {
        react_websocket::cork(|| {
            for count in [100, 20, 3, 100] {
                server.group().write(words(count));
                takeover.connection.write(words(count + 1));
            }
        });
        for count in [100, 20, 3, 100] {
            plain.expect(&words(count), false).await;
            takeover.expect(&words(count), count > 3).await;
            let (own, _) = takeover.receive().await;
            assert!(own == words(count + 1).as_bytes());
        }
    }
}

/// Messages that were dropped or held, and messages behind one in pieces: none harms the window.
#[tokio::test(start_paused = true)]
async fn dropped_held_and_streamed_messages_harm_no_window() {
    for policy in
        [SlowMemberPolicy::DropNew, SlowMemberPolicy::DropOldest, SlowMemberPolicy::KeepLatest, SlowMemberPolicy::Keep]
    {
        let server = Server::new(options().write_buffer_soft_limit(2_000));
        let mut slow = server.join(Some(""), TAKEOVER, 600).await;
        server.group().set_slow_member_policy(policy);
        for round in 0..5 {
            let message = |number: usize| format!("{round} {number} {}", words(150));
            for number in 0..20 {
                server.group().write(message(number));
                settle().await;
            }
            slow.connection.write(format!("{round} last {}", words(30)));
            let mut numbers = Vec::new();
            // Until nothing more comes: held messages follow the last one.
            while let Ok((received, _)) = timeout(Duration::from_secs(1), slow.receive()).await {
                let text = String::from_utf8(received).unwrap();
                let number = text.split(' ').nth(1).unwrap();
                let expected = match number.parse() {
                    Ok(number) => message(number),
                    Err(_) => format!("{round} last {}", words(30)),
                };
                assert!(text == expected, "{policy:?}: {number} in round {round}");
                numbers.push(number.to_owned());
            }
            assert_eq!(numbers.len() == 21, policy == SlowMemberPolicy::Keep, "{policy:?}: {numbers:?}");
            server.group().write(message(99));
            slow.expect(&message(99), true).await;
            let mut writer = slow.connection.begin_text();
            writer.write("piece");
            server.group().write(message(100));
            writer.end();
            for _ in 0..2 {
                slow.peer.frame().await.expect("a piece");
            }
            assert!(slow.receive().await.0 == message(100).as_bytes());
        }
    }
}

/// All connections of a middleware, under one lock of their order.
#[tokio::test(start_paused = true)]
async fn a_message_is_compressed_once_for_all() {
    let server = Server::new(options());
    let mut members = Vec::new();
    for _ in 0..5 {
        members.push(server.join(Some(""), TAKEOVER, 1 << 20).await);
    }
    for count in [50, 60] {
        server.group().write(words(count));
        let mut payloads = Vec::new();
        for member in &mut members {
            let frame = member.peer.frame().await.unwrap();
            assert_eq!(frame.opcode, 0x41);
            assert!(member.codec.unpack(&frame.payload) == words(count).as_bytes());
            payloads.push(frame.payload);
        }
        payloads.dedup();
        assert_eq!(payloads.len(), 1, "all get the same bytes, which refer to nothing before");
        // Their windows differ from now on.
        for (number, member) in members.iter_mut().enumerate() {
            member.connection.write(words(10 + number));
            assert!(member.receive().await.0 == words(10 + number).as_bytes());
        }
    }
}
