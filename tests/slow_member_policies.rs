//! Slow members of groups: what each `SlowMemberPolicy` drops, holds and closes.

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use react_websocket::options::SlowMemberPolicy;
use react_websocket::{ConnectionGroup, WebSocketConnection, WebSocketOptions, cork};
use support::groups::{Server, in_time, room, watch};
use support::*;
use tokio::io::{AsyncWriteExt, DuplexStream};
use tokio::time::timeout;

// Slow members.

/// One slow member in memory: 100 bytes are in flight at most, and with 1,000 unsent it is slow.
struct Slow {
    server: Server,
    group: ConnectionGroup,
    member: WebSocketConnection,
    peer: Peer<DuplexStream>,
}

impl Slow {
    async fn new(policy: SlowMemberPolicy) -> Slow {
        let options = WebSocketOptions::new().write_buffer_soft_limit(1000).write_buffer_hard_limit(4000);
        let mut server = Server::with(options);
        watch(&server.log, &server.groups);
        let (member, peer, _) = server.serve("ann", 100).await;
        let group = server.groups.join("a", member).unwrap();
        group.set_slow_member_policy(policy);
        server.log.take();
        Slow { server, group, member, peer }
    }

    /// A message of 304 bytes on the wire: three are below the soft limit, four are not.
    fn message(n: usize) -> String {
        format!("{n:0>300}")
    }

    /// Writes these messages to the group.
    async fn write(&self, messages: impl IntoIterator<Item = usize>) {
        for n in messages {
            self.group.write(Slow::message(n));
        }
        settle().await;
    }

    /// Makes the member slow: 1,520 bytes, of which 100 are in flight.
    async fn fill(&self) {
        for n in 100..105 {
            self.member.write(Slow::message(n));
        }
        settle().await;
        assert_eq!(self.member.buffered_amount(), 5 * 304 - 100);
    }

    /// The messages that the peer gets, to the end of what is there.
    async fn received(&mut self) -> Vec<usize> {
        let mut all = Vec::new();
        loop {
            let next = timeout(Duration::from_millis(1), self.peer.frame()).await;
            match next {
                Ok(Some(frame)) if frame.opcode == 1 => {
                    all.push(String::from_utf8(frame.payload).unwrap().parse().unwrap())
                }
                Ok(Some(frame)) => all.push(10_000 + usize::from(u16::from_be_bytes([frame.payload[0], frame.payload[1]]))),
                Ok(None) | Err(_) => return all,
            }
        }
    }

    /// The first bytes of the frames that the peer gets, to the end of what is there.
    async fn frames(&mut self) -> Vec<(bool, u8)> {
        let mut all = Vec::new();
        while let Ok(Some(frame)) = timeout(Duration::from_millis(1), self.peer.frame()).await {
            all.push((frame.fin, frame.opcode));
        }
        all
    }

    fn dropped(&self) -> (u64, u64, usize) {
        let told = self.server.log.take().into_iter().filter(|entry| entry == "drop a ann").count();
        (self.group.dropped(), self.member.dropped(), told)
    }
}

