//! Rates: how many control frames and messages a peer may send (`ControlRate`, `message_rate`).
//!
//! All of it in memory and in paused time, which passes only when every task waits.

mod support;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use react_websocket::WebSocketOptions;
use react_websocket::options::ControlRate;
use support::timeouts::{InMemory, LATE, live, millis, no_timeouts, seconds};
use support::*;
use tokio::time::{Instant, sleep, sleep_until, timeout};

const PONG: u8 = 10;

// ------------------------------------------------------------------------------------------------ rates

const PING_FRAME: u8 = 0x89;

/// Pings one by one, each when the one before has been received, until one of them fails the connection: which one.
async fn flood(pair: &mut InMemory, count: usize) -> Option<usize> {
    pair.log.take();
    for sent in 0..count {
        pair.peer.send(frame(PING_FRAME, "are you there")).await;
        let mut heard = Vec::new();
        while heard.is_empty() {
            // Without time, in which more pings would be allowed.
            tokio::task::yield_now().await;
            heard = pair.log.take();
        }
        if heard[0].starts_with("error 1008 more than ") {
            return Some(sent);
        }
        assert_eq!(heard, ["ping 13"]);
    }
    None
}

/// The payloads of the pongs that have come.
async fn pongs(pair: &mut InMemory) -> Vec<Vec<u8>> {
    let mut pongs = Vec::new();
    while let Ok(Some(frame)) = timeout(millis(1), pair.peer.frame()).await {
        assert_eq!(frame.opcode, PONG, "{frame:?}");
        pongs.push(frame.payload);
    }
    pongs
}

#[tokio::test(start_paused = true)]
async fn two_hundred_pings_may_come_at_once_and_one_more_is_1008() {
    let mut pair = Pair::in_memory(WebSocketOptions::new().ping_interval(None)).await;
    assert_eq!(flood(&mut pair, 200).await, None);
    assert_eq!(pongs(&mut pair).await.len(), 200);
    assert_eq!(flood(&mut pair, 1).await, Some(0));
    assert_eq!(pair.peer.closed().await, (Some(1008), "more than 200 pings at once, or 100 per second after that".into()));
}

#[tokio::test(start_paused = true)]
async fn a_hundred_pings_come_back_each_second() {
    for (wait, more) in [(10, 1), (95, 9), (1_000, 100), (1_990, 199), (60_000, 200)] {
        let mut pair = Pair::in_memory(no_timeouts()).await;
        let start = Instant::now();
        assert_eq!(flood(&mut pair, 200).await, None);
        sleep_until(start + millis(wait)).await;
        assert_eq!(flood(&mut pair, more + 1).await, Some(more), "{wait} ms later");
    }
}

#[tokio::test(start_paused = true)]
async fn the_control_rate_can_be_set_and_switched_off() {
    let rate = |burst, per_second| Some(ControlRate { burst, per_second });
    for (rate, bound) in [
        (rate(1, 0), Some(1)),
        (rate(0, 100), Some(0)),
        (rate(3, 1), Some(3)),
        (rate(u32::MAX, u32::MAX), None),
        (None, None),
    ] {
        let mut pair = Pair::in_memory(no_timeouts().control_rate(rate)).await;
        assert_eq!(flood(&mut pair, 2_000).await, bound, "{rate:?}");
        sleep(seconds(86_400)).await;
        assert_eq!(pair.connection.is_writable(), bound.is_none());
    }
}

/// RFC 6455 §5.5.3: an endpoint that has not answered earlier pings may answer only the most recent one.
#[tokio::test(start_paused = true)]
async fn pings_that_have_piled_up_beyond_the_rate_are_answered_by_one_pong_to_the_last() {
    let mut pair = Pair::in_memory(no_timeouts()).await;
    pair.connection.pause();
    settle().await;
    let pings: Vec<_> = (0..1_000).map(|number: u32| frame(PING_FRAME, number.to_string())).collect();
    pair.peer.send(pings.concat()).await;
    sleep(seconds(600)).await;
    pair.connection.resume();
    settle().await;
    assert_eq!(pair.log.take().len(), 1_000, "each is heard");
    let pongs = pongs(&mut pair).await;
    let expected: Vec<_> = (0..200).map(|number: u32| number.to_string().into_bytes()).collect();
    assert_eq!(pongs[..200], expected, "within the rate each is answered");
    assert!(pongs.len() < 220, "{}", pongs.len());
    assert_eq!(pongs.last().unwrap(), b"999");
    // Nor does it count against what follows in its time.
    sleep(seconds(1)).await;
    assert_eq!(flood(&mut pair, 100).await, None);
}

/// Pongs make us answer nothing, whether we have asked for them (RFC 6455 §5.5.3) or not.
#[tokio::test(start_paused = true)]
async fn a_peer_may_answer_as_many_pings_as_it_is_sent() {
    let mut pair = Pair::in_memory(no_timeouts()).await;
    for number in 0..300 {
        assert!(pair.connection.ping(number.to_string()));
    }
    for _ in 0..300 {
        let ping = pair.peer.frame().await.unwrap();
        pair.peer.send(frame(0x8A, ping.payload)).await;
    }
    pair.peer.send(frame(0x8A, "").repeat(10_000)).await;
    settle().await;
    let log = pair.log.take();
    assert_eq!((log.len(), log.iter().filter(|entry| entry.starts_with("pong")).count()), (10_300, 10_300));
}

