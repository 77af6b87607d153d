//! What every message bus promises together with the manager: docs/cluster.md.

use std::collections::HashMap;
use std::time::Duration;

use react_websocket::Message;
use react_websocket::cluster::wire::{self, Body, Frame, Position};
use react_websocket::cluster::{MemberId, NodeId, Subject};
use tokio::time::sleep;

use crate::nodes::{Bus, Faults, Node, nodes, received, until_losses_count};
use crate::support::settle;

/// Defines the tests of a bus.
#[macro_export]
macro_rules! conformance {
    ($bus:ty) => {
        $crate::conformance!(@each $bus, conformance:
            a_message_reaches_all_members_on_all_nodes_once
            each_kind_of_message_reaches_the_other_nodes
            all_members_get_the_messages_of_each_node_in_order
            create_destroy_join_and_leave_stay_local
            an_excluded_member_is_excluded_on_its_own_node
            a_group_is_closed_on_all_nodes_in_its_place_among_the_messages
            all_groups_are_closed_on_all_nodes
            a_process_without_connections_writes_by_name
            a_group_that_was_destroyed_here_is_still_written_to_elsewhere
            a_node_subscribes_to_the_groups_that_have_members
            a_subscription_survives_a_member_that_joins_again
            prefixes_separate_apps_on_one_bus
            foreign_input_is_refused_and_counted
            a_lost_message_is_reported_before_the_next_one
            a_lost_last_message_is_reported_by_its_mark
            a_first_message_that_was_lost_is_reported
            messages_while_the_bus_was_down_are_counted_on_both_sides
            a_message_that_exceeds_the_limit_is_local_and_reported_elsewhere
            repeated_messages_are_dropped
            a_node_that_leaves_is_gone_at_once
            a_node_whose_manager_is_dropped_leaves
            a_dead_node_is_found_within_20_seconds
            a_stream_that_was_forgotten_has_a_successor
            listeners_may_call_any_method
        );
        $crate::conformance!(@each $bus, accounting:
            every_message_is_delivered_or_reported
            members_get_what_the_model_says
        );
    };
    (@each $bus:ty, $module:ident: $($name:ident)+) => {$(
        #[tokio::test(start_paused = true)]
        async fn $name() {
            $crate::support::while_time_passes($module::$name::<$bus>()).await;
        }
    )+};
}

pub async fn a_message_reaches_all_members_on_all_nodes_once<B: Bus>() {
    let bus = B::start();
    let mut nodes = nodes(&bus, 3).await;
    let mut members = Vec::new();
    for node in &mut nodes {
        members.push(node.member(&["tea"]).await);
        members.push(node.member(&["tea", "milk"]).await);
    }
    nodes[0].groups.get("tea").unwrap().write("from the first");
    nodes[1].groups.write("tea", "from the second");
    settle().await;
    for (connection, peer) in &mut members {
        let mut texts = received(peer, *connection).await;
        texts.sort();
        assert_eq!(texts, ["from the first", "from the second"]);
    }
    let stats = nodes[2].stats();
    assert_eq!((stats.published, stats.delivered, stats.lost, stats.repeated, stats.refused), (0, 2, 0, 0, 0));
    assert_eq!((nodes[0].stats().published, nodes[0].stats().delivered), (1, 1));
}

pub async fn each_kind_of_message_reaches_the_other_nodes<B: Bus>() {
    let bus = B::start();
    let mut nodes = nodes(&bus, 2).await;
    let (here, mut here_peer) = nodes[0].member(&["a"]).await;
    let (_, mut there) = nodes[1].member(&["a"]).await;
    let (group, groups) = (nodes[0].groups.get("a").unwrap(), nodes[0].groups.clone());
    group.write_all("1");
    group.write_binary([1, 0xFF]);
    group.write_except(here, "2");
    group.write_binary_except(here, [2]);
    group.write_message(&Message::from("3"));
    group.write_message_except(here, &Message::from(vec![3]));
    groups.write_binary("a", [4]);
    groups.write_message("a", &Message::from("5"));
    groups.write_message("a", &Message::from(vec![5]));
    let expected: [(u8, &[u8]); 9] =
        [(1, b"1"), (2, &[1, 0xFF]), (1, b"2"), (2, &[2]), (1, b"3"), (2, &[3]), (2, &[4]), (1, b"5"), (2, &[5])];
    for (opcode, payload) in expected {
        let frame = there.frame().await.unwrap();
        assert_eq!((frame.opcode, &*frame.payload), (opcode, payload));
    }
    for (opcode, payload) in expected.into_iter().filter(|(_, payload)| ![&[2][..], b"2", &[3]].contains(payload)) {
        let frame = here_peer.frame().await.unwrap();
        assert_eq!((frame.opcode, &*frame.payload), (opcode, payload));
    }
}

