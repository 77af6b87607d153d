//! The protocol of the example `chat`, which its `chat.rs` describes.
#![cfg(feature = "testing")]

#[path = "../examples/chat/chat.rs"]
mod chat;
#[path = "../examples/chat/history.rs"]
mod history;

use chat::{ID, NAME, PEOPLE, RATE, ROOM, ROOMS, TEXT};
use history::HISTORY;
use react_websocket::testing::{TestClient, TestConnection};
use serde_json::{Value, json};
use tokio::time::{Duration, Instant};

const QUIET: Duration = Duration::from_secs(5);

fn server() -> TestClient {
    TestClient::new(chat::server())
}

/// A page that has read the list of rooms at the beginning.
struct Page(TestConnection);

impl Page {
    async fn open(server: &TestClient) -> Page {
        let mut page = Page(server.connect("/chat").await);
        page.next("rooms").await;
        page
    }

    /// A page that has joined a room.
    async fn join(server: &TestClient, room: &str, name: &str) -> Page {
        let mut page = Page::open(server).await;
        page.send(json!({"type": "join", "room": room, "name": name})).await;
        page.next("joined").await;
        page
    }

    async fn send(&mut self, command: Value) {
        self.0.send_text(command.to_string());
    }

    async fn say(&mut self, id: &str, text: &str) {
        self.send(json!({"type": "say", "id": id, "text": text})).await;
    }

    async fn any(&mut self) -> Value {
        serde_json::from_str(&self.0.next_text().await).expect("JSON")
    }

    /// The next message of this type. The messages before it are dropped.
    async fn next(&mut self, kind: &str) -> Value {
        loop {
            let message = self.any().await;
            if message["type"] == kind {
                return message;
            }
        }
    }

    /// The code of the answer to a command that is refused.
    async fn refusal(&mut self, command: Value) -> String {
        self.send(command).await;
        self.next("error").await["code"].as_str().expect("a code").to_owned()
    }

    /// Joins with a position, and returns the answer.
    async fn resume(&mut self, room: &str, history: &Value, number: u64) -> Value {
        let since = json!({"history": history, "number": number});
        self.send(json!({"type": "join", "room": room, "name": "Ann", "since": since})).await;
        self.next("joined").await
    }
}

fn numbers(joined: &Value) -> Vec<u64> {
    joined["messages"].as_array().expect("messages").iter().map(|message| message["number"].as_u64().unwrap()).collect()
}

/// A room with so many messages, of whose members one is returned. Its history is returned too.
async fn room_with(server: &TestClient, count: usize) -> (Page, Value) {
    let mut page = Page::open(server).await;
    page.send(json!({"type": "join", "room": "tea", "name": "Ben"})).await;
    let history = page.next("joined").await["history"].clone();
    for number in 1..=count {
        page.say(&format!("id {number}"), &format!("text {number}")).await;
        assert_eq!(page.next("message").await["number"], number);
    }
    (page, history)
}

#[tokio::test(start_paused = true)]
async fn all_members_get_a_message_with_its_number_its_id_and_the_name_of_its_sender() {
    let server = server();
    let (mut ann, mut ben) = (Page::join(&server, "tea", "Ann").await, Page::join(&server, "tea", " Ben ").await);
    let mut elsewhere = Page::join(&server, "lobby", "Cleo").await;
    ben.say("1", " <b>Hello</b>\n ").await;
    for page in [&mut ann, &mut ben] {
        let mut message = page.next("message").await;
        assert!(message["time"].take().as_u64().unwrap() > 1_600_000_000_000);
        let expected =
            json!({"type": "message", "number": 1, "id": "1", "name": "Ben", "text": "<b>Hello</b>", "time": null});
        assert_eq!(message, expected);
    }
    elsewhere.next("people").await;
    elsewhere.0.expect_silence(QUIET).await;
}

