//! Timeouts of a connection: idle, lifetime, close, write and handshake.
//!
//! All of it in memory and in paused time, which passes only when every task waits.

mod support;

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use react_websocket::errors::{ConnectionError, HandshakeError};
use react_websocket::{HttpServer, WebSocketConnection, WebSocketMiddleware, WebSocketOptions};
use support::timeouts::{
    InMemory, LATE, assert_on_time, ended, millis, no_timeouts, pinged, seconds, send_behind_the_clock, slow_listener,
};
use support::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, advance, sleep, sleep_until, timeout};

// ------------------------------------------------------------------------------------------------ idle, age

#[tokio::test(start_paused = true)]
async fn a_peer_that_sends_no_message_for_the_idle_timeout_is_closed_with_1001() {
    let mut pair = Pair::in_memory(no_timeouts().idle_timeout(seconds(7))).await;
    let mut last = Instant::now();
    for message in [text("a"), frame(0x82, "b"), text(""), frame(0x82, "")] {
        sleep(millis(6_990)).await;
        pair.peer.send(message).await;
        last = Instant::now();
    }
    assert_eq!(pair.peer.closed().await, (Some(1001), "idle".into()));
    assert_on_time(last.elapsed(), seconds(7));
    pair.peer.send(close(1001, "")).await;
    assert!(pair.peer.ended().await);
    settle().await;
    assert_eq!(pair.log.take(), ["text a", "binary 1", "text ", "binary 0", "close 1001 idle"]);
}

#[tokio::test(start_paused = true)]
async fn control_frames_do_not_keep_an_idle_peer() {
    let mut pair = Pair::in_memory(no_timeouts().auto_pong(false).idle_timeout(seconds(7))).await;
    let opened = Instant::now();
    for control in [frame(0x89, "ping"), frame(0x8A, "pong"), frame(0x89, "")] {
        sleep(seconds(2)).await;
        pair.peer.send(control).await;
    }
    assert_eq!(pair.peer.closed().await, (Some(1001), "idle".into()));
    assert_on_time(opened.elapsed(), seconds(7));
}

#[tokio::test(start_paused = true)]
async fn messages_that_are_written_do_not_keep_an_idle_peer() {
    let mut pair = Pair::in_memory(no_timeouts().idle_timeout(seconds(7))).await;
    sleep(seconds(6)).await;
    pair.connection.write("x");
    assert_eq!(pair.peer.text().await, "x");
    assert_eq!(pair.peer.closed().await, (Some(1001), "idle".into()));
}

