//! The chat's server. Each room is a group of the crate's [`GroupManager`].
//!
//! # Protocol
//!
//! All messages are JSON objects in text messages. The page sends:
//!
//! * `{"type": "join", "room": "tea", "name": "Ann", "since": {"history": "5f…", "number": 12}}` enters a room,
//!   and leaves the room before it. With `since` only later messages are sent. It is optional.
//! * `{"type": "say", "id": "c0ffee…", "text": "Hello"}` sends a message to the room. The page chooses a random id. A
//!   repeated id is not sent to the room again, so a page may repeat a message after a lost connection.
//! * `{"type": "typing"}` is sent every few seconds while the user types.
//! * `{"type": "ping"}` asks whether the connection works. A page does not see the pings of the WebSocket protocol.
//!
//! The server sends:
//!
//! * `{"type": "rooms", "names": ["lobby", "tea"]}` at the beginning, and when a room appears or disappears.
//! * `{"type": "joined", "room": "tea", "name": "Ann", "history": "5f…", "number": 14, "resumed": true, "missed": 0,
//!   "messages": […]}` answers `join`. `number` is the number of the room's last message. `resumed` is `true` if `since`
//!   is a position in this history. If it is, `missed` counts the messages after it that are no longer kept.
//!   The page may get messages of the room before `joined`. `joined` contains them too, so the page ignores them.
//! * `{"type": "people", "names": ["Ann", "Ben"]}` when a member enters or leaves the room.
//! * `{"type": "message", "number": 13, "id": "c0ffee…", "name": "Ann", "text": "Hello", "time": 1735689600000}` is a
//!   message of the room. Its sender gets it too, as the acknowledgement.
//! * `{"type": "typing", "name": "Ann"}` while another member types.
//! * `{"type": "pong"}` answers `ping`.
//! * `{"type": "error", "code": "text", "text": "…", "id": "c0ffee…"}` answers a command that was refused. The connection
//!   stays open. `id` is that of the refused `say`, or null.

use std::time::Duration;

use react_websocket::{
    ConnectionGroup, GroupManager, HttpServer, Response, ServerRequest, WebSocketConnection, WebSocketMiddleware,
    WebSocketOptions,
};
use serde::Deserialize;
use serde_json::json;

use super::history::{Histories, Position};

/// Maximum number of rooms, and of people in a room.
pub const ROOMS: usize = 50;
pub const PEOPLE: usize = 100;

/// Maximum lengths in characters.
pub const NAME: usize = 24;
pub const ROOM: usize = 32;
pub const TEXT: usize = 2_000;
pub const ID: usize = 64;

/// Maximum number of messages per second from one client.
pub const RATE: u32 = 10;

/// The page may load its own files and connect to its own server, and nothing else.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
    connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; \
    require-trusted-types-for 'script'; trusted-types 'none'";

#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
enum Command {
    Join { room: String, name: String, since: Option<Position> },
    Say { id: String, text: String },
    Typing,
    Ping,
}

/// The user of a connection, which is attached to the connection as a value.
pub struct Person {
    pub name: String,
    pub since: Option<Position>,
}

