//! Malicious clients over real sockets, against a server in a process of its own. The memory, the
//! descriptors and the processor time of that process stay below a bound. Meanwhile the server
//! still serves a good client.
//!
//! Each bound is several times the usual value. It detects a leak or a loop, also on a busy
//! machine.
#![cfg(target_os = "linux")]

#[path = "support/process.rs"]
mod process;
mod support;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use process::*;
use support::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::{interval, timeout};

/// The server's process, if it was started to be that.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "what the other tests start"]
async fn serve() {
    serve_if_asked().await;
}

async fn in_time<F: Future>(future: F) -> F::Output {
    timeout(AT_MOST, future).await.expect("it ends")
}

/// What one connection takes at worst.
fn worst_case(setup: &str) -> usize {
    options(setup).1.worst_case_bytes()
}

/// Runs all clients at the same time, and returns the result of each.
async fn all<F: Future<Output: Send> + Send + 'static>(clients: impl IntoIterator<Item = F>) -> Vec<F::Output> {
    let clients: Vec<JoinHandle<F::Output>> = clients.into_iter().map(tokio::spawn).collect();
    let mut outcomes = Vec::new();
    for client in clients {
        outcomes.push(in_time(client).await.unwrap());
    }
    outcomes
}

/// Sends a request and reads to the end, which may be a reset.
async fn answer_of(address: SocketAddr, request: impl AsRef<[u8]>) -> String {
    let mut peer = Peer::connect(address).await;
    // The server may reset a client that it rejects early.
    let _ = peer.stream.write_all(request.as_ref()).await;
    String::from_utf8_lossy(&peer.rest().await).into_owned()
}

/// Shakes hands, sends all of it whatever the server says to that, and reads to the end meanwhile: all frames.
async fn flood(address: SocketAddr, bytes: Vec<u8>) -> Vec<Frame> {
    let peer = Peer::open(address).await;
    let (read, mut write) = peer.stream.into_split();
    let mut peer = Peer::new(tokio::io::join(read, tokio::io::sink()));
    let writing = tokio::spawn(async move {
        // The server may end it before all is sent.
        let _ = write.write_all(&bytes).await;
        let _ = write.shutdown().await;
    });
    let mut frames = Vec::new();
    while let Some(frame) = peer.frame().await {
        frames.push(frame);
    }
    writing.await.unwrap();
    frames
}

/// The code of a Close.
fn code(frame: &Frame) -> Option<u16> {
    (frame.opcode == 8).then(|| u16::from_be_bytes([frame.payload[0], frame.payload[1]]))
}

fn reset(stream: TcpStream) {
    socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
}