#[tokio::test(start_paused = true)]
async fn people_and_rooms_are_live_lists() {
    let server = server();
    let mut ann = Page::join(&server, "tea", "Ann").await;
    assert_eq!(ann.next("people").await["names"], json!(["Ann"]));
    let mut ben = Page::join(&server, "tea", "Ben").await;
    assert_eq!(ann.next("people").await["names"], json!(["Ann", "Ben"]));
    assert_eq!(ben.next("people").await["names"], json!(["Ann", "Ben"]));
    ben.send(json!({"type": "join", "room": "cake", "name": "Ben"})).await;
    assert_eq!(ann.next("people").await["names"], json!(["Ann"]));
    assert_eq!(ann.next("rooms").await["names"], json!(["cake", "tea"]));
    drop(ben);
    assert_eq!(ann.next("rooms").await["names"], json!(["tea"]));
    // Ann enters her room again, with another name.
    ann.send(json!({"type": "join", "room": "tea", "name": "Anna"})).await;
    assert_eq!(ann.next("joined").await["name"], "Anna");
    assert_eq!(ann.next("people").await["names"], json!(["Anna"]));
}

#[tokio::test(start_paused = true)]
async fn typing_is_sent_to_the_other_members() {
    let server = server();
    let (mut ann, mut ben) = (Page::join(&server, "tea", "Ann").await, Page::join(&server, "tea", "Ben").await);
    ann.next("people").await;
    ann.next("people").await;
    ann.send(json!({"type": "typing"})).await;
    assert_eq!(ben.next("typing").await, json!({"type": "typing", "name": "Ann"}));
    ann.0.expect_silence(QUIET).await;
}

#[tokio::test(start_paused = true)]
async fn a_new_member_gets_the_last_messages_of_the_room() {
    let server = server();
    let (ben, _) = room_with(&server, HISTORY + 3).await;
    let mut ann = Page::open(&server).await;
    ann.send(json!({"type": "join", "room": "tea", "name": "Ann"})).await;
    let joined = ann.next("joined").await;
    assert_eq!(numbers(&joined), (4..=HISTORY as u64 + 3).collect::<Vec<_>>());
    assert_eq!(joined["messages"][0]["text"], "text 4");
    assert_eq!((&joined["number"], &joined["resumed"]), (&json!(HISTORY + 3), &json!(false)));
    drop((ann, ben));
    // The messages outlive the last member.
    let mut late = Page::open(&server).await;
    late.send(json!({"type": "join", "room": "tea", "name": "Late"})).await;
    assert_eq!(numbers(&late.next("joined").await).len(), HISTORY);
}

#[tokio::test(start_paused = true)]
async fn a_member_that_comes_back_gets_only_what_it_has_missed() {
    let server = server();
    let (mut ben, history) = room_with(&server, 10).await;
    let mut ann = Page::open(&server).await;
    let joined = ann.resume("tea", &history, 7).await;
    assert_eq!((numbers(&joined), &joined["resumed"], &joined["missed"]), (vec![8, 9, 10], &json!(true), &json!(0)));
    let joined = ann.resume("tea", &history, 10).await;
    assert_eq!((numbers(&joined), &joined["resumed"], &joined["missed"]), (vec![], &json!(true), &json!(0)));

    // Some messages after the position are no longer kept.
    for number in 11..=HISTORY + 12 {
        ben.say(&format!("id {number}"), "more").await;
        ben.next("message").await;
    }
    let joined = ann.resume("tea", &history, 10).await;
    assert_eq!((numbers(&joined).len(), &joined["resumed"], &joined["missed"]), (HISTORY, &json!(true), &json!(2)));

    // Positions that are not in this history: of an earlier server, and of the future.
    for (history, number) in [(json!("another"), 3), (history, u64::MAX)] {
        let joined = ann.resume("tea", &history, number).await;
        assert_eq!((numbers(&joined).len(), &joined["resumed"]), (HISTORY, &json!(false)));
    }
}

#[tokio::test(start_paused = true)]
async fn a_message_that_is_repeated_is_sent_once_and_acknowledged_again() {
    let server = server();
    let (mut ann, mut ben) = (Page::join(&server, "tea", "Ann").await, Page::join(&server, "tea", "Ben").await);
    ann.say("1", "Hello").await;
    let first = ann.next("message").await;
    assert_eq!(ben.next("message").await, first);
    ann.say("1", "Hello").await;
    assert_eq!(ann.next("message").await, first);
    ann.say("2", "Hello").await;
    assert_eq!(ben.next("message").await["number"], 2);
}

