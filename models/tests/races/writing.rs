//! Writes from anywhere, against turns, against the task that goes to sleep, and against the end.

use react_websocket::{WebSocketConnection, WebSocketOptions, cork};
use shuttle::future::{block_on, spawn};
use shuttle::thread;

use super::peer::{self, Kind, Room};
use super::{Notes, check, seen};

/// Less than two frames: the socket is full most of the time.
const NARROW: usize = 5;

/// Of each sender all, and in its order.
fn assert_all_in_order(texts: &[String], senders: &[&str], each: usize) {
    for sender in senders {
        let of_it = texts.iter().filter(|text| text.starts_with(sender)).cloned();
        assert!(of_it.eq((0..each).map(|number| format!("{sender}{number}"))), "of {sender}: {texts:?}");
    }
    assert_eq!(texts.len(), senders.len() * each, "{texts:?}");
}

fn write_twice(connection: WebSocketConnection, name: &str) {
    for number in 0..2 {
        assert!(connection.write(format!("{name}{number}")), "it is open");
    }
}

fn all_that_is_written_arrives(kind: Kind) {
    let room = Room::new();
    let (open, mut peer) = room.open_on(kind, NARROW, |connection| {
        connection.on("text", move |_: &str| {
            connection.write("echo0");
            connection.write("echo1");
        });
    });
    let connection = open.connection;
    connection.set_group(Some("all")).expect("it is open");
    let group = connection.group().expect("it is in one");
    let threads = [
        thread::spawn(move || write_twice(connection, "write")),
        thread::spawn(move || cork(|| write_twice(connection, "cork"))),
        thread::spawn(move || (0..2).for_each(|number| group.write(format!("group{number}")))),
    ];
    let reader = spawn(async move {
        peer::send(&mut peer, peer::TEXT, b"x").await;
        peer::read_some(peer, 8).await
    });
    threads.into_iter().for_each(|thread| thread.join().expect("no panic"));
    let (texts, peer) = block_on(reader).expect("no panic");
    assert_all_in_order(&texts, &["write", "cork", "group", "echo"], 2);
    drop(peer);
    assert!(!open.ended().contains(&"error"));
    room.assert_empty();
}

#[test]
fn all_that_is_written_to_a_socket_arrives_in_each_senders_order() {
    check(4, || all_that_is_written_arrives(Kind::Socket));
}

#[test]
fn all_that_is_written_to_a_stream_wakes_its_task_and_arrives_in_each_senders_order() {
    check(4, || all_that_is_written_arrives(Kind::Stream));
}

/// Writes until it is refused, and notes what was accepted.
fn write_noting(connection: WebSocketConnection, name: &str, accepted: &Notes<String>) {
    for number in 0..3 {
        let text = format!("{name}{number}");
        if connection.write(&text) {
            accepted.note(text);
        }
    }
}

fn what_is_accepted_before_a_close_arrives(kind: Kind) {
    let (room, accepted) = (Room::new(), Notes::new());
    let (open, peer) = room.open_on(kind, NARROW, |_| {});
    let connection = open.connection;
    let writers = ["a", "b"].map(|name| {
        let accepted = accepted.clone();
        thread::spawn(move || write_noting(connection, name, &accepted))
    });
    let closer = thread::spawn(move || connection.close_with(4000, ""));
    let reader = spawn(peer::read_to_end(peer));
    writers.into_iter().for_each(|writer| writer.join().expect("no panic"));
    closer.join().expect("no panic");
    let (mut texts, code) = block_on(reader).expect("no panic");
    let mut accepted = accepted.all();
    for name in ["a", "b"] {
        assert!(texts.iter().filter(|text| text.starts_with(name)).is_sorted(), "{texts:?}");
    }
    texts.sort();
    accepted.sort();
    seen(if accepted.is_empty() {
        "none"
    } else if accepted.len() < 6 {
        "some"
    } else {
        "all"
    });
    assert_eq!((texts, code), (accepted, Some(4000)), "what was accepted has arrived, nothing else, and the Close last");
    assert_eq!(open.ended(), ["close"], "it is deaf since it was closed");
    room.assert_empty();
}

