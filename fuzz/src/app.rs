//! A server whose listeners do what the fuzzer says, and which notes everything that it is told.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use react_websocket::errors::ConnectionError;
use react_websocket::options::ControlRate;
use react_websocket::{
    ConnectionGroup, GroupManager, HttpServer, Message, Response, ServerRequest, Text, WebSocketConnection,
    WebSocketMiddleware, WebSocketOptions,
};
use tokio::time::sleep;

/// What a connection was told, and what was done to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    Message,
    Control,
    Drain,
    End,
    Error(u16),
    Close(u16),
    /// A listener has closed it.
    WeClosed,
    /// A listener has terminated it, be it closed or not.
    WeCut,
}

impl Told {
    fn is_event(&self) -> bool {
        !matches!(self, Told::WeClosed | Told::WeCut)
    }
}

/// Whether a peer was sent everything that was written, if it waited for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    Whole,
    Cut,
}

/// The server and what it has noted.
pub struct App {
    pub http: HttpServer,
    pub websocket: WebSocketMiddleware,
    pub groups: GroupManager,
    notes: Arc<Notes>,
}

/// What listeners share. It must not hold the server, which holds the listeners.
#[derive(Default)]
struct Notes {
    script: Mutex<Script>,
    connections: Mutex<HashMap<WebSocketConnection, Vec<Told>>>,
    rejected: Mutex<Vec<WebSocketConnection>>,
    /// `create` and `destroy`, `join` and `leave`.
    groups: Mutex<HashMap<ConnectionGroup, i32>>,
    members: Mutex<HashMap<(ConnectionGroup, WebSocketConnection), i32>>,
}

/// One byte for each time that a listener is called; then nothing more.
#[derive(Default)]
struct Script {
    bytes: Vec<u8>,
    at: usize,
}

/// Which listeners there are.
#[derive(Clone, Copy)]
pub struct Listeners {
    pub rejects: bool,
    /// Whether that of `text` is asynchronous.
    pub waits: bool,
}

/// Options of which each bit makes another one odd.
pub fn options(bits: u8) -> WebSocketOptions {
    let mut options = WebSocketOptions::new();
    if bits & 1 != 0 {
        options = options.max_message_size(300).max_frame_size(200).max_fragments(4);
    }
    if bits & 2 != 0 {
        options = options.control_rate(ControlRate { burst: 3, per_second: 1 });
    }
    if bits & 4 != 0 {
        options = options.write_buffer_soft_limit(10).write_buffer_hard_limit(1000);
    }
    if bits & 8 != 0 {
        options = options.auto_pong(false).max_groups_per_connection(1);
    }
    if bits & 16 != 0 {
        options = options.read_ahead(16);
    }
    if bits & 32 != 0 {
        options = options.turn_budget(1, 1);
    }
    if bits & 64 != 0 {
        options = options.message_rate(100).idle_timeout(Duration::from_secs(30));
    }
    if bits & 128 != 0 {
        options = options.ping_interval(None).max_lifetime(Duration::from_secs(100));
    }
    options
}

impl App {
    pub fn new(options: WebSocketOptions, listeners: Listeners, script: &[u8]) -> App {
        let script = Mutex::new(Script { bytes: script.to_vec(), at: 0 });
        let notes = Arc::new(Notes { script, ..Notes::default() });
        let groups = GroupManager::new();
        note_groups(&groups, &notes);
        let websocket = WebSocketMiddleware::new().with_options(options).with_group_manager(groups.clone());
        websocket.on("connection", {
            let (notes, groups) = (notes.clone(), groups.clone());
            move |connection: WebSocketConnection| {
                notes.connections.lock().unwrap().insert(connection, Vec::new());
                let player = Player { notes: notes.clone(), groups: groups.clone() };
                player.listen(connection, listeners.waits);
                let played = player.play(connection);
                // One that is being closed cannot be rejected any more.
                let page = Response::plaintext("no").with_status(401);
                let is_rejected = listeners.rejects && connection.reject(page);
                if is_rejected || played.is_err() {
                    notes.rejected.lock().unwrap().push(connection);
                }
                played
            }
        });
        let router = |_: ServerRequest| Response::new(200);
        App { http: HttpServer::new((websocket.clone(), router)), websocket, groups, notes }
    }