/// 3 nodes, 5 groups, 4 writers on each node. FIFO for each writer, and one order for all members of a
/// node.
pub async fn all_members_get_the_messages_of_each_node_in_order<B: Bus>() {
    const MESSAGES: usize = 10;
    let names = ["a", "b", "c", "d", "e"];
    let bus = B::start();
    let mut nodes = nodes(&bus, 3).await;
    let mut members = Vec::new();
    for node in &mut nodes {
        for name in names {
            members.push([node.member(&[name]).await, node.member(&[name]).await]);
        }
    }
    let mut writers = tokio::task::JoinSet::new();
    for (number, node) in nodes.iter().enumerate() {
        for writer in 0..4 {
            let groups = node.groups.clone();
            writers.spawn(async move {
                for message in 0..MESSAGES {
                    names.iter().for_each(|name| groups.write(name, format!("{number}.{writer} {message}")));
                    tokio::task::yield_now().await;
                }
            });
        }
    }
    writers.join_all().await;
    for [(first, first_peer), (second, second_peer)] in &mut members {
        let texts = received(first_peer, *first).await;
        assert_eq!(texts, received(second_peer, *second).await, "one order for all members of a node");
        let mut next: HashMap<&str, usize> = HashMap::new();
        for text in &texts {
            let (writer, message) = text.split_once(' ').unwrap();
            let next = next.entry(writer).or_default();
            assert_eq!(message.parse(), Ok(*next), "{writer}");
            *next += 1;
        }
        assert_eq!((next.len(), texts.len()), (12, 12 * MESSAGES));
    }
}

pub async fn create_destroy_join_and_leave_stay_local<B: Bus>() {
    let bus = B::start();
    let mut nodes = nodes(&bus, 2).await;
    let (connection, _peer) = nodes[0].member(&["a"]).await;
    settle().await;
    let there = nodes[1].stats();
    assert_eq!((there.created, there.joined, nodes[1].groups.len()), (0, 0, 0));
    nodes[0].groups.write("a", "nobody is there");
    settle().await;
    nodes[0].groups.leave("a", connection);
    settle().await;
    let (here, there) = (nodes[0].stats(), nodes[1].stats());
    assert_eq!((here.created, here.destroyed, here.joined, here.left), (1, 1, 1, 1));
    assert_eq!((there.created, there.destroyed, there.delivered), (0, 0, 0));
}

pub async fn an_excluded_member_is_excluded_on_its_own_node<B: Bus>() {
    let bus = B::start();
    let mut nodes = nodes(&bus, 2).await;
    let (ann, mut ann_peer) = nodes[0].member(&["a"]).await;
    let (bob, mut bob_peer) = nodes[0].member(&["a"]).await;
    let (eve, mut eve_peer) = nodes[1].member(&["a"]).await;
    // A worker gets the id as text.
    let id: MemberId = nodes[0].groups.member_id(ann).to_string().parse().unwrap();
    nodes[1].groups.write_except("a", id, "1");
    nodes[0].groups.write_except("a", id, "2");
    nodes[1].groups.write_binary_except("a", id, "3");
    // A connection of another node may have the same number.
    nodes[1].groups.write_except("a", MemberId { node: NodeId::random(), ..id }, "4");
    settle().await;
    assert_eq!(received(&mut ann_peer, ann).await, ["4"]);
    let mut bobs = Vec::new();
    for _ in 0..4 {
        bobs.push(String::from_utf8(bob_peer.frame().await.unwrap().payload).unwrap());
    }
    bobs.sort();
    assert_eq!(bobs, ["1", "2", "3", "4"]);
    for _ in 0..4 {
        eve_peer.frame().await.unwrap();
    }
    assert!(received(&mut eve_peer, eve).await.is_empty() && received(&mut bob_peer, bob).await.is_empty());
}