#[tokio::test(start_paused = true)]
async fn names_rooms_ids_and_texts_have_limits() {
    let server = server();
    let mut page = Page::open(&server).await;
    let join = |room: &str, name: &str| json!({"type": "join", "room": room, "name": name});
    let say = |id: &str, text: &str| json!({"type": "say", "id": id, "text": text});
    let (long_room, long_name) = ("ü".repeat(ROOM + 1), "ü".repeat(NAME + 1));
    for (command, code) in [
        (join("", "Ann"), "room"),
        (join(" \t", "Ann"), "room"),
        (join(&long_room, "Ann"), "room"),
        (join("a\u{7}b", "Ann"), "room"),
        (join("tea", ""), "name"),
        (join("tea", &long_name), "name"),
        (join("tea", "A\nnn"), "name"),
        (say("1", "not in a room yet"), "place"),
        (json!({"type": "typing"}), "place"),
    ] {
        assert_eq!(page.refusal(command.clone()).await, code, "{command}");
    }
    page.send(join(&long_room[2..], &long_name[2..])).await;
    page.next("joined").await;
    let (long_id, long_text) = ("1".repeat(ID + 1), "ü".repeat(TEXT + 1));
    for (command, code) in [
        (say("", "Hello"), "id"),
        (say(&long_id, "Hello"), "id"),
        (say("1", " \n"), "text"),
        (say("1", &long_text), "text"),
        (say("1", "\u{0}"), "text"),
    ] {
        assert_eq!(page.refusal(command.clone()).await, code, "{command}");
    }
    page.say(&long_id[1..], &long_text[2..]).await;
    assert_eq!(page.next("message").await["text"], long_text[2..]);
    // The largest text that a page can send, as JSON with escapes.
    page.say("2", &format!("x{}x", "\n".repeat(TEXT - 2))).await;
    page.next("message").await;
    // A message of bytes that no page sends (RFC 6455 section 7.4.1).
    page.say("3", &"x".repeat(17_000)).await;
    page.0.expect_close(1009).await;
}

#[tokio::test(start_paused = true)]
async fn the_number_of_rooms_and_of_people_in_a_room_is_limited() {
    let server = server();
    let mut pages = Vec::new();
    for number in 0..ROOMS {
        pages.push(Page::join(&server, &format!("room {number}"), "Ann").await);
    }
    let mut page = Page::open(&server).await;
    assert_eq!(page.refusal(json!({"type": "join", "room": "one more", "name": "Ann"})).await, "full");
    for _ in 1..PEOPLE {
        pages.push(Page::join(&server, "room 0", "Ann").await);
    }
    assert_eq!(page.refusal(json!({"type": "join", "room": "room 0", "name": "Ann"})).await, "full");
    page.send(json!({"type": "join", "room": "room 1", "name": "Ann"})).await;
    page.next("joined").await;
}

#[tokio::test(start_paused = true)]
async fn the_histories_of_the_rooms_that_are_empty_for_longest_are_forgotten() {
    let server = server();
    let mut other = Page::open(&server).await;
    let base = other.resume("base", &json!(""), 0).await["history"].clone();
    let mut page = Page::open(&server).await;
    let mut histories = Vec::new();
    for number in 0..=ROOMS {
        page.send(json!({"type": "join", "room": format!("room {number}"), "name": "Ann"})).await;
        histories.push(page.next("joined").await["history"].clone());
    }
    // The page has left one room more than are kept, besides the room of the other page. The first are forgotten.
    page.send(json!({"type": "join", "room": "one more", "name": "Ann"})).await;
    page.next("joined").await;
    page.send(json!({"type": "join", "room": "the last", "name": "Ann"})).await;
    page.next("joined").await;
    // The oldest room has become empty last.
    other.send(json!({"type": "join", "room": "the last", "name": "Ann"})).await;
    other.next("joined").await;
    assert_eq!(other.resume("base", &base, 0).await["resumed"], json!(true));
    for (room, is_known) in [(ROOMS, true), (5, true), (0, false)] {
        let joined = page.resume(&format!("room {room}"), &histories[room], 0).await;
        assert_eq!(joined["resumed"], json!(is_known), "room {room}");
    }
}

