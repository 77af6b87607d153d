//! Keepalive: the server's own pings (RFC 6455 section 5.5.2), and peers that do not answer them.
//!
//! All of it in memory and in paused time, which passes only when every task waits.

mod support;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use react_websocket::errors::ConnectionError;
use react_websocket::{HttpServer, WebSocketMiddleware, WebSocketOptions};
use support::timeouts::{
    InMemory, LATE, PING, assert_on_time, ended, live, masked_pong, millis, pinged, seconds, send_behind_the_clock,
    slow_listener,
};
use support::*;
use tokio::time::{Instant, sleep, sleep_until, timeout};

async fn answer_ping(pair: &mut InMemory) {
    pinged(pair).await;
    pair.peer.send(frame(0x8A, "")).await;
}

// ------------------------------------------------------------------------------------------------ pings (RFC 6455 section 5.5.2)

#[tokio::test(start_paused = true)]
async fn a_peer_that_pongs_lives_for_ever_and_is_pinged_every_20_s_give_or_take_a_tenth() {
    while_time_passes(async {
        let mut pair = Pair::in_memory(WebSocketOptions::new()).await;
        let mut last = Instant::now();
        let mut intervals = Vec::new();
        for _ in 0..500 {
            answer_ping(&mut pair).await;
            intervals.push(last.elapsed());
            last = Instant::now();
        }
        let (least, most) = (*intervals.iter().min().unwrap(), *intervals.iter().max().unwrap());
        assert!(least >= seconds(18) && most <= seconds(22) + LATE, "from {least:?} to {most:?}");
        assert!(least < millis(18_500) && most > millis(21_500), "spread over all of it: from {least:?} to {most:?}");
        settle().await;
        assert!(pair.connection.is_writable());
        assert_eq!(pair.log.take(), vec!["pong 0"; 500]);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn connections_of_the_same_moment_are_not_pinged_together() {
    let websocket = WebSocketMiddleware::new();
    let http = HttpServer::new((websocket, router));
    let start = Instant::now();
    let mut peers = Vec::new();
    for _ in 0..40 {
        peers.push(Peer::open_in_memory(&http).await.0);
    }
    assert_eq!(start.elapsed(), Duration::ZERO);
    let pinged: Vec<_> = peers
        .into_iter()
        .map(|mut peer| {
            tokio::spawn(async move {
                assert_eq!(peer.frame().await.expect("a ping").opcode, PING);
                start.elapsed()
            })
        })
        .collect();
    let mut moments = Vec::new();
    for moment in pinged {
        moments.push(moment.await.unwrap());
    }
    assert!(moments.iter().all(|moment| (seconds(18)..=seconds(22) + LATE).contains(moment)), "{moments:?}");
    let (early, late) = (moments.iter().min().unwrap(), moments.iter().max().unwrap());
    assert!(*late - *early > seconds(2), "{moments:?}");
}

#[tokio::test(start_paused = true)]
async fn without_an_interval_no_peer_is_pinged_and_silence_is_allowed() {
    let mut pair = Pair::in_memory(WebSocketOptions::new().ping_interval(None)).await;
    assert!(timeout(seconds(86_400), pair.peer.frame()).await.is_err(), "a frame, or the end");
    assert_eq!(pair.log.take(), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn without_a_pong_timeout_a_silent_peer_is_pinged_for_ever() {
    let mut pair = Pair::in_memory(WebSocketOptions::new().pong_timeout(None)).await;
    for _ in 0..100 {
        pinged(&mut pair).await;
    }
    assert_eq!(pair.log.take(), [""; 0]);
}

// ------------------------------------------------------------------------------------------------ dead peers

/// Ping as a keepalive (RFC 6455 section 5.5.2).
#[tokio::test(start_paused = true)]
async fn a_silent_peer_fails_when_the_pong_timeout_has_passed() {
    let mut pair = Pair::in_memory(WebSocketOptions::new()).await;
    let failed = Arc::new(Mutex::new(None));
    pair.connection.on_error({
        let failed = failed.clone();
        move |error: &ConnectionError| *failed.lock().unwrap() = Some(error.clone())
    });
    let ping = pinged(&mut pair).await;
    pair.connection.write("still there?");
    assert_eq!(pair.peer.text().await, "still there?");
    let mut pings_and_end = Vec::new();
    while let Some(frame) = pair.peer.frame().await {
        assert_eq!(frame.opcode, PING, "nothing else, and no Close: {frame:?}");
        pings_and_end.push(frame);
    }
    assert!(pings_and_end.len() <= 1, "another ping may fall in between: {pings_and_end:?}");
    assert_on_time(ping.elapsed(), seconds(20));
    settle().await;
    assert_eq!(pair.log.take(), ["error 1006 no pong within 20s", "close 1006 no pong within 20s"]);
    let failed = failed.lock().unwrap().take();
    assert!(matches!(failed, Some(ConnectionError::PongTimeout { limit }) if limit == seconds(20)), "{failed:?}");
    assert!(!pair.connection.write("x"));
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_falls_silent_fails_in_time_after_the_first_unanswered_ping() {
    while_time_passes(async {
        for (interval, limit) in [(20, 20), (20, 5), (20, 50), (5, 20), (5, 100), (60, 1)] {
            for answered in [1, 2, 7] {
                let options = WebSocketOptions::new().ping_interval(seconds(interval)).pong_timeout(seconds(limit));
                let mut pair = Pair::in_memory(options).await;
                for _ in 0..answered {
                    answer_ping(&mut pair).await;
                }
                let unanswered = pinged(&mut pair).await;
                let end = ended(&mut pair).await;
                assert_on_time(end - unanswered, seconds(limit));
                let log = pair.log.take();
                assert_eq!(log.len(), answered + 2, "{log:?}");
                assert_eq!(log[answered], format!("error 1006 no pong within {limit}s"));
            }
        }
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn any_byte_is_a_sign_of_life() {
    while_time_passes(async {
        let mut pair = Pair::in_memory(WebSocketOptions::new()).await;
        let message = text("never a pong, never a whole message");
        for byte in &message[..message.len() - 1] {
            sleep(seconds(15)).await;
            pair.peer.send([*byte]).await;
        }
        assert_eq!(pair.log.take(), [""; 0]);
        assert!(pair.connection.is_writable());
        let last_byte = Instant::now();
        let end = ended(&mut pair).await;
        // The first ping after the last byte comes within an interval of it.
        assert!((seconds(20)..=seconds(42) + LATE).contains(&(end - last_byte)), "{:?}", end - last_byte);
        assert_eq!(pair.log.take(), ["error 1006 no pong within 20s", "close 1006 no pong within 20s"]);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_peer_whose_connection_is_paused_does_not_fail() {
    while_time_passes(async {
        let mut pair = Pair::in_memory(WebSocketOptions::new()).await;
        pair.connection.pause();
        assert!(live(&mut pair, seconds(1_000)).await > 40);
        assert_eq!(pair.log.take(), [""; 0]);
        pair.connection.resume();
        assert!(live(&mut pair, seconds(1_000)).await > 40);
        let log = pair.log.take();
        assert!(log.len() > 80 && log.iter().all(|entry| entry == "pong 0"), "{log:?}");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_died_while_it_was_not_read_fails_after_reading_has_gone_on() {
    let mut pair = Pair::in_memory(WebSocketOptions::new()).await;
    pair.connection.pause();
    sleep(seconds(1_000)).await;
    assert!(pair.connection.is_writable());
    pair.connection.resume();
    let resumed = Instant::now();
    let end = ended(&mut pair).await;
    assert!(end - resumed <= seconds(42) + LATE, "{:?}", end - resumed);
    assert_eq!(pair.log.take(), ["error 1006 no pong within 20s", "close 1006 no pong within 20s"]);
}

/// The pong is in the socket all the time. Whenever reading goes on, it is read before the peer is judged.
#[tokio::test(start_paused = true)]
async fn a_pong_that_waits_in_the_socket_counts_whenever_reading_goes_on() {
    for resume_after in [0, 1, 19_000, 19_950, 19_999, 20_000, 20_001, 20_050, 39_950, 40_000, 40_001] {
        let mut pair = Pair::in_memory(WebSocketOptions::new().ping_interval(seconds(60))).await;
        pair.connection.pause();
        let ping = pinged(&mut pair).await;
        pair.peer.send(masked_pong()).await;
        sleep_until(ping + millis(resume_after)).await;
        pair.connection.resume();
        settle().await;
        assert_eq!(pair.log.take(), ["pong 0"], "resumed {resume_after} ms after the ping");
        assert!(pair.connection.is_writable());
    }
}

#[tokio::test(start_paused = true)]
async fn a_pong_that_comes_before_its_timeout_is_acted_upon_counts() {
    let mut pair = Pair::in_memory(WebSocketOptions::new().ping_interval(seconds(60))).await;
    pinged(&mut pair).await;
    let mut pair = send_behind_the_clock(pair, seconds(20), masked_pong()).await;
    settle().await;
    assert_eq!(pair.log.take(), ["pong 0"]);
    pinged(&mut pair).await;
    let asked = Instant::now();
    assert_on_time(ended(&mut pair).await - asked, seconds(20));
}

#[tokio::test(start_paused = true)]
async fn a_peer_does_not_fail_while_the_bytes_read_ahead_are_as_many_as_are_allowed() {
    while_time_passes(async {
        let mut pair = Pair::in_memory(WebSocketOptions::new().read_ahead(1024)).await;
        let (go_on, texts) = slow_listener(&pair);
        pair.peer.send(text("first")).await;
        settle().await;
        for n in 0..100 {
            pair.peer.send(text(format!("{n} {}", "x".repeat(2_000)))).await;
        }
        assert!(live(&mut pair, seconds(500)).await > 20);
        assert_eq!(texts.lock().unwrap().len(), 1);
        go_on.notify_one();
        assert!(live(&mut pair, seconds(500)).await > 20);
        let texts = texts.lock().unwrap();
        assert_eq!(texts.len(), 101);
        assert!(texts[1..].iter().enumerate().all(|(n, text)| text.starts_with(&format!("{n} "))));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_pongs_while_an_asynchronous_listener_runs_lives() {
    while_time_passes(async {
        let mut pair = Pair::in_memory(WebSocketOptions::new()).await;
        let (go_on, _) = slow_listener(&pair);
        pair.peer.send(text("first")).await;
        assert!(live(&mut pair, seconds(500)).await > 20);
        go_on.notify_one();
        settle().await;
        assert!(pair.connection.is_writable());
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_dies_while_an_asynchronous_listener_runs_fails_and_the_listener_has_the_close_timeout_to_end() {
    while_time_passes(async {
        let mut pair = Pair::in_memory(WebSocketOptions::new().close_timeout(seconds(3))).await;
        let (_go_on, _) = slow_listener(&pair);
        pair.peer.send(text("first")).await;
        let ping = pinged(&mut pair).await;
        ended(&mut pair).await;
        assert_on_time(ping.elapsed() - millis(1), seconds(20));
        assert_eq!(pair.log.take(), ["text first"], "one listener at a time");
        sleep(seconds(3) + LATE).await;
        assert_eq!(pair.log.take(), ["error 1006 no pong within 20s", "close 1006 no pong within 20s"]);
    })
    .await;
}