    /// Whether each connection ended with what was written to it. Checks that everything is over and was told in order.
    pub fn check(&self) -> Vec<Ending> {
        assert!(self.websocket.is_empty(), "connections are left");
        assert!(self.groups.is_empty(), "groups are left");
        assert!(self.notes.groups.lock().unwrap().values().all(|count| *count == 0), "a group was not destroyed");
        assert!(self.notes.members.lock().unwrap().values().all(|count| *count == 0), "a member did not leave");
        let rejected = self.notes.rejected.lock().unwrap();
        let mut endings = Vec::new();
        for (connection, told) in &*self.notes.connections.lock().unwrap() {
            assert!(!connection.is_writable() && !connection.is_readable() && connection.groups().is_empty());
            assert!(!connection.write("late"));
            if rejected.contains(connection) {
                assert!(!told.iter().any(Told::is_event), "a connection that was refused emits nothing: {told:?}");
            } else {
                let code = check_story(told);
                endings.push(if code == 1006 || told.contains(&Told::WeCut) { Ending::Cut } else { Ending::Whole });
            }
        }
        endings
    }
}

/// Messages, then what the peer's Close brings, then at most one fault, then exactly one `close`, whose code this
/// returns.
fn check_story(told: &[Told]) -> u16 {
    let position = |what: fn(&Told) -> bool| told.iter().position(what);
    let count = |what: fn(&Told) -> bool| told.iter().filter(|told| what(told)).count();
    let last = told.iter().rfind(|told| told.is_event());
    let Some(Told::Close(code)) = last else { panic!("`close` is the last: {told:?}") };
    assert_eq!(count(|told| matches!(told, Told::Close(_))), 1, "{told:?}");
    assert!(count(|told| matches!(told, Told::Error(_))) <= 1 && count(|told| *told == Told::End) <= 1, "{told:?}");
    let is_data = |told: &Told| matches!(told, Told::Message | Told::Control);
    let last_data = told.iter().rposition(is_data).unwrap_or(0);
    if let Some(error) = position(|told| matches!(told, Told::Error(_))) {
        let Told::Error(fault) = told[error] else { return *code };
        // Bytes that were written before the error are still sent.
        let may_follow = |told: &Told| matches!(told, Told::Close(_)) || !told.is_event();
        assert!(told[error + 1..].iter().all(may_follow), "{told:?}");
        // After a listener has failed, one of `error` may say how to close.
        assert!(fault == *code || fault == 1011, "the fault is why it closes: {told:?}");
    }
    for end in [position(|told| *told == Told::End), position(|told| *told == Told::WeClosed)].into_iter().flatten() {
        assert!(last_data <= end, "a message behind the end: {told:?}");
    }
    let we_closed = position(|told| *told == Told::WeClosed).unwrap_or(usize::MAX);
    assert!(position(|told| *told == Told::End).is_none_or(|end| end < we_closed), "`end` behind `close()`: {told:?}");
    *code
}

fn note_groups(groups: &GroupManager, notes: &Arc<Notes>) {
    let count = |notes: &Arc<Notes>, by: i32| {
        let notes = notes.clone();
        move |group: ConnectionGroup| *notes.groups.lock().unwrap().entry(group).or_default() += by
    };
    groups.on("create", count(notes, 1));
    groups.on("destroy", count(notes, -1));
    let notes = notes.clone();
    groups.on("create", move |group| {
        let count = |by: i32| {
            let notes = notes.clone();
            move |member: WebSocketConnection| {
                let mut members = notes.members.lock().unwrap();
                let count = members.entry((group, member)).or_default();
                *count += by;
                assert!((0..2).contains(count), "{count} joins more than leaves");
            }
        };
        group.on("join", count(1));
        group.on("leave", count(-1));
    });
}

/// Does what the script says.
#[derive(Clone)]
struct Player {
    notes: Arc<Notes>,
    groups: GroupManager,
}

const NAMES: [&str; 4] = ["a", "b", "c", ""];
const CODES: [u16; 8] = [1000, 1001, 1005, 1006, 1013, 3000, 4999, 5000];