// Slow clients.

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_hundred_that_send_a_head_byte_by_byte_are_all_ended_by_the_deadline() {
    let server = Process::start("header_timeout=2000");
    let bystander = Bystander::of(&server);
    let address = server.address;
    let started = Instant::now();
    let outcomes = all((0..500).map(|n| async move {
        let start = Instant::now();
        let mut stream = TcpStream::connect(address).await.unwrap();
        let mut head = HANDSHAKE.bytes().take(100 + n % 5).chain(std::iter::repeat(b'x'));
        let (mut said, mut pace) = (Vec::new(), interval(Duration::from_millis(100)));
        loop {
            tokio::select! {
                read = stream.read_buf(&mut said) => if read.unwrap_or(0) == 0 { break },
                _ = pace.tick() => if stream.write_all(&[head.next().unwrap()]).await.is_err() { break },
            }
        }
        (String::from_utf8(said).unwrap(), start.elapsed())
    }))
    .await;
    server.assert_time_within(started.elapsed() / 2);
    server.assert_growth_within(500 * 64 * KIB);
    for (said, after) in outcomes {
        assert!(said.is_empty() || said.starts_with("HTTP/1.1 408 "), "{said}");
        assert!(after >= Duration::from_secs(2), "they have their time: {after:?}");
    }
    bystander.leave();
    server.settle();
    server.assert_kept_within(500 * 64 * KIB);
    assert_eq!(server.times("http no complete request head within 2s"), 500);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_handshake_and_a_message_in_segments_of_one_byte_are_taken() {
    let server = Process::start("");
    let bystander = Bystander::of(&server);
    let address = server.address;
    all((0..20).map(|n| async move {
        let mut peer = Peer::connect(address).await;
        peer.stream.set_nodelay(true).unwrap();
        let message = format!("message {n}");
        for byte in HANDSHAKE.bytes() {
            peer.send([byte]).await;
        }
        assert!(peer.head().await.starts_with("HTTP/1.1 101 "));
        for byte in text(&message) {
            peer.send([byte]).await;
        }
        assert_eq!(peer.text().await, message);
    }))
    .await;
    bystander.leave();
    server.settle();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_in_a_hundred_thousand_segments_is_taken_at_the_price_of_its_reads() {
    let server = Process::start("");
    let bystander = Bystander::of(&server);
    let mut peer = Peer::open(server.address).await;
    peer.stream.set_nodelay(true).unwrap();
    let message = "x".repeat(100_000);
    for byte in text(&message) {
        peer.send([byte]).await;
    }
    assert!(in_time(peer.text()).await == message);
    server.assert_time_within(100_000 * Duration::from_micros(50));
    server.assert_growth_within(worst_case(""));
    drop(peer);
    bystander.leave();
    server.settle();
}

// Lengths that are announced, and payloads that do not arrive (RFC 6455 section 5.2, RFC 9112
// section 6).

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn frames_that_announce_more_than_there_is_are_refused_at_once_and_take_no_memory() {
    let server = Process::start("");
    let bystander = Bystander::of(&server);
    let address = server.address;
    for (length, expected) in [(1 << 62, 1009), ((1 << 63) - 1, 1009), (1 << 63, 1002), (u64::MAX, 1002)] {
        all((0..50).map(|n| async move {
            let mut peer = Peer::open(address).await;
            // Whole messages, first fragments, and ones that go on.
            let before = if n % 3 == 2 { frame(0x01, "begun") } else { Vec::new() };
            let first = [0x82, 0x02, 0x80][n % 3];
            peer.send([&before[..], &[first, 0xFF], &u64::to_be_bytes(length), &[1, 2, 3, 4]].concat()).await;
            assert_eq!(peer.closed().await.0, Some(expected), "{length}");
            // The payload, for which the server does not wait.
            let _ = peer.stream.write_all(&[0; 100_000]).await;
        }))
        .await;
    }
    bystander.leave();
    server.settle();
    server.assert_time_within(200 * Duration::from_millis(5));
    server.assert_growth_within(16 * MIB);
    assert_eq!((server.times("error 1009"), server.times("error 1002")), (100, 100));
}

// Floods.

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_pings_ends_with_1008_and_few_answers() {
    let server = Process::start("");
    let bystander = Bystander::of(&server);
    for payload in ["", &"x".repeat(125)] {
        let started = Instant::now();
        let frames = in_time(flood(server.address, frame(0x89, payload).repeat(100_000))).await;
        let (last, pongs) = frames.split_last().unwrap();
        assert_eq!(code(last), Some(1008));
        assert!(pongs.iter().all(|frame| frame.opcode == 10));
        // The burst, and a hundred for each second that has passed.
        let most = 200 + 100 * (started.elapsed().as_secs() as usize + 1);
        assert!((200..=most).contains(&pongs.len()), "{} of at most {most}", pongs.len());
    }
    server.assert_time_within(200_000 * Duration::from_micros(20));
    server.assert_growth_within(4 * MIB);
    bystander.leave();
    server.settle();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_fragments_ends_with_1008() {
    let server = Process::start("");
    let bystander = Bystander::of(&server);
    for payload in ["", "x"] {
        let bytes = [frame(0x01, payload), frame(0x00, payload).repeat(100_000), frame(0x80, payload)].concat();
        let frames = in_time(flood(server.address, bytes)).await;
        assert_eq!(frames.iter().map(code).collect::<Vec<_>>(), [Some(1008)]);
    }
    server.assert_time_within(200_000 * Duration::from_micros(20));
    server.assert_growth_within(4 * MIB);
    bystander.leave();
    server.settle();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_small_messages_is_echoed_in_order() {
    const MESSAGES: usize = 200_000;
    let server = Process::start("");
    let bystander = Bystander::of(&server);
    let bytes: Vec<u8> = (0..MESSAGES).flat_map(|n| text(n.to_string())).chain(close(1000, "")).collect();
    let frames = in_time(flood(server.address, bytes)).await;
    server.assert_time_within(MESSAGES as u32 * Duration::from_micros(20));
    server.assert_growth_within(worst_case(""));
    assert_eq!(frames.len(), MESSAGES + 1);
    for (n, frame) in frames[..MESSAGES].iter().enumerate() {
        assert_eq!(frame.payload, n.to_string().as_bytes());
    }
    assert_eq!(code(&frames[MESSAGES]), Some(1000));
    bystander.leave();
    server.settle();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_pipelined_requests_is_answered_in_order_up_to_the_limit_of_a_connection() {
    const CONNECTIONS: usize = 100;
    let server = Process::start("");
    let bystander = Bystander::of(&server);
    let address = server.address;
    let requests: Vec<u8> = (0..1200).flat_map(|n| format!("GET /{n} HTTP/1.1\r\nHost: a\r\n\r\n").into_bytes()).collect();
    let answers = all((0..CONNECTIONS).map(|_| {
        let requests = requests.clone();
        async move {
            let (mut read, mut write) = TcpStream::connect(address).await.unwrap().into_split();
            let writing = tokio::spawn(async move { write.write_all(&requests).await.map(|()| write) });
            let mut said = String::new();
            let _ = read.read_to_string(&mut said).await;
            let _ = writing.await.unwrap();
            said
        }
    }))
    .await;
    server.assert_time_within(CONNECTIONS as u32 * 1000 * Duration::from_micros(200));
    server.assert_growth_within(CONNECTIONS * 128 * KIB);
    for said in answers {
        let bodies: Vec<_> = said.split("\r\n\r\n").skip(1).map(|part| part.split("HTTP/1.1").next().unwrap()).collect();
        assert_eq!(bodies.len(), 1000);
        assert!(bodies.iter().enumerate().all(|(n, body)| *body == format!("/{n} 0")));
        assert_eq!(said.matches("Connection: close").count(), 1);
    }
    bystander.leave();
    server.settle();
}

// Clients that do not read.

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_has_a_gigabyte_echoed_and_does_not_read_is_closed_within_the_worst_case() {
    // By the hard limit, and by the time in which nothing was taken.
    let rows = [("close_timeout=1000", 1024, "error 1013"), ("hard_limit=67108864 write_timeout=1000", 32, "error 1006")];
    for (setup, messages, ended) in rows {
        let server = Process::start(setup);
        let bystander = Bystander::of(&server);
        let mut peer = Peer::open(server.address).await;
        let message = frame(0x82, vec![7; MIB - 14]);
        let mut sent = 0;
        let sending = async {
            while sent < messages && peer.stream.write_all(&message).await.is_ok() {
                sent += 1;
            }
        };
        // One that is not read any more is stuck until the server lets it go.
        in_time(sending).await;
        eventually("it is ended", || server.times("close") == 1);
        server.assert_time_within(messages * Duration::from_millis(10) + Duration::from_secs(1));
        server.assert_growth_within(worst_case(setup) + 8 * MIB);
        assert_eq!(server.times(ended), 1, "{:?}", server.stats());
        drop(peer);
        bystander.leave();
        server.settle();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_does_not_read_a_broadcast_is_closed_and_the_others_receive_all_of_it() {
    const BATCHES: usize = 40;
    const BATCH: usize = 32;
    let server = Process::start("close_timeout=1000");
    let bystander = Bystander::of(&server);
    let join = |address| async move {
        let mut peer = Peer::connect(address).await;
        peer.send(HANDSHAKE.replace("GET /", "GET /room")).await;
        assert!(peer.head().await.starts_with("HTTP/1.1 101 "));
        peer
    };
    let (silent, mut readers) = (join(server.address).await, Vec::new());
    for _ in 0..4 {
        readers.push(join(server.address).await);
    }
    // A healthy client reads this much in time, so that only a client that does not read at all is
    // slow.
    for batch in 0..BATCHES {
        let messages: Vec<String> = (0..BATCH).map(|n| format!("{batch} {n} {}", "x".repeat(16_000))).collect();
        let all: Vec<u8> = messages.iter().flat_map(text).collect();
        readers[0].send(all).await;
        for reader in &mut readers {
            for message in &messages {
                assert!(in_time(reader.text()).await == *message);
            }
        }
    }
    eventually("it is ended", || server.times("close") == 1);
    assert_eq!(server.times("error 1013"), 1);
    server.assert_time_within(5 * (BATCHES * BATCH) as u32 * Duration::from_millis(1));
    server.assert_growth_within(worst_case("") + 8 * MIB);
    drop((silent, readers));
    bystander.leave();
    server.settle();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_does_not_read_a_large_response_is_cut_after_the_write_timeout() {
    let server = Process::start("http_write_timeout=1000");
    let bystander = Bystander::of(&server);
    let address = server.address;
    let peers = all((0..40).map(|n| async move {
        let mut peer = Peer::connect(address).await;
        let path = ["/big", "/endless"][n % 2];
        peer.send(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n")).await;
        peer
    }))
    .await;
    eventually("all are cut", || server.times("http the client took nothing of the response within 1s") == 40);
    server.assert_time_within(40 * Duration::from_millis(50));
    server.assert_growth_within(16 * MIB);
    drop(peers);
    bystander.leave();
    server.settle();
}

// Ends.

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_hundred_resets_in_the_middle_of_something_leave_nothing_behind() {
    let server = Process::start("");
    let bystander = Bystander::of(&server);
    let address = server.address;
    for _ in 0..5 {
        all((0..100).map(|n| async move {
            let mut peer = Peer::open(address).await;
            let whole = frame(0x82, vec![1; 70_000]);
            match n % 4 {
                0 => peer.send(&whole[..1]).await,
                1 => peer.send(&whole[..9]).await,
                2 => peer.send(&whole[..50_000]).await,
                // While an echo is on its way to it.
                _ => peer.send([&whole[..], &whole[..50_000]].concat()).await,
            }
            reset(peer.stream);
        }))
        .await;
    }
    eventually("all are closed", || server.times("close 1006") == 500);
    bystander.leave();
    server.settle();
    server.assert_time_within(500 * Duration::from_millis(5));
    server.assert_kept_within(8 * MIB);
    let expected = [("close", 501), ("close 1006", 501), ("connection", 501)].map(|(what, times)| (what.to_owned(), times));
    assert_eq!(server.stats(), expected.into(), "and no error");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_half_closed_client_receives_its_responses_and_is_closed() {
    let server = Process::start("");
    let bystander = Bystander::of(&server);
    let address = server.address;
    let post = "POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n";
    let message = |bytes: &[u8]| [HANDSHAKE.as_bytes(), bytes].concat();
    let rows: [(Vec<u8>, &[&str]); 8] = [
        (vec![], &[]),
        ("GET / HT".into(), &["HTTP/1.1 400 "]),
        ("GET /a HTTP/1.1\r\nHost: a\r\n\r\n".into(), &["HTTP/1.1 200 ", "/a 0"]),
        (format!("{post}hello").into(), &["HTTP/1.1 200 ", "/a 5"]),
        (format!("{post}hel").into(), &["HTTP/1.1 400 "]),
        (HANDSHAKE.into(), &["HTTP/1.1 101 "]),
        (message(&text("the last")), &["HTTP/1.1 101 ", "\r\n\r\n\u{FFFD}\u{8}the last"]),
        (message(&text("the last")[..9]), &["HTTP/1.1 101 "]),
    ];
    for (request, expected) in rows {
        for said in all((0..30).map(|_| {
            let request = request.clone();
            async move {
                let mut peer = Peer::connect(address).await;
                peer.send(request).await;
                peer.stream.shutdown().await.unwrap();
                String::from_utf8_lossy(&peer.rest().await).into_owned()
            }
        }))
        .await
        {
            let request = String::from_utf8_lossy(&request);
            assert_eq!(said.is_empty(), expected.is_empty(), "{request:?}: {said:?}");
            assert!(expected.iter().all(|part| said.contains(part)), "{request:?}: {said:?}");
        }
    }
    bystander.leave();
    server.settle();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_pipelines_slow_requests_and_leaves_is_dropped() {
    let server = Process::start("");
    let bystander = Bystander::of(&server);
    let address = server.address;
    all((0..60).map(|n| async move {
        let mut peer = Peer::connect(address).await;
        // An answer, or a part of a stream, that never comes.
        let path = ["/never", "/silent"][n % 2];
        // Beyond some of it nothing more is read while an answer is due, not even an end.
        let more = [0, 100, 15_000, 17_000, 60_000][n % 5];
        peer.send(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n{}", "x".repeat(more))).await;
        if path == "/silent" {
            assert!(peer.head().await.starts_with("HTTP/1.1 200 "));
        }
        if n % 3 == 0 {
            reset(peer.stream);
        }
    }))
    .await;
    bystander.leave();
    server.settle();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_thousand_that_connect_and_leave_cost_nothing_that_stays() {
    let server = Process::start("");
    let bystander = Bystander::of(&server);
    let address = server.address;
    all((0..10).map(|n| async move {
        for _ in 0..500 {
            let stream = TcpStream::connect(address).await.unwrap();
            if n % 2 == 0 {
                reset(stream);
            }
        }
    }))
    .await;
    bystander.leave();
    server.settle();
    server.assert_time_within(5_000 * Duration::from_millis(1));
    server.assert_kept_within(8 * MIB);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_descriptors_the_server_does_not_spin_and_serves_clients_in_turn() {
    const CLIENTS: u64 = 120;
    const LIMIT: usize = 64;
    let server = Process::start_with_descriptors("", LIMIT);
    let bystander = Bystander::of(&server);
    let address = server.address;
    // Each has a thread, is served, and stays until it is told to make room.
    let (leave, threads): (Vec<_>, Vec<_>) = (0..CLIENTS)
        .map(|n| {
            let (leave, may_leave) = std::sync::mpsc::channel::<()>();
            let thread = std::thread::spawn(move || {
                let mut client = Client::open(address, "/");
                client.echo(n).expect("everyone is served");
                let _ = may_leave.recv();
                client.echo(n).expect("everyone is still served");
            });
            (leave, thread)
        })
        .unzip();
    eventually("it has no descriptors left", || server.usage().descriptors >= LIMIT);
    server.assert_idle_for(Duration::from_secs(2));
    drop(leave);
    for thread in threads {
        thread.join().expect("everyone is served");
    }
    bystander.leave();
    server.settle();
    assert!(server.times("socket") > 0, "it was told that there are none");
}

// Malformed and inconsistent input.

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_of_another_protocol_is_answered_at_once() {
    let server = Process::start("");
    let bystander = Bystander::of(&server);
    let address = server.address;
    let client_hello = [&[0x16, 3, 1, 2, 0, 1, 0, 1, 0xFC, 3, 3][..], &[0xA5; 506]].concat();
    let rows: [(&[u8], &str); 5] = [
        (&client_hello, "400"),
        (&client_hello[..1], "400"),
        (&client_hello[..11], "400"),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "505"),
        (&[0; 100], "400"),
    ];
    for (bytes, status) in rows {
        for said in all((0..20).map(|_| answer_of(address, bytes.to_vec()))).await {
            assert!(said.starts_with(&format!("HTTP/1.1 {status} ")), "{bytes:?}: {said:?}");
        }
    }
    bystander.leave();
    server.settle();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_handshake_is_a_malformed_frame() {
    let server = Process::start("");
    let bystander = Bystander::of(&server);
    let address = server.address;
    all((0..50).map(|n| async move {
        let mut peer = Peer::connect(address).await;
        if n % 2 == 0 {
            peer.send(HANDSHAKE.repeat(2)).await;
        } else {
            peer.send(HANDSHAKE).await;
        }
        assert!(peer.head().await.starts_with("HTTP/1.1 101 "));
        if n % 2 == 1 {
            peer.send(HANDSHAKE).await;
        }
        assert_eq!(peer.closed().await.0, Some(1002));
        assert!(peer.ended().await);
    }))
    .await;
    bystander.leave();
    server.settle();
    assert_eq!(server.times("error 1002"), 50);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn heads_and_bodies_without_end_are_refused_at_their_bounds() {
    let server = Process::start("");
    let bystander = Bystander::of(&server);
    let address = server.address;
    let chunked = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    let rows = [
        (format!("GET /{}", "x".repeat(64 << 10)), "414"),
        (format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}", "x".repeat(64 << 10)), "431"),
        (format!("GET / HTTP/1.1\r\n{}", "X: y\r\n".repeat(10_000)), "431"),
        (format!("{chunked}{}", "1\r\nx\r\n".repeat(100_000)), "413"),
        (format!("{chunked}{}", "1;x=y\r\nx\r\n".repeat(50_000)), "400"),
        (format!("{chunked}1;{}", "x".repeat(64 << 10)), "400"),
        (format!("{chunked}0\r\n{}", "X: y\r\n".repeat(10_000)), "400"),
        (format!("{chunked}7fffffffffffffff\r\n{}", "x".repeat(64 << 10)), "413"),
        (format!("{chunked}10000000000000000\r\n"), "400"),
        (format!("{chunked}{}", "0".repeat(64 << 10)), "400"),
    ];
    for (request, status) in rows {
        for said in all((0..20).map(|_| answer_of(address, request.clone()))).await {
            // A client that continues to send may be reset before it has read the response.
            assert!(said.is_empty() || said.starts_with(&format!("HTTP/1.1 {status} ")), "{:.60}: {said}", request);
        }
    }
    bystander.leave();
    server.settle();
    server.assert_time_within(200 * Duration::from_millis(20));
    server.assert_growth_within(16 * MIB);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_expects_a_continue_and_sends_nothing_is_closed() {
    let server = Process::start("body_timeout=1000");
    let bystander = Bystander::of(&server);
    let address = server.address;
    let head =
        |length: &str| format!("POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: {length}\r\n\r\n");
    let rows: [(String, &[&str]); 4] = [
        (head("10"), &["HTTP/1.1 100 ", "HTTP/1.1 408 "]),
        (head("1000000"), &["HTTP/1.1 413 "]),
        (head("x"), &["HTTP/1.1 400 "]),
        (head("0").replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n"), &["HTTP/1.1 200 "]),
    ];
    for (request, expected) in rows {
        for said in all((0..30).map(|_| answer_of(address, request.clone()))).await {
            let statuses: Vec<_> = said.match_indices("HTTP/1.1 ").map(|(at, _)| &said[at..at + 13]).collect();
            assert_eq!(statuses, expected, "{request}");
        }
    }
    bystander.leave();
    server.settle();
}