pub async fn a_group_is_closed_on_all_nodes_in_its_place_among_the_messages<B: Bus>() {
    let bus = B::start();
    let mut nodes = nodes(&bus, 3).await;
    let mut peers = Vec::new();
    for node in &mut nodes {
        peers.push(node.member(&["a"]).await.1);
    }
    let (other, mut other_peer) = nodes[1].member(&["b"]).await;
    let group = nodes[0].groups.get("a").unwrap();
    group.write("before");
    group.close_all("over", 4001);
    group.write("after");
    for peer in &mut peers {
        assert_eq!(peer.text().await, "before");
        assert_eq!(peer.closed().await, (Some(4001), "over".to_owned()));
    }
    assert!(received(&mut other_peer, other).await.is_empty());
    nodes[2].groups.close_group("b", "by name", 1005);
    assert_eq!(other_peer.closed().await, (None, String::new()));
}

pub async fn all_groups_are_closed_on_all_nodes<B: Bus>() {
    let bus = B::start();
    let mut nodes = nodes(&bus, 2).await;
    let (_, mut first) = nodes[0].member(&["a"]).await;
    let (_, mut second) = nodes[1].member(&["b"]).await;
    let (lone, mut lone_peer) = nodes[1].member(&[]).await;
    nodes[0].groups.close_all("over", 1001);
    assert_eq!(first.closed().await, (Some(1001), "over".to_owned()));
    assert_eq!(second.closed().await, (Some(1001), "over".to_owned()));
    assert!(received(&mut lone_peer, lone).await.is_empty(), "a connection without a group stays open");
}

pub async fn a_process_without_connections_writes_by_name<B: Bus>() {
    let bus = B::start();
    let mut nodes = nodes(&bus, 2).await;
    let worker = react_websocket::GroupManager::new().with_backplane(bus.node("shop"));
    let (_, mut peer) = nodes[0].member(&["a"]).await;
    worker.write("a", "text");
    worker.write_message("a", &"message".into());
    worker.close_group("a", "", 1000);
    assert_eq!((peer.text().await, peer.text().await), ("text".to_owned(), "message".to_owned()));
    assert_eq!(peer.closed().await.0, Some(1000));
    assert_eq!((worker.stats().published, worker.len()), (3, 0));
}

pub async fn a_group_that_was_destroyed_here_is_still_written_to_elsewhere<B: Bus>() {
    let bus = B::start();
    let mut nodes = nodes(&bus, 2).await;
    let (here, _peer) = nodes[0].member(&["a"]).await;
    let (_, mut there) = nodes[1].member(&["a"]).await;
    nodes[0].groups.leave("a", here);
    nodes[0].groups.write("a", "hello");
    assert_eq!(there.text().await, "hello");
}

pub async fn a_node_subscribes_to_the_groups_that_have_members<B: Bus>() {
    let bus = B::start();
    let mut nodes = nodes(&bus, 2).await;
    let (first, _a) = nodes[0].member(&["tea", "milk"]).await;
    let (second, _b) = nodes[0].member(&["tea"]).await;
    assert_eq!(nodes[0].backplane.subscriptions(), ["milk", "tea"]);
    assert!(nodes[1].backplane.subscriptions().is_empty());
    nodes[0].groups.leave("tea", first);
    sleep(Duration::from_secs(11)).await;
    assert_eq!(nodes[0].backplane.subscriptions(), ["milk", "tea"], "one member is left");
    nodes[0].groups.leave("tea", second);
    sleep(Duration::from_secs(11)).await;
    assert_eq!(nodes[0].backplane.subscriptions(), ["milk"]);
}

pub async fn a_subscription_survives_a_member_that_joins_again<B: Bus>() {
    let bus = B::start();
    let mut nodes = nodes(&bus, 2).await;
    let (connection, mut peer) = nodes[0].member(&["a"]).await;
    for message in 0..10 {
        nodes[0].groups.leave("a", connection);
        assert!(nodes[0].groups.is_empty());
        nodes[1].groups.write("a", "without members");
        sleep(Duration::from_secs(4)).await;
        assert_eq!(nodes[0].backplane.subscriptions(), ["a"]);
        nodes[0].groups.join("a", connection).unwrap();
        nodes[1].groups.write("a", message.to_string());
        sleep(Duration::from_secs(2)).await;
    }
    assert_eq!(received(&mut peer, connection).await, (0..10).map(|message| message.to_string()).collect::<Vec<_>>());
    let stats = nodes[0].stats();
    assert_eq!((stats.delivered, stats.lost), (10, 0), "nothing is missing that a member should have got");
}