impl Player {
    fn listen(&self, connection: WebSocketConnection, waits: bool) {
        let player = || self.clone();
        if waits {
            connection.on("text", {
                let player = player();
                move |connection: WebSocketConnection, _: Text| {
                    let player = player.clone();
                    player.note(connection, Told::Message);
                    async move {
                        sleep(Duration::from_millis(2)).await;
                        player.play(connection)
                    }
                }
            });
        } else {
            let player = player();
            connection.on("text", move |connection: WebSocketConnection, _: &str| player.hear(connection, Told::Message));
        }
        let on = |event: &'static str, told: Told| {
            let player = player();
            connection.on(event, move |connection: WebSocketConnection| player.hear(connection, told));
        };
        on("ping", Told::Control);
        on("pong", Told::Control);
        on("binary", Told::Message);
        on("drain", Told::Drain);
        on("end", Told::End);
        connection.on("message", |_: Message| ());
        connection.on("error", {
            let player = player();
            move |connection: WebSocketConnection, error: &ConnectionError| {
                player.hear(connection, Told::Error(error.close_code()))
            }
        });
        connection.on("close", {
            let player = player();
            move |connection: WebSocketConnection, code: u16| player.hear(connection, Told::Close(code))
        });
    }

    fn note(&self, connection: WebSocketConnection, told: Told) {
        self.notes.connections.lock().unwrap().entry(connection).or_default().push(told);
    }

    fn hear(&self, connection: WebSocketConnection, told: Told) -> Result<(), String> {
        self.note(connection, told);
        self.play(connection)
    }

    fn play(&self, connection: WebSocketConnection) -> Result<(), String> {
        let byte = {
            let mut script = self.notes.script.lock().unwrap();
            script.at += 1;
            script.bytes.get(script.at - 1).copied().unwrap_or(0)
        };
        let argument = usize::from(byte >> 5);
        let name = NAMES[argument & 3];
        let text = "é".repeat(argument * argument * 10);
        let is_open = connection.is_writable();
        match byte & 0x1F {
            1 => drop(connection.write(text)),
            2 => drop(connection.write_binary(vec![7; argument * 10_000])),
            3 => drop(connection.ping(vec![7; argument * 20])),
            4 => drop(connection.pong("pong")),
            5 => connection.end(),
            6 => connection.end_with(text),
            7..=9 => {
                match byte & 0x1F {
                    7 => connection.close(),
                    8 => connection.close_with(CODES[argument], &text),
                    _ => connection.terminate(),
                }
                if is_open {
                    self.note(connection, Told::WeClosed);
                }
                if byte & 0x1F == 9 {
                    self.note(connection, Told::WeCut);
                }
            }
            10 => {
                connection.pause();
                tokio::spawn(async move {
                    sleep(Duration::from_secs(1)).await;
                    connection.resume();
                });
            }
            PAUSE => connection.pause(),
            12 => connection.resume(),
            13 => drop(self.groups.join(name, connection)),
            14 => drop(self.groups.leave(name, connection)),
            15 => drop(connection.set_group(Some(name))),
            16 => drop(connection.set_group(None)),
            17 => self.groups.write(name, text),
            18 => self.groups.close_all(name, 4000),
            19 => {
                let player = self.clone();
                connection.once("text", move |connection: WebSocketConnection| drop(player.play(connection)));
            }
            20 => connection.remove_all_listeners(Some("text")),
            21 => {
                let mut writer = connection.begin_text();
                writer.write(&text);
                writer.write("more");
                writer.end();
            }
            // Not ended.
            22 => drop(connection.begin_binary().write(text.as_bytes())),
            23 => drop(tokio::spawn(async move { connection.send(text).await })),
            24 => return Err("told to".into()),
            25 => {
                for _ in 0..100 {
                    connection.write(&text);
                }
            }
            26 => drop(connection.set(self.clone())),
            27 => drop(self.groups.join(name, connection).map(|group| group.remove(connection))),
            _ => {}
        }
        Ok(())
    }
}

const PAUSE: u8 = 11;

/// Whether a script may leave a connection paused for ever.
pub fn may_pause(script: &[u8]) -> bool {
    script.iter().any(|byte| byte & 0x1F == PAUSE)
}