#[tokio::test(start_paused = true)]
async fn names_with_invisible_characters_are_refused() {
    let mut page = Page::open(&server()).await;
    for name in ["Ann\u{200b}", "\u{202e}nnA", "A\u{7}nn"] {
        assert_eq!(page.refusal(json!({"type": "join", "room": "tea", "name": name})).await, "name", "{name:?}");
    }
    page.send(json!({"type": "join", "room": "tea", "name": "\u{1f469}\u{200d}\u{1f680}"})).await;
    page.next("joined").await;
}

#[tokio::test(start_paused = true)]
async fn unknown_commands_are_answered_with_an_error_and_the_connection_stays_open() {
    let server = server();
    let mut page = Page::join(&server, "tea", "Ann").await;
    for command in [
        "",
        "Hello",
        "[]",
        "null",
        "{}",
        r#"{"type": "shout"}"#,
        r#"{"type": "say"}"#,
        r#"{"type": "say", "id": 1, "text": ""}"#,
    ] {
        page.0.send_text(command);
        let error = page.next("error").await;
        assert_eq!((&error["code"], &error["id"]), (&json!("command"), &json!(null)), "{command}");
        assert!(!error["text"].as_str().unwrap().is_empty());
    }
    page.say("1", "still here").await;
    assert_eq!(page.next("message").await["text"], "still here");
}

#[tokio::test(start_paused = true)]
async fn a_ping_is_answered_outside_of_rooms_too() {
    let mut page = Page::open(&server()).await;
    page.send(json!({"type": "ping"})).await;
    assert_eq!(page.any().await, json!({"type": "pong"}));
}

#[tokio::test(start_paused = true)]
async fn a_client_that_sends_too_fast_is_slowed_down() {
    let server = server();
    let mut page = Page::join(&server, "tea", "Ann").await;
    let (start, count) = (Instant::now(), RATE * 6);
    for number in 0..count {
        page.say(&number.to_string(), "spam").await;
    }
    for _ in 0..count {
        page.next("message").await;
    }
    let seconds = start.elapsed().as_secs_f64();
    assert!((4.5..=6.5).contains(&seconds), "{count} messages in {seconds} s");
}

#[tokio::test(start_paused = true)]
async fn pages_of_other_origins_are_refused() {
    let server = server();
    server.connect("/chat").origin("http://localhost").await;
    for origin in ["http://example.com", "https://example.org", "null"] {
        server.connect("/chat").origin(origin).expect_refusal().await.expect_status(403);
    }
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_closes_the_connections_with_1001() {
    let server = server();
    let mut page = Page::open(&server).await;
    let closing = server.shutdown();
    page.0.expect_close(1001).await;
    closing.await;
}

#[tokio::test(start_paused = true)]
async fn each_file_of_the_page_is_served_with_a_strict_policy() {
    let server = server();
    for (path, kind) in [
        ("/", "text/html; charset=utf-8"),
        ("/style.css", "text/css; charset=utf-8"),
        ("/chat.js", "text/javascript; charset=utf-8"),
        ("/icon.svg", "image/svg+xml"),
    ] {
        let answer = server.get(path).await;
        assert_eq!((answer.status(), answer.header("Content-Type")), (200, Some(kind)), "{path}");
        assert_eq!(answer.header("X-Content-Type-Options"), Some("nosniff"));
        assert_eq!(answer.header("Referrer-Policy"), Some("no-referrer"));
        let policy = answer.header("Content-Security-Policy").unwrap();
        assert!(policy.starts_with("default-src 'none'; ") && !policy.contains("unsafe"), "{policy}");
    }
    server.get("/other").await.expect_status(404);
}
