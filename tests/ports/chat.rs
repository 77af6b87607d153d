//! `examples/ports/chat.rs`: messages reach all clients except their sender, and names are unique.

#[path = "../../examples/ports/chat.rs"]
#[allow(dead_code, reason = "its `main` takes the address from the command line")]
mod example;

use std::sync::Arc;

use super::support::{close, text};
use super::{Client, expect, handshake, open, start};
use tokio::sync::Barrier;

#[tokio::test]
async fn a_message_reaches_all_but_its_sender() {
    let address = start(example::serve);
    let mut ann = open(address, "/?name=Ann").await;
    expect(&mut ann, &["Here: Ann"]).await;
    let mut ben = open(address, "/?name=Ben").await;
    expect(&mut ben, &["Here: Ann, Ben"]).await;
    let mut cleo = open(address, "/?name=Cleo").await;
    expect(&mut cleo, &["Here: Ann, Ben, Cleo"]).await;
    expect(&mut ben, &["Cleo joined"]).await;
    ann.send(text("hello")).await;
    expect(&mut ben, &["Ann: hello"]).await;
    ben.send(text("hi")).await;
    // Ann does not read her own message between these.
    expect(&mut ann, &["Ben joined", "Cleo joined", "Ben: hi"]).await;
    expect(&mut cleo, &["Ann: hello", "Ben: hi"]).await;
}

#[tokio::test]
async fn a_client_that_leaves_is_announced_once_and_its_name_is_free() {
    let address = start(example::serve);
    let mut ann = open(address, "/?name=Ann").await;
    let mut ben = open(address, "/?name=Ben").await;
    expect(&mut ann, &["Here: Ann", "Ben joined"]).await;
    // In the middle of a message, without a Close.
    ben.send(&text("half of a message")[..7]).await;
    drop(ben);
    expect(&mut ann, &["Ben left"]).await;
    let mut ben = open(address, "/?name=Ben").await;
    expect(&mut ben, &["Here: Ann, Ben"]).await;
    // With a Close.
    ben.send(close(1000, "bye")).await;
    assert_eq!(ben.closed().await, (Some(1000), "bye".to_owned()));
    expect(&mut ann, &["Ben joined", "Ben left"]).await;
}

#[tokio::test]
async fn a_name_that_is_taken_or_missing_is_refused_and_not_announced() {
    let address = start(example::serve);
    let mut ann = open(address, "/?name=Ann").await;
    for (target, name) in [("/?name=Ann", "Ann"), ("/?name=", ""), ("/", "")] {
        let mut other = open(address, target).await;
        expect(&mut other, &[&format!("The name \"{name}\" cannot be used")]).await;
        assert_eq!(other.closed().await, (Some(1000), String::new()));
    }
    let mut ben = open(address, "/?name=Ben%20B%C3%B6hm").await;
    expect(&mut ben, &["Here: Ann, Ben Böhm"]).await;
    expect(&mut ann, &["Here: Ann", "Ben Böhm joined"]).await;
}

/// Listeners run on several threads. Of the clients that ask for one name at the same time, one gets it.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn one_of_many_clients_gets_a_name() {
    let address = start(example::serve);
    for round in 0..150 {
        let begin = Arc::new(Barrier::new(8));
        let clients = (0..8).map(|_| {
            let begin = begin.clone();
            tokio::spawn(async move {
                let mut client = Client::connect(address).await;
                begin.wait().await;
                client.send(handshake(&format!("/?name={round}"), &[])).await;
                client.head().await;
                let answer = client.text().await;
                // No client leaves before all have their answers.
                begin.wait().await;
                answer
            })
        });
        let mut refused = 0;
        for client in clients.collect::<Vec<_>>() {
            refused += usize::from(client.await.unwrap().ends_with("cannot be used"));
        }
        assert_eq!(refused, 7);
    }
}

#[tokio::test]
async fn other_requests_get_a_hint() {
    let mut client = Client::connect(start(example::serve)).await;
    let answer = client.ask("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_eq!((answer.status(), answer.text()), (200, "Connect with a WebSocket\n"));
}