pub async fn prefixes_separate_apps_on_one_bus<B: Bus>() {
    let bus = B::start();
    let (mut shop, mut forum) = (Node::new(&bus, "shop"), Node::new(&bus, "forum"));
    let ((ann, mut ann_peer), (bob, mut bob_peer)) = (shop.member(&["a"]).await, forum.member(&["a"]).await);
    shop.groups.write("a", "shop");
    forum.groups.write("a", "forum");
    shop.groups.close_group("b", "", 1000);
    assert_eq!(received(&mut ann_peer, ann).await, ["shop"]);
    assert_eq!(received(&mut bob_peer, bob).await, ["forum"]);
    until_losses_count().await;
    assert!(shop.groups.nodes().is_empty() && forum.groups.nodes().is_empty());
}

pub async fn foreign_input_is_refused_and_counted<B: Bus>() {
    let bus = B::start();
    let mut nodes = nodes(&bus, 1).await;
    let (connection, mut peer) = nodes[0].member(&["a"]).await;
    let (foreign, at) = (NodeId::random(), Position { stream: 1, sequence: 1 });
    let text = |text| wire::encode(&Frame { node: foreign, body: Body::Text { at, except: None, text } });
    let valid = text("valid");
    let changed = |place: usize, value: u8| {
        let mut bytes = valid.clone();
        bytes[place] = value;
        bytes
    };
    let too_large = text(&"x".repeat(1 << 20));
    let not_utf8 = [&valid[..], &[0xFF]].concat();
    let bye = wire::encode(&Frame { node: foreign, body: Body::Bye });
    for bad in
        [&b""[..], b"PING", &changed(0, 0), &changed(0, 2), &changed(1, 9), &valid[..10], &too_large, &not_utf8, &bye]
    {
        bus.inject("shop", Subject::Group("a"), bad);
    }
    // Only the control subject has messages to all nodes, and it has no other messages.
    bus.inject("shop", Subject::Control, &valid);
    settle().await;
    assert_eq!(nodes[0].stats().refused, 10);
    bus.inject("shop", Subject::Group("a"), &valid);
    assert_eq!(received(&mut peer, connection).await, ["valid"]);
    assert_eq!((nodes[0].stats().refused, nodes[0].stats().delivered, nodes[0].stats().lost), (10, 1, 0));
}

pub async fn a_lost_message_is_reported_before_the_next_one<B: Bus>() {
    let bus = B::start();
    let mut nodes = nodes(&bus, 2).await;
    let (connection, mut peer) = nodes[1].member(&["a"]).await;
    let group = nodes[1].groups.get("a").unwrap();
    group.on_gap(move |messages| group.write(format!("{messages} lost")));
    nodes[0].groups.write("a", "1");
    settle().await;
    nodes[1].backplane.lose(2);
    for message in ["2", "3", "4"] {
        nodes[0].groups.write("a", message);
    }
    assert_eq!(received(&mut peer, connection).await, ["1", "2 lost", "4"]);
    assert_eq!(nodes[1].take_gaps(), [("a".to_owned(), 2)]);
    assert_eq!((nodes[1].stats().lost, nodes[1].stats().delivered), (2, 2));
}

pub async fn a_lost_last_message_is_reported_by_its_mark<B: Bus>() {
    let bus = B::start();
    let mut nodes = nodes(&bus, 2).await;
    let (_connection, _peer) = nodes[1].member(&["a"]).await;
    nodes[0].groups.write("a", "1");
    settle().await;
    nodes[1].backplane.lose(1);
    nodes[0].groups.write("a", "2");
    settle().await;
    assert_eq!(nodes[1].stats().lost, 0);
    sleep(Duration::from_secs(5)).await;
    assert_eq!(nodes[1].take_gaps(), [("a".to_owned(), 1)]);
    sleep(Duration::from_secs(60)).await;
    assert_eq!((nodes[1].stats().lost, nodes[1].stats().repeated), (1, 0), "later marks report nothing twice");
}