/// A refused command: a code for programs and a text for people.
pub type Refusal = (&'static str, String);

/// The server. Pages of other hosts and ports are refused, which is the default of the crate.
pub fn server() -> HttpServer {
    let (groups, histories) = (GroupManager::new(), Histories::default());
    let options = WebSocketOptions::new()
        .max_message_size(16 * 1024)
        .message_rate(RATE)
        .ping_interval(Duration::from_secs(15))
        .pong_timeout(Duration::from_secs(10));
    let websocket = WebSocketMiddleware::new().with_path("/chat").with_options(options).with_group_manager(groups.clone());

    groups.on("create", {
        let (groups, websocket, histories) = (groups.clone(), websocket.clone(), histories.clone());
        move |room| {
            websocket.write_all(rooms(&groups));
            let histories = histories.clone();
            room.on("join", move |member| {
                histories.welcome(room, member);
                room.write(people(room));
            });
            room.on("leave", move |_| room.write(people(room)));
        }
    });
    groups.on("destroy", {
        let (groups, websocket, histories) = (groups.clone(), websocket.clone(), histories.clone());
        move |room| {
            websocket.write_all(rooms(&groups));
            histories.leave(room, &groups);
        }
    });
    websocket.on("connection", move |connection: WebSocketConnection| {
        connection.write(rooms(&groups));
        let (groups, histories) = (groups.clone(), histories.clone());
        connection.on("text", move |text: &str| {
            let (id, result) = match serde_json::from_str(text) {
                Ok(Command::Join { room, name, since }) => (None, join(&groups, connection, &room, &name, since)),
                Ok(Command::Say { id, text }) => {
                    let result = histories.say(connection, &id, &text);
                    (Some(id), result)
                }
                Ok(Command::Typing) => (None, typing(connection)),
                Ok(Command::Ping) => {
                    connection.write(json!({"type": "pong"}).to_string());
                    (None, Ok(()))
                }
                Err(error) => (None, Err(("command", error.to_string()))),
            };
            if let Err((code, text)) = result {
                connection.write(json!({"type": "error", "code": code, "text": text, "id": id}).to_string());
            }
        });
    });
    HttpServer::new((websocket, page))
}

fn page(request: ServerRequest) -> Response {
    let file = |kind, text: &'static str| Response::new(200).with_header("Content-Type", kind).with_body(text);
    let response = match request.path() {
        "/" => Response::html(include_str!("index.html")),
        "/style.css" => file("text/css; charset=utf-8", include_str!("style.css")),
        "/chat.js" => file("text/javascript; charset=utf-8", include_str!("chat.js")),
        "/icon.svg" => file("image/svg+xml", include_str!("icon.svg")),
        _ => Response::plaintext("There is nothing here").with_status(404),
    };
    response
        .with_header("Content-Security-Policy", CONTENT_SECURITY_POLICY)
        .with_header("X-Content-Type-Options", "nosniff")
        .with_header("Referrer-Policy", "no-referrer")
        .with_header("Cache-Control", "no-cache")
}

fn join(
    groups: &GroupManager,
    connection: WebSocketConnection,
    room: &str,
    name: &str,
    since: Option<Position>,
) -> Result<(), Refusal> {
    let (room, name) = (checked("room", room, ROOM)?, checked("name", name, NAME)?);
    match groups.get(room) {
        Some(group) if group.len() >= PEOPLE => return Err(("full", format!("the room has {PEOPLE} people"))),
        None if groups.len() >= ROOMS => return Err(("full", format!("there are {ROOMS} rooms"))),
        _ => {}
    }
    // A client may enter its own room again, with another name. `join` fires only for a member that is new.
    let result = connection.set_group(None).and_then(|()| {
        connection.set(Person { name: name.to_owned(), since });
        connection.set_group(Some(room))
    });
    result.map_err(|error| ("room", error.to_string()))
}

fn typing(connection: WebSocketConnection) -> Result<(), Refusal> {
    let (room, name) = place(connection)?;
    room.write_except(connection, json!({"type": "typing", "name": name}).to_string());
    Ok(())
}

/// The room and the name of a connection.
pub fn place(connection: WebSocketConnection) -> Result<(ConnectionGroup, String), Refusal> {
    let room = connection.group().ok_or_else(|| ("place", "join a room first".to_owned()))?;
    Ok((room, name_of(connection)))
}

fn name_of(connection: WebSocketConnection) -> String {
    connection.get::<Person>().map(|person| person.name.clone()).unwrap_or_default()
}

fn people(room: ConnectionGroup) -> String {
    let mut names: Vec<String> = room.members().into_iter().map(name_of).collect();
    names.sort();
    json!({"type": "people", "names": names}).to_string()
}

fn rooms(groups: &GroupManager) -> String {
    let mut names: Vec<String> = groups.groups().iter().map(|room| room.name().to_string()).collect();
    names.sort();
    json!({"type": "rooms", "names": names}).to_string()
}

/// Trims a text of a client. Refuses an empty text, a text that is too long, and invisible characters.
pub fn checked<'a>(code: &'static str, text: &'a str, limit: usize) -> Result<&'a str, Refusal> {
    let text = text.trim();
    match text.chars().count() {
        0 => Err((code, format!("the {code} is empty"))),
        length if length > limit => Err((code, format!("the {code} has {length} characters, the limit is {limit}"))),
        _ if code != "text" && text.chars().any(is_invisible) => {
            Err((code, format!("the {code} contains an invisible character")))
        }
        _ if text.chars().any(|char| char.is_control() && !"\n\t".contains(char)) => {
            Err((code, format!("the {code} contains a control character")))
        }
        _ => Ok(text),
    }
}

/// Returns whether a character is invisible, or changes the direction of others. With it, a name could look like another.
/// Joiners are part of some scripts and of some emoji.
fn is_invisible(char: char) -> bool {
    let is_joiner = matches!(char, '\u{200c}' | '\u{200d}');
    let is_format =
        matches!(char, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}');
    char.is_control() || is_format && !is_joiner
}
