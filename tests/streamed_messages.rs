//! Messages that are written in pieces: `MessageWriter` and the fragments that it sends (RFC 6455 section 5.4).

mod support;

use std::sync::Arc;

use react_websocket::{HttpServer, WebSocketConnection, WebSocketMiddleware};
use support::streams::{
    BINARY, CLOSE_TIMEOUT, ENDINGS, PING, PONG, TEXT, closing, frames, limits, options, text_of_frame, whole,
};
use support::*;
use tokio::sync::Notify;
use tokio::time::sleep;

fn part(opcode: u8, payload: impl AsRef<[u8]>) -> Frame {
    Frame { fin: false, ..whole(opcode, payload) }
}

// ------------------------------------------------------------------------------------------------ messages in pieces (RFC 6455 section 5.4)

/// Fragmentation, with control frames in between (RFC 6455 section 5.4).
#[tokio::test(start_paused = true)]
async fn the_pieces_of_a_message_leave_as_fragments_and_control_frames_in_between() {
    let mut pair = Pair::in_memory(options()).await;
    let mut writer = pair.connection.begin_text();
    assert!(writer.write("one "));
    assert_eq!(pair.peer.frame().await, Some(part(TEXT, "one ")), "it does not wait for the end");
    assert!(pair.connection.ping("?"));
    assert!(writer.write(""));
    pair.peer.send(frame(0x89, "there?")).await;
    assert_eq!(pair.peer.frame().await, Some(whole(PING, "?")));
    assert_eq!(pair.peer.frame().await, Some(part(0, "")));
    assert_eq!(pair.peer.frame().await, Some(whole(PONG, "there?")));
    assert!(writer.write("twö"));
    assert!(writer.end());
    let mut writer = pair.connection.begin_binary();
    assert!(writer.write([1, 2]) && !writer.write(vec![0; 70_000]));
    assert!(!writer.end());
    assert!(!pair.connection.write("next"));
    for frame in
        [part(0, "twö"), whole(0, ""), part(BINARY, [1, 2]), part(0, vec![0; 70_000]), whole(0, ""), whole(TEXT, "next")]
    {
        assert_eq!(pair.peer.frame().await, Some(frame));
    }
    settle().await;
    assert_eq!(pair.log.take(), ["ping 6", "drain"]);
}

#[tokio::test(start_paused = true)]
async fn the_end_of_a_message_without_pieces_is_an_empty_message() {
    let mut pair = Pair::in_memory(options()).await;
    assert!(pair.connection.begin_text().end());
    assert!(pair.connection.begin_binary().end());
    assert_eq!(pair.peer.frame().await, Some(whole(TEXT, "")));
    assert_eq!(pair.peer.frame().await, Some(whole(BINARY, "")));
}

#[tokio::test(start_paused = true)]
async fn other_messages_wait_behind_a_message_in_pieces_in_order_and_count_as_unsent() {
    let websocket = WebSocketMiddleware::new().with_options(options());
    let (tell, told) = std::sync::mpsc::channel();
    websocket.on("connection", move |connection: WebSocketConnection| tell.send(connection).is_ok());
    let http = HttpServer::new((websocket.clone(), router));
    let (mut peer, _) = Peer::open_in_memory(&http).await;
    let connection = told.recv().unwrap();
    let mut writer = connection.begin_text();
    writer.write("a");
    assert!(connection.write("one"));
    websocket.write_all("two");
    assert!(connection.write_binary("three"));
    writer.write("b");
    connection.send("four").await.unwrap();
    assert!(connection.ping("now"));
    for frame in [part(TEXT, "a"), part(0, "b"), whole(PING, "now")] {
        assert_eq!(peer.frame().await, Some(frame));
    }
    settle().await;
    assert_eq!(connection.buffered_amount(), 5 + 5 + 7 + 6);
    assert!(writer.end());
    for frame in [whole(0, ""), whole(TEXT, "one"), whole(TEXT, "two"), whole(BINARY, "three"), whole(TEXT, "four")] {
        assert_eq!(peer.frame().await, Some(frame));
    }
    settle().await;
    assert_eq!(connection.buffered_amount(), 0);
}

#[tokio::test(start_paused = true)]
async fn two_messages_in_pieces_at_once_leave_one_after_the_other() {
    let mut pair = Pair::in_memory(options()).await;
    let mut first = pair.connection.begin_text();
    let mut second = pair.connection.begin_binary();
    second.write("x");
    pair.connection.write("between");
    first.write("a");
    let third = pair.connection.begin_text();
    second.write("y");
    first.write("b");
    assert!(third.end());
    assert_eq!(pair.peer.frame().await, Some(part(TEXT, "a")));
    assert_eq!(pair.peer.frame().await, Some(part(0, "b")));
    assert!(first.end());
    // The second began before "between" was written.
    for frame in [whole(0, ""), part(BINARY, "x"), part(0, "y")] {
        assert_eq!(pair.peer.frame().await, Some(frame));
    }
    second.write("z");
    assert_eq!(pair.peer.frame().await, Some(part(0, "z")));
    assert!(second.end());
    for frame in [whole(0, ""), whole(TEXT, "between"), whole(TEXT, "")] {
        assert_eq!(pair.peer.frame().await, Some(frame));
    }
}

