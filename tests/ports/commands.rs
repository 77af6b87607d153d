//! `examples/ports/commands.rs`: commands in JSON, whose errors are answered on a connection that stays open.

#[path = "../../examples/ports/commands.rs"]
#[allow(dead_code, reason = "its `main` takes the address from the command line")]
mod example;

use super::support::{frame, text};
use super::{Client, expect, open, start};

async fn say(client: &mut Client, command: &str, answer: &str) {
    client.send(text(command)).await;
    expect(client, &[answer]).await;
}

#[tokio::test]
async fn all_clients_see_each_change_of_the_list() {
    let address = start(example::serve);
    let mut ann = open(address, "/").await;
    expect(&mut ann, &[r#"{"tasks":[]}"#]).await;
    say(&mut ann, r#"{"command": "add", "task": "Tea"}"#, r#"{"tasks":["Tea"]}"#).await;
    let mut ben = open(address, "/").await;
    expect(&mut ben, &[r#"{"tasks":["Tea"]}"#]).await;
    say(&mut ben, r#"{"command": "add", "task": "\"Cake\"", "more": 1}"#, r#"{"tasks":["Tea","\"Cake\""]}"#).await;
    expect(&mut ann, &[r#"{"tasks":["Tea","\"Cake\""]}"#]).await;
    say(&mut ann, r#"{"command": "done", "task": "Tea"}"#, r#"{"tasks":["\"Cake\""]}"#).await;
    expect(&mut ben, &[r#"{"tasks":["\"Cake\""]}"#]).await;
}

#[tokio::test]
async fn errors_are_answered_and_the_connection_stays_open() {
    let address = start(example::serve);
    let mut ann = open(address, "/").await;
    expect(&mut ann, &[r#"{"tasks":[]}"#]).await;
    // Malformed JSON: the text of the error is that of serde_json.
    for malformed in ["", "{", "{\"command\": \"add\"", "\u{feff}{}", "nil"] {
        ann.send(text(malformed)).await;
        let answer = ann.text().await;
        assert!(answer.starts_with(r#"{"error":""#) && answer.contains("line 1 column"), "{answer}");
    }
    for (command, answer) in [
        ("7", r#"{"error":"unknown command"}"#),
        ("[]", r#"{"error":"unknown command"}"#),
        (r#"{"command": null}"#, r#"{"error":"unknown command"}"#),
        (r#"{"command": "Add", "task": "Tea"}"#, r#"{"error":"unknown command"}"#),
        (r#"{"command": "add"}"#, r#"{"error":"a task is a text"}"#),
        (r#"{"command": "add", "task": 7}"#, r#"{"error":"a task is a text"}"#),
        (r#"{"command": "done"}"#, r#"{"error":"no such task"}"#),
        (r#"{"command": "done", "task": "Tea"}"#, r#"{"error":"no such task"}"#),
        (r#"{"command": "add", "task": "Tea"}"#, r#"{"tasks":["Tea"]}"#),
        (r#"{"command": "add", "task": "Tea"}"#, r#"{"error":"Tea is on the list already"}"#),
    ] {
        say(&mut ann, command, answer).await;
    }
}

/// The next change reaches the clients that are left, and no error is reported for the others.
#[tokio::test]
async fn clients_leave_by_a_command_or_in_the_middle_of_one() {
    let address = start(example::serve);
    let (mut ann, mut ben, mut cleo) = (open(address, "/").await, open(address, "/").await, open(address, "/").await);
    for client in [&mut ann, &mut ben, &mut cleo] {
        expect(client, &[r#"{"tasks":[]}"#]).await;
    }
    ben.send(text(r#"{"command": "bye"}"#)).await;
    assert_eq!(ben.closed().await, (Some(1000), String::new()));
    // The first fragment of a command, and nothing after it.
    cleo.send(frame(0x01, r#"{"command": "add", "#)).await;
    drop(cleo);
    say(&mut ann, r#"{"command": "add", "task": "Tea"}"#, r#"{"tasks":["Tea"]}"#).await;
    say(&mut ann, r#"{"command": "done", "task": "Tea"}"#, r#"{"tasks":[]}"#).await;
    // The end that Ben has asked for comes without the later changes.
    ben.send(frame(0x88, 1000u16.to_be_bytes())).await;
    assert!(ben.ended().await);
}
