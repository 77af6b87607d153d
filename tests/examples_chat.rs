//! The example `chat`, as an app would be tested: rooms, names, and who has come and left.
#![cfg(feature = "testing")]

#[path = "../examples/chat.rs"]
#[allow(dead_code, reason = "its `main` listens on a socket")]
mod chat;

use std::time::Duration;

use react_websocket::testing::{TestClient, TestConnection};

/// Somebody who has come into a room with so many members.
async fn come(client: &TestClient, room: &str, name: &str, members: usize) -> TestConnection {
    let mut connection = client.connect(format!("/chat?room={room}&name={name}")).await;
    connection.expect_text(format!("{name} has come, there are {members} here")).await;
    connection
}

#[tokio::test(start_paused = true)]
async fn members_of_a_room_read_what_each_of_them_writes() {
    let client = TestClient::new(chat::server());
    let mut ann = come(&client, "blue", "Ann", 1).await;
    let mut bob = come(&client, "blue", "Bob", 2).await;
    ann.expect_text("Bob has come, there are 2 here").await;
    ann.send_text("Hello");
    ann.expect_text("Ann: Hello").await;
    bob.expect_text("Ann: Hello").await;
}

#[tokio::test(start_paused = true)]
async fn another_room_reads_nothing() {
    let client = TestClient::new(chat::server());
    let mut ann = come(&client, "blue", "Ann", 1).await;
    let mut eve = come(&client, "red", "Eve", 1).await;
    ann.send_text("Hello");
    ann.expect_text("Ann: Hello").await;
    eve.expect_silence(Duration::from_secs(60)).await;
}

#[tokio::test(start_paused = true)]
async fn the_others_are_told_who_has_left_however_the_connection_ended() {
    let client = TestClient::new(chat::server());
    let mut ann = come(&client, "blue", "Ann", 1).await;
    let mut bob = come(&client, "blue", "Bob", 2).await;
    let eve = come(&client, "blue", "Eve", 3).await;
    for (name, members) in [("Bob", 2), ("Eve", 3)] {
        ann.expect_text(format!("{name} has come, there are {members} here")).await;
    }
    bob.close();
    ann.expect_text("Bob has left").await;
    // Without a Close frame, as when a network fails.
    drop(eve);
    ann.expect_text("Eve has left").await;
}

#[tokio::test(start_paused = true)]
async fn a_client_without_name_and_room_is_somebody_in_the_lobby() {
    let client = TestClient::new(chat::server());
    let mut somebody = client.connect("/chat").await;
    somebody.expect_text("somebody has come, there are 1 here").await;
    come(&client, "lobby", "Ann", 2).await;
    somebody.expect_text("Ann has come, there are 2 here").await;
}

#[tokio::test(start_paused = true)]
async fn the_page_opens_the_chat() {
    let client = TestClient::new(chat::server());
    let page = client.get("/").await.expect_status(200);
    assert!(page.text().contains("new WebSocket(`ws://${location.host}/chat"));
    assert_eq!(page.header("Content-Type"), Some("text/html; charset=utf-8"));
    client.get("/elsewhere").await.expect_status(404);
    client.connect("/elsewhere").expect_refusal().await.expect_status(404);
    client.connect("/chat").origin("https://elsewhere.example").expect_refusal().await.expect_status(403);
}