#[tokio::test(start_paused = true)]
async fn the_second_of_two_messages_in_pieces_may_end_first() {
    let mut pair = Pair::in_memory(options()).await;
    let mut first = pair.connection.begin_text();
    let mut second = pair.connection.begin_text();
    first.write("a");
    second.write("x");
    second.end();
    first.write("b");
    first.end();
    for frame in [part(TEXT, "a"), part(0, "b"), whole(0, ""), part(TEXT, "x"), whole(0, "")] {
        assert_eq!(pair.peer.frame().await, Some(frame));
    }
}

#[tokio::test(start_paused = true)]
async fn a_message_that_is_dropped_in_the_middle_fails_the_connection_with_1011() {
    // Live, or waiting behind another one.
    for is_second in [false, true] {
        let mut pair = Pair::in_memory(options()).await;
        let other = is_second.then(|| {
            let mut other = pair.connection.begin_text();
            other.write("first");
            other
        });
        let mut writer = pair.connection.begin_text();
        writer.write("half");
        pair.connection.write("behind");
        drop(writer);
        assert!(!pair.connection.is_writable());
        drop(other);
        let received = frames(&mut pair.peer).await;
        assert_eq!(received, [part(TEXT, if is_second { "first" } else { "half" }), closing(1011, "internal error")]);
        pair.peer.send(close(1011, "")).await;
        drop(pair.peer);
        settle().await;
        assert_eq!(pair.log.take(), ["error 1011 a message was not completed", "close 1011 a message was not completed"]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_message_that_is_dropped_before_its_first_piece_leaves_nothing() {
    let mut pair = Pair::in_memory(options()).await;
    let (first, second) = (pair.connection.begin_text(), pair.connection.begin_binary());
    pair.connection.write("behind");
    settle().await;
    assert_eq!(pair.connection.buffered_amount(), 8);
    drop(second);
    drop(first);
    assert_eq!(pair.peer.text().await, "behind");
    pair.connection.write("next");
    assert_eq!(pair.peer.text().await, "next");
    settle().await;
    assert_eq!((pair.log.take(), pair.connection.buffered_amount()), (vec![], 0));
}

#[tokio::test(start_paused = true)]
async fn a_close_passes_a_message_in_pieces_which_cannot_end_any_more() {
    for (name, end, close_frame) in ENDINGS {
        let mut pair = Pair::in_memory(options()).await;
        let mut writer = pair.connection.begin_text();
        writer.write("half");
        assert_eq!(pair.peer.frame().await, Some(part(TEXT, "half")));
        pair.connection.write("behind it, it cannot leave");
        end(pair.connection);
        assert!(!writer.write("more"));
        assert!(!writer.end());
        let expected: Vec<_> = close_frame.map(|(code, reason)| closing(code, reason)).into_iter().collect();
        assert_eq!(frames(&mut pair.peer).await, expected, "{name}");
        if close_frame.is_some() {
            pair.peer.send(close(1000, "")).await;
        }
        assert!(pair.peer.ended().await);
        settle().await;
        let log = pair.log.take();
        let last = close_frame.map_or("close 1006 ".into(), |(code, reason)| format!("close {code} {reason}"));
        assert_eq!(log.last(), Some(&last), "{name}");
        assert!(!log.iter().any(|entry| entry.starts_with("error")), "{name}: {log:?}");
    }
}

/// An app learns from `false` that the connection is closing, and drops the writer in the middle of
/// the message. This is not an error.
#[tokio::test(start_paused = true)]
async fn a_message_that_is_dropped_in_the_middle_while_the_connection_closes_is_no_fault() {
    for by_peer in [false, true] {
        let mut pair = Pair::in_memory(options()).await;
        let mut writer = pair.connection.begin_text();
        writer.write("half");
        pair.peer.frame().await;
        if by_peer {
            pair.connection.on("end", std::future::pending::<()>);
            pair.peer.send(close(4000, "leaving")).await;
            settle().await;
        } else {
            pair.connection.close_with(4000, "leaving");
        }
        assert!(!writer.write("more"));
        drop(writer);
        settle().await;
        assert_eq!(pair.peer.closed().await.0, Some(4000));
        if !by_peer {
            pair.peer.send(close(4000, "")).await;
        }
        sleep(CLOSE_TIMEOUT * 2).await;
        let log = pair.log.take();
        assert_eq!(log.last().unwrap(), "close 4000 leaving", "by the peer: {by_peer}: {log:?}");
        assert!(!log.iter().any(|entry| entry.starts_with("error")), "by the peer: {by_peer}: {log:?}");
    }
}

/// "What is queued leaves, then Close": no half message is in its way here.
#[tokio::test(start_paused = true)]
async fn messages_behind_one_without_a_piece_are_sent_before_the_close() {
    let mut pair = Pair::in_memory(options()).await;
    let writer = pair.connection.begin_text();
    assert!(pair.connection.write("accepted"));
    pair.connection.close();
    drop(writer);
    assert_eq!(frames(&mut pair.peer).await, [whole(TEXT, "accepted"), closing(1000, "")]);
}

#[tokio::test(start_paused = true)]
async fn messages_behind_one_in_pieces_meet_the_limits_too() {
    let mut pair = Pair::in_memory(limits(100, 1_000)).await;
    let mut writer = pair.connection.begin_text();
    writer.write("");
    pair.peer.frame().await;
    assert!(pair.connection.write(text_of_frame(99)));
    assert!(!pair.connection.write(text_of_frame(2)));
    settle().await;
    assert_eq!(pair.log.take(), [""; 0]);
    writer.end();
    settle().await;
    assert_eq!(pair.log.take(), ["drain"]);
    let mut writer = pair.connection.begin_text();
    writer.write("");
    assert!(!pair.connection.write(text_of_frame(1_000)));
    assert!(pair.connection.is_writable());
    assert!(!pair.connection.write("x"));
    assert!(!pair.connection.is_writable());
    drop(writer);
    settle().await;
    assert!(pair.log.take()[0].starts_with("error 1013 "));
}

#[tokio::test(start_paused = true)]
async fn a_message_in_pieces_can_be_written_at_the_readers_pace() {
    let mut pair = Pair::with_capacity(limits(1_000, 10_000), 64).await;
    let (connection, drained) = (pair.connection, Arc::new(Notify::new()));
    connection.on("drain", {
        let drained = drained.clone();
        move || drained.notify_one()
    });
    tokio::spawn(async move {
        let mut writer = connection.begin_binary();
        for n in 0..200u8 {
            if !writer.write([n; 100]) {
                drained.notified().await;
            }
            assert!(connection.buffered_amount() < 1_000 + 102);
        }
        writer.end();
    });
    for n in 0..200 {
        assert_eq!(pair.peer.frame().await, Some(part(if n == 0 { BINARY } else { 0 }, [n; 100])));
    }
    assert_eq!(pair.peer.frame().await, Some(whole(0, "")));
}

#[tokio::test(start_paused = true)]
async fn a_message_in_pieces_may_begin_in_the_connection_listener_and_end_later() {
    let (tell, told) = std::sync::mpsc::channel();
    let http = websockets(move |connection| {
        let mut writer = connection.begin_text();
        writer.write("before the 101");
        connection.write("behind");
        tell.send(writer).unwrap();
    });
    let (mut peer, _) = Peer::open_in_memory(&http).await;
    assert_eq!(peer.frame().await, Some(part(TEXT, "before the 101")));
    let mut writer = told.recv().unwrap();
    assert!(writer.write(", after it"));
    assert!(writer.end());
    assert_eq!(peer.frame().await, Some(part(0, ", after it")));
    assert_eq!(peer.frame().await, Some(whole(0, "")));
    assert_eq!(peer.text().await, "behind");
}

#[tokio::test]
async fn over_a_socket_a_message_of_many_large_pieces_arrives_whole_in_spite_of_others() {
    let mut pair = Pair::over_tcp(options().write_buffer_hard_limit(usize::MAX)).await;
    let connection = pair.connection;
    let streaming = tokio::spawn(async move {
        let mut writer = connection.begin_binary();
        for n in 0..200u8 {
            writer.write(vec![n; 50_000]);
            connection.write(n.to_string());
            tokio::task::yield_now().await;
        }
        writer.end();
    });
    let mut message = Vec::new();
    loop {
        let frame = pair.peer.frame().await.unwrap();
        assert_eq!(frame.opcode, if message.is_empty() { BINARY } else { 0 });
        message.extend(frame.payload);
        if frame.fin {
            break;
        }
    }
    assert_eq!(message, (0..200).flat_map(|n| vec![n; 50_000]).collect::<Vec<u8>>());
    for n in 0..200 {
        assert_eq!(pair.peer.text().await, n.to_string());
    }
    streaming.await.unwrap();
}
