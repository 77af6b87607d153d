//! Listeners of a connection: asynchronous ones that are woken from elsewhere, and changes from other threads.

use std::sync::Arc;

use shuttle::future::{block_on, spawn};
use shuttle::thread;
use tokio::sync::Notify;

use super::peer::{self, Kind, Room};
use super::{Notes, check, seen};

const PING: u8 = 0x89;
const PONG: u8 = 0x8A;

#[test]
fn an_asynchronous_listener_goes_on_when_it_is_woken_and_the_next_message_follows_it() {
    check(4, || {
        let (room, gate) = (Room::new(), Arc::new(Notify::new()));
        let (open, mut peer) = room.open_on(Kind::Socket, 100, |connection| {
            let gate = gate.clone();
            connection.on("text", async move |text: &str| {
                gate.notified().await;
                connection.write(text);
            });
        });
        let connection = open.connection;
        let (wake, passed) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        connection.on("text", {
            let passed = passed.clone();
            move || passed.notify_one()
        });
        let opener = spawn({
            let (wake, passed) = (wake.clone(), passed.clone());
            async move {
                wake.notify_one();
                gate.notify_one();
                passed.notified().await;
                gate.notify_one();
            }
        });
        let pinger = thread::spawn(move || assert!(connection.pong("")));
        let reader = spawn(async move {
            wake.notified().await;
            peer::send(&mut peer, peer::TEXT, b"0").await;
            peer::send(&mut peer, PING, b"").await;
            peer::send(&mut peer, peer::TEXT, b"1").await;
            let (mut texts, mut pongs) = (Vec::new(), 0);
            while texts.len() < 2 || pongs < 2 {
                let frame = peer::frame(&mut peer).await.expect("more");
                if frame.first == PONG { pongs += 1 } else { texts.push(frame.payload) }
            }
            texts
        });
        assert_eq!(block_on(reader).expect("no panic"), [b"0", b"1"]);
        block_on(opener).expect("no panic");
        pinger.join().expect("no panic");
        open.ended();
        room.assert_empty();
    });
}

#[test]
fn a_connection_whose_listener_waits_ends_when_it_is_cut() {
    check(4, || {
        let (room, gate) = (Room::new(), Arc::new(Notify::new()));
        let (open, mut peer) = room.open_on(Kind::Socket, 100, |connection| {
            let gate = gate.clone();
            connection.on("text", async move || gate.notified().await);
        });
        let connection = open.connection;
        let sending = spawn(async move {
            peer::send(&mut peer, peer::TEXT, b"x").await;
            peer
        });
        let cutter = thread::spawn(move || connection.terminate());
        let opener = thread::spawn(move || gate.notify_one());
        drop(block_on(sending).expect("no panic"));
        cutter.join().expect("no panic");
        opener.join().expect("no panic");
        let events = open.ended();
        seen(if events.contains(&"text") { "heard" } else { "cut before" });
        room.assert_empty();
    });
}

#[test]
fn a_listener_that_comes_and_goes_on_another_thread_is_called_only_while_it_is_there() {
    check(4, || {
        let (room, heard) = (Room::new(), Notes::new());
        let (open, mut peer) = room.open(100);
        let connection = open.connection;
        let changer = thread::spawn({
            let heard = heard.clone();
            move || {
                let (first, second) = (heard.clone(), heard.clone());
                let id = connection.on("text", move |text: &str| first.note(format!("first {text}")));
                connection.once("text", move |text: &str| second.note(format!("second {text}")));
                connection.remove_listener(id);
                heard.note("removed".to_owned());
            }
        });
        let sender = spawn(async move {
            for text in [b"0", b"1", b"2"] {
                peer::send(&mut peer, peer::TEXT, text).await;
            }
            peer
        });
        let peer = block_on(sender).expect("no panic");
        changer.join().expect("no panic");
        drop(peer);
        assert_eq!(open.ended().iter().filter(|event| **event == "text").count(), 3);
        let heard = heard.all();
        let count = |name| heard.iter().filter(|heard| heard.starts_with(name)).count();
        assert!(count("second") <= 1, "{heard:?}");
        let removed = heard.iter().position(|heard| heard == "removed").expect("it was noted");
        // An emission that was under way then goes on.
        let after = heard[removed..].iter().filter(|heard| heard.starts_with("first")).count();
        assert!(after <= 1, "{heard:?}");
        seen(if count("first") > 0 { "heard" } else { "not heard" });
    });
}