#[test]
fn what_a_write_accepts_arrives_before_the_close_whoever_closes_meanwhile() {
    check(4, || what_is_accepted_before_a_close_arrives(Kind::Socket));
}

#[test]
fn what_a_write_accepts_arrives_before_the_close_on_a_stream_too() {
    check(4, || what_is_accepted_before_a_close_arrives(Kind::Stream));
}

fn what_is_accepted_before_the_peer_closes_arrives(kind: Kind) {
    let (room, accepted) = (Room::new(), Notes::new());
    let (open, mut peer) = room.open_on(kind, NARROW, |_| {});
    let connection = open.connection;
    let writers = ["a", "b"].map(|name| {
        let accepted = accepted.clone();
        thread::spawn(move || write_noting(connection, name, &accepted))
    });
    // Its own writing half is narrow, too, and the other side reads whatever it has to write.
    let reader = spawn(async move {
        peer::send(&mut peer, peer::CLOSE, &4001u16.to_be_bytes()).await;
        peer::read_to_end(peer).await
    });
    writers.into_iter().for_each(|writer| writer.join().expect("no panic"));
    let (mut texts, code) = block_on(reader).expect("no panic");
    let mut accepted = accepted.all();
    texts.sort();
    accepted.sort();
    seen(if accepted.is_empty() {
        "none"
    } else if accepted.len() < 6 {
        "some"
    } else {
        "all"
    });
    assert_eq!((texts, code), (accepted, Some(4001)), "what was accepted has arrived, nothing else, and the answer last");
    assert_eq!(open.ended(), ["end", "close"]);
    room.assert_empty();
}

#[test]
fn what_a_write_accepts_arrives_before_the_answer_to_the_peers_close() {
    check(4, || what_is_accepted_before_the_peer_closes_arrives(Kind::Socket));
}

#[test]
fn what_a_write_accepts_arrives_before_the_answer_to_the_peers_close_on_a_stream_too() {
    check(4, || what_is_accepted_before_the_peer_closes_arrives(Kind::Stream));
}

#[test]
fn a_broadcast_reaches_who_stays_whoever_closes_meanwhile() {
    check(3, || {
        let room = Room::new();
        let (stays, peer) = room.open(NARROW);
        let (leaves, leaving_peer) = room.open(NARROW);
        let group = room.groups.join("all", stays.connection).expect("it is open");
        group.add(leaves.connection).expect("it is open");
        let writers =
            ["a", "b"].map(|name| thread::spawn(move || (0..2).for_each(|number| group.write(format!("{name}{number}")))));
        let connection = leaves.connection;
        let closer = thread::spawn(move || connection.close());
        let (reader, leaver) = (spawn(peer::read_some(peer, 4)), spawn(peer::read_to_end(leaving_peer)));
        writers.into_iter().for_each(|writer| writer.join().expect("no panic"));
        closer.join().expect("no panic");
        let (texts, peer) = block_on(reader).expect("no panic");
        assert_all_in_order(&texts, &["a", "b"], 2);
        drop(peer);
        let (before, code) = block_on(leaver).expect("no panic");
        for name in ["a", "b"] {
            let of_it: Vec<_> = before.iter().filter(|text| text.starts_with(name)).cloned().collect();
            assert!(of_it.iter().cloned().eq((0..of_it.len()).map(|number| format!("{name}{number}"))), "{before:?}");
        }
        assert_eq!(code, Some(1000));
        leaves.ended();
        stays.ended();
        room.assert_empty();
    });
}

