//! Messages to groups: which members receive them, and in which order over sockets.

mod support;

use react_websocket::{ConnectionGroup, WebSocketConnection, WebSocketOptions, cork};
use support::groups::{Server, in_time, room};
use support::*;
use tokio::io::AsyncReadExt;
use tokio::sync::mpsc;

// Which members receive a message.

#[tokio::test(start_paused = true)]
async fn each_way_to_write_reaches_its_members_and_no_others() {
    let mut server = Server::new();
    let ((ann, mut a), (bob, mut b), (_cid, mut c)) =
        (server.open("ann").await, server.open("bob").await, server.open("cid").await);
    let groups = server.groups.clone();
    let group = groups.join("a", ann).unwrap();
    group.add(bob).unwrap();
    group.write("write");
    group.write_all(String::from("write_all"));
    group.write_binary([1, 2, 3]);
    group.write_except(ann, "not ann");
    group.write_binary_except(bob, "not bob");
    groups.write("a", "by name");
    groups.write_binary("a", b"binary by name");
    groups.write("nobody", "lost");
    groups.write_binary("nobody", "lost");
    assert!(groups.get("nobody").is_none(), "writing to a name makes no group");
    group.write("");
    server.websocket.write_all("the end");
    let all = |frames: &[(u8, &[u8])]| {
        frames.iter().flat_map(|(opcode, payload)| server_frame(0x80 | *opcode, payload)).collect::<Vec<_>>()
    };
    let of_ann: [(u8, &[u8]); 8] = [
        (1, b"write"),
        (1, b"write_all"),
        (2, &[1, 2, 3]),
        (2, b"not bob"),
        (1, b"by name"),
        (2, b"binary by name"),
        (1, b""),
        (1, b"the end"),
    ];
    let of_bob =
        of_ann.map(|(opcode, payload)| if payload == b"not bob" { (1, &b"not ann"[..]) } else { (opcode, payload) });
    for (peer, frames) in [(&mut a, all(&of_ann)), (&mut b, all(&of_bob)), (&mut c, all(&[(1, b"the end")]))] {
        settle().await;
        assert_eq!(peer.exactly(frames.len()).await, frames);
    }
}

#[tokio::test(start_paused = true)]
async fn a_member_that_closes_gets_nothing_more_and_stays_in_until_it_is_closed() {
    let mut server = Server::new();
    let ((ann, mut a, serving), (bob, mut b)) = (server.serve("ann", 1024).await, server.open("bob").await);
    let group = server.groups.join("a", ann).unwrap();
    group.add(bob).unwrap();
    group.write("before");
    ann.close();
    group.write("after");
    assert_eq!(group.len(), 2);
    assert_eq!(a.text().await, "before");
    assert_eq!(a.closed().await, (Some(1000), String::new()));
    a.send(close(1000, "")).await;
    serving.await;
    assert_eq!(group.members(), [bob]);
    assert_eq!((b.text().await, b.text().await), ("before".into(), "after".into()));
}

#[tokio::test(start_paused = true)]
async fn close_all_sends_code_and_reason_after_queued_messages_and_members_leave_when_they_are_closed() {
    let mut server = Server::watched();
    let ((ann, mut a), (bob, mut b), (_cid, mut c)) =
        (server.open("ann").await, server.open("bob").await, server.open("cid").await);
    let group = server.groups.join("a", ann).unwrap();
    group.add(bob).unwrap();
    server.log.take();
    group.write("last");
    group.close_all("the room is closed", 4001);
    assert_eq!((group.len(), server.log.take()), (2, vec![]));
    for peer in [&mut a, &mut b] {
        assert_eq!(peer.text().await, "last");
        assert_eq!(peer.closed().await, (Some(4001), "the room is closed".into()));
        peer.send(close(4001, "")).await;
        assert!(peer.ended().await);
    }
    settle().await;
    assert_eq!(server.log.take(), ["leave a ann", "leave a bob", "destroy a"]);
    server.websocket.write_all("still there");
    assert_eq!(c.text().await, "still there");
}

