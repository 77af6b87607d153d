//! The chat with tokio-tungstenite. usage: with_tungstenite ADDRESS
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::{Instant, interval_at, sleep, timeout};
use tokio_tungstenite::accept_hdr_async_with_config;
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};

const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// Of pings, and how long a client may take for its pong.
const PING_INTERVAL: Duration = Duration::from_secs(20);
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);
const CLOSE_TIMEOUT: Duration = Duration::from_secs(10);
/// How many bytes a slow reader may be behind.
const BEHIND: usize = 4 << 20;

fn close_frame(code: u16, reason: &'static str) -> Option<CloseFrame> {
    Some(CloseFrame { code: code.into(), reason: reason.into() })
}

/// A message, and its part of the bytes that its reader may be behind.
type Queued = (Utf8Bytes, OwnedSemaphorePermit);

struct Member {
    queue: UnboundedSender<Queued>,
    behind: Arc<Semaphore>,
}

type Members = HashMap<u64, Member>;

struct Chat {
    rooms: Mutex<HashMap<String, Members>>,
    ending: watch::Sender<bool>,
}

impl Chat {
    fn join(&self, room: &str, id: u64) -> UnboundedReceiver<Queued> {
        let (queue, messages) = unbounded_channel();
        let member = Member { queue, behind: Arc::new(Semaphore::new(BEHIND)) };
        self.rooms.lock().unwrap().entry(room.to_owned()).or_default().insert(id, member);
        messages
    }

    /// Removes members that do not read. This ends their queues.
    fn send(&self, room: &str, sender: u64, text: Utf8Bytes) {
        let mut rooms = self.rooms.lock().unwrap();
        let Some(members) = rooms.get_mut(room) else { return };
        let size = text.len() as u32 + 64;
        members.retain(|id, member| {
            *id == sender
                || member
                    .behind
                    .clone()
                    .try_acquire_many_owned(size)
                    .is_ok_and(|behind| member.queue.send((text.clone(), behind)).is_ok())
        });
    }

    fn leave(&self, room: &str, id: u64) {
        let mut rooms = self.rooms.lock().unwrap();
        if let Some(members) = rooms.get_mut(room) {
            members.remove(&id);
            if members.is_empty() {
                rooms.remove(room);
            }
        }
    }
}

async fn serve(stream: TcpStream, id: u64, chat: Arc<Chat>) {
    let mut ending = chat.ending.subscribe();
    let mut name = "lobby".to_owned();
    #[expect(clippy::result_large_err, reason = "it is tungstenite's signature")]
    let check = |request: &Request, response: Response| -> Result<Response, ErrorResponse> {
        if request.uri().path() != "/ws" {
            let mut refusal = ErrorResponse::new(None);
            *refusal.status_mut() = tokio_tungstenite::tungstenite::http::StatusCode::NOT_FOUND;
            return Err(refusal);
        }
        let query = request.uri().query().unwrap_or_default();
        if let Some((_, room)) = form_urlencoded::parse(query.as_bytes()).find(|(key, _)| key == "room") {
            name = room.into_owned();
        }
        Ok(response)
    };
    let config = WebSocketConfig::default().max_message_size(Some(64 * 1024)).max_frame_size(Some(64 * 1024));
    let accepted = accept_hdr_async_with_config(stream, check, Some(config));
    let socket = tokio::select! {
        accepted = timeout(HANDSHAKE_TIMEOUT, accepted) => accepted,
        _ = ending.wait_for(|ending| *ending) => return,
    };
    let Ok(Ok(mut socket)) = socket else { return };

    let mut messages = chat.join(&name, id);
    let mut pings = interval_at(Instant::now() + PING_INTERVAL, PING_INTERVAL);
    let mut is_alive = true;
    let close = loop {
        let message = tokio::select! {
            received = socket.next() => {
                is_alive = true;
                match received {
                    Some(Ok(Message::Text(text))) => chat.send(&name, id, text),
                    // The answer is sent by the next call.
                    Some(Ok(Message::Close(_))) => break close_frame(1000, ""),
                    Some(Ok(_)) => {}
                    Some(Err(_)) | None => break None,
                }
                continue;
            }
            message = messages.recv() => match message {
                Some((text, _behind)) => Message::Text(text),
                None => break close_frame(1013, "slow reader"),
            },
            _ = pings.tick() => {
                if !std::mem::take(&mut is_alive) {
                    break None;
                }
                Message::Ping("".into())
            }
            _ = ending.wait_for(|ending| *ending) => break close_frame(1001, ""),
        };
        if !matches!(timeout(WRITE_TIMEOUT, socket.send(message)).await, Ok(Ok(()))) {
            break None;
        }
    };
    drop(messages);
    chat.leave(&name, id);
    if let Some(frame) = close {
        let closing = async {
            let _ = socket.close(Some(frame)).await;
            while let Some(Ok(_)) = socket.next().await {}
        };
        let _ = timeout(CLOSE_TIMEOUT, closing).await;
    }
}

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let (mut int, mut term) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let chat = Arc::new(Chat { rooms: Mutex::default(), ending: watch::Sender::new(false) });
    let address = std::env::args().nth(1).unwrap_or("127.0.0.1:8000".to_owned());
    let listener = TcpListener::bind(address).await?;
    println!("listening on [{}]", listener.local_addr()?);

    let mut id = 0;
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    let _ = stream.set_nodelay(true);
                    id += 1;
                    tokio::spawn(serve(stream, id, chat.clone()));
                }
                // Too many open files, for example.
                Err(_) => sleep(Duration::from_millis(100)).await,
            },
            _ = int.recv() => break,
            _ = term.recv() => break,
        }
    }
    drop(listener);
    chat.ending.send_replace(true);
    let _ = timeout(CLOSE_TIMEOUT, chat.ending.closed()).await;
    Ok(())
}