#[test]
fn all_members_get_the_broadcasts_of_two_threads_in_one_order() {
    check(4, || {
        let room = Room::new();
        let ((one, one_peer), (other, other_peer)) = (room.open(NARROW), room.open(NARROW));
        let group = room.groups.join("all", one.connection).expect("it is open");
        group.add(other.connection).expect("it is open");
        let writers =
            ["a", "b"].map(|name| thread::spawn(move || (0..2).for_each(|number| group.write(format!("{name}{number}")))));
        let readers = [one_peer, other_peer].map(|peer| spawn(peer::read_some(peer, 4)));
        writers.into_iter().for_each(|writer| writer.join().expect("no panic"));
        let [one_got, other_got] = readers.map(|reader| block_on(reader).expect("no panic"));
        assert_all_in_order(&one_got.0, &["a", "b"], 2);
        assert_eq!(one_got.0, other_got.0, "one order for both");
        seen(if one_got.0[1].starts_with(&one_got.0[0][..1]) { "one after the other" } else { "mixed" });
        drop((one_got.1, other_got.1));
        one.ended();
        other.ended();
        room.assert_empty();
    });
}

#[test]
fn members_that_a_task_flushes_get_all_that_is_written_to_them_meanwhile() {
    check(3, || {
        let room = Room::new();
        let members = [(); 3].map(|()| room.open(NARROW));
        let connections = members.each_ref().map(|(open, _)| open.connection);
        let group = room.groups.join("all", connections[0]).expect("it is open");
        connections[1..].iter().for_each(|connection| group.add(*connection).expect("it is open"));
        // The first is flushed in any case, and one more.
        let broadcaster = thread::spawn(move || (0..2).for_each(|number| group.write(format!("group{number}"))));
        let writer = thread::spawn(move || write_twice(connections[2], "write"));
        let (opens, peers): (Vec<_>, Vec<_>) = members.into_iter().unzip();
        let readers: Vec<_> =
            peers.into_iter().zip([2, 2, 4]).map(|(peer, count)| spawn(peer::read_some(peer, count))).collect();
        broadcaster.join().expect("no panic");
        writer.join().expect("no panic");
        for (reader, senders) in readers.into_iter().zip([&["group"][..], &["group"], &["group", "write"]]) {
            let (texts, peer) = block_on(reader).expect("no panic");
            assert_all_in_order(&texts, senders, 2);
            drop(peer);
        }
        opens.into_iter().for_each(|open| drop(open.ended()));
        room.assert_empty();
    });
}

#[test]
fn all_members_get_a_broadcast_before_their_close_or_none_does() {
    check(4, || {
        let room = Room::new();
        let ((one, one_peer), (other, other_peer)) = (room.open(NARROW), room.open(NARROW));
        let group = room.groups.join("all", one.connection).expect("it is open");
        group.add(other.connection).expect("it is open");
        let writer = thread::spawn(move || (0..2).for_each(|number| group.write(format!("a{number}"))));
        let closer = thread::spawn(move || group.close_all("", 4000));
        let readers = [one_peer, other_peer].map(|peer| spawn(peer::read_to_end(peer)));
        writer.join().expect("no panic");
        closer.join().expect("no panic");
        let [one_got, other_got] = readers.map(|reader| block_on(reader).expect("no panic"));
        assert_eq!(one_got, other_got);
        seen(["none", "one", "both"][one_got.0.len()]);
        one.ended();
        other.ended();
        room.assert_empty();
    });
}

fn who_sends_is_woken(kind: Kind) {
    let room = Room::with(WebSocketOptions::new().write_buffer_soft_limit(4));
    let (open, peer) = room.open_on(kind, NARROW, |_| {});
    let connection = open.connection;
    let senders = ["a", "b"].map(|name| {
        spawn(async move {
            for number in 0..3 {
                connection.send(format!("{name}{number}")).await.expect("it is open");
            }
        })
    });
    let reader = spawn(peer::read_some(peer, 6));
    senders.into_iter().for_each(|sender| block_on(sender).expect("no panic"));
    let (texts, peer) = block_on(reader).expect("no panic");
    assert_all_in_order(&texts, &["a", "b"], 3);
    drop(peer);
    open.ended();
}

#[test]
fn who_waits_to_send_is_woken_when_there_is_room() {
    check(4, || who_sends_is_woken(Kind::Socket));
}

