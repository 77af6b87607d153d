//! Writes to one connection from several tasks and threads, corked writes, and large payloads.

mod support;

use std::time::Duration;

use react_websocket::{WebSocketConnection, cork};
use support::streams::{SIZES, noise, options, read_slowly};
use support::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

// ------------------------------------------------------------------------------------------------ several writers

/// Checks that the messages of each sender come in its order; each says `sender n` first.
async fn in_order_of_senders<S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin>(
    peer: &mut Peer<S>,
    senders: usize,
    each: usize,
) {
    let mut next = vec![0; senders];
    for _ in 0..senders * each {
        let text = timeout(Duration::from_secs(30), peer.text()).await.expect("a message");
        let mut words = text.split(' ');
        let (sender, n): (usize, usize) = (words.next().unwrap().parse().unwrap(), words.next().unwrap().parse().unwrap());
        assert_eq!(n, next[sender], "sender {sender}");
        let rest = words.next().unwrap();
        assert!(rest.bytes().all(|byte| byte == b'x') && rest.len() == payload_length(n), "{sender} {n}: {}", rest.len());
        next[sender] += 1;
    }
    assert_eq!(next, vec![each; senders]);
}

/// Small ones, those that leave without a copy, and those that do not fit a socket's buffer.
fn payload_length(n: usize) -> usize {
    [0, 1, 100, 5_000, 24 * 1024, 17, 100_000][n % 7]
}

fn message_of(sender: usize, n: usize) -> String {
    format!("{sender} {n} {}", "x".repeat(payload_length(n)))
}

