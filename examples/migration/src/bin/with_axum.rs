//! The chat with axum. usage: with_axum ADDRESS
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::extract::ws::{CloseFrame, Message, Utf8Bytes, WebSocket, WebSocketUpgrade};
use axum::extract::{Query, State};
use axum::response::Response;
use axum::routing::get;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::{Instant, interval_at, timeout};

/// Of pings, and how long a client may take for its pong.
const PING_INTERVAL: Duration = Duration::from_secs(20);
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);
const CLOSE_TIMEOUT: Duration = Duration::from_secs(10);
/// How many bytes a slow reader may be behind.
const BEHIND: usize = 4 << 20;

fn close_frame(code: u16, reason: &'static str) -> Option<CloseFrame> {
    Some(CloseFrame { code, reason: reason.into() })
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
    last_id: AtomicU64,
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

async fn upgrade(
    upgrade: WebSocketUpgrade,
    Query(mut query): Query<HashMap<String, String>>,
    State(chat): State<Arc<Chat>>,
) -> Response {
    let room = query.remove("room").unwrap_or("lobby".to_owned());
    upgrade.max_message_size(64 * 1024).max_frame_size(64 * 1024).on_upgrade(move |socket| serve(socket, room, chat))
}

async fn serve(mut socket: WebSocket, name: String, chat: Arc<Chat>) {
    let mut ending = chat.ending.subscribe();
    let id = chat.last_id.fetch_add(1, Ordering::Relaxed);
    let mut messages = chat.join(&name, id);
    let mut pings = interval_at(Instant::now() + PING_INTERVAL, PING_INTERVAL);
    let mut is_alive = true;
    let close = loop {
        let message = tokio::select! {
            received = socket.recv() => {
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
            let _ = socket.send(Message::Close(Some(frame))).await;
            while let Some(Ok(_)) = socket.recv().await {}
        };
        let _ = timeout(CLOSE_TIMEOUT, closing).await;
    }
}

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let (mut int, mut term) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let chat = Arc::new(Chat { rooms: Mutex::default(), last_id: AtomicU64::new(0), ending: watch::Sender::new(false) });
    let app = Router::new().route("/ws", get(upgrade)).with_state(chat.clone());
    let address = std::env::args().nth(1).unwrap_or("127.0.0.1:8000".to_owned());
    let listener = TcpListener::bind(address).await?;
    println!("listening on [{}]", listener.local_addr()?);

    let mut ending = chat.ending.subscribe();
    let server = axum::serve(listener, app).with_graceful_shutdown(async move {
        let _ = ending.wait_for(|ending| *ending).await;
    });
    let server = tokio::spawn(async move { server.await });
    tokio::select! {
        _ = int.recv() => {}
        _ = term.recv() => {}
    }
    chat.ending.send_replace(true);
    // Without the timeout, a client with an open request, or without an answer to its Close frame, would delay the end.
    let ended = async {
        let _ = server.await;
        chat.ending.closed().await;
    };
    let _ = timeout(CLOSE_TIMEOUT, ended).await;
    Ok(())
}