#[tokio::test(start_paused = true)]
async fn messages_are_no_control_frames() {
    let pair = &mut Pair::in_memory(no_timeouts().control_rate(ControlRate { burst: 1, per_second: 0 })).await;
    let fragmented = [frame(0x01, ""), frame(0x00, ""), frame(0x80, ""), frame(0x82, "")].concat();
    pair.peer.send(fragmented.repeat(1_000)).await;
    settle().await;
    assert_eq!(pair.log.take().len(), 2_000);
    assert_eq!(flood(pair, 2).await, Some(1));
}

// ------------------------------------------------------------------------------------------------ message_rate

/// Sends so many messages at once, and says when each was delivered.
async fn deliveries(options: WebSocketOptions, count: usize) -> Vec<Duration> {
    let mut pair = Pair::in_memory(options).await;
    let delivered = Arc::new(Mutex::new(Vec::new()));
    let opened = Instant::now();
    pair.connection.on("text", {
        let delivered = delivered.clone();
        move |text: &str| {
            let mut delivered = delivered.lock().unwrap();
            assert_eq!(text, delivered.len().to_string(), "in order, and none dropped");
            delivered.push(opened.elapsed());
        }
    });
    for n in 0..count {
        pair.peer.send(text(n.to_string())).await;
    }
    sleep(seconds(3_600)).await;
    assert!(pair.connection.is_writable(), "nobody is closed for it");
    std::mem::take(&mut *delivered.lock().unwrap())
}

#[tokio::test(start_paused = true)]
async fn as_many_messages_as_the_rate_come_at_once_and_the_next_waits() {
    for rate in [1, 2, 10, 100] {
        let times = deliveries(no_timeouts().message_rate(rate), rate as usize + 1).await;
        assert_eq!(times.len(), rate as usize + 1);
        let at_once = times.iter().filter(|time| time.is_zero()).count();
        assert_eq!(at_once, rate as usize, "{rate} messages a second");
        let wait = Duration::from_secs(1) / rate;
        assert!((wait..=wait + LATE).contains(&times[rate as usize]), "{rate} a second: {times:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn messages_keep_the_pace_of_the_rate_and_none_is_dropped() {
    for rate in [1, 7, 20, 100, 1_000] {
        let count = rate as usize * 11;
        let times = deliveries(no_timeouts().message_rate(rate), count).await;
        assert_eq!(times.len(), count);
        // A burst in the first moment, and then so many each second, give or take one and a span of the clock.
        let (took, one) = (*times.last().unwrap(), Duration::from_secs(1) / rate);
        assert!((seconds(10) - one - LATE..=seconds(10) + LATE).contains(&took), "{count} messages in {took:?}");
        for second in 1..9 {
            let of_second = times.iter().filter(|time| time.as_secs() == second).count();
            assert!(
                of_second.abs_diff(rate as usize) <= 1 + rate as usize / 20,
                "{of_second} of {rate} in second {second}"
            );
        }
    }
}

#[tokio::test(start_paused = true)]
async fn without_a_message_rate_nothing_waits() {
    for options in [no_timeouts(), no_timeouts().message_rate(None), no_timeouts().message_rate(u32::MAX)] {
        let times = deliveries(options, 5_000).await;
        assert_eq!(times.len(), 5_000);
        assert_eq!(*times.last().unwrap(), Duration::ZERO);
    }
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_is_held_up_by_the_message_rate_is_not_dead() {
    while_time_passes(async {
        let options = WebSocketOptions::new().ping_interval(seconds(2)).pong_timeout(seconds(1)).message_rate(1);
        let mut pair = Pair::in_memory(options).await;
        for n in 0..100 {
            pair.peer.send(text(n.to_string())).await;
        }
        // Its pongs stand behind its messages.
        assert!(live(&mut pair, seconds(200)).await > 80);
        let log = pair.log.take();
        assert_eq!(log.iter().filter(|entry| entry.starts_with("text")).count(), 100);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn an_idle_deadline_that_is_put_off_takes_nothing_of_the_message_rate() {
    while_time_passes(async {
        let mut pair = Pair::in_memory(no_timeouts().message_rate(1).idle_timeout(millis(300))).await;
        pair.connection.pause();
        pair.peer.send(text("a")).await;
        for pause in [5_000, 5_100, 5_200, 5_300, 5_400, 5_500, 5_600, 5_700, 5_800, 5_900] {
            sleep(millis(pause)).await;
            pair.connection.resume();
            settle().await;
            assert_eq!(pair.log.take(), ["text a"], "nothing had been delivered for {pause} ms");
            pair.connection.pause();
            pair.peer.send(text("a")).await;
        }
    })
    .await;
}