#[test]
fn who_waits_to_send_is_woken_when_there_is_room_in_a_stream() {
    check(4, || who_sends_is_woken(Kind::Stream));
}

#[test]
fn who_waits_to_send_is_woken_when_the_connection_closes() {
    check(4, || {
        let room = Room::with(WebSocketOptions::new().write_buffer_soft_limit(4));
        let (open, peer) = room.open(NARROW);
        let connection = open.connection;
        let sender = spawn(async move { while connection.send("text").await.is_ok() {} });
        let closer = thread::spawn(move || connection.terminate());
        block_on(sender).expect("no panic");
        closer.join().expect("no panic");
        open.ended();
        drop(peer);
    });
}

fn after_no_there_is_a_drain(kind: Kind) {
    let room = Room::with(WebSocketOptions::new().write_buffer_soft_limit(4));
    let drained = std::sync::Arc::new(tokio::sync::Notify::new());
    let (open, peer) = room.open_on(kind, NARROW, |connection| {
        let drained = drained.clone();
        connection.on("drain", move || drained.notify_one());
    });
    let connection = open.connection;
    let writer = spawn(async move {
        for number in 0..4 {
            if !connection.write(format!("a{number}")) {
                drained.notified().await;
            }
        }
    });
    let reader = spawn(peer::read_some(peer, 4));
    block_on(writer).expect("no panic");
    let (texts, peer) = block_on(reader).expect("no panic");
    assert_all_in_order(&texts, &["a"], 4);
    drop(peer);
    open.ended();
}

#[test]
fn after_a_write_has_said_no_there_is_a_drain() {
    check(4, || after_no_there_is_a_drain(Kind::Socket));
}

#[test]
fn after_a_write_has_said_no_there_is_a_drain_on_a_stream_too() {
    check(4, || after_no_there_is_a_drain(Kind::Stream));
}

#[test]
fn a_message_that_is_streamed_is_not_cut_by_others_and_none_is_lost() {
    check(4, || {
        let room = Room::new();
        let (open, mut peer) = room.open(NARROW);
        let connection = open.connection;
        let streamer = thread::spawn(move || {
            let mut message = connection.begin_text();
            message.write("one");
            message.write("two");
            message.end();
        });
        let writers = ["a", "b"].map(|name| thread::spawn(move || assert!(connection.write(name), "it is open")));
        let reader = spawn(async move {
            let (mut messages, mut streamed) = (Vec::new(), None::<String>);
            while messages.len() < 3 {
                let frame = peer::frame(&mut peer).await.expect("more");
                let (fin, opcode) = (frame.first & 0x80 != 0, frame.first & 0x0F);
                assert_eq!(opcode == 0, streamed.is_some(), "{frame:?}");
                let payload = String::from_utf8(frame.payload).expect("text");
                let message = streamed.take().unwrap_or_default() + &payload;
                if fin { messages.push(message) } else { streamed = Some(message) }
            }
            messages.sort();
            messages
        });
        streamer.join().expect("no panic");
        writers.into_iter().for_each(|writer| writer.join().expect("no panic"));
        assert_eq!(block_on(reader).expect("no panic"), ["a", "b", "onetwo"]);
        open.ended();
    });
}

#[test]
fn a_resume_is_not_lost() {
    check(4, || {
        let room = Room::new();
        let (open, mut peer) = room.open_on(Kind::Socket, 100, |connection| {
            connection.on("text", move |text: &str| connection.write(text));
        });
        let connection = open.connection;
        let pauser = thread::spawn(move || {
            connection.pause();
            connection.resume();
        });
        let reader = spawn(async move {
            peer::send(&mut peer, peer::TEXT, b"0").await;
            peer::send(&mut peer, peer::TEXT, b"1").await;
            peer::read_some(peer, 2).await
        });
        pauser.join().expect("no panic");
        let (texts, peer) = block_on(reader).expect("no panic");
        assert_eq!(texts, ["0", "1"]);
        drop(peer);
        open.ended();
    });
}