#[tokio::test(start_paused = true)]
async fn by_default_a_slow_member_gets_everything_until_its_hard_limit() {
    let mut slow = Slow::new(SlowMemberPolicy::default()).await;
    assert_eq!(SlowMemberPolicy::default(), SlowMemberPolicy::Keep);
    slow.fill().await;
    slow.write(0..5).await;
    assert_eq!(slow.dropped(), (0, 0, 0));
    assert_eq!(slow.received().await, [100, 101, 102, 103, 104, 0, 1, 2, 3, 4]);
    let log = slow.server.log.clone();
    slow.member.on("error", move |_: Option<&str>, code: Option<u16>| log.add(code.unwrap()));
    // The limit is asked for before a message is added: fourteen are 4,156 bytes unsent, and the next one is too much.
    slow.write(0..14).await;
    assert!(slow.member.is_writable());
    slow.write([14]).await;
    assert!(!slow.member.is_writable());
    assert_eq!(slow.server.log.take(), ["1013"]);
    assert_eq!(slow.received().await, (0..14).chain([11_013]).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn drop_new_drops_messages_that_are_written_while_a_member_is_slow() {
    let mut slow = Slow::new(SlowMemberPolicy::DropNew).await;
    slow.fill().await;
    slow.write(0..3).await;
    assert_eq!(slow.dropped(), (3, 3, 3));
    assert_eq!(slow.received().await, [100, 101, 102, 103, 104]);
    slow.write([3]).await;
    assert_eq!(slow.received().await, [3]);
    // Below the limit nothing is dropped; the message that reaches it is the last that is taken.
    slow.write(4..10).await;
    assert_eq!(slow.dropped(), (5, 5, 2));
    assert_eq!(slow.received().await, [4, 5, 6, 7]);
}

#[tokio::test(start_paused = true)]
async fn drop_oldest_keeps_messages_up_to_the_soft_limit_and_drops_the_oldest() {
    let mut slow = Slow::new(SlowMemberPolicy::DropOldest).await;
    slow.fill().await;
    slow.write(0..3).await;
    assert_eq!(slow.dropped(), (0, 0, 0));
    slow.write(3..5).await;
    assert_eq!(slow.dropped(), (2, 2, 2));
    assert_eq!(slow.received().await, [100, 101, 102, 103, 104, 2, 3, 4]);
    slow.write([5]).await;
    assert_eq!(slow.received().await, [5]);
}

#[tokio::test(start_paused = true)]
async fn keep_latest_keeps_the_last_message_of_each_group() {
    let mut slow = Slow::new(SlowMemberPolicy::KeepLatest).await;
    let other = slow.server.groups.join("b", slow.member).unwrap();
    other.set_slow_member_policy(SlowMemberPolicy::KeepLatest);
    slow.fill().await;
    slow.write([0]).await;
    other.write(Slow::message(50));
    slow.write(1..4).await;
    assert_eq!(slow.dropped(), (3, 3, 3));
    assert_eq!(other.dropped(), 0);
    assert_eq!(slow.received().await, [100, 101, 102, 103, 104, 50, 3]);
    slow.write([4]).await;
    assert_eq!(slow.received().await, [4]);
}

#[tokio::test(start_paused = true)]
async fn close_ends_a_slow_member_with_1013_and_no_other() {
    let mut slow = Slow::new(SlowMemberPolicy::Close).await;
    let (bob, mut b) = slow.server.open("bob").await;
    slow.group.add(bob).unwrap();
    let log = slow.server.log.clone();
    slow.member.on("error", move |reason: Option<&str>, code: Option<u16>| {
        log.add(format_args!("{} {}", code.unwrap(), reason.unwrap()));
    });
    slow.fill().await;
    slow.write([0]).await;
    assert_eq!(slow.server.log.take(), ["join a bob", "1013 1420 bytes unsent, the limit is 1000"]);
    assert_eq!(slow.received().await, [100, 101, 102, 103, 104, 11_013]);
    slow.peer.stream.shutdown().await.unwrap();
    settle().await;
    slow.write([1]).await;
    assert_eq!(slow.server.log.take(), ["leave a ann"]);
    assert_eq!((b.text().await, b.text().await), (Slow::message(0), Slow::message(1)));
    assert_eq!(slow.group.dropped(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_policy_concerns_only_the_slow_and_only_its_own_group() {
    let mut slow = Slow::new(SlowMemberPolicy::DropNew).await;
    let (bob, mut b) = slow.server.open("bob").await;
    slow.group.add(bob).unwrap();
    let other = slow.server.groups.join("b", slow.member).unwrap();
    slow.fill().await;
    slow.write([0]).await;
    other.write(Slow::message(1));
    slow.member.write(Slow::message(2));
    slow.group.set_slow_member_policy(SlowMemberPolicy::Keep);
    slow.write([3]).await;
    assert_eq!((slow.group.dropped(), other.dropped(), slow.member.dropped(), bob.dropped()), (1, 0, 1, 0));
    assert_eq!((b.text().await, b.text().await), (Slow::message(0), Slow::message(3)));
    assert_eq!(slow.received().await, [100, 101, 102, 103, 104, 1, 2, 3]);
}

/// One large message of its own always fits, and may be larger than the hard limit.
#[tokio::test(start_paused = true)]
async fn a_member_with_a_drop_policy_does_not_fail_by_messages_of_its_group() {
    for (policy, last) in
        [(SlowMemberPolicy::DropNew, 0), (SlowMemberPolicy::DropOldest, 2), (SlowMemberPolicy::KeepLatest, 1)]
    {
        let mut slow = Slow::new(policy).await;
        let large = "x".repeat(10_000);
        slow.member.write(&large);
        settle().await;
        slow.write(0..2).await;
        assert!(slow.member.is_writable(), "{policy:?}");
        assert_eq!(slow.peer.text().await, large);
        assert_eq!(slow.received().await, (2 - last..2).collect::<Vec<_>>(), "{policy:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_drop_listener_may_end_the_member_or_move_it() {
    let mut slow = Slow::new(SlowMemberPolicy::DropNew).await;
    slow.group.once("drop", move |member| member.set_group(Some("slow ones")));
    slow.group.remove(slow.member);
    slow.member.set_group(Some("a")).unwrap();
    let group = slow.member.group().unwrap();
    group.set_slow_member_policy(SlowMemberPolicy::DropNew);
    group.once("drop", |member| member.set_group(Some("slow ones")));
    slow.group = group;
    slow.fill().await;
    slow.write(0..2).await;
    assert_eq!(slow.member.group_name().as_deref(), Some("slow ones"));
    assert_eq!(slow.received().await, [100, 101, 102, 103, 104]);
}

#[tokio::test(start_paused = true)]
async fn messages_held_for_a_slow_member_are_sent_before_its_close() {
    let mut slow = Slow::new(SlowMemberPolicy::DropOldest).await;
    slow.fill().await;
    slow.write(0..2).await;
    assert_eq!(slow.dropped(), (0, 0, 0));
    slow.member.end();
    settle().await;
    assert_eq!(slow.received().await, [100, 101, 102, 103, 104, 0, 1, 11_000]);
    assert_eq!(slow.server.websocket.stats().messages_out, 7);
}

#[tokio::test(start_paused = true)]
async fn messages_held_for_a_slow_member_are_sent_before_the_last_message_that_ends_it() {
    let mut slow = Slow::new(SlowMemberPolicy::DropOldest).await;
    slow.fill().await;
    slow.write(0..2).await;
    slow.member.end_with(Slow::message(2));
    settle().await;
    assert_eq!(slow.received().await, [100, 101, 102, 103, 104, 0, 1, 2, 11_000]);
}

#[tokio::test(start_paused = true)]
async fn held_messages_never_interrupt_a_message_that_is_streamed() {
    let mut slow = Slow::new(SlowMemberPolicy::DropOldest).await;
    slow.fill().await;
    let mut message = slow.member.begin_text();
    message.write("a piece of it");
    slow.write(0..2).await;
    slow.member.end();
    settle().await;
    // The Close is a control frame and may come there (RFC 6455 §5.4); another message may not.
    assert_eq!(slow.frames().await, [[(true, 1); 5].as_slice(), &[(false, 1), (true, 8)]].concat());
    drop(message);
}

#[tokio::test(start_paused = true)]
async fn held_messages_follow_a_message_that_was_still_streamed_when_there_was_room_again() {
    let mut slow = Slow::new(SlowMemberPolicy::DropOldest).await;
    slow.fill().await;
    let mut message = slow.member.begin_text();
    message.write("a piece of it");
    slow.write(0..2).await;
    assert_eq!(slow.frames().await, [[(true, 1); 5].as_slice(), &[(false, 1)]].concat());
    settle().await;
    assert_eq!(slow.member.buffered_amount(), 2 * 304, "what was held is held no more, but waits");
    message.write("another");
    assert_eq!(slow.frames().await, [(false, 0)]);
    message.end();
    settle().await;
    assert_eq!(slow.frames().await, [(true, 0), (true, 1), (true, 1)]);
    assert_eq!(slow.dropped(), (0, 0, 0));
}

#[tokio::test]
async fn a_broadcast_that_finds_a_socket_reset_ends_that_member_and_reaches_the_others() {
    in_time(async {
        // The large one is more than is encoded once for all.
        for size in [100, 1 << 20] {
            let (server, group, all, _) = room(WebSocketOptions::new(), 3).await;
            let closed = Log::default();
            let (members, mut peers): (Vec<_>, Vec<_>) = all.into_iter().unzip();
            for (n, member) in members.iter().enumerate() {
                let closed = closed.clone();
                member.on("close", move |code: u16| closed.add(format_args!("member {n}: {code}")));
            }
            let gone = peers.remove(1);
            socket2::SockRef::from(&gone.stream).set_linger(Some(Duration::ZERO)).unwrap();
            drop(gone);
            // The server has not noticed the reset: no task has run since.
            let text = "x".repeat(size);
            group.write(&text);
            for peer in &mut peers {
                assert_eq!(peer.text().await, text);
            }
            while group.len() > 2 {
                tokio::task::yield_now().await;
            }
            assert_eq!(closed.take(), ["member 1: 1006"]);
            assert_eq!(server.websocket.len(), 2);
        }
    })
    .await;
}

#[tokio::test]
async fn over_a_socket_the_slow_member_misses_messages_and_the_fast_one_none() {
    in_time(async {
        for policy in [SlowMemberPolicy::DropNew, SlowMemberPolicy::DropOldest, SlowMemberPolicy::KeepLatest] {
            let (_server, group, all, _) = room(WebSocketOptions::new(), 2).await;
            group.set_slow_member_policy(policy);
            let (members, mut peers): (Vec<_>, Vec<_>) = all.into_iter().unzip();
            let (mut slow, mut fast) = (peers.remove(0), peers.remove(0));
            let told = Arc::new(AtomicUsize::new(0));
            let count = told.clone();
            group.on("drop", move |member| {
                assert_eq!(member, members[0]);
                count.fetch_add(1, Ordering::Relaxed);
            });
            // 40 MB: more than sockets hold.
            const MESSAGES: usize = 2000;
            for n in 0..MESSAGES {
                group.write(format!("{n:0>20000}"));
                assert_eq!(fast.text().await.parse::<usize>().unwrap(), n, "{policy:?}");
            }
            let dropped = group.dropped() as usize;
            assert!(dropped > 0, "{policy:?}");
            assert_eq!((members_dropped(&group), told.load(Ordering::Relaxed)), (dropped, dropped), "{policy:?}");
            let mut received = Vec::new();
            while received.len() < MESSAGES - dropped {
                received.push(slow.text().await.parse::<usize>().unwrap());
            }
            assert!(received.is_sorted(), "{policy:?}");
            assert_eq!(received.last() == Some(&(MESSAGES - 1)), policy != SlowMemberPolicy::DropNew, "{policy:?}");
            group.write("the end");
            assert_eq!((fast.text().await, slow.text().await), ("the end".into(), "the end".into()), "{policy:?}");
        }
    })
    .await;
}

fn members_dropped(group: &ConnectionGroup) -> usize {
    group.members().iter().map(|member| member.dropped() as usize).sum()
}

#[tokio::test]
async fn a_fast_reader_misses_nothing_of_a_burst_in_one_turn() {
    in_time(async {
        let mut wrong = Vec::new();
        for policy in
            [SlowMemberPolicy::DropNew, SlowMemberPolicy::DropOldest, SlowMemberPolicy::KeepLatest, SlowMemberPolicy::Close]
        {
            let (_server, group, mut all, _) = room(WebSocketOptions::new(), 1).await;
            group.set_slow_member_policy(policy);
            let (member, mut peer) = all.remove(0);
            // 100 KB, which an empty socket takes at once.
            cork(|| (0..100).for_each(|n| group.write(format!("{n:0>1000}"))));
            if group.dropped() > 0 || !member.is_writable() {
                wrong.push((policy, group.dropped(), member.is_writable()));
                continue;
            }
            for n in 0..100 {
                assert_eq!(peer.text().await.parse::<usize>().unwrap(), n, "{policy:?}");
            }
        }
        assert!(wrong.is_empty(), "policy, messages dropped, member still open: {wrong:#?}");
    })
    .await;
}

/// The runtime idles while a listener runs, so that the clock of the test goes on.
#[test]
fn a_member_that_closes_with_held_messages_waits_without_being_polled() {
    let (done, is_done) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
        runtime.block_on(async {
            for policy in [SlowMemberPolicy::DropOldest, SlowMemberPolicy::KeepLatest] {
                let mut slow = Slow::new(policy).await;
                slow.member.on("text", async || tokio::time::sleep(Duration::from_secs(5)).await);
                slow.fill().await;
                slow.write([1]).await;
                slow.peer.send(text("x")).await;
                settle().await;
                slow.member.end();
                assert_eq!(slow.received().await, [100, 101, 102, 103, 104, 1, 11_000]);
                slow.peer.send(close(1000, "")).await;
                slow.peer.stream.shutdown().await.unwrap();
                tokio::time::sleep(Duration::from_secs(6)).await;
                assert_eq!(slow.server.log.take(), ["leave a ann", "destroy a"], "{policy:?}");
            }
            done.send(()).unwrap();
        });
    });
    assert_eq!(is_done.recv_timeout(Duration::from_secs(60)), Ok(()));
}
