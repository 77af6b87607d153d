//! A client of a port.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use serde_json::Value;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::support::{Frame, HANDSHAKE, Peer, frame, let_all_run, text};

const TEXT: u8 = 1;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;

/// Fails a test that would wait for ever.
pub async fn in_time<T>(test: impl Future<Output = T>) -> T {
    timeout(Duration::from_secs(60), test).await.expect("in time")
}

/// A page: its browser answers pings and Close frames, as RFC 6455 section 5.5 demands.
pub struct Page {
    pub peer: Peer<TcpStream>,
    received: VecDeque<Frame>,
}

impl Page {
    pub async fn open(address: SocketAddr, target: &str) -> Page {
        Page::open_over(TcpStream::connect(address).await.expect("a connection"), target).await
    }

    pub async fn open_over(stream: TcpStream, target: &str) -> Page {
        let mut peer = Peer::new(stream);
        peer.send(HANDSHAKE.replacen('/', target, 1)).await;
        let head = peer.head().await;
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
        Page { peer, received: VecDeque::new() }
    }

    pub async fn send(&mut self, message: &str) {
        self.peer.send(text(message)).await;
    }

    pub async fn next_text(&mut self) -> String {
        let frame = self.next().await;
        assert_eq!((frame.fin, frame.opcode), (true, TEXT), "{frame:?}");
        String::from_utf8(frame.payload).expect("text")
    }

    pub async fn next_json(&mut self) -> Value {
        serde_json::from_str(&self.next_text().await).expect("JSON")
    }

    /// Reads a Close frame, and answers it. Returns its code and its reason.
    pub async fn next_close(&mut self) -> (u16, String) {
        let frame = self.next().await;
        assert_eq!((frame.fin, frame.opcode), (true, CLOSE), "{frame:?}");
        self.peer.send(self::frame(0x88, &frame.payload)).await;
        let (code, reason) = frame.payload.split_at(2);
        (u16::from_be_bytes([code[0], code[1]]), String::from_utf8(reason.to_vec()).expect("text"))
    }

    /// Closes, and reads until the end.
    pub async fn close(mut self) {
        self.peer.send(frame(0x88, 1000_u16.to_be_bytes())).await;
        self.peer.rest().await;
    }

    /// Lets paused time pass, in steps in which the browser answers pings.
    pub async fn pass(seconds: u64, pages: &mut [&mut Page]) {
        const STEP: u64 = 5;
        for _ in 0..seconds / STEP {
            tokio::time::advance(Duration::from_secs(STEP)).await;
            let_all_run().await;
            for page in pages.iter_mut() {
                page.catch_up().await;
            }
        }
    }

    /// The server has handled everything that this page has sent, and the page has everything that the server has sent.
    pub async fn catch_up(&mut self) {
        if self.is_closed() {
            return;
        }
        self.peer.send(frame(0x89, "is this all?")).await;
        while !self.is_closed() {
            match self.read().await {
                Frame { opcode: PONG, .. } => return,
                frame => self.received.push_back(frame),
            }
        }
    }

    /// Whether the last frame was a Close frame.
    fn is_closed(&self) -> bool {
        self.received.back().is_some_and(|frame| frame.opcode == CLOSE)
    }

    async fn next(&mut self) -> Frame {
        match self.received.pop_front() {
            Some(frame) => frame,
            None => self.read().await,
        }
    }

    /// Reads a frame that is no ping.
    async fn read(&mut self) -> Frame {
        loop {
            let frame = self.peer.frame().await.expect("a frame");
            if frame.opcode != PING {
                return frame;
            }
            self.peer.send(self::frame(0x8A, frame.payload)).await;
        }
    }
}
