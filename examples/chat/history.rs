//! The last messages of each room, in memory.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use react_websocket::{ConnectionGroup, GroupManager, WebSocketConnection};
use serde::Deserialize;
use serde_json::{Value, json};

use super::chat::{ID, Person, ROOMS, Refusal, TEXT, checked, place};

/// Maximum number of messages that a room keeps.
pub const HISTORY: usize = 50;

/// A position in the history of a room. A later room of the same name has another history.
#[derive(Clone, Deserialize)]
pub struct Position {
    history: String,
    number: u64,
}

/// The last messages of a room. They are kept for a while after the last member has left, for clients that reconnect.
struct History {
    id: String,
    last: u64,
    messages: VecDeque<Value>,
    /// When the last member left.
    empty_since: Instant,
}

impl Default for History {
    fn default() -> History {
        History {
            id: format!("{:016x}", fastrand::u64(..)),
            last: 0,
            messages: VecDeque::new(),
            empty_since: Instant::now(),
        }
    }
}

/// The histories of all rooms, by the name of the room.
#[derive(Clone, Default)]
pub struct Histories(Arc<Mutex<HashMap<String, History>>>);

impl Histories {
    fn lock(&self) -> MutexGuard<'_, HashMap<String, History>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends a message to the room. The lock is held meanwhile, so all members get the messages in the order of their
    /// numbers.
    pub fn say(&self, connection: WebSocketConnection, id: &str, text: &str) -> Result<(), Refusal> {
        let (room, name) = place(connection)?;
        let (id, text) = (checked("id", id, ID)?, checked("text", text, TEXT)?);
        let mut histories = self.lock();
        let history = histories.entry(room.name().to_string()).or_default();
        if let Some(sent) = history.messages.iter().find(|message| message["id"] == id) {
            connection.write(sent.to_string());
            return Ok(());
        }
        history.last += 1;
        let time = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as u64;
        let number = history.last;
        let message = json!({"type": "message", "number": number, "id": id, "name": name, "text": text, "time": time});
        room.write(message.to_string());
        if history.messages.len() == HISTORY {
            history.messages.pop_front();
        }
        history.messages.push_back(message);
        Ok(())
    }

    /// Sends a new member the messages that it does not have. Later messages follow these, because `say` takes the same
    /// lock. The member may have got some of them before, since it joined before this call.
    pub fn welcome(&self, room: ConnectionGroup, member: WebSocketConnection) {
        let Some(person) = member.get::<Person>() else { return };
        let (mut histories, room) = (self.lock(), room.name().to_string());
        let history = histories.entry(room.clone()).or_default();
        let since = person.since.as_ref().filter(|since| since.history == history.id && since.number <= history.last);
        let after = since.map_or(0, |since| since.number);
        let unseen = usize::try_from(history.last - after).unwrap_or(usize::MAX);
        let messages: Vec<&Value> = history.messages.iter().rev().take(unseen).rev().collect();
        let joined = json!({
            "type": "joined", "room": room, "name": person.name, "history": history.id, "number": history.last,
            "resumed": since.is_some(), "missed": unseen - messages.len(), "messages": messages,
        });
        member.write(joined.to_string());
    }

    /// Keeps the history of a room that has become empty. Bounds the memory: forgets the histories of the rooms that
    /// have been empty for longest.
    pub fn leave(&self, room: ConnectionGroup, groups: &GroupManager) {
        let mut histories = self.lock();
        if let Some(history) = histories.get_mut(room.name().as_str()) {
            history.empty_since = Instant::now();
        }
        while histories.len() > ROOMS {
            let empty = histories.iter().filter(|(name, _)| groups.get(name).is_none());
            let Some(oldest) = empty.min_by_key(|(_, history)| history.empty_since).map(|(name, _)| name.clone()) else {
                break;
            };
            histories.remove(&oldest);
        }
    }
}