fn write_each(connection: WebSocketConnection, sender: usize, numbers: std::ops::Range<usize>) {
    for n in numbers {
        connection.write(message_of(sender, n));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn tasks_and_threads_write_to_one_connection_each_in_its_order() {
    const EACH: usize = 500;
    let mut pair = Pair::over_tcp(options().write_buffer_hard_limit(usize::MAX)).await;
    let connection = pair.connection;
    for sender in 0..3 {
        tokio::spawn(async move {
            for n in 0..EACH {
                connection.write(message_of(sender, n));
                tokio::task::yield_now().await;
            }
        });
    }
    // Threads that no runtime knows.
    let threads: Vec<_> =
        (3..6).map(|sender| std::thread::spawn(move || write_each(connection, sender, 0..EACH))).collect();
    // Whole batches at once.
    let corked = std::thread::spawn(move || {
        for batch in 0..EACH / 50 {
            cork(|| write_each(connection, 6, batch * 50..(batch + 1) * 50));
        }
    });
    // With backpressure.
    tokio::spawn(async move {
        for n in 0..EACH {
            connection.send(message_of(7, n)).await.unwrap();
        }
    });
    in_order_of_senders(&mut pair.peer, 8, EACH).await;
    threads.into_iter().chain([corked]).for_each(|thread| thread.join().unwrap());
    assert_eq!(connection.buffered_amount(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn in_memory_too_tasks_and_threads_write_each_in_its_order() {
    const EACH: usize = 200;
    let mut pair = Pair::with_capacity(options().write_buffer_hard_limit(usize::MAX), 10_000).await;
    let connection = pair.connection;
    for sender in 0..2 {
        tokio::spawn(async move { write_each(connection, sender, 0..EACH) });
        std::thread::spawn(move || write_each(connection, 2 + sender, 0..EACH));
    }
    in_order_of_senders(&mut pair.peer, 4, EACH).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn listeners_of_many_connections_write_to_one_each_in_its_order() {
    const SENDERS: usize = 8;
    const EACH: usize = 200;
    let receiver = Pair::over_tcp(options().write_buffer_hard_limit(usize::MAX)).await;
    let (to, mut peer) = (receiver.connection, receiver.peer);
    for sender in 0..SENDERS {
        let mut pair = Pair::over_tcp(options()).await;
        pair.connection.on("text", move |text: &str| to.write(message_of(sender, text.parse().unwrap())));
        tokio::spawn(async move {
            pair.peer.send((0..EACH).flat_map(|n| text(n.to_string())).collect::<Vec<_>>()).await;
            pair.peer.frame().await;
        });
    }
    in_order_of_senders(&mut peer, SENDERS, EACH).await;
}

#[tokio::test]
async fn writes_under_a_cork_are_sent_when_the_outermost_ends() {
    let mut pair = Pair::over_tcp(options()).await;
    let other = Pair::over_tcp(options()).await;
    let (connection, neighbour) = (pair.connection, other.connection);
    let result = cork(|| {
        connection.write("one");
        neighbour.write("to another");
        cork(|| connection.write("two"));
        assert_eq!((connection.buffered_amount(), neighbour.buffered_amount()), (5 + 5, 12));
        "what the closure returns"
    });
    assert_eq!(result, "what the closure returns");
    assert_eq!((connection.buffered_amount(), neighbour.buffered_amount()), (0, 0));
    assert_eq!((pair.peer.text().await, pair.peer.text().await), ("one".into(), "two".into()));

    let panicked = std::panic::catch_unwind(|| {
        cork(|| {
            connection.write("before the panic");
            std::panic::panic_any("in a cork");
        })
    });
    assert!(panicked.is_err());
    assert_eq!(pair.peer.text().await, "before the panic");
    assert!(connection.write("and the cork is out"));
    assert_eq!(connection.buffered_amount(), 0);

    // Large ones leave at once, behind what waits.
    cork(|| {
        connection.write("small");
        assert_eq!(connection.buffered_amount(), 7);
        connection.write("x".repeat(24 * 1024));
        assert_eq!(connection.buffered_amount(), 0);
        connection.write("x".repeat(24 * 1024 - 1));
        assert_eq!(connection.buffered_amount(), 24 * 1024 - 1 + 4);
    });
    for length in [19, 5, 24 * 1024, 24 * 1024 - 1] {
        assert_eq!(pair.peer.text().await.len(), length);
    }
}

#[tokio::test]
async fn writes_of_a_listener_are_sent_when_its_turn_ends() {
    let mut pair = Pair::over_tcp(options()).await;
    let (tell, told) = std::sync::mpsc::channel();
    pair.connection.on("text", move |connection: &WebSocketConnection, text: &str| {
        connection.write(text);
        tell.send(connection.buffered_amount()).unwrap();
    });
    pair.peer.send([text("a"), text("b"), text("c")].concat()).await;
    for text in ["a", "b", "c"] {
        assert_eq!(pair.peer.text().await, text);
    }
    assert_eq!(told.try_iter().collect::<Vec<_>>(), [3, 6, 9], "all three in one");
}

// ------------------------------------------------------------------------------------------------ large payloads

/// Writes payloads of all sizes, from a listener or from outside, and compares what arrives.
async fn large_payloads(in_listener: bool, slowly: bool, small_between: bool) {
    let mut pair = Pair::over_tcp(options().write_buffer_hard_limit(usize::MAX)).await;
    let connection = pair.connection;
    let write = move || {
        for size in SIZES {
            connection.write_binary(noise(size));
            if small_between {
                connection.write_binary(noise(size % 100));
            }
        }
    };
    let mut expected = Vec::new();
    for size in SIZES {
        expected.extend(server_frame(0x82, noise(size)));
        if small_between {
            expected.extend(server_frame(0x82, noise(size % 100)));
        }
    }
    if in_listener {
        connection.on("text", write);
        pair.peer.send(text("go")).await;
    } else {
        write();
        assert!(connection.buffered_amount() > 0, "more than the system's buffers hold");
    }
    let received = if slowly {
        read_slowly(&mut pair.peer.stream, expected.len()).await
    } else {
        timeout(Duration::from_secs(30), pair.peer.exactly(expected.len())).await.expect("all of it")
    };
    // Not `assert_eq!`, which would print megabytes.
    let differs = received.iter().zip(&expected).position(|(received, expected)| received != expected);
    assert_eq!(differs, None, "in a listener {in_listener}, slowly {slowly}, small between {small_between}");
    connection.write("that was all");
    assert_eq!(pair.peer.text().await, "that was all");
}

#[tokio::test]
async fn large_payloads_arrive_byte_for_byte() {
    for case in 0..8 {
        large_payloads(case & 1 != 0, case & 2 != 0, case & 4 != 0).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_several_threads_too_large_payloads_arrive_byte_for_byte() {
    for case in 0..8 {
        large_payloads(case & 1 != 0, case & 2 != 0, case & 4 != 0).await;
    }
}

#[tokio::test]
async fn large_messages_come_back_byte_for_byte_to_a_peer_that_reads_only_when_it_has_written() {
    let pair = Pair::over_tcp(options().max_message_size(8 << 20).max_frame_size(8 << 20)).await;
    pair.connection.on("binary", |connection: &WebSocketConnection, bytes: &[u8]| connection.write_binary(bytes));
    let (mut reader, mut writer) = pair.peer.stream.into_split();
    let writing = tokio::spawn(async move {
        for size in SIZES {
            writer.write_all(&frame(0x82, noise(size))).await.unwrap();
        }
        writer
    });
    for size in SIZES {
        let expected = server_frame(0x82, noise(size));
        let mut received = vec![0; expected.len()];
        timeout(Duration::from_secs(30), reader.read_exact(&mut received)).await.expect("all of it").unwrap();
        assert!(received == expected, "{size} bytes");
    }
    writing.await.unwrap();
}