pub async fn a_first_message_that_was_lost_is_reported<B: Bus>() {
    let bus = B::start();
    let mut nodes = nodes(&bus, 2).await;
    let (connection, mut peer) = nodes[1].member(&["a"]).await;
    until_losses_count().await;
    nodes[1].backplane.lose(2);
    for message in ["1", "2", "3"] {
        nodes[0].groups.write("a", message);
    }
    assert_eq!(received(&mut peer, connection).await, ["3"]);
    assert_eq!(nodes[1].take_gaps(), [("a".to_owned(), 2)]);
    // A member that comes later has missed nothing.
    let (_late, _peer) = nodes[0].member(&["a"]).await;
    nodes[1].groups.write("a", "4");
    let (_later, _peer) = nodes[0].member(&["a"]).await;
    settle().await;
    assert_eq!(nodes[0].stats().lost, 0);
}

pub async fn messages_while_the_bus_was_down_are_counted_on_both_sides<B: Bus>() {
    let bus = B::start();
    let mut nodes = nodes(&bus, 2).await;
    let (here, mut here_peer) = nodes[0].member(&["a"]).await;
    let (there, mut there_peer) = nodes[1].member(&["a"]).await;
    let groups = nodes[0].groups.clone();
    groups.write("a", "1");
    settle().await;
    nodes[0].backplane.cut();
    assert_eq!(groups.backplane_health().map(|health| health.is_up), Some(false));
    groups.write("a", "2");
    groups.write("a", "3");
    nodes[1].groups.write("a", "4");
    assert_eq!(received(&mut here_peer, here).await, ["1", "2", "3"], "local members go on");
    nodes[0].backplane.heal();
    sleep(Duration::from_secs(5)).await;
    assert_eq!(received(&mut there_peer, there).await, ["1", "4"]);
    assert_eq!((nodes[0].stats().published, nodes[0].stats().unpublished), (1, 2));
    assert_eq!(nodes[1].take_gaps(), [("a".to_owned(), 2)]);
    groups.write("a", "5");
    assert_eq!(received(&mut there_peer, there).await, ["5"]);
}

pub async fn a_message_that_exceeds_the_limit_is_local_and_reported_elsewhere<B: Bus>() {
    let bus = B::start();
    let mut nodes = nodes(&bus, 2).await;
    let (_here, mut here_peer) = nodes[0].member(&["a"]).await;
    let (there, mut there_peer) = nodes[1].member(&["a"]).await;
    nodes[0].groups.write("a", "1");
    nodes[0].groups.write_binary("a", vec![0; 1 << 20]);
    nodes[0].groups.write("a", "2");
    assert_eq!(here_peer.text().await, "1");
    assert_eq!(here_peer.frame().await.unwrap().payload.len(), 1 << 20);
    assert_eq!(received(&mut there_peer, there).await, ["1", "2"]);
    assert_eq!((nodes[0].stats().unpublished, nodes[1].take_gaps()), (1, vec![("a".to_owned(), 1)]));
}

pub async fn repeated_messages_are_dropped<B: Bus>() {
    let bus = B::start();
    let mut nodes = nodes(&bus, 2).await;
    let (connection, mut peer) = nodes[1].member(&["a"]).await;
    nodes[1].backplane.repeat(3);
    for message in ["1", "2", "3"] {
        nodes[0].groups.write("a", message);
    }
    assert_eq!(received(&mut peer, connection).await, ["1", "2", "3"]);
    assert_eq!((nodes[1].stats().repeated, nodes[1].stats().lost), (3, 0));
}