#[tokio::test(start_paused = true)]
async fn a_manager_closes_the_members_of_all_its_groups() {
    let mut server = Server::new();
    let ((ann, mut a), (bob, mut b), (_cid, mut c)) =
        (server.open("ann").await, server.open("bob").await, server.open("cid").await);
    for (group, connection) in [("a", ann), ("b", bob), ("c", bob)] {
        server.groups.join(group, connection).unwrap();
    }
    server.groups.close_all("over", 4002);
    for peer in [&mut a, &mut b] {
        assert_eq!(peer.closed().await, (Some(4002), "over".into()));
        peer.send(close(4002, "")).await;
        assert!(peer.ended().await);
    }
    settle().await;
    assert!(server.groups.is_empty());
    server.websocket.write_all("still there");
    assert_eq!(c.text().await, "still there");
}

// The order of written bytes, over sockets.

/// Writes to all members of a room, and in between to each of them: broadcasts, direct messages,
/// and both kinds of payload. Returns for each member the bytes that it must receive.
fn write_to_room(group: ConnectionGroup, members: &[WebSocketConnection], messages: usize, size: usize) -> Vec<Vec<u8>> {
    let mut expected = vec![Vec::new(); members.len()];
    for n in 0..messages {
        let payload = format!("{n} {}", "x".repeat(n * 7919 % (size + 1)));
        match n % 4 {
            0 => {
                group.write(&payload);
                expected.iter_mut().for_each(|bytes| bytes.extend(server_frame(0x80 | 1, &payload)));
            }
            1 => {
                group.write_binary(&payload);
                expected.iter_mut().for_each(|bytes| bytes.extend(server_frame(0x80 | 2, &payload)));
            }
            2 => {
                for (place, (member, bytes)) in members.iter().zip(&mut expected).enumerate() {
                    let payload = format!("{place} {payload}");
                    member.write(&payload);
                    bytes.extend(server_frame(0x80 | 1, &payload));
                }
            }
            _ => {
                let left_out = n % members.len();
                group.write_except(members[left_out], &payload);
                for (place, bytes) in expected.iter_mut().enumerate() {
                    if place != left_out {
                        bytes.extend(server_frame(0x80 | 1, &payload));
                    }
                }
            }
        }
    }
    expected
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_hundred_members_get_broadcasts_and_their_own_messages_in_the_order_of_writing() {
    in_time(async {
        let (mut server, group, all, address) = room(WebSocketOptions::new(), 300).await;
        let (conductor, mut baton) = server.connect(address).await;
        let (members, peers): (Vec<_>, Vec<_>) = all.into_iter().unzip();
        let (said, mut expected) = mpsc::unbounded_channel();
        // Within a turn, whose writes leave together at its end.
        conductor.on("text", move || {
            let _ = said.send(write_to_room(group, &members, 60, 300));
        });
        baton.send([text("once"), text("and again")].concat()).await;
        let (first, second) = (expected.recv().await.unwrap(), expected.recv().await.unwrap());
        for (place, mut peer) in peers.into_iter().enumerate() {
            let expected = [&first[place][..], &second[place][..]].concat();
            assert_eq!(peer.exactly(expected.len()).await, expected, "member {place}");
        }
    })
    .await;
}

#[tokio::test]
async fn outside_of_a_turn_three_hundred_members_get_the_same() {
    in_time(async {
        let (_server, group, all, _) = room(WebSocketOptions::new(), 300).await;
        let (members, peers): (Vec<_>, Vec<_>) = all.into_iter().unzip();
        let expected = write_to_room(group, &members, 60, 300);
        for (place, mut peer) in peers.into_iter().enumerate() {
            let expected = &expected[place];
            assert_eq!(peer.exactly(expected.len()).await, *expected, "member {place}");
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_readers_receive_all_messages_in_order_and_delay_no_others() {
    in_time(async {
        let options = WebSocketOptions::new().write_buffer_hard_limit(256 << 20);
        let (mut server, group, all, address) = room(options, 6).await;
        let (conductor, mut baton) = server.connect(address).await;
        let (members, mut peers): (Vec<_>, Vec<_>) = all.into_iter().unzip();
        let slow_members = members[3..].to_vec();
        let (said, mut expected) = mpsc::unbounded_channel();
        conductor.on("text", move |conductor: &WebSocketConnection| {
            let _ = said.send(write_to_room(group, &members, 120, 15_000 * 7));
            conductor.write("done");
        });
        let slow = peers.split_off(3);
        // One turn is about 6 MB: more than a socket takes on the one side and holds on the other.
        let fast: Vec<_> = peers
            .into_iter()
            .map(|mut peer| {
                tokio::spawn(async move {
                    let mut received = Vec::new();
                    while !received.ends_with(b"the end") {
                        assert!(peer.stream.read_buf(&mut received).await.unwrap() > 0);
                    }
                    received
                })
            })
            .collect();
        let mut wanted = vec![Vec::new(); 6];
        for turn in ["one", "two"] {
            baton.send(text(turn)).await;
            for (wanted, more) in wanted.iter_mut().zip(expected.recv().await.unwrap()) {
                wanted.extend(more);
            }
            assert_eq!(baton.text().await, "done", "the writer waits for nobody");
        }
        group.write("the end");
        wanted.iter_mut().for_each(|wanted| wanted.extend(server_frame(0x80 | 1, "the end")));
        let mut fast_bytes = Vec::new();
        for fast in fast {
            fast_bytes.push(fast.await.unwrap());
        }
        for (wanted, received) in wanted.iter().zip(&fast_bytes) {
            assert!(wanted == received, "{} of {} bytes", received.len(), wanted.len());
        }
        // Those who read fast have all of it while the others have not begun.
        for member in slow_members {
            assert!(member.buffered_amount() > 1 << 20, "{}", member.buffered_amount());
        }
        for (mut peer, wanted) in slow.into_iter().zip(&wanted[3..]) {
            let received = peer.exactly(wanted.len()).await;
            assert!(received == *wanted);
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_messages_of_one_sender_keep_their_order_while_others_write() {
    in_time(async {
        const SENDERS: usize = 5;
        const MESSAGES: usize = 400;
        let (_server, group, all, _) = room(WebSocketOptions::new(), 20).await;
        let (members, peers): (Vec<_>, Vec<_>) = all.into_iter().unzip();
        let send = move |sender: usize, members: &[WebSocketConnection]| {
            for n in 0..MESSAGES {
                let message = format!("{sender} {n}");
                // A sender's own messages and broadcasts are one sequence to each member.
                match n % 3 {
                    0 => members.iter().for_each(|member| _ = member.write(&message)),
                    1 => cork(|| group.write(&message)),
                    _ => group.write(&message),
                }
            }
        };
        let mut threads = Vec::new();
        for sender in 0..SENDERS {
            let members = members.clone();
            if sender % 2 == 0 {
                threads.push(tokio::task::spawn_blocking(move || send(sender, &members)));
            } else {
                threads.push(tokio::spawn(async move { send(sender, &members) }));
            }
        }
        let readers: Vec<_> = peers
            .into_iter()
            .map(|mut peer| {
                tokio::spawn(async move {
                    let mut next = [0; SENDERS];
                    for _ in 0..SENDERS * MESSAGES {
                        let message = peer.text().await;
                        let (sender, n) = message.split_once(' ').unwrap();
                        let next = &mut next[sender.parse::<usize>().unwrap()];
                        assert_eq!(n.parse::<usize>().unwrap(), *next, "of sender {sender}");
                        *next += 1;
                    }
                })
            })
            .collect();
        for task in threads.into_iter().chain(readers) {
            task.await.unwrap();
        }
    })
    .await;
}

#[tokio::test]
async fn members_that_join_and_leave_during_broadcasts_miss_no_message_while_they_are_in() {
    in_time(async {
        let (_server, group, all, _) = room(WebSocketOptions::new(), 3).await;
        let (members, mut peers): (Vec<_>, Vec<_>) = all.into_iter().unzip();
        cork(|| {
            group.write("1");
            group.remove(members[0]);
            group.write("2");
            members[0].write("own");
            group.add(members[0]).unwrap();
            group.write("3");
            group.remove(members[1]);
        });
        group.write("4");
        let expected = [vec!["1", "own", "3", "4"], vec!["1", "2", "3"], vec!["1", "2", "3", "4"]];
        for (peer, expected) in peers.iter_mut().zip(expected) {
            for message in expected {
                assert_eq!(peer.text().await, message);
            }
        }
    })
    .await;
}
