//! `examples/ports/rooms.rs`: rooms open, are joined and left, and close.

#[path = "../../examples/ports/rooms.rs"]
#[allow(dead_code, reason = "its `main` takes the address from the command line")]
mod example;

use super::support::text;
use super::{Client, expect, open, start};

async fn say(client: &mut Client, command: &str, answers: &[&str]) {
    client.send(text(command)).await;
    expect(client, answers).await;
}

/// A client that the server knows: its `connection` listener has returned, and its messages are answered.
async fn enter(address: std::net::SocketAddr, name: &str) -> Client {
    let mut client = open(address, &format!("/?name={name}")).await;
    say(&mut client, "say hello", &["join a room first"]).await;
    client
}

#[tokio::test]
async fn a_room_opens_for_its_first_member_and_closes_after_its_last() {
    let address = start(example::serve);
    let (mut ann, mut ben, mut cleo) =
        (enter(address, "Ann").await, enter(address, "Ben").await, enter(address, "Cleo").await);
    say(&mut ann, "join tea", &["tea is open", "Ann joins tea"]).await;
    expect(&mut ben, &["tea is open"]).await;
    say(&mut ben, "join tea", &["Ben joins tea"]).await;
    expect(&mut ann, &["Ben joins tea"]).await;
    say(&mut ben, "say hello", &["Ben: hello"]).await;
    expect(&mut ann, &["Ben: hello"]).await;
    // Ben moves to another room. A member does not see its own departure.
    say(&mut ben, "join cake", &["cake is open", "Ben joins cake"]).await;
    expect(&mut ann, &["Ben leaves tea", "cake is open"]).await;
    // Joining the same room again does nothing.
    ben.send(text("join cake")).await;
    say(&mut ben, "leave", &["cake is closed"]).await;
    say(&mut ann, "leave", &["cake is closed", "tea is closed"]).await;
    // Cleo is in no room, and sees only the rooms themselves.
    expect(&mut cleo, &["tea is open", "cake is open", "cake is closed", "tea is closed"]).await;
}

#[tokio::test]
async fn a_message_to_a_room_after_its_end_reaches_no_client() {
    let address = start(example::serve);
    let (mut ann, mut ben) = (enter(address, "Ann").await, enter(address, "Ben").await);
    say(&mut ann, "join tea", &["tea is open", "Ann joins tea"]).await;
    expect(&mut ben, &["tea is open"]).await;
    ben.send(text("tell tea the kettle boils")).await;
    expect(&mut ann, &["Ben calls: the kettle boils"]).await;
    say(&mut ann, "leave", &["tea is closed"]).await;
    say(&mut ann, "say hello", &["join a room first"]).await;
    say(&mut ben, "tell tea hello", &["tea is closed", "there is no room tea"]).await;
    // A room of the same name is another room, and its listeners are called once.
    say(&mut ben, "join tea", &["tea is open", "Ben joins tea"]).await;
    say(&mut ann, "tell tea hello", &["tea is open"]).await;
    expect(&mut ben, &["Ann calls: hello"]).await;
}

#[tokio::test]
async fn a_member_that_disconnects_leaves_its_room() {
    let address = start(example::serve);
    let (mut ann, mut ben) = (enter(address, "Ann").await, enter(address, "Ben").await);
    say(&mut ann, "join tea", &["tea is open", "Ann joins tea"]).await;
    say(&mut ben, "join tea", &["tea is open", "Ben joins tea"]).await;
    expect(&mut ann, &["Ben joins tea"]).await;
    // In the middle of a message, without a Close.
    ben.send(&text("say half")[..4]).await;
    drop(ben);
    expect(&mut ann, &["Ben leaves tea"]).await;
    let mut cleo = enter(address, "Cleo").await;
    drop(ann);
    expect(&mut cleo, &["tea is closed"]).await;
}

#[tokio::test]
async fn commands_that_fail_are_answered() {
    let address = start(example::serve);
    let mut ann = enter(address, "Ann").await;
    for (command, answer) in [
        ("sing", "unknown command: sing"),
        ("", "unknown command: "),
        ("tell", "there is no room "),
        ("JOIN tea", "unknown command: JOIN"),
    ] {
        say(&mut ann, command, &[answer]).await;
    }
    let long = "x".repeat(300);
    say(&mut ann, &format!("join {long}"), &["a group's name of 300 bytes, the limit is 256"]).await;
    say(&mut ann, "join tea", &["tea is open", "Ann joins tea"]).await;
}
