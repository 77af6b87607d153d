//! A connection's end, brought about by several at once.

use std::time::Duration;

use react_websocket::cork;
use shuttle::future::{block_on, spawn};
use shuttle::thread;
use tokio::io::AsyncWriteExt;
use tokio::time;

use super::peer::{self, Kind, Room};
use super::{Notes, check, seen};

#[test]
fn however_many_end_a_connection_it_closes_once_and_last() {
    check(4, || {
        let room = Room::new();
        let (open, mut peer) = room.open(5);
        let connection = open.connection;
        let threads = [
            thread::spawn(move || connection.close_with(4000, "")),
            thread::spawn(move || connection.terminate()),
            thread::spawn(move || connection.end_with("bye")),
        ];
        // It says something, and leaves.
        let leaving = spawn(async move { peer::send(&mut peer, peer::TEXT, b"x").await });
        threads.into_iter().for_each(|thread| thread.join().expect("no panic"));
        block_on(leaving).expect("no panic");
        open.ended();
        room.assert_empty();
    });
}

#[test]
fn a_close_that_nobody_answers_ends_in_time() {
    check(2, || assert_eq!(end_without_an_answer(100), ["close"]));
    // The socket takes the Close alone, or a part of the text: that is judged by the write deadline.
    check(2, || {
        let told = end_without_an_answer(5);
        assert!(told == ["close"] || told == ["error", "close"], "{told:?}");
    });
}

fn end_without_an_answer(capacity: usize) -> Vec<&'static str> {
    let room = Room::new();
    let (open, peer) = room.open(capacity);
    let connection = open.connection;
    let closer = thread::spawn(move || connection.close());
    let writer = thread::spawn(move || connection.write("text"));
    // The end of time is that of the steps of an execution.
    while !open.task.is_finished() {
        time::pass(Duration::from_secs(4));
        thread::yield_now();
    }
    closer.join().expect("no panic");
    writer.join().expect("no panic");
    let told = open.ended();
    drop(peer);
    room.assert_empty();
    told
}

/// What a listener has captured. One that is not accepted is dropped where it comes from, any other by the connection's task.
struct Captured {
    from: thread::ThreadId,
    refused: Notes<()>,
}

impl Drop for Captured {
    fn drop(&mut self) {
        if thread::current().id() == self.from {
            self.refused.note(());
        }
    }
}

#[test]
fn a_close_listener_that_is_accepted_is_called() {
    check(4, || {
        let (room, called, refused) = (Room::new(), Notes::new(), Notes::new());
        let (open, peer) = room.open(100);
        let connection = open.connection;
        let adding = thread::spawn({
            let (called, refused) = (called.clone(), refused.clone());
            move || {
                let captured = Captured { from: thread::current().id(), refused: refused.clone() };
                connection.on("close", move || {
                    let _captured = &captured;
                    called.note(());
                });
                refused.len() == 0
            }
        });
        let closer = thread::spawn(move || connection.terminate());
        let is_accepted = adding.join().expect("no panic");
        closer.join().expect("no panic");
        open.ended();
        assert_eq!(called.len(), usize::from(is_accepted));
        seen(if is_accepted { "accepted" } else { "too late" });
        drop(peer);
    });
}

#[test]
fn both_sides_that_close_at_once_hear_each_other() {
    check(4, || {
        let room = Room::new();
        let (open, mut peer) = room.open_on(Kind::Socket, 5, |_| {});
        let connection = open.connection;
        let closer = thread::spawn(move || connection.close_with(4000, ""));
        let other_side = spawn(async move {
            peer::send(&mut peer, peer::CLOSE, &4001u16.to_be_bytes()).await;
            let frame = peer::frame(&mut peer).await.expect("a Close");
            let code = frame.payload.first_chunk().map(|code| u16::from_be_bytes(*code));
            (frame.first, code, peer::frame(&mut peer).await)
        });
        closer.join().expect("no panic");
        let (first, code, rest) = block_on(other_side).expect("no panic");
        assert!(first == peer::CLOSE && matches!(code, Some(4000 | 4001)) && rest.is_none(), "{first:x} {code:?} {rest:?}");
        open.ended();
        room.assert_empty();
    });
}

#[test]
fn who_has_written_and_not_flushed_yet_holds_up_no_end() {
    check(4, || {
        let room = Room::new();
        let (open, mut peer) = room.open(100);
        let connection = open.connection;
        let writer = thread::spawn(move || cork(|| connection.write("x")));
        // It leaves without a word, and still reads. No time passes after which the end would come anyhow.
        block_on(peer.shutdown()).expect("it can say so");
        assert_eq!(open.ended(), ["close"]);
        writer.join().expect("no panic");
        let text = block_on(peer::frame(&mut peer));
        seen(if text.is_some() { "sent" } else { "too late" });
        room.assert_empty();
    });
}