pub async fn a_node_that_leaves_is_gone_at_once<B: Bus>() {
    let bus = B::start();
    let mut nodes = nodes(&bus, 3).await;
    let mut ids: Vec<_> = nodes.iter().map(Node::id).collect();
    let (_member, mut peer) = nodes[1].member(&["a"]).await;
    let mut last = nodes.pop().unwrap();
    let (_last_member, _last_peer) = last.member(&["a"]).await;
    last.groups.write("a", "1");
    settle().await;
    nodes[1].backplane.lose(1);
    last.groups.write("a", "the last words");
    last.groups.close_backplane().await;
    settle().await;
    assert_eq!(peer.text().await, "1");
    assert_eq!(nodes[1].take_gaps(), [("a".to_owned(), 1)], "the last mark comes before the end");
    ids.retain(|id| *id != last.id());
    assert_eq!((nodes[0].groups.nodes(), nodes[1].groups.nodes()), (vec![ids[1]], vec![ids[0]]));
    last.groups.write("a", "local only");
    last.groups.close_backplane().await;
    sleep(Duration::from_secs(60)).await;
    // A heartbeat that was overtaken.
    let late = wire::encode(&Frame { node: last.id(), body: Body::Alive { streams: 9 } });
    bus.inject("shop", Subject::Control, &late);
    settle().await;
    assert_eq!(nodes[0].groups.nodes(), [ids[1]], "it does not come back");
    nodes[0].groups.write("a", "from the cluster");
    settle().await;
    assert_eq!(last.stats().delivered, 0);
    assert_eq!((last.stats().unpublished, nodes[1].stats().lost), (1, 1));
    assert_eq!(last.groups.backplane_health().map(|health| health.is_up), Some(false));
}

pub async fn a_node_whose_manager_is_dropped_leaves<B: Bus>() {
    let bus = B::start();
    let mut nodes = nodes(&bus, 2).await;
    drop(nodes.pop());
    // Its task wakes up, and lets go of it.
    settle().await;
    assert!(nodes[0].groups.nodes().is_empty());
}

/// A node forgets what it has sent to a group after 128 heartbeats without a message.
pub async fn a_stream_that_was_forgotten_has_a_successor<B: Bus>() {
    let bus = B::start();
    let mut nodes = nodes(&bus, 2).await;
    let (connection, mut peer) = nodes[1].member(&["a"]).await;
    nodes[0].groups.write("a", "1");
    sleep(Duration::from_secs(650)).await;
    nodes[1].backplane.lose(2);
    for message in ["2", "3", "4"] {
        nodes[0].groups.write("a", message);
    }
    assert_eq!(received(&mut peer, connection).await, ["1", "4"]);
    assert_eq!((nodes[1].take_gaps(), nodes[1].stats().repeated), (vec![("a".to_owned(), 2)], 0));
}

pub async fn a_dead_node_is_found_within_20_seconds<B: Bus>() {
    let bus = B::start();
    let nodes = nodes(&bus, 3).await;
    let ids: Vec<_> = nodes.iter().map(Node::id).collect();
    let known = |at: usize| nodes[at].groups.nodes().len();
    assert_eq!((known(0), known(1), known(2)), (2, 2, 2), "all nodes know each other at once");
    sleep(Duration::from_secs(60)).await;
    assert_eq!((known(0), known(1), known(2)), (2, 2, 2));
    nodes[2].backplane.cut();
    sleep(Duration::from_secs(9)).await;
    assert_eq!(known(0), 2);
    sleep(Duration::from_secs(11)).await;
    assert_eq!((nodes[0].groups.nodes(), nodes[1].groups.nodes()), (vec![ids[1]], vec![ids[0]]));
    assert_eq!(known(2), 0);
    nodes[2].backplane.heal();
    settle().await;
    assert_eq!((known(0), known(1), known(2)), (2, 2, 2), "it was only cut off");
}

/// Listeners are called without any lock: one that writes, joins, leaves, and asks for everything,
/// comes back.
pub async fn listeners_may_call_any_method<B: Bus>() {
    let bus = B::start();
    let mut nodes = nodes(&bus, 2).await;
    let (connection, mut peer) = nodes[1].member(&["a"]).await;
    let groups = nodes[1].groups.clone();
    let group = groups.get("a").unwrap();
    let each = groups.clone();
    group.on_gap(move |messages| {
        group.write(format!("{messages} lost"));
        each.join("b", connection).unwrap();
        each.leave("a", connection);
        each.join("a", connection).unwrap();
        each.write("b", "in b");
        let _ = (each.stats(), each.nodes(), each.backplane_health(), group.members());
        Err::<(), _>("an error of this listener harms nobody")
    });
    nodes[0].groups.write("a", "1");
    settle().await;
    nodes[1].backplane.lose(1);
    nodes[0].groups.write("a", "2");
    nodes[0].groups.write("a", "3");
    assert_eq!(received(&mut peer, connection).await, ["1", "1 lost", "in b", "3"]);
    assert_eq!(groups.get("a"), Some(group));
}