#[tokio::test(start_paused = true)]
async fn fragments_of_a_message_are_data_frames_to_the_idle_timeout() {
    while_time_passes(async {
        let mut pair = Pair::in_memory(no_timeouts().idle_timeout(seconds(7))).await;
        for first in [0x01, 0x00, 0x00, 0x00, 0x80] {
            pair.peer.send(frame(first, "x")).await;
            sleep(seconds(5)).await;
        }
        assert_eq!(pair.log.take(), ["text xxxxx"]);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_peer_is_not_idle_while_it_is_not_read() {
    while_time_passes(async {
        let mut pair = Pair::in_memory(no_timeouts().idle_timeout(seconds(7))).await;
        pair.connection.pause();
        sleep(seconds(100)).await;
        pair.peer.send(text("a")).await;
        sleep(seconds(100)).await;
        pair.connection.resume();
        settle().await;
        assert_eq!(pair.log.take(), ["text a"]);
        let resumed = Instant::now();
        assert_eq!(pair.peer.closed().await, (Some(1001), "idle".into()));
        assert!(resumed.elapsed() <= seconds(7) + LATE);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_message_that_waits_in_the_socket_counts_whenever_reading_goes_on() {
    for resume_after in [0, 6_950, 6_999, 7_000, 7_001, 13_950, 14_000, 14_001] {
        let mut pair = Pair::in_memory(no_timeouts().idle_timeout(seconds(7))).await;
        let opened = Instant::now();
        pair.connection.pause();
        pair.peer.send(text("a")).await;
        sleep_until(opened + millis(resume_after)).await;
        pair.connection.resume();
        settle().await;
        assert_eq!(pair.log.take(), ["text a"], "resumed after {resume_after} ms");
        assert!(pair.connection.is_writable(), "resumed after {resume_after} ms");
    }
}

#[tokio::test(start_paused = true)]
async fn a_message_that_comes_before_the_idle_timeout_is_acted_upon_counts() {
    let pair = Pair::in_memory(no_timeouts().idle_timeout(seconds(7))).await;
    let mut pair = send_behind_the_clock(pair, seconds(7), text("a")).await;
    settle().await;
    assert_eq!(pair.log.take(), ["text a"]);
    let heard = Instant::now();
    assert_eq!(pair.peer.closed().await, (Some(1001), "idle".into()));
    assert_on_time(heard.elapsed() + millis(1), seconds(7));
}

#[tokio::test(start_paused = true)]
async fn a_peer_is_not_idle_while_the_listener_of_its_message_runs() {
    while_time_passes(async {
        let mut pair = Pair::in_memory(no_timeouts().idle_timeout(seconds(7))).await;
        let (go_on, texts) = slow_listener(&pair);
        pair.peer.send(text("a")).await;
        for n in 0..10 {
            sleep(seconds(3)).await;
            pair.peer.send(text(n.to_string())).await;
        }
        assert!(pair.connection.is_writable(), "a message came every 3 seconds");
        go_on.notify_one();
        settle().await;
        assert_eq!(texts.lock().unwrap().len(), 11);
        assert_eq!(pair.peer.closed().await, (Some(1001), "idle".into()));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_is_old_enough_is_closed_with_1001_however_busy_it_is() {
    let mut pair = Pair::in_memory(no_timeouts().max_lifetime(seconds(60))).await;
    let opened = Instant::now();
    for _ in 0..59 {
        sleep(seconds(1)).await;
        pair.peer.send(text("busy")).await;
    }
    assert_eq!(pair.peer.closed().await, (Some(1001), "end of lifetime".into()));
    assert_on_time(opened.elapsed(), seconds(60));
    pair.peer.send(close(1001, "")).await;
    assert!(pair.peer.ended().await);
    settle().await;
    assert_eq!(pair.log.take().last().unwrap(), "close 1001 end of lifetime");
}

#[tokio::test(start_paused = true)]
async fn idle_timeout_and_lifetime_are_off_if_not_set() {
    for options in [WebSocketOptions::new(), WebSocketOptions::new().idle_timeout(None).max_lifetime(None)] {
        let mut pair = Pair::in_memory(options.ping_interval(None)).await;
        assert!(timeout(seconds(400 * 86_400), pair.peer.frame()).await.is_err(), "a frame, or the end");
    }
}

// ------------------------------------------------------------------------------------------------ close_timeout

#[tokio::test(start_paused = true)]
async fn a_peer_that_does_not_answer_our_close_is_dropped_after_the_close_timeout() {
    while_time_passes(async {
        for limit in [millis(300), seconds(3), seconds(10)] {
            let mut pair = Pair::in_memory(no_timeouts().close_timeout(limit)).await;
            sleep(seconds(5)).await;
            pair.connection.close_with(4000, "bye");
            assert_eq!(pair.peer.closed().await, (Some(4000), "bye".into()));
            let closed = Instant::now();
            // Messages of the peer do not extend the deadline.
            while pair.peer.stream.write_all(&text("not yet")).await.is_ok() {
                sleep(millis(1)).await;
            }
            assert_on_time(closed.elapsed(), limit);
            assert_eq!(pair.log.take(), ["close 1006 "]);
        }
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_does_not_leave_after_its_fault_is_dropped_after_the_close_timeout() {
    while_time_passes(async {
        let mut pair = Pair::in_memory(no_timeouts()).await;
        pair.peer.send([0xFF, 0xFF]).await;
        assert_eq!(pair.peer.closed().await.0, Some(1002));
        assert!(pair.peer.ended().await, "no more comes from the server");
        let told = Instant::now();
        settle().await;
        assert_eq!(pair.log.take().len(), 1, "error");
        while pair.log.take().is_empty() {
            assert!(told.elapsed() < seconds(20), "no close");
            sleep(millis(10)).await;
        }
        assert_on_time(told.elapsed(), seconds(10));
    })
    .await;
}

/// One deadline that has passed while our Close is being waited for must not keep the server busy: the time goes on.
#[tokio::test(start_paused = true)]
async fn deadlines_that_pass_while_the_peers_close_is_awaited_are_quiet() {
    type Ending = (&'static str, WebSocketOptions, fn(&InMemory));
    let endings: [Ending; 5] = [
        ("a ping", WebSocketOptions::new().ping_interval(seconds(4)), |pair| pair.connection.close()),
        ("a pong", WebSocketOptions::new().pong_timeout(seconds(3)), |_| {}),
        ("idle", no_timeouts().idle_timeout(seconds(1)), |_| {}),
        ("age", no_timeouts().max_lifetime(seconds(1)), |_| {}),
        ("idle and age", no_timeouts().idle_timeout(seconds(4)).max_lifetime(seconds(5)), |pair| pair.connection.close()),
    ];
    for (what, options, end) in endings {
        eprintln!("{what}");
        while_time_passes(async {
            let mut pair = Pair::in_memory(options).await;
            end(&pair);
            let end = timeout(seconds(60), ended(&mut pair)).await;
            assert!(end.is_ok(), "{what}: the end");
            assert!(pair.log.take().last().unwrap().starts_with("close 1006 "), "{what}");
        })
        .await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_write_that_is_stuck_is_quiet_while_listeners_are_waited_for() {
    while_time_passes(async {
        let mut pair = Pair::with_capacity(WebSocketOptions::new().ping_interval(None), 64).await;
        let (_go_on, _) = slow_listener(&pair);
        pair.peer.send(text("first")).await;
        settle().await;
        pair.connection.write("x".repeat(1_000));
        sleep(seconds(30 + 10) + LATE + LATE).await;
        assert_eq!(
            pair.log.take(),
            ["text first", "error 1006 nothing could be sent for 30s", "close 1006 nothing could be sent for 30s"]
        );
    })
    .await;
}

// ------------------------------------------------------------------------------------------------ write_timeout

#[tokio::test(start_paused = true)]
async fn a_peer_that_takes_nothing_for_the_write_timeout_fails() {
    while_time_passes(async {
        let mut pair = Pair::with_capacity(WebSocketOptions::new().ping_interval(None), 1_000).await;
        sleep(seconds(100)).await;
        let written = Instant::now();
        assert!(pair.connection.write("x".repeat(2_000)));
        sleep(seconds(30) - millis(1)).await;
        assert_eq!(pair.log.take(), [""; 0]);
        sleep(LATE).await;
        assert_eq!(
            pair.log.take(),
            ["error 1006 nothing could be sent for 30s", "close 1006 nothing could be sent for 30s"]
        );
        assert_eq!(pair.peer.rest().await.len(), 1_000, "what had been taken, and no Close");
        assert_on_time(written.elapsed() - LATE, seconds(30) - millis(1));
    })
    .await;
}

/// The ping waits behind what it takes.
#[tokio::test(start_paused = true)]
async fn a_peer_that_slowly_reads_the_bytes_before_the_ping_is_not_dead() {
    while_time_passes(async {
        let mut pair = Pair::with_capacity(WebSocketOptions::new(), 1_000).await;
        pair.connection.write("x".repeat(60_000));
        let mut received = Vec::<u8>::new();
        while received.len() < 60_000 + 4 {
            sleep(seconds(1)).await;
            let mut piece = [0; 1_000];
            let count = pair.peer.stream.read(&mut piece).await.unwrap();
            assert!(count > 0, "closed after {} bytes: {:?}", received.len(), pair.log.take());
            received.extend(&piece[..count]);
        }
        // But it has to answer.
        let silent = Instant::now();
        while pair.connection.is_writable() {
            sleep(millis(50)).await;
        }
        assert!(silent.elapsed() <= seconds(45), "{:?}", silent.elapsed());
        assert_eq!(pair.log.take()[0], "error 1006 no pong within 20s");
    })
    .await;
}

/// Where nothing else would find out that it is gone.
#[tokio::test(start_paused = true)]
async fn without_a_write_timeout_a_peer_has_to_answer_though_the_ping_may_not_have_left() {
    while_time_passes(async {
        let options = WebSocketOptions::new().write_timeout(None);
        let pair = Pair::with_capacity(options, 1_000).await;
        pair.connection.write("x".repeat(60_000));
        sleep(seconds(50)).await;
        assert_eq!(pair.log.take()[0], "error 1006 no pong within 20s");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn slow_progress_is_no_fault() {
    while_time_passes(async {
        let mut pair = Pair::with_capacity(WebSocketOptions::new().ping_interval(None), 64).await;
        pair.connection.write("x".repeat(1_000));
        for n in 0..100 {
            sleep(seconds(29)).await;
            pair.peer.stream.read_exact(&mut [0]).await.unwrap();
            assert!(pair.connection.is_writable(), "after {n} bytes");
        }
        assert_eq!(pair.log.take(), [""; 0]);
        let last = Instant::now();
        settle().await;
        sleep(seconds(30) - millis(2)).await;
        assert_eq!(pair.log.take(), [""; 0]);
        sleep(LATE).await;
        assert_eq!(pair.log.take()[0], "error 1006 nothing could be sent for 30s");
        assert!(last.elapsed() < seconds(31));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_has_taken_everything_owes_nothing() {
    let mut pair = Pair::with_capacity(WebSocketOptions::new().ping_interval(None), 64).await;
    for _ in 0..10 {
        pair.connection.write("x".repeat(500));
        sleep(seconds(25)).await;
        assert_eq!(pair.peer.text().await.len(), 500);
        sleep(seconds(100)).await;
    }
    assert_eq!(pair.log.take(), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_reads_before_the_write_timeout_is_acted_upon_is_in_time() {
    let mut pair = Pair::with_capacity(WebSocketOptions::new().ping_interval(None), 1_000).await;
    assert!(pair.connection.write("x".repeat(1_500)));
    settle().await;
    advance(seconds(30) + LATE).await;
    let pair = tokio::spawn(async move {
        pair.peer.stream.read_exact(&mut [0; 1_000]).await.unwrap();
        pair
    });
    let mut pair = pair.await.unwrap();
    assert_eq!(pair.peer.stream.read_exact(&mut [0; 504]).await.unwrap(), 504);
    settle().await;
    assert_eq!(pair.log.take(), [""; 0]);
    assert!(pair.connection.is_writable());
}

#[tokio::test(start_paused = true)]
async fn without_a_write_timeout_a_peer_may_take_nothing_for_ever() {
    let mut pair = Pair::with_capacity(WebSocketOptions::new().ping_interval(None).write_timeout(None), 64).await;
    pair.connection.write("x".repeat(500));
    sleep(seconds(86_400)).await;
    assert_eq!(pair.log.take(), [""; 0]);
    assert_eq!(pair.peer.text().await.len(), 500);
}

// ------------------------------------------------------------------------------------------------ handshake_timeout

/// A server whose `connection` listener takes so long, what the `error` event told, and whether the listener's future is
/// there.
fn undecided(options: WebSocketOptions, time: Duration) -> (HttpServer, Arc<Mutex<Vec<ConnectionError>>>, Arc<AtomicBool>) {
    struct Alive(Arc<AtomicBool>);
    impl Drop for Alive {
        fn drop(&mut self) {
            self.0.store(false, Ordering::SeqCst);
        }
    }
    let (errors, alive) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicBool::new(false)));
    let websocket = WebSocketMiddleware::new().with_options(options);
    websocket.on("connection", {
        let alive = alive.clone();
        move |_: WebSocketConnection| {
            alive.store(true, Ordering::SeqCst);
            let guard = Alive(alive.clone());
            async move {
                sleep(time).await;
                drop(guard);
            }
        }
    });
    websocket.on("error", {
        let errors = errors.clone();
        move |connection: WebSocketConnection| errors.lock().unwrap().extend(connection.error())
    });
    (HttpServer::new((websocket, router)), errors, alive)
}

#[tokio::test(start_paused = true)]
async fn a_handshake_that_is_not_decided_in_time_is_answered_with_503() {
    for (options, limit) in
        [(WebSocketOptions::new(), seconds(10)), (WebSocketOptions::new().handshake_timeout(millis(250)), millis(250))]
    {
        let (http, errors, alive) = undecided(options, Duration::MAX);
        let (mut peer, serving) = Peer::serve(&http);
        let asked = Instant::now();
        let answer = peer.ask(HANDSHAKE).await;
        assert_eq!(answer.status(), 503, "{answer:?}");
        assert_on_time(asked.elapsed(), limit);
        assert_eq!(answer.header("Connection"), Some("close"), "{answer:?}");
        assert!(peer.ended().await);
        assert!(!alive.load(Ordering::SeqCst), "the listener's future is dropped");
        let errors = std::mem::take(&mut *errors.lock().unwrap());
        let [ConnectionError::Handshake(error @ HandshakeError::Timeout { limit: told })] = &errors[..] else {
            panic!("{errors:?}")
        };
        assert_eq!((*told, error.status()), (limit, 503));
        drop(peer);
        serving.await;
    }
}

#[tokio::test(start_paused = true)]
async fn all_listeners_together_have_the_handshake_timeout() {
    let websocket = WebSocketMiddleware::new();
    for _ in 0..3 {
        websocket.on("connection", |_: WebSocketConnection| sleep(seconds(4)));
    }
    let (mut peer, _) = Peer::serve(&HttpServer::new((websocket, router)));
    let asked = Instant::now();
    assert_eq!(peer.ask(HANDSHAKE).await.status(), 503);
    assert_on_time(asked.elapsed(), seconds(10));
}

#[tokio::test(start_paused = true)]
async fn a_handshake_that_is_decided_in_time_goes_on() {
    for (options, time) in [
        (WebSocketOptions::new(), millis(9_990)),
        (WebSocketOptions::new().handshake_timeout(None), seconds(86_400)),
        (WebSocketOptions::new().handshake_timeout(Duration::MAX), seconds(86_400)),
    ] {
        let (http, errors, _) = undecided(options, time);
        let (mut peer, _) = Peer::serve(&http);
        let asked = Instant::now();
        peer.shake_hands().await;
        assert_on_time(asked.elapsed(), time);
        assert!(errors.lock().unwrap().is_empty());
    }
}

// ------------------------------------------------------------------------------------------------ all timeouts

/// Never early, and at most 50 ms late, wherever in its second the deadline was set.
#[tokio::test(start_paused = true)]
async fn deadlines_are_met_within_50_ms_and_never_early() {
    while_time_passes(async {
        for limit in [1, 49, 50, 51, 99, 100, 1_001, 12_345] {
            for offset in [0, 1, 400, 900, 999, 1_500, 33_333, 49_001, 49_999, 50_000, 50_001] {
                let http = HttpServer::new((
                    WebSocketMiddleware::new().with_options(no_timeouts().idle_timeout(millis(limit))),
                    router,
                ));
                let (mut peer, _) = Peer::serve(&http);
                advance(Duration::from_micros(offset)).await;
                peer.shake_hands().await;
                let opened = Instant::now();
                assert_eq!(peer.closed().await, (Some(1001), "idle".into()));
                let took = opened.elapsed();
                assert!(took >= millis(limit), "{limit} ms, set {offset} µs after the start: early, {took:?}");
                assert!(took <= millis(limit) + LATE, "{limit} ms, set {offset} µs after the start: late, {took:?}");
            }
        }
    })
    .await;
}

type Setter = (&'static str, fn(Duration) -> WebSocketOptions);

const DURATIONS: [Setter; 7] = [
    ("ping_interval", |time| no_timeouts().ping_interval(time)),
    ("pong_timeout", |time| no_timeouts().ping_interval(seconds(1_000_000)).pong_timeout(time)),
    ("idle_timeout", |time| no_timeouts().idle_timeout(time)),
    ("max_lifetime", |time| no_timeouts().max_lifetime(time)),
    ("close_timeout", |time| no_timeouts().close_timeout(time)),
    ("write_timeout", |time| no_timeouts().write_timeout(time)),
    ("handshake_timeout", |time| no_timeouts().handshake_timeout(time)),
];

#[tokio::test(start_paused = true)]
async fn huge_durations_never_come() {
    let years = |years: u64| seconds(years * 365 * 86_400);
    for (name, options) in DURATIONS {
        for time in [Duration::MAX, Duration::MAX - Duration::from_nanos(1), Duration::from_millis(u64::MAX), years(7)] {
            while_time_passes(async {
                let mut pair = Pair::in_memory(options(time)).await;
                pair.connection.write("x".repeat(2 << 20));
                sleep(seconds(100_000)).await;
                assert_eq!(pair.peer.text().await.len(), 2 << 20, "{name} of {time:?}");
                pair.connection.close();
                if name == "close_timeout" {
                    sleep(seconds(100_000)).await;
                    assert_eq!(pair.log.take(), ["drain"], "{time:?}");
                }
                assert_eq!(pair.peer.closed().await.0, Some(1000), "{name} of {time:?}");
                pair.peer.send(close(1000, "")).await;
                assert!(pair.peer.ended().await, "{name} of {time:?}");
            })
            .await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn tiny_durations_are_met_at_once_and_cause_no_busy_loop() {
    for (name, options) in DURATIONS {
        for time in [Duration::ZERO, Duration::from_nanos(1), Duration::from_micros(999), millis(1)] {
            eprintln!("{name} of {time:?}");
            while_time_passes(async {
                let mut pair = Pair::in_memory(options(time)).await;
                settle().await;
                pair.connection.close();
                let closed = Instant::now();
                let mut frames = 0;
                while pair.peer.frame().await.is_some() {
                    frames += 1;
                    assert!(frames < 1_000, "{name} of {time:?}: frames without end");
                }
                assert!(closed.elapsed() <= seconds(10) + LATE, "{name} of {time:?}");
                settle().await;
                let log = pair.log.take();
                assert!(log.last().unwrap().starts_with("close"), "{name} of {time:?}: {log:?}");
            })
            .await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn pings_of_a_tiny_interval_come_at_the_pace_of_the_clock() {
    for interval in [Duration::ZERO, Duration::from_nanos(1), Duration::from_micros(500), millis(1)] {
        while_time_passes(async {
            let mut pair = Pair::in_memory(no_timeouts().ping_interval(interval)).await;
            let opened = Instant::now();
            for _ in 0..50 {
                pinged(&mut pair).await;
            }
            assert!(opened.elapsed() >= millis(50) * 49, "50 pings, one each {interval:?}, in {:?}", opened.elapsed());
        })
        .await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_limit_that_is_switched_off_limits_nothing() {
    while_time_passes(async {
        let options = WebSocketOptions::new()
            .ping_interval(None)
            .pong_timeout(None)
            .idle_timeout(None)
            .max_lifetime(None)
            .write_timeout(None)
            .handshake_timeout(None)
            .control_rate(None)
            .message_rate(None);
        let mut pair = Pair::with_capacity(options, 1_000).await;
        let heard = Arc::new(AtomicUsize::new(0));
        pair.connection.on("pong", {
            let heard = heard.clone();
            move || {
                heard.fetch_add(1, Ordering::Relaxed);
            }
        });
        pair.connection.write("x".repeat(10_000));
        pair.peer.send([frame(0x8A, "").repeat(10_000), text("a").repeat(10_000)].concat()).await;
        sleep(seconds(365 * 86_400)).await;
        assert_eq!(heard.load(Ordering::Relaxed), 10_000);
        let log = pair.log.take();
        assert_eq!(log.len(), 20_000);
        assert_eq!(pair.peer.text().await.len(), 10_000);
        assert!(pair.connection.is_writable());
    })
    .await;
}

// ------------------------------------------------------------------------------------------------ memory

#[test]
fn the_worst_case_is_the_sum_of_its_bounds_and_does_not_overflow() {
    let options = WebSocketOptions::new;
    let mib = 1 << 20;
    let defaults = options().worst_case_bytes();
    // A message that is put together, what is read ahead, the hard limit and one message on top of it.
    let bounds = mib + 64 * 1024 + 4 * mib + mib;
    // A buffer that grows has up to twice what is in it, in which may be a fourth of what is unsent that has been sent already.
    assert!((bounds..=2 * bounds + bounds / 2).contains(&defaults), "{defaults} for bounds of {bounds}");
    let one_more_byte = [
        options().max_message_size(mib + 1),
        options().write_buffer_hard_limit(4 * mib + 1),
        options().read_ahead(64 * 1024 + 1),
    ];
    for larger in one_more_byte {
        assert!(larger.worst_case_bytes() > defaults, "{larger:?}");
    }
    for enormous in [
        options().max_message_size(usize::MAX),
        options().write_buffer_hard_limit(usize::MAX),
        options().read_ahead(usize::MAX),
        options().max_message_size(usize::MAX).write_buffer_hard_limit(usize::MAX).read_ahead(usize::MAX),
    ] {
        assert_eq!(enormous.worst_case_bytes(), usize::MAX, "{enormous:?}");
    }
}
